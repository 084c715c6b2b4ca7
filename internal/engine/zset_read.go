package engine

import (
	"math"
	"math/rand/v2"
	"strconv"
)

const errRandRange = "ERR value is out of range"

// execZRandMember draws with repetitions when the count is negative.
func execZRandMember(c *Call) {
	if len(c.args) == 2 {
		switch _, z, ok := c.wholeZSetAt(0); {
		case !ok:
		case z == nil:
			c.Null()
		default:
			cu := z.at(rand.IntN(z.len()))
			c.BulkString(cu.next().member)
		}
		return
	}
	count, ok := parseInt(c.args[2])
	switch {
	case !ok:
		c.Error(errNotInteger)
		return
	case count == math.MinInt64:
		c.Error(errLongRange)
		return
	case len(c.args) > 4, len(c.args) == 4 && !is(c.args[3], "withscores"):
		c.Error(errSyntax)
		return
	}
	withScores := len(c.args) == 4
	if withScores && (count < -math.MaxInt64/2 || count > math.MaxInt64/2) {
		c.Error(errRandRange)
		return
	}
	_, z, ok := c.wholeZSetAt(0)
	switch {
	case !ok:
	case z == nil || count == 0:
		c.Array(0)
	case count < -maxRandom:
		c.notServed("with so many repetitions")
	case count < 0:
		c.zsetHeader(int(-count), withScores)
		for range -count {
			cu := z.at(rand.IntN(z.len()))
			c.zsetElement(cu.next(), withScores)
		}
	default:
		c.zsetSample(z, int(min(count, int64(z.len()))), withScores)
	}
}

// zsetSample replies with n distinct items: of those left it takes each with the
// chance that it has to be among as many as are still wanted.
func (c *Call) zsetSample(z *zset, n int, withScores bool) {
	c.zsetHeader(n, withScores)
	left := z.len()
	if n*8 > left {
		for cu := z.at(0); n > 0; left-- {
			if it := cu.next(); rand.IntN(left) < n {
				c.zsetElement(it, withScores)
				n--
			}
		}
		return
	}
	drawn := make(map[int]struct{}, n)
	for len(drawn) < n {
		rank := rand.IntN(left)
		if _, again := drawn[rank]; again {
			continue
		}
		drawn[rank] = struct{}{}
		cu := z.at(rank)
		c.zsetElement(cu.next(), withScores)
	}
}

// wholeZSetAt is zsetAt for what needs every member.
func (c *Call) wholeZSetAt(i int) (o *Object, z *zset, ok bool) {
	if o, z, ok = c.zsetAt(i); ok && z != nil && !z.whole() {
		c.tooBig()
		ok = false
	}
	return o, z, ok
}

// zsetHeader begins a reply of n items: with scores these are pairs in RESP3, and
// lie flat in RESP2.
func (c *Call) zsetHeader(n int, withScores bool) {
	if withScores && c.proto != 3 {
		n *= 2
	}
	c.Array(n)
}

func (c *Call) zsetElement(it *zitem, withScore bool) {
	if !withScore {
		c.BulkString(it.member)
		return
	}
	if c.proto == 3 {
		c.Array(2)
	}
	c.BulkString(it.member)
	c.Double(it.score)
}

// execZScan gives all members in one reply and ends the scan.
func execZScan(c *Call) {
	if !c.scanCursor(c.args[2]) {
		return
	}
	_, z, ok := c.zsetAt(0)
	if !ok {
		return
	}
	if z == nil { // Redis does not look at the options then
		c.scanReply()
		c.Array(0)
		return
	}
	pattern, noScores, ok := c.zscanOptions()
	if !ok {
		return
	}
	if !z.whole() {
		c.tooBig()
		return
	}
	c.scanReply()
	at, n := c.open(), 0
	all := pattern == nil || string(pattern) == "*"
	z.each(func(member []byte, score float64) bool {
		if all || globMatch(pattern, member) {
			c.Bulk(member)
			n++
			if !noScores {
				var room [40]byte
				c.Bulk(c.appendScanScore(room[:0], score, z.packed))
				n++
			}
		}
		return true
	})
	c.closeArray(at, n)
}

func (c *Call) zscanOptions() (pattern []byte, noScores, ok bool) {
	for i := 3; i < len(c.args); i++ {
		arg, last := c.args[i], i == len(c.args)-1
		switch {
		case is(arg, "count") && !last:
			i++
			n, ok := parseInt(c.args[i])
			if !ok {
				c.Error(errNotInteger)
				return nil, false, false
			}
			if n < 1 {
				c.Error(errSyntax)
				return nil, false, false
			}
		case is(arg, "match") && !last:
			i++
			pattern = c.args[i]
		case is(arg, "novalues") && c.scansAsOf74():
			c.Error("ERR NOVALUES option can only be used in HSCAN")
			return nil, false, false
		case is(arg, "noscores") && c.server.Valkey && c.server.Version >= 80100:
			noScores = true
		default:
			c.Error(errSyntax)
			return nil, false, false
		}
	}
	return pattern, noScores, true
}

// appendScanScore writes a score as ZSCAN does: as it lies in a listpack, or with
// 17 digits.
func (c *Call) appendScanScore(dst []byte, score float64, packed bool) []byte {
	switch {
	case math.IsInf(score, 0):
		return c.appendFloat(dst, score)
	case !packed:
		return appendG17(dst, score)
	case isIntegral(score):
		return strconv.AppendInt(dst, int64(score), 10)
	}
	return c.appendFloat(dst, score)
}
