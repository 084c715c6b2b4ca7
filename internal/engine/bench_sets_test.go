package engine

import "testing"

func BenchmarkSets(b *testing.B) {
	for _, line := range []string{
		"SISMEMBER k element:777", "SISMEMBER k other", "SADD k element:777", "SADD k other", "SREM k element:777",
		"SMISMEMBER k element:1 element:2 element:3", "SCARD k", "SRANDMEMBER k", "SRANDMEMBER k 10",
	} {
		b.Run(line, func(b *testing.B) {
			o := NewSet(benchElements(100_000))
			benchLine(b, &o, line, true)
		})
	}
	for _, line := range []string{"SISMEMBER k element:3", "SADD k other"} {
		b.Run("small "+line, func(b *testing.B) {
			o := NewSet(benchElements(5))
			benchLine(b, &o, line, true)
		})
	}
}

func BenchmarkSort(b *testing.B) {
	for _, line := range []string{"SORT k ALPHA LIMIT 0 10", "SORT k BY nosort LIMIT 0 10"} {
		b.Run(line, func(b *testing.B) {
			o := NewList(benchElements(10_000))
			benchLine(b, &o, line, true)
		})
	}
}
