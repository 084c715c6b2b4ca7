package engine

import (
	"runtime"
	"strconv"
	"testing"
)

// benchHash runs commands, in turn, on a hash of n fields.
func benchHash(b *testing.B, n int, lines ...string) {
	b.Helper()
	var pairs [][]byte
	for i := range n {
		pairs = append(pairs, []byte("field:"+strconv.Itoa(i)), []byte("12345678"))
	}
	o := NewHash(pairs)
	var args [][][]byte
	for _, line := range lines {
		args = append(args, split(line))
	}
	var c Call
	keys, keyArgs, reply := []*Object{&o}, []int{1}, make([]byte, 0, 4096)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		a := args[i%len(args)]
		c.Begin(Setup{Command: Lookup(a), Args: a, KeyArgs: keyArgs, Keys: keys, Now: 1, Proto: 3, Reply: reply[:0]})
		c.Run()
		c.Settle()
		i++
	}
	if c.Failed() || c.Err() != nil {
		b.Fatalf("%q %v", c.Reply(), c.Err())
	}
}

func BenchmarkHashes(b *testing.B) {
	b.Run("HGET/5", func(b *testing.B) { benchHash(b, 5, "HGET h field:4") })
	b.Run("HGET/100k", func(b *testing.B) { benchHash(b, 100_000, "HGET h field:77777") })
	b.Run("HSET/5", func(b *testing.B) { benchHash(b, 5, "HSET h field:4 another") })
	b.Run("HSET/100k", func(b *testing.B) { benchHash(b, 100_000, "HSET h field:77777 another") })
	b.Run("HSET+HDEL/5", func(b *testing.B) { benchHash(b, 5, "HSET h new 1", "HDEL h new") })
	b.Run("HSET+HDEL/100k", func(b *testing.B) { benchHash(b, 100_000, "HSET h new 1", "HDEL h new") })
	b.Run("HINCRBY/5", func(b *testing.B) { benchHash(b, 5, "HINCRBY h field:4 1") })
	b.Run("HGETALL/5", func(b *testing.B) { benchHash(b, 5, "HGETALL h") })
}

// BenchmarkHashMemory reports what hashes take, and what they say they take.
func BenchmarkHashMemory(b *testing.B) {
	for _, fields := range []int{1, 5, 1000} {
		b.Run(strconv.Itoa(fields), func(b *testing.B) {
			hashes := max(10_000/fields, 10)
			for b.Loop() {
				before := heapInUse()
				objects := make([]Object, hashes)
				var said int64
				for i := range objects {
					var c Call
					for f := range fields {
						args := [][]byte{[]byte("HSET"), []byte("h"), []byte("field:" + strconv.Itoa(f)), []byte("12345678")}
						c.Begin(Setup{Command: Lookup(args), Args: args, KeyArgs: []int{1}, Keys: []*Object{&objects[i]}, Now: 1})
						c.Run()
						c.Settle()
					}
					said += objects[i].Size()
				}
				used := heapInUse() - before
				b.ReportMetric(float64(used)/float64(hashes*fields), "B/field")
				b.ReportMetric(float64(said)/float64(hashes*fields), "said-B/field")
				runtime.KeepAlive(objects)
			}
		})
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
