package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// The mark of Confirm says: replay this journal although its age or its lineage
// speaks against it, for what it held then. It is text, sealed as the lineage is:
//
//	holdfast confirmed 1
//	last <the last sequence that it is given for>
//	crc <checksum>
//
// It is written beside and renamed over the old one, so that neither the owner of
// that nor a crash matters. One that is damaged counts as missing.
const (
	confirmedName = "confirmed"
	confirmedNew  = "confirmed.new"
	confirmedHead = "holdfast confirmed "
	// maxConfirmed bounds what is read as a mark.
	maxConfirmed = 4 << 10
)

// ErrNothingWaits says that a journal holds nothing that a confirmation could be for.
var ErrNothingWaits = errors.New("journal: nothing waits in it")

// Confirm marks the journal id below dir: what waits in it now is to be replayed
// although its age or its lineage speaks against it. Whoever opens it next finds that
// by Confirmed. A later call renews the mark. Errors: ErrNothingWaits; that there is
// no such journal; or the system's.
func Confirm(dir, id string) error {
	if _, ok := parseClientID(id); !ok {
		return fmt.Errorf("journal: %q is not the name of a journal: it has 32 hexadecimal digits", id)
	}
	path := filepath.Join(dir, id)
	if _, err := os.Stat(filepath.Join(path, progressName)); err != nil {
		return fmt.Errorf("journal: there is no journal of this name: %w", err)
	}
	v, err := NewView(path)
	if err != nil {
		return err
	}
	last, err := v.lastRecord()
	switch {
	case err != nil:
		return fmt.Errorf("journal: it can't be told what waits: %w", err)
	case last <= v.Trimmed():
		return fmt.Errorf("%w: there is nothing to confirm", ErrNothingWaits)
	}
	lines := fmt.Appendf(nil, "%s%d\nlast %d\n", confirmedHead, formatVersion, last)
	if err := replaceFile(v.files, confirmedName, confirmedNew, sealed(lines)); err != nil {
		return fmt.Errorf("journal: the confirmation could not be written: %w", err)
	}
	return nil
}

// confirmation is up to which sequence files bear the mark; 0: they don't.
func confirmation(files filesystem) uint64 {
	b, err := readSmall(files, confirmedName, maxConfirmed)
	if err != nil {
		return 0 // judged as if there were none, which replays nothing that should not be
	}
	lines, ok := unseal(b)
	if !ok || !bytes.HasPrefix(lines, []byte(confirmedHead)) {
		return 0
	}
	for line := range bytes.Lines(lines) {
		word, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		if string(word) == "last" {
			last, err := strconv.ParseUint(string(value), 10, 64)
			if err != nil {
				return 0
			}
			return last
		}
	}
	return 0
}

// confirms reports whether a mark up to the sequence mark speaks for a journal that is
// trimmed up to trimmed and held found as its last record when its process opened it:
// something that it was given for still waits, and nothing was written by a process in
// between. What the process itself adds comes behind in the same replay, and could not
// be told apart there: with the first of it the primary bears the journal's fence.
func confirms(mark, trimmed, found uint64) bool { return mark > trimmed && found <= mark }

// IsConfirmed reports whether the journal id below dir bears the mark of Confirm for
// what it holds, as Confirmed would say after opening it.
func IsConfirmed(dir, id string) bool {
	path := filepath.Join(dir, id)
	if confirmation(dirFS(path)) == 0 {
		return false // as is usual, and cheap to tell
	}
	v, err := NewView(path)
	return err == nil && v.confirmed()
}

// confirmed is IsConfirmed of the journal. Of one that a process holds it can't be told
// what that found, only that what the mark was given for still waits.
func (v *View) confirmed() bool {
	mark := confirmation(v.files)
	if !confirms(mark, v.Trimmed(), 0) {
		return false
	}
	last, err := v.lastRecord()
	return err == nil && (confirms(mark, v.Trimmed(), last) || v.live())
}

// Confirmed reports whether the journal bears the mark of Confirm for what waits in it:
// some of that still does, and the journal held nothing later when it was opened.
func (j *Journal) Confirmed() bool {
	mark := confirmation(j.fs)
	j.mu.Lock()
	defer j.mu.Unlock()
	return confirms(mark, j.trimmed, j.found)
}

// Unconfirm takes the mark of Confirm away: what it was given for has been replayed,
// and what is written from now on is judged anew.
func (j *Journal) Unconfirm(ctx context.Context) error {
	return j.call(ctx, j.dropMark)
}

func (j *Journal) dropMark() error {
	err := j.fs.remove(confirmedName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
