package replay

import (
	"strings"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// Divergence is a write whose reply was not the one that its caller had been promised.
type Divergence struct {
	Seq uint64
	// Command is its name in capitals, MULTI for several.
	Command string
}

// Witness is a Source that is told of writes which were answered otherwise than
// promised, from the goroutine of Run. Such a write was applied, and is told of again
// if it is applied again after a failover.
type Witness interface {
	Diverged(seq uint64)
}

// comparison is the part of an outcome that is held against what was promised.
type comparison struct {
	parts    []part // what was sent; none: nothing is compared
	diverged []int  // the parts that were answered otherwise

	digest resp.Digest // of the replies to the write so far
	inside bool        // the part before belongs to the same write
	faulty bool        // a part of it has failed
}

// again is the comparison of the next answers.
func (c *comparison) again() comparison {
	return comparison{parts: c.parts, diverged: c.diverged[:0]}
}

// element reads the answer of EXEC to a part, and returns its text if it is an error,
// else "".
func (c *comparison) element(r replies, i int) (string, error) {
	if i >= len(c.parts) || c.parts[i].reply == 0 {
		return r.status()
	}
	p := &c.parts[i]
	if !c.inside {
		c.digest, c.faulty = resp.NewDigest(), false
	}
	c.inside = p.more
	digest, v, err := r.digest(c.digest)
	if err != nil {
		return "", err
	}
	c.digest = digest
	text := ""
	if v.IsError() {
		c.faulty, text = true, errorText(v)
	}
	if !p.more && !c.faulty && digest.Sum() != p.reply {
		c.diverged = append(c.diverged, i)
	}
	return text, nil
}

// elements reads the answers of EXEC to the parts from i on, below n, as far as they are
// here and are none that element has to read, and returns how many. It does with each
// what element would.
func (c *comparison) elements(r replies, i, n int) int {
	here := r.here()
	at, first := 0, i
	for ; i < n; i++ {
		if i >= len(c.parts) || c.parts[i].reply == 0 {
			_, used := addPlain(resp.NewDigest(), here[at:])
			if used == 0 {
				break
			}
			at += used
			continue
		}
		p := &c.parts[i]
		digest := c.digest
		if !c.inside {
			digest = resp.NewDigest()
		}
		digest, used := addPlain(digest, here[at:])
		if used == 0 {
			break
		}
		at += used
		c.faulty = c.faulty && c.inside
		c.digest, c.inside = digest, p.more
		if !p.more && !c.faulty && digest.Sum() != p.reply {
			c.diverged = append(c.diverged, i)
		}
	}
	_, _ = r.br.Discard(at) // they are here
	return i - first
}

// addPlain adds the reply that b begins with, if it is whole and a simple string, an
// integer or a bulk string; else n is 0.
func addPlain(d resp.Digest, b []byte) (_ resp.Digest, n int) {
	if len(b) == 0 || b[0] != '$' {
		return d.AddLine(b)
	}
	sum, n, err := d.Add(b)
	if err != nil {
		return d, 0
	}
	return sum, n
}

// answered notes of a batch whose answer was read what went otherwise than promised.
func (r *Replayer) answered(b *batch, o *outcome) {
	if o.exec != execApplied {
		return
	}
	r.compared(b, &o.comparison, b.merged()-b.spoilt)
}

// compared notes of a batch how many entries went with others, and which were answered
// otherwise than promised.
func (r *Replayer) compared(b *batch, c *comparison, merged int) {
	diverged := uint64(len(c.diverged))
	if merged > 0 || diverged > 0 {
		r.mu.Lock()
		r.stats.Merged += uint64(merged)
		r.stats.Diverged += diverged
		r.mu.Unlock()
	}
	for _, i := range c.diverged {
		r.tellDiverged(b, &b.parts[i])
	}
}

func (r *Replayer) tellDiverged(b *batch, p *part) {
	e := &b.entries[p.last]
	if w, ok := r.opt.Source.(Witness); ok {
		w.Diverged(e.Seq)
	}
	if r.opt.Hooks.Diverged == nil {
		return
	}
	d := Divergence{Seq: e.Seq, Command: "MULTI"}
	if p.last == 0 || b.entries[p.last-1].Seq != e.Seq {
		if args, _, err := resp.ParseCommand(e.Cmd, nil); err == nil && len(args) > 0 {
			d.Command = strings.ToUpper(string(args[0]))
		}
	}
	r.opt.Hooks.Diverged(d)
}
