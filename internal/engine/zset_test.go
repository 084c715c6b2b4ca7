package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

func TestZSetsAsTheServer(t *testing.T) { random(t, 4000, "zsets", "sets") }
func TestZSetsTakenBack(t *testing.T)   { takenBack(t, 1500, "zsets", "sets") }

// zsetLines runs lines against the server, over both protocols.
func zsetLines(t *testing.T, lines string) {
	t.Helper()
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			o := startOracle(t, proto)
			o.lines(lines)
			o.sameState()
		})
	}
}

func TestZSetEdges(t *testing.T) {
	zsetLines(t, `
		ZADD z 1 a 2 b 3 c
		ZADD z NX XX 1 a
		ZADD z NX GT 1 a
		ZADD z GT LT 1 a
		ZADD z INCR 1 a 2 b
		ZADD z "nx\x00y" 5 a
		ZADD z 1
		ZADD z NX
		ZADD z CH
		ZADD z nan a
		ZADD z 1e400 a
		ZADD z 1e-400 a
		ZADD z 0e-400 a
		ZADD z 0x10 a 0x1p-3 b .5 c 5. d +1 e
		ZADD z 1 f x g
		ZADD z CH 1 f 1 f 2 f
		ZSCORE z g
		ZINCRBY z NX 1 a
		ZINCRBY z nx a
		ZADD i inf a -inf b
		ZINCRBY i -inf a
		ZINCRBY i inf b
		ZADD i INCR NX 1 a
		ZADD i INCR XX 1 none
		ZADD none XX 1 a
		ZADD none XX INCR 1 a
		EXISTS none
		ZADD m -0 zero 0 nought
		ZRANGE m 0 -1 WITHSCORES
		ZADD m -0 "a member that is too long for a listpack, as it has more than sixty-four bytes" -0 other
		ZRANGE m 0 -1 WITHSCORES
		ZADD m 0 other
		ZRANGE m 0 -1 WITHSCORES
		ZUNIONSTORE n 1 m WEIGHTS -1
		ZRANGE n 0 -1 WITHSCORES
		ZUNION 2 i i WITHSCORES WEIGHTS 1 -1
		ZUNION 1 i WITHSCORES WEIGHTS 0
		ZINTER 2 i i WITHSCORES WEIGHTS 1 0 AGGREGATE MAX
		ZRANDMEMBER z 1 WITHSCORE
		ZRANDMEMBER z -9223372036854775808
		ZRANDMEMBER z 9223372036854775807 WITHSCORES
		ZRANDMEMBER z 0
		ZRANDMEMBER none 2
		ZRANDMEMBER none
		ZRANDMEMBER z x
		ZRANK z a
		ZRANK z a WITHSCORE
		ZRANK z none WITHSCORE
		ZRANK z a WITHSCORES
		ZREVRANK z a b c
		ZREM z a a none
		ZREMRANGEBYRANK z 0 -1
		EXISTS z
		SET s v
		ZADD s x a
		ZADD s 1 a
		ZRANGE s 0 x
		ZRANGE s 0 1
		ZUNION 2 s none AGGREGATE x
		ZUNION 3 s none
		ZUNION 0 s
		ZUNION x s
		ZINTERCARD 1 none LIMIT -1
		ZINTERCARD 1 none LIMIT x
		ZDIFF 1 none WEIGHTS 1
		ZUNIONSTORE s 1 none
		EXISTS s
	`)
}

func TestZSetRangeEdges(t *testing.T) {
	zsetLines(t, `
		ZADD z 1 a 2 b 2 c 3 d 4 e
		ZRANGE z 0 -1 LIMIT 0 1
		ZRANGE z 0 -1 LIMIT 1 -1
		ZRANGE z 0 -1 LIMIT x 1
		ZRANGE z 0 -1 LIMIT 1
		ZRANGE z - + BYLEX WITHSCORES
		ZRANGE z 1 2 BYSCORE BYLEX
		ZRANGE z 1 2 REV REV
		ZRANGE z (1 3 BYSCORE WITHSCORES
		ZRANGE z 3 (1 BYSCORE REV WITHSCORES
		ZRANGE z 3 1 BYSCORE
		ZRANGE z "" 3 BYSCORE
		ZRANGE z ( 3 BYSCORE
		ZRANGE z " 1" 3 BYSCORE
		ZRANGE z "1 " 3 BYSCORE
		ZRANGE z 0x2 1e400 BYSCORE
		ZRANGE z "1\x00x" 3 BYSCORE
		ZRANGE z nan 3 BYSCORE
		ZRANGE z -inf +inf BYSCORE LIMIT -1 2
		ZRANGE z -inf +inf BYSCORE LIMIT 1 -5
		ZRANGE z -inf +inf BYSCORE LIMIT 2 0
		ZRANGE z 0 9223372036854775807
		ZRANGE z -9223372036854775808 -9223372036854775808
		ZREVRANGE z 0 1 REV
		ZREVRANGE z 0 1 WITHSCORES
		ZREVRANGE z -2 -1
		ZRANGEBYLEX z [b (d
		ZREVRANGEBYLEX z (d [b LIMIT 1 1
		ZLEXCOUNT z [b [d
		ZLEXCOUNT z b [d
		ZLEXCOUNT z "+\x00" "-\x00x"
		ZLEXCOUNT z +x -
		ZRANGESTORE z2 z 1 3 REV
		ZRANGE z2 0 -1 WITHSCORES
		ZRANGESTORE z2 z 1 3 WITHSCORES
		ZRANGESTORE z2 z 9 9
		EXISTS z2
		ZRANGESTORE z z 2 3
		ZRANGE z 0 -1
		ZSCAN z 0 MATCH a* COUNT 0
		ZSCAN z 0 COUNT
		ZSCAN z 0 NOVALUES
		ZSCAN z 0 NOSCORES
		ZSCAN z x
		ZSCAN none 0 COUNT 0
	`)
}

