package overlay

import "hash/maphash"

// index finds the entries of a shard by their keys. It keeps no copy of a key:
// entries lie under a hash of it, and the few that meet another there lie aside.
// It is guarded by the lock of its shard.
type index struct {
	byHash map[uint64]*entry
	aside  map[Key]*entry // nil until two keys have one hash
}

// keySeed makes the hashes differ from process to process, so that nobody can
// choose keys that meet.
var keySeed = maphash.MakeSeed()

// hashOf is the hash of a key.
func hashOf(db int, name []byte) uint64 {
	return maphash.Bytes(keySeed, name) + uint64(db)*0x9e3779b97f4a7c15
}

func hashOfString(db int, name string) uint64 {
	return maphash.String(keySeed, name) + uint64(db)*0x9e3779b97f4a7c15
}

// lookup returns nil when the key is not there. It does not allocate.
func lookup[T string | []byte](x *index, hash uint64, db int, name T) *entry {
	e := x.byHash[hash]
	if e != nil && int(e.db) == db && e.name == string(name) {
		return e
	}
	if len(x.aside) == 0 {
		return nil
	}
	return x.aside[Key{DB: db, Name: string(name)}]
}

// put adds an entry whose key is not there.
func (x *index) put(hash uint64, e *entry) {
	switch {
	case x.byHash == nil:
		x.byHash = map[uint64]*entry{hash: e}
	case x.byHash[hash] == nil:
		x.byHash[hash] = e
	default:
		if x.aside == nil {
			x.aside = make(map[Key]*entry)
		}
		x.aside[e.key()] = e
	}
}

func (x *index) remove(hash uint64, e *entry) {
	if x.byHash[hash] == e {
		delete(x.byHash, hash)
		return
	}
	delete(x.aside, e.key())
}

func (x *index) len() int { return len(x.byHash) + len(x.aside) }
