package engine

import "encoding/binary"

// A HyperLogLog is a string: a header of 16 bytes, then 16384 registers. In the
// dense encoding each has 6 bits; the sparse one tells runs of equal registers
// (hll_sparse.go). Strings are compared, copied and cut by other commands, so
// every byte here is as the server makes it.
//
//	0  "HYLL"
//	4  encoding: 0 dense, 1 sparse
//	5  three bytes not used
//	8  the cardinality as last counted, little endian; the top bit of the last
//	   byte says that registers have changed since
const (
	hllRegisters = 1 << 14
	hllHeader    = 16
	hllDenseLen  = hllHeader + hllRegisters*6/8
	hllDense     = 0
	hllSparse    = 1
	hllStale     = 0x80 // in byte hllStaleAt
	hllCountAt   = 8
	hllStaleAt   = 15

	// hllSparseMax is the server's default of hll-sparse-max-bytes, up to which a
	// string stays sparse.
	hllSparseMax = 3000

	// hllBulk is the number of elements from which the dense registers are saved
	// whole, and not one by one, before they change.
	hllBulk = 64
)

const (
	errNotHLL     = "WRONGTYPE Key is not a valid HyperLogLog string value."
	errCorruptHLL = "INVALIDOBJ Corrupted HLL object detected"
)

func logCommands() []Command {
	return []Command{
		{Name: "pfadd", Arity: -2, Write: true, needs: NeedValue, exec: execPFAdd},
		{Name: "pfcount", Arity: -2, needs: NeedValue, exec: execPFCount},
		{Name: "pfmerge", Arity: -2, Write: true, needs: NeedValue, exec: execPFMerge},
	}
}

// newHLL is an empty HyperLogLog.
func newHLL() []byte {
	b := make([]byte, hllHeader, hllHeader+8)
	copy(b, "HYLL")
	b[4] = hllSparse
	return appendHLLZeros(b, hllRegisters)
}

// hll returns the object of a key that holds a HyperLogLog or nothing. Otherwise
// the reply is given, and ok is false.
func (c *Call) hll(i int) (o *Object, ok bool) {
	if o, ok = c.typed(i, TypeString); ok && o.Exists() && !isHLL(o.str) {
		c.Error(errNotHLL)
		return o, false
	}
	return o, ok
}

// isHLL looks at the header only, as the server does.
func isHLL(b []byte) bool {
	return len(b) >= hllHeader && string(b[:4]) == "HYLL" &&
		(b[4] == hllSparse || (b[4] == hllDense && len(b) == hllDenseLen))
}

func execPFAdd(c *Call) {
	o, ok := c.hll(0)
	if !ok {
		return
	}
	e := hllEdit{c: c, o: o}
	if !o.Exists() {
		e.create()
	}
	elements := c.args[2:]
	for _, element := range elements {
		index, rank := hllPlace(element)
		if !e.raise(index, rank, len(elements)) {
			e.fail()
			return
		}
	}
	if e.changed {
		e.o.str[hllStaleAt] |= hllStale
	}
	c.Bool(e.changed)
}

// hllEdit raises registers of the string of an object, which changes with the
// first that rises.
type hllEdit struct {
	c       *Call
	o       *Object
	changed bool
	own     bool // the bytes belong to this call: no way back is needed
}

func (e *hllEdit) create() {
	e.c.Change(e.o)
	e.o.typ, e.o.str = TypeString, newHLL()
	e.changed, e.own = true, true
}

// raise makes a register be at least rank. It reports false when the string is
// not what its header says. calls is how often it may be called.
func (e *hllEdit) raise(index, rank, calls int) bool {
	b := e.o.str
	if b[4] == hllDense {
		if hllGet(b[hllHeader:], index) < rank {
			e.dense(index, calls)
			hllSet(e.o.str[hllHeader:], index, rank)
		}
		return true
	}
	if rank > hllSparseRank {
		return e.promote() && e.raise(index, rank, calls)
	}
	run, ok := findHLLRun(b, index)
	if !ok {
		return false
	}
	if run.value >= rank {
		return true
	}
	var room [5]byte
	seq := run.split(room[:0], index, rank)
	if grow := len(seq) - run.width; grow > 0 && len(b)+grow > hllSparseMax {
		return e.promote() && e.raise(index, rank, calls)
	}
	e.sparse()
	e.o.str = spliceHLL(e.o.str, run, seq)
	e.o.str[hllStaleAt] |= hllStale
	return true
}

// dense prepares one register to be written in place.
func (e *hllEdit) dense(index, calls int) {
	first := !e.changed
	e.changed = true
	switch {
	case e.own:
	case calls > hllBulk:
		e.c.editString(e.o, hllCountAt, hllDenseLen)
		e.own = true // all of it is saved
	default:
		if first {
			e.c.editString(e.o, hllCountAt, hllHeader)
		}
		at := hllHeader + index*6/8
		e.c.editString(e.o, at, min(at+2, hllDenseLen))
	}
}

// sparse gives the object bytes of its own: a run that is split moves all that
// follows.
func (e *hllEdit) sparse() {
	e.changed = true
	if e.own {
		return
	}
	e.own = true
	e.c.Change(e.o)
	e.o.str = append(make([]byte, 0, len(e.o.str)+4), e.o.str...)
}

// promote makes a sparse string dense.
func (e *hllEdit) promote() bool {
	b := make([]byte, hllDenseLen)
	copy(b, e.o.str[:hllHeader])
	b[4] = hllDense
	registers := b[hllHeader:]
	ok := eachHLLRun(e.o.str, func(first, n, value int) {
		for i := first; value > 0 && i < first+n; i++ {
			hllSet(registers, i, value)
		}
	})
	if !ok {
		return false
	}
	e.c.Change(e.o)
	e.o.str, e.changed, e.own = b, true, true
	return true
}

// fail replies that the string is corrupt. The registers that rose before that
// came to light stay so on the server, although it does not count that as a
// change; so do they here, and there is nothing to take back.
func (e *hllEdit) fail() {
	b := e.o.str
	e.c.Error(errCorruptHLL)
	if e.changed {
		e.o.str = b
	}
}

// execPFCount also keeps the count in the string, on a replica too. It is not a
// change in the sense of Call.Dirty: it says nothing that the registers do not.
// The string gets new bytes, because the old ones may be what an earlier call is
// taken back to.
func execPFCount(c *Call) {
	if len(c.args) > 2 {
		c.pfCountSeveral()
		return
	}
	o, ok := c.hll(0)
	switch {
	case !ok:
		return
	case !o.Exists():
		c.Int(0)
		return
	}
	if o.str[hllStaleAt]&hllStale == 0 {
		c.Int(int64(binary.LittleEndian.Uint64(o.str[hllCountAt:])))
		return
	}
	var h hllHistogram
	if !h.count(o.str) {
		c.Error(errCorruptHLL)
		return
	}
	n := h.estimate()
	o.str = append(make([]byte, 0, cap(o.str)), o.str...)
	binary.LittleEndian.PutUint64(o.str[hllCountAt:], n)
	c.Int(int64(n))
}

func (c *Call) pfCountSeveral() {
	var union hllUnion
	for i := range c.keys {
		if !c.pfUnite(&union, i) {
			return
		}
	}
	var h hllHistogram
	for _, rank := range union {
		h[rank]++
	}
	c.Int(int64(h.estimate()))
}

// pfUnite adds the registers of a key; if it cannot, the reply is given.
func (c *Call) pfUnite(union *hllUnion, i int) bool {
	o, ok := c.hll(i)
	if !ok {
		return false
	}
	if o.Exists() && !union.add(o.str) {
		c.Error(errCorruptHLL)
		return false
	}
	return true
}

// execPFMerge makes the destination, which is a source as well, dense if any
// source is.
func execPFMerge(c *Call) {
	var (
		union hllUnion
		dense bool
	)
	for i := range c.keys {
		if !c.pfUnite(&union, i) {
			return
		}
		o := c.Key(i)
		dense = dense || (o.Exists() && o.str[4] == hllDense)
	}
	e := hllEdit{c: c, o: c.Key(0)}
	var have hllUnion
	if e.o.Exists() {
		have.add(e.o.str) // sound, as it is a source
	} else {
		e.create()
	}
	ok := true
	if dense && e.o.str[4] == hllSparse {
		ok = e.promote()
	}
	for i, rank := range union {
		if rank > have[i] {
			ok = ok && e.raise(i, int(rank), hllRegisters)
		}
	}
	if !ok {
		e.fail()
		return
	}
	if e.o.str[hllStaleAt]&hllStale == 0 {
		c.editString(e.o, hllStaleAt, hllHeader)[hllStaleAt] |= hllStale
	}
	c.OK()
}
