package command

import "math"

// lower is the lower case of an ASCII letter, and c itself for all others: the
// only folding that Redis does with names and options.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// matchFold reports whether b is the word, which must be in lower case, in any
// case.
func matchFold[T []byte | string](b T, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i := range len(b) {
		if lower(b[i]) != word[i] {
			return false
		}
	}
	return true
}

// option reports whether b is the option of that name, in lower case, to Redis:
// most of its option parsers compare C strings, so that what follows a zero byte
// does not count, and "NX\x00" is NX.
func option[T []byte | string](b T, word string) bool {
	if len(b) > len(word) && b[len(word)] == 0 {
		b = b[:len(word)]
	}
	return matchFold(b, word)
}

// oneOf reports whether b is one of the options.
func oneOf(b []byte, words ...string) bool {
	for _, word := range words {
		if option(b, word) {
			return true
		}
	}
	return false
}

// parseInt reads an integer exactly as Redis does: decimal, no plus sign, space
// or leading zero, no "-0", within 64 bits.
func parseInt[T []byte | string](b T) (int64, bool) {
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	i := 0
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		i = 1
	}
	if len(b) == i || len(b)-i > 19 || b[i] < '1' {
		return 0, false
	}
	var v uint64 // 19 digits always fit
	for ; i < len(b); i++ {
		if b[i] < '0' || b[i] > '9' {
			return 0, false
		}
		v = v*10 + uint64(b[i]-'0')
	}
	switch {
	case !negative && v <= math.MaxInt64:
		return int64(v), true
	case negative && v <= math.MaxInt64:
		return -int64(v), true
	case negative && v == 1<<63:
		return math.MinInt64, true
	}
	return 0, false
}

// expiry is a kind of deadline that an option of SET or GETEX gives.
type expiry uint8

const (
	expiryNone expiry = iota
	expiryEX          // seconds from now
	expiryPX          // milliseconds from now
	expiryEXAT        // seconds since the epoch
	expiryPXAT        // milliseconds since the epoch
)

func parseExpiry(b []byte) expiry {
	switch {
	case option(b, "ex"):
		return expiryEX
	case option(b, "px"):
		return expiryPX
	case option(b, "exat"):
		return expiryEXAT
	case option(b, "pxat"):
		return expiryPXAT
	}
	return expiryNone
}

// setOptions are the options of one SET or MSETEX.
type setOptions struct {
	nx, xx, get, keepTTL bool
	expiry               expiry
	value                int  // index of the deadline's value, when expiry is set
	claims               bool // an option that compares: IFEQ and its like
	unknown              bool // an option that no server has
	syntax               bool // options that every server refuses together, or a missing value
}

// compares reports whether b is one of SET's options that compare with the value
// that follows them.
func compares(b []byte) bool { return oneOf(b, "ifeq", "ifne", "ifdeq", "ifdne") }

// parseSet reads the options of a SET from index first on. Reading goes on after
// what the server would refuse, so that the form is known in full.
func parseSet(args [][]byte, first int) setOptions {
	var o setOptions
	for i := first; i < len(args); i++ {
		kind := parseExpiry(args[i])
		switch {
		case kind != expiryNone:
			// The same unit may be given twice, and the last one counts; two
			// different units, or one and KEEPTTL, exclude each other.
			if o.keepTTL || (o.expiry != expiryNone && o.expiry != kind) || i+1 == len(args) {
				o.syntax = true
			}
			o.expiry = kind
			i++
			o.value = i
		case option(args[i], "nx"):
			o.syntax = o.syntax || o.xx
			o.nx = true
		case option(args[i], "xx"):
			o.syntax = o.syntax || o.nx
			o.xx = true
		case option(args[i], "get"):
			o.get = true
		case option(args[i], "keepttl"):
			o.syntax = o.syntax || o.expiry != expiryNone
			o.keepTTL = true
		case compares(args[i]):
			o.claims = true
			i++
			o.syntax = o.syntax || i == len(args)
		case len(args[i]) >= 2 && matchFold(args[i][:2], "if"): // one of tomorrow
			o.claims, o.syntax = true, true
		default:
			o.unknown, o.syntax = true, true
		}
	}
	return o
}

// parseGetEx reads the options of a GETEX: a deadline, as SET has it, or PERSIST.
func parseGetEx(args [][]byte) setOptions {
	var o setOptions
	persist := false
	for i := 2; i < len(args); i++ {
		kind := parseExpiry(args[i])
		switch {
		case kind != expiryNone:
			o.syntax = o.syntax || persist || (o.expiry != expiryNone && o.expiry != kind) || i+1 == len(args)
			o.expiry = kind
			i++
			o.value = i
		case option(args[i], "persist"):
			o.syntax = o.syntax || o.expiry != expiryNone
			persist = true
		default:
			o.unknown, o.syntax = true, true
		}
	}
	return o
}

// msetexOptions is the index of MSETEX's first option. Where the number of keys is
// not one, which every server refuses, it is behind the last argument and ok false.
func msetexOptions(args [][]byte) (first int, ok bool) {
	if len(args) < 2 {
		return len(args), false
	}
	n, ok := parseInt(args[1])
	if !ok || n < 1 || n > int64(len(args)-2)/2 {
		return len(args), false
	}
	return 2 + 2*int(n), true
}
