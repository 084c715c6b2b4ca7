package engine

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// hllSeed is the seed of the server's hash function.
const hllSeed = 0xadc83b19

// hllPlace is the register of an element and the rank it gives it: one more than
// the zeros that the rest of its hash begins with, counted from the low end.
func hllPlace(element []byte) (index, rank int) {
	h := murmur64A(element, hllSeed)
	index = int(h & (hllRegisters - 1))
	h = h>>14 | 1<<50 // so that there is an end
	return index, bits.TrailingZeros64(h) + 1
}

// murmur64A is MurmurHash2 of 64 bits, variant A, of little endian words.
func murmur64A(b []byte, seed uint64) uint64 {
	const (
		m = 0xc6a4a7935bd1e995
		r = 47
	)
	h := seed ^ uint64(len(b))*m
	for ; len(b) >= 8; b = b[8:] {
		k := binary.LittleEndian.Uint64(b) * m
		k ^= k >> r
		h = (h ^ k*m) * m
	}
	if len(b) > 0 {
		var tail [8]byte
		copy(tail[:], b)
		h = (h ^ binary.LittleEndian.Uint64(tail[:])) * m
	}
	h ^= h >> r
	h *= m
	return h ^ h>>r
}

// hllGet reads a dense register.
func hllGet(registers []byte, index int) int {
	at, shift := index*6/8, index*6&7
	v := int(registers[at]) >> shift
	if shift > 2 {
		v |= int(registers[at+1]) << (8 - shift)
	}
	return v & 63
}

// hllSet writes a dense register.
func hllSet(registers []byte, index, v int) {
	at, shift := index*6/8, index*6&7
	registers[at] = registers[at]&^byte(63<<shift) | byte(v<<shift)
	if shift > 2 {
		shift = 8 - shift
		registers[at+1] = registers[at+1]&^byte(63>>shift) | byte(v>>shift)
	}
}

// hllQuad is four dense registers, which have three bytes, unpacked.
func hllQuad(b []byte) [4]byte {
	_ = b[2]
	return [4]byte{b[0] & 63, b[0]>>6 | b[1]&15<<2, b[1]>>4 | b[2]&3<<4, b[2] >> 2}
}

// hllUnion is the greatest of each register.
type hllUnion [hllRegisters]byte

// add takes in a HyperLogLog; it reports false when that is corrupt.
func (u *hllUnion) add(b []byte) bool {
	if b[4] == hllDense {
		registers := b[hllHeader:]
		for i := 0; i < hllRegisters; i += 4 {
			q := hllQuad(registers[i/4*3:])
			u4 := u[i : i+4 : i+4]
			u4[0], u4[1], u4[2], u4[3] = max(u4[0], q[0]), max(u4[1], q[1]), max(u4[2], q[2]), max(u4[3], q[3])
		}
		return true
	}
	return eachHLLRun(b, func(first, n, value int) {
		for i := first; value > 0 && i < first+n; i++ {
			u[i] = max(u[i], byte(value))
		}
	})
}

// hllHistogram counts the registers by value.
type hllHistogram [64]int

// count counts the registers of a HyperLogLog; it reports false when that is
// corrupt.
func (h *hllHistogram) count(b []byte) bool {
	if b[4] == hllDense {
		for registers := b[hllHeader:]; len(registers) >= 3; registers = registers[3:] {
			q := hllQuad(registers)
			h[q[0]&63]++
			h[q[1]&63]++
			h[q[2]&63]++
			h[q[3]&63]++
		}
		return true
	}
	return eachHLLRun(b, func(_, n, value int) { h[value] += n })
}

// estimate is the number of elements by Ertl's estimator (Otmar Ertl, New
// cardinality estimation algorithms for HyperLogLog sketches, 2017, algorithm 6).
// The conversions keep the compiler from fusing operations, which would round
// otherwise than the server does.
func (h *hllHistogram) estimate() uint64 {
	const (
		m       = float64(hllRegisters)
		highest = 64 - 14                 // the greatest rank but one
		alpha   = 0.721347520444481703680 // 1/(2 ln 2)
	)
	z := float64(m * ertlTau(float64(m-float64(h[highest+1]))/m))
	for rank := highest; rank >= 1; rank-- {
		z = float64(z+float64(h[rank])) * 0.5
	}
	z += float64(m * ertlSigma(float64(h[0])/m))
	return uint64(math.Round(alpha * m * m / z))
}

func ertlTau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		before := z
		y *= 0.5
		d := 1 - x
		z -= float64(float64(d*d) * y)
		if z == before {
			return z / 3
		}
	}
}

func ertlSigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x *= x
		before := z
		z += float64(x * y)
		y += y
		if z == before {
			return z
		}
	}
}
