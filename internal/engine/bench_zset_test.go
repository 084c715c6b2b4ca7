package engine

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
)

// benchZSet measures commands on a sorted set of n members, made anew from its
// number by args.
func benchZSet(b *testing.B, n int, args func(i int) [][]byte) {
	m := newModel()
	members, scores := make([][]byte, n), make([]float64, n)
	for i := range n {
		members[i], scores[i] = fmt.Appendf(nil, "member:%07d", i*7919%n), float64(i)
	}
	*m.object([]byte("z")) = NewZSet(members, scores)
	lines := make([][][]byte, 1024)
	for i := range lines {
		lines[i] = args(i * 104729 % n)
	}
	c := m.call(lines[0])
	s := Setup{Command: c.cmd, KeyArgs: c.keyArg, Keys: c.keys, Now: m.now(), Proto: 3}
	reply := make([]byte, 0, 64<<10)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		s.Reply, s.Args = reply, lines[i%len(lines)]
		c.Begin(s)
		c.Run()
		c.Settle()
		i++
	}
	if c.Err() != nil || c.Failed() {
		b.Fatalf("error %v, reply %q", c.Err(), c.Reply())
	}
}

func BenchmarkZSet(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		member := func(i int) string { return fmt.Sprintf("member:%07d", i) }
		for name, line := range map[string]func(i int) string{
			"range10":  func(i int) string { return fmt.Sprintf("ZRANGE z %d %d", i, i+9) },
			"top10":    func(int) string { return "ZREVRANGE z 0 9 WITHSCORES" },
			"byscore":  func(i int) string { return fmt.Sprintf("ZRANGEBYSCORE z %d %d LIMIT 0 10", i, i+50) },
			"score":    func(i int) string { return "ZSCORE z " + member(i) },
			"rank":     func(i int) string { return "ZRANK z " + member(i) },
			"add":      func(i int) string { return fmt.Sprintf("ZADD z %d %s", i*31%n, member(i)) },
			"incrby":   func(i int) string { return "ZINCRBY z 1 " + member(i) },
			"addfloat": func(i int) string { return fmt.Sprintf("ZADD z %d.5 %s", i*31%n, member(i)) },
		} {
			b.Run(name+"/"+strconv.Itoa(n), func(b *testing.B) {
				benchZSet(b, n, func(i int) [][]byte { return split(line(i)) })
			})
		}
	}
}

// BenchmarkZSetMemory tells what a member takes, beside what is estimated.
func BenchmarkZSetMemory(b *testing.B) {
	for _, n := range []int{1, 10, 64, 100, 1000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			const members = 200_000
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				objects := make([]Object, members/n)
				for i := range objects {
					z := buildZSet(nil)
					for j := range n {
						z.insert(fmt.Sprintf("member:%07d", j*7919%n), float64(j*31%n))
					}
					objects[i] = newObject(TypeZSet, z)
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				used := float64(after.HeapAlloc-before.HeapAlloc) / float64(len(objects)*n)
				b.ReportMetric(used, "B/member")
				b.ReportMetric(float64(objects[0].Size())/float64(n), "estimated-B/member")
			}
		})
	}
}

func BenchmarkGeoSearch(b *testing.B) {
	m := newModel()
	for i := range 10_000 {
		m.do(split(fmt.Sprintf("GEOADD z %v %v m%d", float64(i*7919%3600)/10-180, float64(i*104729%1600)/10-80, i)), 3)
	}
	c := m.call(split("GEOSEARCH z FROMLONLAT 10 50 BYRADIUS 500 km ASC COUNT 10 WITHDIST"))
	s := Setup{Command: c.cmd, Args: c.args, KeyArgs: c.keyArg, Keys: c.keys, Now: m.now(), Proto: 3}
	reply := make([]byte, 0, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		s.Reply = reply
		c.Begin(s)
		c.Run()
		c.Settle()
	}
}
