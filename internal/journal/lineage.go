package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
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

	// confirmedName is the empty file that says: replay this journal although it was
	// parked.
	confirmedName = "confirmed"
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
	fmt.Fprintf(&b, "crc %08x\n", crc32.Checksum(b.Bytes(), castagnoli))
	return b.Bytes()
}

// isWord reports whether s can stand in a line of the file.
func isWord(s string) bool {
	return s != "" && len(s) <= maxLineageWord && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f })
}

// parseLineage reads what encode wrote; false where b is not that.
func parseLineage(b []byte) (l Lineage, ok bool) {
	at := bytes.LastIndex(b, []byte("\ncrc ")) + 1
	if at == 0 || string(b[at:]) != fmt.Sprintf("crc %08x\n", crc32.Checksum(b[:at], castagnoli)) {
		return Lineage{}, false
	}
	lines := strings.Split(string(b[:at]), "\n")
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
// or damaged.
func readLineage(files filesystem) Lineage {
	f, err := files.open(lineageName)
	if err != nil {
		return Lineage{}
	}
	defer func() { _ = f.close() }() // it was only read
	size, err := f.size()
	if err != nil || size > maxLineage {
		return Lineage{}
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		_ = err // as good as damaged
		return Lineage{}
	}
	l, _ := parseLineage(b)
	return l
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
	if err := files.remove(lineageNew); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := files.create(lineageNew)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(l.encode(), 0)
	if err == nil {
		err = f.sync()
	}
	if err = errors.Join(err, f.close()); err != nil {
		return err
	}
	if err := files.rename(lineageNew, lineageName); err != nil {
		return err
	}
	return files.syncDir()
}

// Confirm marks the journal id below dir: it is to be replayed although its age or
// its lineage speaks against it. Whoever opens it next finds that by Confirmed. The
// error says that there is no such journal, or is of the system.
func Confirm(dir, id string) error {
	if _, ok := parseClientID(id); !ok {
		return fmt.Errorf("journal: %q is not the name of a journal: it has 32 hexadecimal digits", id)
	}
	path := filepath.Join(dir, id)
	if _, err := os.Stat(filepath.Join(path, progressName)); err != nil {
		return fmt.Errorf("journal: there is no journal of this name: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, confirmedName), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("journal: the confirmation could not be written: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("journal: the confirmation could not be written: %w", err)
	}
	return syncDir(path)
}

// IsConfirmed reports whether the journal id below dir bears the mark of Confirm.
func IsConfirmed(dir, id string) bool {
	_, err := os.Stat(filepath.Join(dir, id, confirmedName))
	return err == nil
}

// Confirmed reports whether the journal bears the mark of Confirm.
func (j *Journal) Confirmed() bool {
	f, err := j.fs.open(confirmedName)
	if err != nil {
		return false
	}
	return f.close() == nil
}

// Unconfirm takes the mark of Confirm away: what it was given for has been replayed,
// and what is written from now on is judged anew.
func (j *Journal) Unconfirm(ctx context.Context) error {
	return j.call(ctx, func() error {
		err := j.fs.remove(confirmedName)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}
