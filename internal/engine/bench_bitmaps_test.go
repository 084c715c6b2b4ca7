package engine

import (
	"strconv"
	"strings"
	"testing"
)

// BenchmarkBitmaps is on a bitmap of a million bytes.
func BenchmarkBitmaps(b *testing.B) {
	const big = "SETBIT k 7999999 1"
	for _, bench := range []struct{ name, line string }{
		{"SETBIT_same", "SETBIT k 7999999 1"},
		{"GETBIT", "GETBIT k 777777"},
		{"BITFIELD_INCRBY", "BITFIELD k INCRBY u16 4001 7"},
		{"BITCOUNT", "BITCOUNT k"},
		{"BITPOS", "BITPOS k 1"},
		{"BITOP_AND", "BITOP AND d k k"},
	} {
		b.Run(bench.name, func(b *testing.B) { benchCall(b, bench.line, big) })
	}
}

func BenchmarkHLL(b *testing.B) {
	add := func(elements int) string {
		var line strings.Builder
		line.WriteString("PFADD k")
		for n := range elements {
			line.WriteString(" " + strconv.Itoa(n))
		}
		return line.String()
	}
	for _, bench := range []struct{ name, line, prepare string }{
		{"PFADD_dense", "PFADD k 1", add(50_000)},
		{"PFADD_sparse", "PFADD k 1", add(500)},
		{"PFCOUNT_2_dense", "PFCOUNT k k", add(50_000)},
		{"PFCOUNT_2_sparse", "PFCOUNT k k", add(500)},
		{"PFMERGE_dense", "PFMERGE d k", add(50_000)},
	} {
		b.Run(bench.name, func(b *testing.B) { benchCall(b, bench.line, bench.prepare) })
	}
}
