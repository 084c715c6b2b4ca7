package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"strings"
)

// Lineage is what the owners of a journal saw of the servers that its records are
// meant for. It says whether a primary that appears later descends from them; the
// journal only keeps it.
type Lineage struct {
	// ReplIDs are the replication ids seen, the newest last, at most MaxReplIDs.
	ReplIDs []string
	// Primary is the address of the last verified primary; empty: none was seen.
	Primary string
}

// MaxReplIDs is how many replication ids a Lineage keeps; the oldest go first.
const MaxReplIDs = 64

// The lineage file is text, a line each, the last one the CRC-32C of the lines
// before it, in 8 hexadecimal digits:
//
//	holdfast lineage 1
//	replid <id>
//	primary <address>
//	crc <checksum>
//
// Lines that begin with another word are passed over. It is written beside and
// renamed over the old one. One that is damaged counts as missing: a journal
// without a lineage says nothing against a primary.
const (
	lineageName = "lineage"
	lineageNew  = "lineage.new"
	lineageHead = "holdfast lineage "
	// maxLineage bounds what is read as a lineage file.
	maxLineage = 64 << 10
	// A word of the file is at most this long; longer ones are not kept.
	maxLineageWord = 300
)

func (l Lineage) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%d\n", lineageHead, formatVersion)
	for _, id := range l.ReplIDs {
		if isWord(id) {
			fmt.Fprintf(&b, "replid %s\n", id)
		}
	}
	if isWord(l.Primary) {
		fmt.Fprintf(&b, "primary %s\n", l.Primary)
	}
	return sealed(b.Bytes())
}

// sealed is lines with their checksum in a line behind them.
func sealed(lines []byte) []byte {
	return fmt.Appendf(lines, "crc %08x\n", crc32.Checksum(lines, castagnoli))
}

// unseal is the lines before the checksum; false where b is not what sealed made.
func unseal(b []byte) (lines []byte, ok bool) {
	at := bytes.LastIndex(b, []byte("\ncrc ")) + 1
	if at == 0 || !bytes.Equal(b, sealed(bytes.Clone(b[:at]))) {
		return nil, false
	}
	return b[:at], true
}

// isWord reports whether s can stand in a line of the file.
func isWord(s string) bool {
	return s != "" && len(s) <= maxLineageWord && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f })
}

// parseLineage reads what encode wrote; false where b is not that.
func parseLineage(b []byte) (l Lineage, ok bool) {
	text, ok := unseal(b)
	if !ok {
		return Lineage{}, false
	}
	lines := strings.Split(string(text), "\n")
	if !strings.HasPrefix(lines[0], lineageHead) {
		return Lineage{}, false
	}
	for _, line := range lines[1:] {
		word, value, _ := strings.Cut(line, " ")
		switch {
		case !isWord(value):
		case word == "replid":
			l.ReplIDs = append(l.ReplIDs, value)
		case word == "primary":
			l.Primary = value
		}
	}
	return l, true
}

// readLineage reads the lineage among files; the zero Lineage where it is missing
// or damaged. The error is the system's: the file may be whole.
func readLineage(files filesystem) (Lineage, error) {
	b, err := readSmall(files, lineageName, maxLineage)
	if err != nil {
		return Lineage{}, err
	}
	l, _ := parseLineage(b)
	return l, nil
}

// readSmall reads a file of at most limit bytes whole; nothing where it is missing,
// larger or can't be read. The error is that it could not be opened.
func readSmall(files filesystem, name string, limit int64) ([]byte, error) {
	f, err := files.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.close() }() // it was only read
	size, err := f.size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, nil
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		_ = err // as good as damaged
		return nil, nil
	}
	return b, nil
}

// Lineage is what SaveLineage stored last, by an earlier process too.
func (j *Journal) Lineage() Lineage {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Lineage{ReplIDs: slices.Clone(j.lineage.ReplIDs), Primary: j.lineage.Primary}
}

// SaveLineage stores l; of more than MaxReplIDs ids the newest. When it returns nil
// l is on the disk. An error leaves the one before there, and l in memory.
func (j *Journal) SaveLineage(ctx context.Context, l Lineage) error {
	l.ReplIDs = slices.Clone(l.ReplIDs[max(0, len(l.ReplIDs)-MaxReplIDs):])
	j.mu.Lock()
	j.lineage = l
	j.mu.Unlock()
	return j.call(ctx, func() error {
		if err := writeLineage(j.fs, l); err != nil {
			return fmt.Errorf("journal: the lineage could not be written: %w", err)
		}
		return nil
	})
}

func writeLineage(files filesystem, l Lineage) error {
	return replaceFile(files, lineageName, lineageNew, l.encode())
}

// replaceFile gives the file called name that content, wholly or not at all; beside
// is the name under which it is written.
func replaceFile(files filesystem, name, beside string, content []byte) error {
	if err := files.remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := files.create(beside)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.sync()
	}
	if err = errors.Join(err, f.close()); err != nil {
		return err
	}
	if err := files.rename(beside, name); err != nil {
		return err
	}
	return files.syncDir()
}
