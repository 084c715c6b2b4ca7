package command

import (
	"testing"
	"time"
)

var (
	specSink  *Spec
	classSink Class
	boolSink  bool
	argsSink  [][]byte
)

func BenchmarkLookup(b *testing.B) {
	for _, name := range []string{"get", "set", "hincrby", "georadiusbymember", "GET", "unknown.cmd"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				specSink = Lookup(name)
			}
		})
	}
}

func BenchmarkClass(b *testing.B) {
	for _, words := range []string{"GET k", "SET k v", "SET k v EX 10", "SET k v PX 10 NX", "CONFIG GET a", "CLUSTER SLOTS"} {
		b.Run(words, func(b *testing.B) {
			args := parseLine(words)
			s := Lookup(string(args[0]))
			b.ReportAllocs()
			for b.Loop() {
				classSink = s.Class(args)
			}
		})
	}
}

func BenchmarkDeferrable(b *testing.B) {
	args := parseLine("SET k v EX 10")
	s := Lookup("set")
	b.ReportAllocs()
	for b.Loop() {
		boolSink = s.Deferrable(args)
	}
}

func BenchmarkCanonical(b *testing.B) {
	now := time.Now()
	for _, words := range []string{"SET k v", "SET k v EX 10", "EXPIRE k 10", "INCRBY k 5"} {
		b.Run(words, func(b *testing.B) {
			args := parseLine(words)
			b.ReportAllocs()
			for b.Loop() {
				argsSink, _ = Canonical(args, now)
			}
		})
	}
}

func BenchmarkAppendKeys(b *testing.B) {
	words := []string{"MSET", "a", "1", "b", "2"}
	dst := make([]int, 0, 8)
	arg := func(i int) string { return words[i] }
	s := Lookup("mset")
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = s.AppendKeys(dst[:0], len(words), arg)
	}
}
