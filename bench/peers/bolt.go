package main

import (
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

var boltBucket = []byte("records")

// boltStore is bbolt. Several callers share a transaction by DB.Batch, which
// its README recommends for them and for nobody else.
type boltStore struct {
	db     *bolt.DB
	single bool
}

func openBolt(dir string, callers int) (store, error) {
	db, err := bolt.Open(filepath.Join(dir, "bolt.db"), 0o600, nil)
	if err != nil {
		return nil, err
	}
	// A batch waits until it is full or 10 ms old. A program seldom knows how
	// many callers it has; knowing it here spares bbolt that wait.
	db.MaxBatchSize = callers
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(boltBucket)
		return err
	})
	if err != nil {
		_ = db.Close() // the first error is the one that tells
		return nil, err
	}
	return &boltStore{db: db, single: callers == 1}, nil
}

func (s *boltStore) append(record []byte) error {
	put := func(tx *bolt.Tx) error { return boltPut(boltRecords(tx), record) }
	if s.single {
		return s.db.Update(put)
	}
	return s.db.Batch(put)
}

func (s *boltStore) appendGroup(n int, record func(i int) []byte) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		b := boltRecords(tx)
		for i := range n {
			// Values must stay as they are until the transaction ends.
			if err := boltPut(b, append([]byte(nil), record(i)...)); err != nil {
				return err
			}
		}
		return nil
	})
}

func boltRecords(tx *bolt.Tx) *bolt.Bucket {
	b := tx.Bucket(boltBucket)
	b.FillPercent = 1 // as its documentation says for keys that only grow
	return b
}

func boltPut(b *bolt.Bucket, record []byte) error {
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	return b.Put(sequenceKey(n), record)
}

func (s *boltStore) scan(yield func(record []byte) bool) error {
	return s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(boltBucket).Cursor()
		k, v := c.First()
		for k != nil && yield(v) {
			k, v = c.Next()
		}
		return nil
	})
}

func (s *boltStore) close() error { return s.db.Close() }
