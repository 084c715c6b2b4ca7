package engine

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/workload"
)

// TestPartialZSetAsItsTwin runs commands on a set known in part and on the same
// one known whole. Changes are taken back now and then, later ones first.
func TestPartialZSetAsItsTwin(t *testing.T) {
	answered, told, refused := 0, 0, 0
	for seed := range uint64(80) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		base := map[string]float64{}
		var members [][]byte
		var scores []float64
		for i := range 1 + rnd.IntN(14) {
			m := "m" + strconv.Itoa(i)
			base[m] = float64(rnd.IntN(20) - 10)
			members, scores = append(members, []byte(m)), append(scores, base[m])
		}
		w := newPartialTwin(t, NewPartialZSet(int64(len(base))), NewZSet(members, scores))
		w.factOf = func(m []byte) Fact {
			score, ok := base[string(m)]
			return Fact{Member: m, Present: ok, Score: score}
		}
		g := workload.New(seed, workload.Options{Families: zsetFamilies("zsets", "geo"), Malformed: -1})
		var parts, wholes [][]Change
		for range 60 {
			args := g.Next()
			if !onOneKey(args) {
				continue
			}
			args[1] = []byte("k")
			if p, v := w.run(args); len(p) > 0 {
				parts, wholes = append(parts, p), append(wholes, v)
			}
			for len(parts) > 0 && rnd.IntN(4) == 0 {
				revertChanges(parts[len(parts)-1])
				revertChanges(wholes[len(wholes)-1])
				parts, wholes = parts[:len(parts)-1], wholes[:len(wholes)-1]
			}
		}
		for i := len(parts) - 1; i >= 0; i-- {
			revertChanges(parts[i])
			revertChanges(wholes[i])
		}
		o := w.part.object([]byte("k"))
		if got := o.data.(*zset).card(); got != int64(len(base)) {
			t.Fatalf("seed %d: %d members after taking all back, want %d", seed, got, len(base))
		}
		for m, score := range base {
			if got, k := o.data.(*zset).lookup([]byte(m)); k == absent || (k == present && got != score) {
				t.Fatalf("seed %d: after taking all back %q has %v, known %v; want %v", seed, m, got, k, score)
			}
		}
		answered, told, refused = answered+w.answered, told+w.told, refused+w.refused
	}
	if answered < 1000 || told < 300 || refused < 100 {
		t.Fatalf("%d answered, %d members told, %d refused: too few to mean anything", answered, told, refused)
	}
}

func zsetFamilies(names ...string) []workload.Family {
	return slices.DeleteFunc(workload.All(), func(f workload.Family) bool { return !slices.Contains(names, f.Name) })
}

// onOneKey picks the commands whose only key comes first, and whose reply is not
// drawn at random.
func onOneKey(args [][]byte) bool {
	switch cmd := Lookup(args); cmd.Name {
	case "zadd", "zincrby", "zrem", "zcard", "zscore", "zmscore", "zrange", "zcount", "zrank", "zrevrange",
		"zremrangebyrank", "zremrangebyscore", "geoadd", "geopos", "geodist", "geohash", "geosearch":
		return len(args) > 1 && cmd.arityAllows(len(args))
	}
	return false
}

func TestPartialZSetOfUnknowns(t *testing.T) {
	o := NewPartialZSet(3)
	z := o.data.(*zset)
	if z.whole() || z.card() != 3 {
		t.Fatalf("whole %v, card %d", z.whole(), z.card())
	}
	before := z.size()
	o.Learn([]Fact{{Member: []byte("a"), Present: true, Score: 1}, {Member: []byte("x")}})
	if _, k := z.lookup([]byte("x")); k != absent {
		t.Fatal("what is not there is not known")
	}
	if z.size() <= before || z.card() != 3 {
		t.Fatalf("size %d after %d, card %d", z.size(), before, z.card())
	}
	o.Learn([]Fact{{Member: []byte("a"), Present: true, Score: 9}})
	if s, _ := z.lookup([]byte("a")); s != 1 {
		t.Fatalf("a second fact changed the score to %v", s)
	}
	o.Learn([]Fact{{Member: []byte("b"), Present: true}, {Member: []byte("c"), Present: true}})
	if !z.whole() {
		t.Fatal("not whole although all members are known")
	}
	if o := NewPartialZSet(0); o.Exists() {
		t.Fatal("an empty set exists")
	}
	if o := NewZSet(nil, nil); o.Exists() {
		t.Fatal("an empty set exists")
	}
}
