package engine

import (
	"math/big"
	"strconv"
	"strings"
)

// INCRBYFLOAT and HINCRBYFLOAT count in C's long double, on x86 a float of 64
// bits of mantissa and 15 of exponent, which a big.Float of that precision
// rounds alike.
const (
	longDoublePrec   = 64
	longDoubleMaxExp = 16384 // as of MantExp: greater ones are infinite

	// longDoubleMaxLen is the length of the text in which Redis sees no number.
	longDoubleMaxLen = 5 * 1024

	// Numbers that lie wholly outside these powers of ten, or of two, are infinite
	// or zero, and are not worth computing.
	longDoubleMaxTen, longDoubleMinTen = 4940, -4960
	longDoubleMaxTwo, longDoubleMinTwo = 16400, -16500

	// longDoubleDigits are behind the point when a sum is printed.
	longDoubleDigits = 17
)

var (
	bigTen = big.NewInt(10)

	// exactTens are the powers of ten that a long double holds exactly.
	exactTens = func() (tens [28]*big.Float) {
		for i := range tens {
			tens[i] = new(big.Float).SetPrec(longDoublePrec).SetInt(tenTo(i))
		}
		return tens
	}()

	// longDoubleNone is half the smallest number above zero: this, and what is
	// less, is zero.
	longDoubleNone = new(big.Float).SetMantExp(big.NewFloat(1), -16446)
)

// parseLongDouble reads a number as Redis reads the operands of INCRBYFLOAT: C's
// strtold over the whole argument, no leading space, no NaN, and nothing that is
// too great or too small to be told from infinity or zero. Infinity in words is
// a number.
func parseLongDouble(b []byte) (*big.Float, bool) {
	if len(b) == 0 || len(b) >= longDoubleMaxLen {
		return nil, false
	}
	s, negative := string(b), b[0] == '-'
	if negative || b[0] == '+' {
		s = s[1:]
	}
	v := new(big.Float).SetPrec(longDoublePrec)
	hex := len(s) > 1 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')
	switch {
	case strings.EqualFold(s, "inf") || strings.EqualFold(s, "infinity"):
		return v.SetInf(negative), true
	case hex:
		s = s[2:]
	}
	digits, exp, ok := splitNumber(s, hex)
	if !ok {
		return nil, false
	}
	if digits != "" { // else it is zero
		if hex {
			ok = setHexadecimal(v, digits, exp)
		} else {
			ok = setDecimal(v, digits, exp)
		}
		if !ok || v.MantExp(nil) > longDoubleMaxExp || v.Cmp(longDoubleNone) <= 0 {
			return nil, false
		}
	}
	if negative {
		v.Neg(v)
	}
	return v, true
}

// splitNumber takes a number without its sign apart: the significant digits as
// an integer, none for zero, and the power of ten by which it is to be
// multiplied, of a hexadecimal number the power of two.
func splitNumber(s string, hex bool) (digits string, exp int, ok bool) {
	isDigit, marks, width := isDecimalDigit, "eE", 1
	if hex {
		isDigit, marks, width = isHexDigit, "pP", 4
	}
	if at := strings.IndexAny(s, marks); at >= 0 {
		if exp, ok = parseExponent(s[at+1:]); !ok {
			return "", 0, false
		}
		s = s[:at]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	digits = whole + fraction
	if digits == "" {
		return "", 0, false
	}
	for i := range len(digits) {
		if !isDigit(digits[i]) {
			return "", 0, false
		}
	}
	exp -= width * len(fraction)
	digits = strings.TrimLeft(digits, "0")
	trimmed := strings.TrimRight(digits, "0")
	return trimmed, exp + width*(len(digits)-len(trimmed)), true
}

func isDecimalDigit(ch byte) bool { return '0' <= ch && ch <= '9' }

func isHexDigit(ch byte) bool {
	return isDecimalDigit(ch) || ('a' <= ch|0x20 && ch|0x20 <= 'f')
}

// parseExponent reads a decimal integer with an optional sign. Huge ones it cuts
// to some that are as good.
func parseExponent(s string) (int, bool) {
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	if s == "" {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if !isDecimalDigit(s[i]) {
			return 0, false
		}
		n = min(n*10+int(s[i]-'0'), 1_000_000)
	}
	if negative {
		n = -n
	}
	return n, true
}

// setDecimal sets v to digits times ten to the power of exp, rounded once. It
// reports false for what is far out of range.
func setDecimal(v *big.Float, digits string, exp int) bool {
	if magnitude := len(digits) + exp; magnitude > longDoubleMaxTen || magnitude < longDoubleMinTen {
		return false
	}
	if n, err := strconv.ParseUint(digits, 10, longDoublePrec); err == nil && max(exp, -exp) < len(exactTens) {
		v.SetUint64(n)
		if exp >= 0 {
			v.Mul(v, exactTens[exp])
		} else {
			v.Quo(v, exactTens[-exp])
		}
		return true
	}
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return false
	}
	if exp >= 0 {
		v.SetInt(n.Mul(n, tenTo(exp)))
		return true
	}
	// Both operands are exact, so that the division is what rounds.
	v.Quo(new(big.Float).SetInt(n), new(big.Float).SetInt(tenTo(-exp)))
	return true
}

func tenTo(exp int) *big.Int {
	return new(big.Int).Exp(bigTen, big.NewInt(int64(exp)), nil)
}

// setHexadecimal is setDecimal for hexadecimal digits and a power of two.
func setHexadecimal(v *big.Float, digits string, exp int) bool {
	if magnitude := 4*len(digits) + exp; magnitude > longDoubleMaxTwo || magnitude < longDoubleMinTwo {
		return false
	}
	n, ok := new(big.Int).SetString(digits, 16)
	if !ok {
		return false
	}
	v.SetInt(n)
	v.SetMantExp(v, exp)
	return true
}

// addLongDouble is the text of a sum as Redis prints it: 17 digits behind the
// point, without trailing zeros. It reports false if the sum is no number or
// infinite.
func addLongDouble(a, b *big.Float) ([]byte, bool) {
	if a.IsInf() || b.IsInf() {
		return nil, false
	}
	sum := new(big.Float).SetPrec(longDoublePrec).Add(a, b)
	if sum.MantExp(nil) > longDoubleMaxExp {
		return nil, false
	}
	text := sum.Append(make([]byte, 0, 32), 'f', longDoubleDigits)
	n := len(text)
	for text[n-1] == '0' {
		n--
	}
	if text[n-1] == '.' {
		n--
	}
	if text = text[:n]; string(text) == "-0" {
		text = text[1:]
	}
	return text, true
}
