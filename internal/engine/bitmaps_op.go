package engine

import "encoding/binary"

// bitOp is an operation of BITOP.
type bitOp struct {
	word   string
	fewest int // sources
	most   int // sources; 0 is any number
	fault  string
	since  int
	run    func(dst []byte, sources [][]byte)
}

// bitOps lists them. The last four came with Redis 8.2, which calls the first
// source X and the others Y.
var bitOps = []bitOp{
	{word: "and", run: bitAnd},
	{word: "or", run: bitOr},
	{word: "xor", run: bitXor},
	{word: "not", most: 1, run: bitNot, fault: "ERR BITOP NOT must be called with a single source key."},
	{word: "diff", fewest: 2, since: 80200, run: bitDiff, fault: errTwoSources("DIFF")},
	{word: "diff1", fewest: 2, since: 80200, run: bitDiff1, fault: errTwoSources("DIFF1")},
	{word: "andor", fewest: 2, since: 80200, run: bitAndOr, fault: errTwoSources("ANDOR")},
	{word: "one", since: 80200, run: bitOne},
}

func errTwoSources(word string) string {
	return "ERR BITOP " + word + " must be called with at least two source keys."
}

func (c *Call) bitOp(word []byte) *bitOp {
	for i := range bitOps {
		if op := &bitOps[i]; is(word, op.word) && c.server.AtLeast(op.since) {
			return op
		}
	}
	return nil
}

// execBitOp makes of the sources, all as long as the longest by zeros behind
// them, a string that takes the place of whatever the destination was.
func execBitOp(c *Call) {
	op := c.bitOp(c.args[1])
	n := len(c.args) - 3
	switch {
	case op == nil:
		c.Error(errSyntax)
		return
	case n < op.fewest, op.most > 0 && n > op.most:
		c.Error(op.fault)
		return
	}
	var room [8][]byte
	sources, longest := room[:0], 0
	for i := range n {
		o, ok := c.typed(1+i, TypeString)
		if !ok {
			return
		}
		sources = append(sources, o.str)
		longest = max(longest, len(o.str))
	}
	switch dst := c.Key(0); {
	case longest > 0:
		result := make([]byte, longest)
		op.run(result, sources)
		c.Replace(dst, NewString(result))
	case dst.Exists():
		c.Replace(dst, Object{})
	}
	c.Int(int64(longest))
}

// The operations write to a destination of zeros that is as long as the longest
// source, and none of the sources.

func bitAnd(dst []byte, sources [][]byte) {
	copy(dst, sources[0])
	for _, s := range sources[1:] {
		combine(dst, s, func(a, b uint64) uint64 { return a & b })
		clear(dst[len(s):])
	}
}

func bitOr(dst []byte, sources [][]byte) {
	for _, s := range sources {
		combine(dst, s, func(a, b uint64) uint64 { return a | b })
	}
}

func bitXor(dst []byte, sources [][]byte) {
	for _, s := range sources {
		combine(dst, s, func(a, b uint64) uint64 { return a ^ b })
	}
}

func bitNot(dst []byte, sources [][]byte) {
	combine(dst, sources[0], func(_, b uint64) uint64 { return ^b })
}

// bitDiff: in X, and in no Y.
func bitDiff(dst []byte, sources [][]byte) {
	copy(dst, sources[0])
	for _, s := range sources[1:] {
		combine(dst, s, func(a, b uint64) uint64 { return a &^ b })
	}
}

// bitDiff1: in some Y, but not in X.
func bitDiff1(dst []byte, sources [][]byte) {
	bitOr(dst, sources[1:])
	combine(dst, sources[0], func(a, b uint64) uint64 { return a &^ b })
}

// bitAndOr: in X, and in some Y.
func bitAndOr(dst []byte, sources [][]byte) {
	bitOr(dst, sources[1:])
	combine(dst, sources[0], func(a, b uint64) uint64 { return a & b })
	clear(dst[len(sources[0]):])
}

// bitOne: in exactly one source.
func bitOne(dst []byte, sources [][]byte) {
	several := make([]byte, len(dst))
	for _, s := range sources {
		repeated := clone(dst[:len(s)])
		combine(repeated, s, func(a, b uint64) uint64 { return a & b })
		combine(several, repeated, func(a, b uint64) uint64 { return a | b })
		combine(dst, s, func(a, b uint64) uint64 { return a | b })
	}
	combine(dst, several, func(a, b uint64) uint64 { return a &^ b })
}

// combine puts f of both into dst, as far as src goes.
func combine(dst, src []byte, f func(a, b uint64) uint64) {
	i := 0
	for ; i+8 <= len(src); i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], f(binary.LittleEndian.Uint64(dst[i:]), binary.LittleEndian.Uint64(src[i:])))
	}
	for ; i < len(src); i++ {
		dst[i] = byte(f(uint64(dst[i]), uint64(src[i])))
	}
}
