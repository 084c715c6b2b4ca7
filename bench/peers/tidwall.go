package main

import (
	"errors"

	"github.com/tidwall/wal"
)

// tidwall is tidwall/wal. Its WriteBatch syncs once for many records and leaves
// it to the program to bring them together.
type tidwall struct {
	*committer[wal.Batch]
	log *wal.Log
}

func openTidwall(dir string, _ int) (store, error) {
	log, err := wal.Open(dir, nil)
	if err != nil {
		return nil, err
	}
	last, err := log.LastIndex()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	add := func(batch *wal.Batch, record []byte) {
		last++
		batch.Write(last, record)
	}
	return &tidwall{committer: newCommitter(add, log.WriteBatch), log: log}, nil
}

func (t *tidwall) scan(yield func(record []byte) bool) error {
	first, err := t.log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := t.log.LastIndex()
	if err != nil {
		return err
	}
	for i := max(first, 1); i <= last; i++ {
		record, err := t.log.Read(i)
		if err != nil {
			return err
		}
		if !yield(record) {
			return nil
		}
	}
	return nil
}

func (t *tidwall) close() error {
	t.committer.close()
	return t.log.Close()
}
