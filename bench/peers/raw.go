package main

import (
	"errors"
	"os"
	"path/filepath"
)

// What the journal puts around records: a header a batch, one a record. What is
// raw here writes the same number of bytes.
const (
	batchHeaderBytes  = 32
	recordHeaderBytes = 24
)

// reserveStep is the step in which the space of a file is reserved.
const reserveStep = 16 << 20

// rawFile is a file that is written and synced group by group.
type rawFile struct {
	file     *os.File
	off      int64
	reserve  bool // give the file its space before it is written
	reserved int64
}

func newRawFile(dir string, reserve bool) (*rawFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, "raw"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &rawFile{file: f, reserve: reserve}, nil
}

// commit writes b behind what was written before and syncs it.
func (r *rawFile) commit(b []byte) error {
	end := r.off + int64(len(b))
	for r.reserve && end > r.reserved {
		if err := reserveSpace(r.file, r.reserved, reserveStep); err != nil {
			return err
		}
		r.reserved += reserveStep
	}
	if _, err := r.file.WriteAt(b, r.off); err != nil {
		return err
	}
	r.off = end
	return syncData(r.file)
}

// rawGroup is the least that group commit can be: the committer over a rawFile.
// It is no store, as nothing can be read back from it.
type rawGroup struct {
	*committer[[]byte]
	file *rawFile
}

func openRawGroup(dir string, _ int) (store, error) {
	f, err := newRawFile(dir, false)
	if err != nil {
		return nil, err
	}
	add := func(batch *[]byte, record []byte) {
		if len(*batch) == 0 {
			*batch = append(*batch, make([]byte, batchHeaderBytes)...)
		}
		var header [recordHeaderBytes]byte
		*batch = append(append(*batch, header[:]...), record...)
	}
	write := func(batch *[]byte) error {
		err := f.commit(*batch)
		*batch = (*batch)[:0]
		return err
	}
	return &rawGroup{committer: newCommitter(add, write), file: f}, nil
}

func (*rawGroup) scan(func(record []byte) bool) error { return errors.ErrUnsupported }

func (g *rawGroup) close() error {
	g.committer.close()
	return g.file.file.Close()
}
