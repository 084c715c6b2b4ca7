package engine

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
)

// rawReader cuts a stream of replies into its replies, undecoded.
type rawReader struct{ rd *bufio.Reader }

func newRawReader(r io.Reader) *rawReader { return &rawReader{bufio.NewReaderSize(r, 64<<10)} }

func (r *rawReader) next() ([]byte, error) { return r.value(nil) }

func (r *rawReader) value(dst []byte) ([]byte, error) {
	line, err := r.rd.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, fmt.Errorf("short line %q", line)
	}
	dst = append(dst, line...)
	var n int
	switch line[0] {
	case '+', '-', ':', ',', '_', '#', '(':
		return dst, nil
	default:
		if n, err = strconv.Atoi(string(line[1 : len(line)-2])); err != nil {
			return nil, err
		}
	}
	switch line[0] {
	case '$', '=', '!':
		if n < 0 {
			return dst, nil
		}
		body := make([]byte, n+2)
		if _, err := io.ReadFull(r.rd, body); err != nil {
			return nil, err
		}
		return append(dst, body...), nil
	case '%', '|':
		n *= 2
	}
	for range n {
		if dst, err = r.value(dst); err != nil {
			return nil, err
		}
	}
	if line[0] == '|' {
		return r.value(dst)
	}
	return dst, nil
}
