package engine

import "math"

// Servers take sines from the C library, which gives the double nearest to the
// true value but in one or two cases of a thousand. Go's math package misses it
// far more often, and GEOSEARCHSTORE STOREDIST would show that. So these compute
// to more digits than a double has, and round once. What remains, in the last bit
// of one stored distance in some hundreds, differs between servers too: it depends
// on the C library and on whether the processor can multiply and add at once.

// twin is the sum of a double and a much smaller one.
type twin struct{ hi, lo float64 }

// sumOf adds doubles, the first of which is not the smaller one.
func sumOf(a, b float64) twin {
	s := a + b
	return twin{s, b - (s - a)}
}

func productOf(a, b float64) twin {
	p := a * b
	return twin{p, math.FMA(a, b, -p)}
}

func (x twin) plus(y twin) twin {
	s := x.hi + y.hi
	b := s - x.hi
	e := (x.hi - (s - b)) + (y.hi - b)
	return sumOf(s, e+(x.lo+y.lo))
}

func (x twin) times(y twin) twin {
	p := productOf(x.hi, y.hi)
	return sumOf(p.hi, p.lo+(float64(x.hi*y.lo)+float64(x.lo*y.hi)))
}

func (x twin) negated() twin { return twin{-x.hi, -x.lo} }

// halfPi is π/2, third is what the first two parts lack.
var (
	halfPi      = twin{1.5707963267948966, 6.123233995736766e-17}
	halfPiThird = -1.4973849048591833e-33
)

// The first coefficients of the two series to twice the precision.
var (
	sixth         = twin{-0.16666666666666666, -9.25185853854297e-18}
	twentyFourth  = twin{0.041666666666666664, 2.3129646346357427e-18}
	hundredTwenty = twin{0.008333333333333333, 1.1564823173178714e-19}
)

// quadrant takes the multiple of π/2 off x that leaves at most π/4.
func quadrant(x float64) (rest twin, n int) {
	k := math.RoundToEven(x / halfPi.hi)
	if k == 0 {
		return twin{x, 0}, 0
	}
	high, low := productOf(k, halfPi.hi), productOf(k, halfPi.lo)
	rest = twin{x - high.hi, 0}.plus(twin{-high.lo, 0})
	rest = rest.plus(low.negated()).plus(twin{-k * halfPiThird, 0})
	return rest, int(k) & 3
}

// sine and cosine are the series up to π/4. Only their first terms are large
// enough to need the second half of a twin.
func sine(r twin) twin {
	r2 := r.times(r)
	x := r2.hi
	tail := x * (-1.0/5040 + x*(1.0/362880+x*(-1.0/39916800+x*(1.0/6227020800+x*(-1.0/1307674368000+x/355687428096000)))))
	sum := sixth.plus(r2.times(hundredTwenty.plus(twin{tail, 0})))
	return r.plus(r.times(r2.times(sum)))
}

func cosine(r twin) twin {
	r2 := r.times(r)
	x := r2.hi
	tail := x * (-1.0/720 + x*(1.0/40320+x*(-1.0/3628800+x*(1.0/479001600+x*(-1.0/87178291200+x*(1.0/20922789888000-x/6402373705728000))))))
	sum := twin{-0.5, 0}.plus(r2.times(twentyFourth.plus(twin{tail, 0})))
	return twin{1, 0}.plus(r2.times(sum))
}

// sinTwin is the sine of x, cosTwin its cosine. x is no larger than a few turns.
func sinTwin(x float64) twin {
	r, n := quadrant(x)
	switch n {
	case 0:
		return sine(r)
	case 1:
		return cosine(r)
	case 2:
		return sine(r).negated()
	}
	return cosine(r).negated()
}

func cosTwin(x float64) twin {
	r, n := quadrant(x)
	switch n {
	case 0:
		return cosine(r)
	case 1:
		return sine(r).negated()
	case 2:
		return cosine(r).negated()
	}
	return sine(r)
}

func sin(x float64) float64 {
	if x == 0 || outOfTurns(x) {
		return math.Sin(x)
	}
	return sinTwin(x).hi
}

func cos(x float64) float64 {
	if outOfTurns(x) {
		return math.Cos(x)
	}
	return cosTwin(x).hi
}

// outOfTurns is where these do not reach: no place leads there but the radius of
// a search may.
func outOfTurns(x float64) bool { return !(math.Abs(x) < 100) }

// asin corrects what the math package says by one step of Newton's method.
func asin(x float64) float64 {
	a := math.Asin(x)
	s, c := sinTwin(a), math.Cos(a)
	if !(c > 1e-8) || a == 0 { // at a pole the step would lead anywhere
		return a
	}
	return a + ((x-s.hi)-s.lo)/c
}
