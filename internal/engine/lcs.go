package engine

import "fmt"

// maxLCSCells bounds the table that LCS computes, in entries of two bytes, and
// with it the time that its keys are held. Two strings of 4,000 bytes fit.
const maxLCSCells = 16 << 20

const (
	errLCSTypes = "ERR The specified keys must contain string values"
	errLCSBoth  = "ERR If you want both the length and indexes, please just use IDX."
)

type lcsOptions struct {
	length, index, withLen bool
	minLen                 int64
}

func execLCS(c *Call) {
	a, b := c.Key(0), c.Key(1)
	for _, o := range []*Object{a, b} {
		if o.Exists() && o.typ != TypeString {
			c.Error(errLCSTypes)
			return
		}
	}
	opts, ok := c.parseLCS()
	if !ok {
		return
	}
	if a.opaque || b.opaque {
		c.tooBig()
		return
	}
	if int64(len(a.str)+1)*int64(len(b.str)+1) > maxLCSCells {
		c.refuse(fmt.Errorf("%w: lcs of long strings", ErrTooBig))
		return
	}
	t := newLCSTable(a.str, b.str)
	n := t.at(len(a.str), len(b.str))
	switch {
	case opts.index:
		c.Map(2)
		c.BulkString("matches")
		c.lcsMatches(t, opts)
		c.BulkString("len")
		c.Int(int64(n))
	case opts.length:
		c.Int(int64(n))
	default:
		common := make([]byte, n)
		t.walk(func(i, _ int) {
			n--
			common[n] = t.a[i]
		})
		c.Bulk(common)
	}
}

func (c *Call) parseLCS() (opts lcsOptions, ok bool) {
	for i := 3; i < len(c.args); i++ {
		switch arg := c.args[i]; {
		case is(arg, "idx"):
			opts.index = true
		case is(arg, "len"):
			opts.length = true
		case is(arg, "withmatchlen"):
			opts.withLen = true
		case is(arg, "minmatchlen") && i+1 < len(c.args):
			i++
			if opts.minLen, ok = parseInt(c.args[i]); !ok {
				c.Error(errNotInteger)
				return opts, false
			}
		default:
			c.Error(errSyntax)
			return opts, false
		}
	}
	if opts.index && opts.length {
		c.Error(errLCSBoth)
		return opts, false
	}
	return opts, true
}

// lcsTable holds the length of the longest common subsequence of each pair of
// beginnings of two strings. It is no greater than the shorter one, whose length
// fits into 16 bits as the product of both is bounded.
type lcsTable struct {
	a, b []byte
	len  []uint16
}

func newLCSTable(a, b []byte) *lcsTable {
	width := len(b) + 1
	t := &lcsTable{a: a, b: b, len: make([]uint16, (len(a)+1)*width)}
	for i, ch := range a {
		above, row := t.len[i*width:(i+1)*width], t.len[(i+1)*width:(i+2)*width]
		for j := range b {
			if ch == b[j] {
				row[j+1] = above[j] + 1
			} else {
				row[j+1] = max(above[j+1], row[j])
			}
		}
	}
	return t
}

func (t *lcsTable) at(i, j int) int { return int(t.len[i*(len(t.b)+1)+j]) }

// walk visits the bytes of the common subsequence from the last to the first.
// Where two of them are as long it takes the one that the server takes.
func (t *lcsTable) walk(visit func(i, j int)) {
	for i, j := len(t.a), len(t.b); i > 0 && j > 0; {
		switch {
		case t.a[i-1] == t.b[j-1]:
			i, j = i-1, j-1
			visit(i, j)
		case t.at(i-1, j) > t.at(i, j-1):
			i--
		default:
			j--
		}
	}
}

// lcsMatches replies with the stretches that the common subsequence is made of,
// the last one first.
func (c *Call) lcsMatches(t *lcsTable, opts lcsOptions) {
	at, count := c.open(), 0
	var startA, startB, n int // the stretch that grows to the left
	emit := func() {
		if n == 0 || int64(n) < opts.minLen {
			return
		}
		count++
		if opts.withLen {
			c.Array(3)
		} else {
			c.Array(2)
		}
		for _, start := range []int{startA, startB} {
			c.Array(2)
			c.Int(int64(start))
			c.Int(int64(start + n - 1))
		}
		if opts.withLen {
			c.Int(int64(n))
		}
	}
	t.walk(func(i, j int) {
		if i+1 != startA || j+1 != startB {
			emit()
			n = 0
		}
		startA, startB, n = i, j, n+1
	})
	emit()
	c.closeArray(at, count)
}
