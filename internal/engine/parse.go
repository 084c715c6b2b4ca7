package engine

import (
	"math"
	"strconv"
	"strings"
)

// parseInt reads an integer as strictly as Redis does: no sign but a minus, no
// leading zero, no space, 64 bits.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	digits := b
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' {
		return 0, false
	}
	var v uint64
	for _, ch := range digits {
		if ch < '0' || ch > '9' {
			return 0, false
		}
		v = v*10 + uint64(ch-'0')
	}
	switch {
	case negative && v <= 1<<63:
		return -int64(v), true
	case !negative && v <= math.MaxInt64:
		return int64(v), true
	}
	return 0, false
}

// parseFloat reads a double as Redis reads scores: C's strtod over the whole
// argument, no leading space, no NaN. Hexadecimal and inf are numbers to it.
func parseFloat(b []byte) (float64, bool) {
	if len(b) == 0 || len(b) > 255 || isSpace(b[0]) {
		return 0, false
	}
	s := string(b)
	if strings.ContainsRune(s, '_') {
		return 0, false // Go takes it for a separator
	}
	if isHex(s) && !strings.ContainsAny(s, "pP") {
		s += "p0" // Go asks for the exponent
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		// Out of range: strtod answers infinity and an error, which Redis heeds.
		return 0, false
	}
	if math.IsNaN(f) || (f == 0 && !isZero(s)) {
		return 0, false
	}
	return f, true
}

// isZero tells a number written as zero from one too small to be anything else,
// which is out of range to strtod.
func isZero(s string) bool {
	exponent := "eE"
	if isHex(s) {
		exponent = "pP"
	}
	if i := strings.IndexAny(s, exponent); i >= 0 {
		s = s[:i]
	}
	return !strings.ContainsAny(s, "123456789abcdefABCDEF")
}

func isHex(s string) bool {
	s = strings.TrimLeft(s, "+-")
	return len(s) > 1 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')
}

func isSpace(ch byte) bool { return ch == ' ' || ('\t' <= ch && ch <= '\r') }

// is reports whether an argument is the option of that name, in lower case, to
// Redis: most of its option parsers compare C strings in any case, so that what
// follows a zero byte does not count.
func is(b []byte, word string) bool {
	if len(b) > len(word) && b[len(word)] == 0 {
		b = b[:len(word)]
	}
	if len(b) != len(word) {
		return false
	}
	for i, ch := range b {
		if 'A' <= ch && ch <= 'Z' {
			ch += 'a' - 'A'
		}
		if ch != word[i] {
			return false
		}
	}
	return true
}

// add is a+b, and false when that overflows.
func add(a, b int64) (int64, bool) {
	if (b > 0 && a > math.MaxInt64-b) || (b < 0 && a < math.MinInt64-b) {
		return 0, false
	}
	return a + b, true
}

// clone copies an argument for keeping.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }
