package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// pebbleStore is pebble: every caller applies a batch of its own with Sync, and
// pebble's commit pipeline lets them share the sync.
type pebbleStore struct {
	db   *pebble.DB
	last atomic.Uint64
}

func openPebble(dir string, _ int) (store, error) {
	db, err := pebble.Open(dir, &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             pebbleLogger{},
		// As in pebble's own benchmark command; with the default of 4 MiB it
		// would mostly flush.
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
	})
	if err != nil {
		return nil, err
	}
	s := &pebbleStore{db: db}
	if err := s.findLast(); err != nil {
		_ = db.Close() // the first error is the one that tells
		return nil, err
	}
	return s, nil
}

// findLast finds the number of the last record: appending goes on after it.
func (s *pebbleStore) findLast() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	if it.Last() {
		s.last.Store(binary.BigEndian.Uint64(it.Key()))
	}
	return errors.Join(it.Error(), it.Close())
}

func (s *pebbleStore) append(record []byte) error {
	return s.appendGroup(1, func(int) []byte { return record })
}

func (s *pebbleStore) appendGroup(n int, record func(i int) []byte) error {
	first := s.last.Add(uint64(n)) - uint64(n) + 1
	b := s.db.NewBatch()
	for i := range n {
		if err := b.Set(sequenceKey(first+uint64(i)), record(i), nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	if err := s.db.Apply(b, pebble.Sync); err != nil {
		return err
	}
	return b.Close()
}

func (s *pebbleStore) scan(yield func(record []byte) bool) error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	ok := it.First()
	for ok && yield(it.Value()) {
		ok = it.Next()
	}
	return errors.Join(it.Error(), it.Close())
}

func (s *pebbleStore) close() error { return s.db.Close() }

// pebbleLogger keeps pebble's talk off the terminal, but not its last words.
type pebbleLogger struct{}

func (pebbleLogger) Infof(string, ...any)  {}
func (pebbleLogger) Errorf(string, ...any) {}

// Fatalf must not return.
func (pebbleLogger) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "pebble: "+format+"\n", args...)
	os.Exit(1)
}
