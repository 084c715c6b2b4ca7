package redistest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
)

// nodeLog is where one node's server writes its log: a file, and Options.LogTo
// if that is set.
type nodeLog struct {
	file   *os.File
	sink   *lineSink // nil without LogTo
	prefix string
}

func openLog(path, prefix string, sink *lineSink) (*nodeLog, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("redistest: can't open a server's log: %w", err)
	}
	return &nodeLog{file: file, sink: sink, prefix: prefix}, nil
}

// writer is what one run of the server writes to. The file alone goes to the
// server as it is, without a goroutine of ours in between.
func (l *nodeLog) writer() io.Writer {
	if l.sink == nil {
		return l.file
	}
	return io.MultiWriter(l.file, &lineWriter{sink: l.sink, prefix: l.prefix})
}

// size is the position after the last byte logged.
func (l *nodeLog) size() int64 {
	info, err := l.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// tail returns what was logged from the given position on, at most the last
// limit bytes of it.
func (l *nodeLog) tail(from, limit int64) string {
	end := l.size()
	from = max(from, end-limit)
	b := make([]byte, max(0, end-from))
	n, _ := l.file.ReadAt(b, from)
	return string(b[:n])
}

func (l *nodeLog) close() { l.file.Close() }

// lineSink lets the nodes of a group share one writer. It is safe for
// concurrent use.
type lineSink struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu: writes to it don't overlap
}

// lineWriter passes whole lines on to the sink, each after its prefix. It is
// not safe for concurrent use: one run of one server writes to it.
type lineWriter struct {
	sink    *lineSink
	prefix  string
	partial []byte
}

// Write never fails: what the sink's writer makes of the lines is not the
// server's concern.
func (l *lineWriter) Write(b []byte) (int, error) {
	l.partial = append(l.partial, b...)
	for {
		line, rest, found := bytes.Cut(l.partial, []byte("\n"))
		if !found {
			return len(b), nil
		}
		l.sink.writeLine(l.prefix, line)
		l.partial = rest
	}
}

// The lock is held while the caller's writer works, which may be I/O: keeping
// lines whole is what it is for, and nothing else waits on it.
func (s *lineSink) writeLine(prefix string, line []byte) {
	out := make([]byte, 0, len(prefix)+len(line)+1)
	out = append(append(append(out, prefix...), line...), '\n')
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.w.Write(out)
}
