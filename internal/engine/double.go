package engine

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"sync"
)

// appendFloat appends a number as the server prints scores. Since 7.2 it takes
// the fewest digits that Grisu2 finds to read back as the same number; earlier
// servers print 17, as C's %.17g.
func (c *Call) appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	case math.IsNaN(f):
		return append(dst, "nan"...)
	case f == 0 && math.Signbit(f):
		return append(dst, "-0"...)
	case f == math.Trunc(f) && math.Abs(f) < 1<<52:
		return strconv.AppendInt(dst, int64(f), 10)
	case !c.server.AtLeast(70200):
		return appendG17(dst, f)
	case isIntegral(f):
		return strconv.AppendInt(dst, int64(f), 10)
	}
	return appendShort(dst, f)
}

// isIntegral reports whether servers since 7.2, and listpacks in all, treat a
// number as an integer.
func isIntegral(f float64) bool { return f == math.Trunc(f) && math.Abs(f) <= 1<<62 }

// appendG17 is C's %.17g, of a finite number: without trailing zeros, and with an
// exponent when that is less than -4 or at least 17.
func appendG17(dst []byte, f float64) []byte {
	var room [32]byte
	sci := strconv.AppendFloat(room[:0], f, 'e', 16, 64) // -d.dddddddddddddddde±xx
	if sci[0] == '-' {
		dst, sci = append(dst, '-'), sci[1:]
	}
	exp, _ := strconv.Atoi(string(sci[19:]))
	digits := append(sci[:1], sci[2:18]...)
	for len(digits) > 1 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	if -4 <= exp && exp < 17 {
		return appendPlain(dst, digits, exp)
	}
	return appendScientific(dst, digits, exp, 2)
}

// appendPlain writes d.ddd·10^exp without an exponent.
func appendPlain(dst, digits []byte, exp int) []byte {
	switch {
	case exp < 0:
		dst = append(dst, "0."...)
		dst = appendZeros(dst, -exp-1)
		return append(dst, digits...)
	case len(digits) <= exp+1:
		dst = append(dst, digits...)
		return appendZeros(dst, exp+1-len(digits))
	}
	dst = append(append(dst, digits[:exp+1]...), '.')
	return append(dst, digits[exp+1:]...)
}

func appendZeros(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, '0')
	}
	return dst
}

// appendScientific writes d.ddd·10^exp with an exponent of at least so many digits.
func appendScientific(dst, digits []byte, exp, width int) []byte {
	dst = append(dst, digits[0])
	if len(digits) > 1 {
		dst = append(append(dst, '.'), digits[1:]...)
	}
	if exp < 0 {
		dst, exp = append(dst, "e-"...), -exp
	} else {
		dst = append(dst, "e+"...)
	}
	if width > 1 && exp < 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, int64(exp), 10)
}

// appendShort writes a finite number other than 0 as servers do since 7.2. Their
// rule for when there is an exponent is their own.
func appendShort(dst []byte, f float64) []byte {
	if f < 0 {
		dst, f = append(dst, '-'), -f
	}
	var room [24]byte
	digits, last := grisu2(room[:0], f)
	exp := last + len(digits) - 1 // of the first digit; last is that of the last one
	size := max(exp, -exp)
	if (last >= 0 && size < len(digits)+7) || (last < 0 && (last > -7 || size < 4)) {
		return appendPlain(dst, digits, exp)
	}
	return appendScientific(dst, digits, exp, 1)
}

// binaryFloat is a float64 taken apart: a significand and its exponent to base 2.
type binaryFloat struct {
	frac uint64
	exp  int
}

func (b binaryFloat) normalize() binaryFloat {
	n := bits.LeadingZeros64(b.frac)
	return binaryFloat{b.frac << n, b.exp - n}
}

// times multiplies normalized numbers, rounding to the nearest.
func (b binaryFloat) times(by binaryFloat) binaryFloat {
	hi, lo := bits.Mul64(b.frac, by.frac)
	return binaryFloat{hi + lo>>63, b.exp + by.exp + 64}
}

