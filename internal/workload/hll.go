package workload

import "strconv"

func hll(g *Generator) []string {
	if g.Chance(8) {
		return g.damagedHLL()
	}
	k := g.Key("p")
	other := func() string { return g.Key("p") }
	switch g.IntN(24) {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		return words("PFADD", k, g.Some(4, g.hllElement))
	case 8, 9:
		return words("PFADD", k, g.hllBulk())
	case 10, 11, 12, 13:
		return words("PFCOUNT", k)
	case 14, 15:
		return words("PFCOUNT", k, other(), g.Some(2, other))
	case 16, 17:
		return words("PFMERGE", k, g.Some(2, other))
	case 18:
		if g.Chance(15) {
			return words("DEL", k)
		}
		return words("PFCOUNT", k)
	default:
		return words("GET", k)
	}
}

func (g *Generator) hllElement() string {
	if g.Chance(30) {
		return g.Member()
	}
	return "e" + strconv.Itoa(g.IntN(60_000))
}

// hllBulk is enough elements that some keys outgrow the sparse encoding, and
// others stay just below.
func (g *Generator) hllBulk() []string {
	out := make([]string, 1+g.IntN(1+g.IntN(160)))
	for i := range out {
		out[i] = g.hllElement()
	}
	return out
}

// damagedHLL is about strings that are no HyperLogLog, or not a sound one. They
// have keys of their own, beside those that other families write to by chance.
func (g *Generator) damagedHLL() []string {
	if g.options.Deferrable {
		// A PFADD that fails on the way through a damaged value has changed it all
		// the same; one that is deferred and fails is not kept.
		return nil
	}
	k := g.options.Prefix + "q" + strconv.Itoa(g.IntN(2))
	switch g.IntN(10) {
	case 0, 1:
		return words("SET", k, g.damagedBytes())
	case 2, 3, 4:
		return words("PFADD", k, g.Some(16, g.hllElement))
	case 5:
		return words("PFCOUNT", k)
	case 6:
		return words("PFCOUNT", k, g.Key("p"))
	case 7:
		return words("PFMERGE", k, g.Key("p"))
	case 8:
		return words("PFMERGE", g.Key("p"), k)
	default:
		return words("GET", k)
	}
}

func (g *Generator) damagedBytes() string {
	magic := g.Pick("HYLL", "HYLL", "HYLL", "HYLL", "HYLX")
	encoding := g.Pick("\x00", "\x01", "\x01", "\x01", "\x01", "\x02")
	count := g.Pick("\x05\x00\x00\x00\x00\x00\x00\x00", "\x05\x00\x00\x00\x00\x00\x00\x80", "\xff\xff\xff\xff\xff\xff\xff\x7f")
	b := magic + encoding + "abc" + count
	if g.Chance(5) {
		return b[:g.IntN(len(b))]
	}
	left := 16384
	if g.Chance(50) {
		// Many short runs, so that elements split them and make them grow together.
		for range g.IntN(1500) {
			n := 1 + g.IntN(4)
			b, left = b+string([]byte{byte(0x80 | g.IntN(3)<<2 | (n - 1))}), left-n
		}
	}
	for range g.IntN(12) {
		n := min(left, 1+g.IntN(4))
		b, left = b+string([]byte{byte(0x80 | g.IntN(32)<<2 | (n - 1))}), left-n
		n = min(left, 1+g.IntN(4000))
		if n > 64 {
			b += string([]byte{byte(0x40 | (n-1)>>8), byte(n - 1)})
		} else {
			b += string([]byte{byte(n - 1)})
		}
		left -= n
	}
	if g.Chance(60) {
		b += string([]byte{byte(0x40 | (left-1)>>8), byte(left - 1)}) // sound after all
	}
	// Not half a run of zeros: the server would read, and write, behind its string.
	return b + g.Pick("", "", "", "\x00", "\x80", "v12")
}
