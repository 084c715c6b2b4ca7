package overlay

// Presence says whether a key was at the server when it was seeded.
type Presence uint8

// The kinds of Presence.
const (
	BaseUnknown Presence = iota // it was not seeded
	BaseAbsent
	BasePresent
)

// KeyState is what is known of a held key.
type KeyState struct {
	Type   string // the word that TYPE answers
	Exists bool
	Known  bool // Type and Exists are what the server would say; else estimates
	Base   Presence
}

// Keys calls visit with every key of a database that is held, in no order, until
// visit returns false. Each shard is shown as at one moment; no lock is held
// during the call.
func (o *Overlay) Keys(db int, visit func(name string, k KeyState) bool) {
	type named struct {
		name string
		KeyState
	}
	var keys []named
	for i := range o.shards {
		s := &o.shards[i]
		keys = keys[:0]
		s.mu.Lock()
		now := o.now().UnixMilli()
		for e := s.first; e != nil; e = e.next {
			if int(e.db) != db {
				continue
			}
			e.obj.Expire(now)
			keys = append(keys, named{e.name, e.state()})
		}
		s.mu.Unlock()
		for i := range keys {
			if !visit(keys[i].name, keys[i].KeyState) {
				return
			}
		}
	}
}

// State returns what is known of a key, if it is held.
func (o *Overlay) State(db int, name string) (k KeyState, held bool) {
	if o.Empty() {
		return KeyState{}, false
	}
	s := &o.shards[shardOf(name)]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(db, name)
	if e == nil {
		return KeyState{}, false
	}
	e.obj.Expire(o.now().UnixMilli())
	return e.state(), true
}

// state needs the shard's lock.
func (e *entry) state() KeyState {
	k := KeyState{
		Type: e.obj.TypeName(), Exists: e.obj.Exists(), Known: e.is(flagKnown) && !e.is(flagLost),
	}
	switch {
	case e.base == nil:
	case e.base.existed:
		k.Base = BasePresent
	default:
		k.Base = BaseAbsent
	}
	return k
}
