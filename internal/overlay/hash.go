package overlay

// A hash up to this many fields is searched from end to end: faster than a map
// at that size, and without the map's memory.
const hashIndexFrom = 12

// fieldOverhead is what a field costs beside its bytes: its slot and its share
// of the index.
const fieldOverhead = 72

// hash is a Redis hash that remembers the order of insertion, as Redis's small
// hashes do. It is guarded by the lock of its key's shard.
type hash struct {
	fields []field
	index  map[string]int // position in fields; nil while there are few
	live   int            // fields that are not dead
	bytes  int            // of live names and values, with fieldOverhead
}

// field is one slot. A deleted field leaves a dead slot, so that positions in
// the index stay right; compact removes them when they are the most.
type field struct {
	name  string
	value []byte // never changed in place: replies share it
	dead  bool
}

// fieldChange is how one field was before a change.
type fieldChange struct {
	name    string
	old     []byte
	existed bool
}

func (h *hash) find(name []byte) int {
	if h.index != nil {
		if i, ok := h.index[string(name)]; ok {
			return i
		}
		return -1
	}
	for i := range h.fields {
		if f := &h.fields[i]; !f.dead && f.name == string(name) {
			return i
		}
	}
	return -1
}

func (h *hash) get(name []byte) ([]byte, bool) {
	if i := h.find(name); i >= 0 {
		return h.fields[i].value, true
	}
	return nil, false
}

// set stores value, which the hash keeps, and says how the field was before.
func (h *hash) set(name, value []byte) fieldChange {
	if i := h.find(name); i >= 0 {
		f := &h.fields[i]
		before := fieldChange{name: f.name, old: f.value, existed: true}
		h.bytes += len(value) - len(f.value)
		f.value = value
		return before
	}
	f := field{name: string(name), value: value}
	h.fields = append(h.fields, f)
	h.live++
	h.bytes += fieldOverhead + len(name) + len(value)
	if h.index != nil {
		h.index[f.name] = len(h.fields) - 1
	} else if len(h.fields) > hashIndexFrom {
		h.reindex()
	}
	return fieldChange{name: f.name}
}

// del removes a field and says how it was before.
func (h *hash) del(name []byte) fieldChange {
	i := h.find(name)
	if i < 0 {
		return fieldChange{name: string(name)}
	}
	f := &h.fields[i]
	before := fieldChange{name: f.name, old: f.value, existed: true}
	h.live--
	h.bytes -= fieldOverhead + len(f.name) + len(f.value)
	delete(h.index, f.name)
	*f = field{dead: true}
	if len(h.fields) > hashIndexFrom && h.live < len(h.fields)/2 {
		h.compact()
	}
	return before
}

// undo puts a field back as it was. A field that had been deleted comes back at
// the end of the order.
func (h *hash) undo(c fieldChange) {
	if c.existed {
		h.set([]byte(c.name), c.old)
		return
	}
	h.del([]byte(c.name))
}

func (h *hash) compact() {
	kept := make([]field, 0, h.live)
	for _, f := range h.fields {
		if !f.dead {
			kept = append(kept, f)
		}
	}
	h.fields = kept
	h.reindex()
}

func (h *hash) reindex() {
	h.index = nil
	if len(h.fields) <= hashIndexFrom {
		return
	}
	h.index = make(map[string]int, len(h.fields))
	for i := range h.fields {
		if !h.fields[i].dead {
			h.index[h.fields[i].name] = i
		}
	}
}
