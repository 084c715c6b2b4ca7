package backlog

import (
	"cmp"
	"slices"
)

// span is a range of sequences, both ends included.
type span struct{ from, to uint64 }

// spans is a set of sequences: ascending ranges that don't touch. It is not safe for
// concurrent use.
type spans []span

// add reports whether seq is new.
func (s *spans) add(seq uint64) bool {
	// i is the first range that does not end before seq.
	i, _ := slices.BinarySearchFunc(*s, seq, func(r span, seq uint64) int { return cmp.Compare(r.to, seq) })
	if i < len(*s) && (*s)[i].from <= seq {
		return false
	}
	before := i > 0 && (*s)[i-1].to+1 == seq
	behind := i < len(*s) && (*s)[i].from == seq+1
	switch {
	case before && behind:
		(*s)[i-1].to = (*s)[i].to
		*s = slices.Delete(*s, i, i+1)
	case before:
		(*s)[i-1].to = seq
	case behind:
		(*s)[i].from = seq
	default:
		*s = slices.Insert(*s, i, span{seq, seq})
	}
	return true
}

// take removes the sequences up to and including upTo, and returns them.
func (s *spans) take(upTo uint64) (taken spans) {
	for len(*s) > 0 && (*s)[0].from <= upTo {
		r := &(*s)[0]
		if r.to > upTo {
			taken = append(taken, span{r.from, upTo})
			r.from = upTo + 1
			break
		}
		taken = append(taken, *r)
		*s = (*s)[1:]
	}
	return taken
}

// has reports whether seq is in the set.
func (s spans) has(seq uint64) bool {
	_, found := slices.BinarySearchFunc(s, seq, func(r span, seq uint64) int {
		switch {
		case r.to < seq:
			return -1
		case r.from > seq:
			return 1
		}
		return 0
	})
	return found
}
