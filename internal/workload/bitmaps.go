package workload

import "strconv"

func bitmaps(g *Generator) []string {
	k := g.Key("b")
	switch g.IntN(24) {
	case 0, 1, 2, 3:
		return words("SETBIT", k, g.bitOffset(), g.Pick("0", "1", "1"))
	case 4, 5:
		return words("GETBIT", k, g.readOffset())
	case 6, 7, 8:
		return words("BITCOUNT", k, g.bitRange())
	case 9, 10, 11, 12:
		return words("BITPOS", k, g.Pick("0", "1"), g.bitRange())
	case 13, 14, 15:
		return g.bitOp(k)
	case 16, 17, 18, 19:
		return words("BITFIELD", k, g.bitFieldOps(false))
	case 20:
		return words("BITFIELD_RO", k, g.bitFieldOps(!g.Chance(10)))
	case 21:
		return words("SET", k, g.Pick("", "\xff", "\xff\xff\xff", "\x00\x00", "\xff\xf0\x00", "a longer run of bytes",
			"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
			"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))
	default:
		return words("GET", k)
	}
}

// bitOffset is the number of a bit that may be written: none so far away that
// the string becomes big.
func (g *Generator) bitOffset() string {
	if g.Chance(4) {
		return g.Pick("4294967296", "-1", "8000", "#1")
	}
	return strconv.Itoa(g.IntN(200))
}

// readOffset may be anywhere.
func (g *Generator) readOffset() string {
	if g.Chance(5) {
		return "4294967295"
	}
	return g.bitOffset()
}

// bitRange is a range of BITCOUNT or BITPOS: none, a start, an end too, a unit too.
func (g *Generator) bitRange() []string {
	unit := g.Pick("BYTE", "BIT", "BIT", "bit", "bit\x00s", "BITS")
	var out []string
	for range g.IntN(3) {
		switch {
		case g.Chance(3):
			out = append(out, g.Int())
		case g.Chance(50):
			out = append(out, g.Index())
		default:
			out = append(out, strconv.Itoa(g.IntN(400)-200))
		}
	}
	if len(out) == 2 && g.Chance(70) {
		out = append(out, unit)
	}
	return out
}

func (g *Generator) bitOp(k string) []string {
	ops := []string{"AND", "OR", "XOR", "xor", "AND", "NOT"}
	if g.AtLeast(80200) {
		ops = append(ops, "DIFF", "DIFF1", "ANDOR", "ONE", "one")
	}
	op := g.Pick(ops...)
	source := func() string {
		if g.Chance(8) {
			return g.Key("s")
		}
		return g.Key("b")
	}
	if op == "NOT" && g.Chance(90) {
		return words("BITOP", op, k, source())
	}
	return words("BITOP", op, k, source(), g.Some(3, source))
}

func (g *Generator) bitFieldOps(readOnly bool) []string {
	var out []string
	for range 1 + g.IntN(4) {
		typ := g.bitFieldType()
		switch choice := g.IntN(12); {
		case readOnly, choice < 3:
			out = append(out, "GET", typ, g.bitFieldOffset())
		case choice < 6:
			out = append(out, "SET", typ, g.bitFieldOffset(), g.bitFieldValue())
		case choice < 9:
			out = append(out, "INCRBY", typ, g.bitFieldOffset(), g.bitFieldValue())
		default:
			modes := []string{"WRAP", "SAT", "sat", "FAIL", "fail\x00"}
			if g.options.Deferrable {
				// A write that fails of overflow still makes the string longer, and
				// Redis 7.0.15 does not tell its replicas: they differ then
				// from their primary, whoever looks.
				modes = modes[:3]
			}
			out = append(out, "OVERFLOW", g.Pick(modes...))
		}
	}
	return out
}

func (g *Generator) bitFieldType() string {
	switch g.IntN(12) {
	case 0:
		return g.Pick("u0", "u64", "i65", "i0", "i", "x8", "U8", "u8\x00", "u08", "")
	case 1, 2:
		return g.Pick("i64", "u63", "i63", "i1", "u1", "i8", "u8")
	case 3, 4, 5:
		return g.Pick("u", "i") + strconv.Itoa(1+g.IntN(63))
	default:
		return g.Pick("u", "i") + strconv.Itoa(1+g.IntN(8))
	}
}

func (g *Generator) bitFieldOffset() string {
	if g.Chance(30) {
		return "#" + strconv.Itoa(g.IntN(4))
	}
	return g.bitOffset()
}

func (g *Generator) bitFieldValue() string {
	if g.Chance(20) {
		// Around the edges of the types, and far from them.
		n := int64(1) << g.IntN(63)
		return strconv.FormatInt((n+int64(g.IntN(3)-1))*int64(1-2*g.IntN(2)), 10)
	}
	if g.Chance(50) {
		return strconv.Itoa(g.IntN(600) - 300)
	}
	return g.Int()
}