// grisu2 finds the decimal digits of a positive number, and the exponent to base
// 10 of the last one, by the algorithm of that name (Florian Loitsch, "Printing
// Floating-Point Numbers Quickly and Accurately with Integers", 2010). Unlike
// strconv, it misses the shortest digits in one case of a thousand, or the closest
// of these, and the servers that use it miss them, too.
func grisu2(digits []byte, f float64) ([]byte, int) {
	const hidden = 1 << 52
	raw := math.Float64bits(f)
	v := binaryFloat{raw & (hidden - 1), max(int(raw>>52&0x7ff), 1) - 1075}
	if raw>>52&0x7ff != 0 {
		v.frac |= hidden
	}
	// All numbers between these two read back as f.
	upper := binaryFloat{v.frac<<1 + 1, v.exp - 1}.normalize()
	lower := binaryFloat{v.frac<<1 - 1, v.exp - 1}
	if v.frac == hidden {
		lower = binaryFloat{v.frac<<2 - 1, v.exp - 2}
	}
	lower = binaryFloat{lower.frac << (lower.exp - upper.exp), upper.exp}

	scale, exp10 := cachedPower(upper.exp)
	middle := v.normalize().times(scale)
	upper, lower = upper.times(scale), lower.times(scale)
	upper.frac-- // what the products may be wrong by
	lower.frac++
	return generate(digits, upper, upper.frac-middle.frac, upper.frac-lower.frac, -exp10)
}

// generate writes digits of upper until what is left is within delta, and then
// moves the last one towards the number that is below upper by so much.
func generate(digits []byte, upper binaryFloat, below, delta uint64, exp10 int) ([]byte, int) {
	shift := -upper.exp
	one := uint64(1) << shift
	whole, part := upper.frac>>shift, upper.frac&(one-1)
	left := 10 // digits of the whole part to come
	for unit := uint64(1_000_000_000); left > 0; unit /= 10 {
		if digit := whole / unit; digit != 0 || len(digits) > 0 {
			digits = append(digits, byte('0'+digit))
		}
		whole %= unit
		left--
		if rest := whole<<shift + part; rest <= delta {
			approach(digits, rest, delta, below, unit<<shift)
			return digits, exp10 + left
		}
	}
	for {
		part *= 10
		delta *= 10
		below *= 10
		left--
		if digit := part >> shift; digit != 0 || len(digits) > 0 {
			digits = append(digits, byte('0'+digit))
		}
		part &= one - 1
		if part < delta {
			approach(digits, part, delta, below, one)
			return digits, exp10 + left
		}
	}
}

// approach lowers the last digit while that brings the written number, rest below
// upper, closer to the true one and leaves it within delta.
func approach(digits []byte, rest, delta, below, unit uint64) {
	for rest < below && delta-rest >= unit && (rest+unit < below || below-rest > rest+unit-below) {
		digits[len(digits)-1]--
		rest += unit
	}
}

// The powers of ten that numbers are scaled with lie eight apart.
const (
	firstPower = -348
	powerStep  = 8
	powerCount = 87
)

// cachedPower is a power of ten, and its exponent, whose product with a number of
// this exponent to base 2 has one between -60 and -32.
func cachedPower(exp int) (binaryFloat, int) {
	powers := powersOfTen()
	const log = 0.30102999566398114 // of 2, to base 10
	i := (int(-float64(exp+powerCount)*log) - firstPower) / powerStep
	for {
		switch e := exp + powers[i].exp + 64; {
		case e < -60:
			i++
		case e > -32:
			i--
		default:
			return powers[i], firstPower + i*powerStep
		}
	}
}

// powersOfTen computes the table once, when the first number is printed.
var powersOfTen = sync.OnceValue(func() *[powerCount]binaryFloat {
	var table [powerCount]binaryFloat
	ten := big.NewInt(10)
	for i := range table {
		k := firstPower + i*powerStep
		n := new(big.Float).SetPrec(64).SetMode(big.ToNearestEven)
		power := new(big.Int).Exp(ten, big.NewInt(int64(max(k, -k))), nil)
		if k < 0 {
			n.Quo(big.NewFloat(1), new(big.Float).SetInt(power))
		} else {
			n.SetInt(power)
		}
		mant := new(big.Float)
		exp := n.MantExp(mant) // mant is in [0.5, 1)
		frac, _ := mant.SetMantExp(mant, 64).Uint64()
		table[i] = binaryFloat{frac, exp - 64}
	}
	return &table
})