// TestDoublesAsTheServer compares how numbers are printed.
func TestDoublesAsTheServer(t *testing.T) {
	for _, proto := range []int{2, 3} {
		o := startOracle(t, proto)
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range 6000 {
			var f float64
			switch i % 6 {
			case 0:
				f = rnd.NormFloat64() * 1000
			case 1:
				f = float64(rnd.Int64N(1 << 62))
			case 2:
				f = float64(rnd.IntN(1_000_000)) / 1e3
			case 3: // around each power of ten
				f = float64(1+rnd.IntN(99)) * [...]float64{1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21}[rnd.IntN(14)]
			default:
				f, _ = strconv.ParseFloat(fmt.Sprintf("%de%d", rnd.Int64(), rnd.IntN(640)-340), 64)
			}
			if rnd.IntN(2) == 0 {
				f = -f
			}
			// The second member makes a listpack impossible, which holds digits too.
			o.run([][]byte{[]byte("ZADD"), []byte("z"), strconv.AppendFloat(nil, f, 'g', -1, 64), []byte("m")})
			o.run(split("ZSCORE z m"))
			if i%8 == 0 {
				o.run(split("ZSCAN z 0"))
			}
			if i == 3000 {
				o.run(append(split("ZADD z 0"), make([]byte, maxPackedMember+1)))
			}
		}
	}
}

// checkZSet checks what holds inside a sorted set.
func checkZSet(t *testing.T, z *zset, want map[string]float64) {
	t.Helper()
	items := z.items()
	if len(items) != len(want) || z.len() != len(want) {
		t.Fatalf("%d items, len %d, want %d", len(items), z.len(), len(want))
	}
	if !slices.IsSortedFunc(items, compareItems) {
		t.Fatal("not in order")
	}
	bytes := int64(0)
	for rank, it := range items {
		bytes += int64(len(it.member))
		if s, k := z.lookup([]byte(it.member)); k != present || s != it.score || want[it.member] != s {
			t.Fatalf("%q has %v in order, %v by lookup, want %v", it.member, it.score, s, want[it.member])
		}
		if got := z.rank(&zbound{by: zByItem, score: it.score, member: it.member}); got != rank {
			t.Fatalf("rank %d, want %d", got, rank)
		}
		if cu := z.at(rank); cu.next().member != it.member {
			t.Fatalf("another item at rank %d", rank)
		}
	}
	if z.bytes != bytes {
		t.Fatalf("%d bytes counted, there are %d", z.bytes, bytes)
	}
	i := len(items)
	for cu := z.at(len(items) - 1); ; i-- {
		it := cu.prev()
		if it == nil {
			break
		}
		if it.member != items[i-1].member {
			t.Fatalf("backwards, place %d differs", i-1)
		}
	}
	if i != 0 {
		t.Fatalf("backwards, %d are left", i)
	}
}

// TestZSetStructure drives a set up to many members and down again.
func TestZSetStructure(t *testing.T) {
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		z, want := buildZSet(nil), map[string]float64{}
		spread := []int{1, 5, 100, 100000}[rnd.IntN(4)]
		for phase := range 6 {
			up := []int{80, 30, 90, 10, 70, 3}[phase]
			for range 3000 {
				m := strconv.Itoa(rnd.IntN(4000))
				s := float64(rnd.IntN(spread))
				old, there := want[m]
				switch {
				case rnd.IntN(100) >= up:
					if there {
						z.remove(zitem{old, m})
						delete(want, m)
					}
				case there:
					z.move(zitem{old, m}, s)
					want[m] = s
				default:
					z.insert(m, s)
					want[m] = s
				}
			}
			checkZSet(t, z, want)
		}
		checkZSet(t, z.copyOf().(*zset), want)
	}
}

// TestZSetBuilt makes trees of all heights at once, and empties them from one end.
func TestZSetBuilt(t *testing.T) {
	for _, n := range []int{1, 64, 65, 1151, 1152, 1153, 30000} {
		want := map[string]float64{}
		var members [][]byte
		var scores []float64
		for i := range n {
			members, scores = append(members, fmt.Appendf(nil, "%05d", i)), append(scores, float64(i/2))
			want[string(members[i])] = scores[i]
		}
		rand.Shuffle(n, func(i, j int) {
			members[i], members[j] = members[j], members[i]
			scores[i], scores[j] = scores[j], scores[i]
		})
		o := NewZSet(members, scores)
		z := o.data.(*zset)
		checkZSet(t, z, want)
		for i := n - 1; i >= n/3; i-- {
			it := zitem{float64(i / 2), fmt.Sprintf("%05d", i)}
			z.remove(it)
			delete(want, it.member)
		}
		checkZSet(t, z, want)
	}
}
