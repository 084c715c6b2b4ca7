package engine

import "slices"

// The sparse encoding is a sequence of runs of equal registers:
//
//	00nnnnnn            n+1 zeros
//	01nnnnnn nnnnnnnn   n+1 zeros
//	1vvvvvnn            n+1 times v+1
const (
	hllSparseRank = 32 // the greatest value of a run
	hllValueRun   = 4  // the longest run of a value
	hllShortZeros = 64 // the longest run of zeros in one byte
)

// hllRun is a run in a sparse string.
type hllRun struct {
	at, width int // its bytes
	prev      int // where the run before it begins; its own place if it is the first
	first, n  int // its registers
	value     int // theirs
}

// readHLLRun reads the run at an index of the string. A second byte that is cut
// off counts as zero, as the server reads the end of its string.
func readHLLRun(b []byte, at int) (width, n, value int) {
	op := int(b[at])
	switch {
	case op&0x80 != 0:
		return 1, op&3 + 1, op>>2&31 + 1
	case op&0x40 == 0:
		return 1, op&63 + 1, 0
	}
	n = (op & 63) << 8
	if at+1 < len(b) {
		n |= int(b[at+1])
	}
	return 2, n + 1, 0
}

// eachHLLRun goes through the runs and reports whether they are of all the
// registers and no more.
func eachHLLRun(b []byte, f func(first, n, value int)) bool {
	first := 0
	for at := hllHeader; at < len(b); {
		width, n, value := readHLLRun(b, at)
		if first+n > hllRegisters {
			return false
		}
		f(first, n, value)
		at, first = at+width, first+n
	}
	return first == hllRegisters
}

// findHLLRun finds the run of a register; ok is false when there is none.
func findHLLRun(b []byte, index int) (r hllRun, ok bool) {
	at, prev, first := hllHeader, hllHeader, 0
	for at < len(b) {
		// readHLLRun, short of the value: an element costs one way through this.
		width, n := 1, 0
		switch op := int(b[at]); {
		case op >= 0x80:
			n = op&3 + 1
		case op < 0x40:
			n = op + 1
		default:
			width, n, _ = readHLLRun(b, at)
		}
		if index < first+n {
			r.width, r.n, r.value = readHLLRun(b, at)
			r.at, r.prev, r.first = at, prev, first
			return r, true
		}
		prev = at
		at += width
		first += n
	}
	return r, false
}

// split appends what takes the place of the run when one of its registers gets a
// value: at most two bytes, the value, and two bytes.
func (r hllRun) split(dst []byte, index, value int) []byte {
	dst = r.rest(dst, index-r.first)
	dst = append(dst, hllValueOp(value, 1))
	return r.rest(dst, r.first+r.n-1-index)
}

// rest appends n registers of the run.
func (r hllRun) rest(dst []byte, n int) []byte {
	switch {
	case n == 0:
		return dst
	case r.value == 0:
		return appendHLLZeros(dst, n)
	}
	return append(dst, hllValueOp(r.value, n))
}

func appendHLLZeros(dst []byte, n int) []byte {
	n--
	if n < hllShortZeros {
		return append(dst, byte(n))
	}
	return append(dst, 0x40|byte(n>>8), byte(n))
}

func hllValueOp(value, n int) byte { return 0x80 | byte(value-1)<<2 | byte(n-1) }

// hllMergeSteps is how many runs are looked at after a change, beginning with the
// one before it, for neighbours that can become one: the server's number, on
// which the bytes depend.
const hllMergeSteps = 5

// spliceHLL puts seq in the place of a run, then joins neighbours.
func spliceHLL(b []byte, r hllRun, seq []byte) []byte {
	n := len(b) + len(seq) - r.width // also where the last byte of the run is cut off
	b = slices.Replace(b, r.at, min(r.at+r.width, len(b)), seq...)[:n]
	at := r.prev
	for range hllMergeSteps {
		if at >= len(b) {
			break
		}
		width, n, value := readHLLRun(b, at)
		if value > 0 && at+1 < len(b) {
			_, more, next := readHLLRun(b, at+1)
			if next == value && n+more <= hllValueRun {
				b[at+1] = hllValueOp(value, n+more)
				b = slices.Delete(b, at, at+1)
				continue // the joined run may take in the next one too
			}
		}
		at += width
	}
	return b
}
