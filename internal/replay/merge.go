package replay

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Entries of a batch that can be sent as one command are, as nobody can look in between:
// see package coalesce. It is done when the batch is encoded, and undone when its answer
// is read, so that everybody else has to do with the entries only. What is merged is
// known to nobody but the batch, and not over a session: the fence counts entries.

// merging is how a session merges. It is shared by its batches.
type merging struct {
	on   bool
	pxat bool // the server knows SET's option PXAT
	// Batches in which there is little to merge are passed over, more and more of them,
	// up to maxPassed in a row: looking costs a twentieth of the time of an entry.
	pass, passed int
}

// Fewer than one entry in littleMerged is not worth looking for.
const (
	littleMerged = 50
	maxPassed    = 15
)

// due reports whether a batch is to be looked at.
func (m *merging) due() bool {
	if m == nil || !m.on {
		return false
	}
	if m.passed < m.pass {
		m.passed++
		return false
	}
	return true
}

// found notes how many entries of a batch could be merged.
func (m *merging) found(merged, entries int) {
	m.passed = 0
	if merged*littleMerged >= entries {
		m.pass = 0
	} else if entries >= littleMerged { // a small batch says nothing
		m.pass = min(2*m.pass+1, maxPassed)
	}
}

// merge makes the session's batches merge, or not.
func (s *session) merge(on bool) {
	m := &merging{on: on, pxat: s.node.pxat}
	s.batch.merging, s.next.merging, s.ready.merging = m, m, m
}

// knowsPXAT reports whether a server of this version has SET's option PXAT: it came with
// 6.2. Forks name the version that they are compatible with.
func knowsPXAT(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, err := strconv.Atoi(major)
	y, also := strconv.Atoi(minor)
	return err == nil && also == nil && (x > 6 || x == 6 && y >= 2)
}

// part is a command of a batch as it is sent, for one entry or several.
type part struct {
	cmd         []byte // until the next Read, or encoding
	first, last int    // the entries; between them the merger knows the way
	count       int
	// reply is the digest of the reply that was promised, together with those of the
	// parts before it that belong to the same write; 0: there is none to compare.
	reply uint64
	more  bool // the next part belongs to the same write
}

// plan decides what is sent for the entries.
func (b *batch) plan() []part {
	b.parts = b.parts[:0]
	if !b.merging.due() || !b.planMerged() {
		for i := range b.entries {
			b.parts = append(b.parts, part{cmd: b.entries[i].Cmd, first: i, last: i, count: 1, reply: b.entries[i].Reply})
		}
	}
	for i := range b.parts {
		p := &b.parts[i]
		if p.reply != 0 && i+1 < len(b.parts) {
			p.more = b.entries[p.last].Seq == b.entries[b.parts[i+1].first].Seq
		}
	}
	return b.parts
}

// planMerged is plan with merging; false if there was nothing to merge.
func (b *batch) planMerged() bool {
	m := &b.merger
	m.Start(b.merging.pxat)
	for i := range b.entries {
		e := &b.entries[i]
		m.Add(e.Cmd, e.Free)
	}
	b.merging.found(m.Merged(), len(b.entries))
	if m.Merged() == 0 {
		return false
	}
	for _, c := range m.Commands() {
		p := part{cmd: c.Bytes, first: c.First, last: c.Last, count: c.Count}
		if c.Exact {
			p.reply = b.entries[c.Last].Reply
		}
		b.parts = append(b.parts, p)
	}
	return true
}

// merged is how many entries went with others.
func (b *batch) merged() int { return len(b.entries) - len(b.parts) }

// keep copies the entries' bytes, for when the journal reads on.
func (b *batch) keep() {
	if cap(b.kept) > keepBuffer {
		b.kept = nil
	}
	// The entries may be here already, fewer than before: none is overwritten before it
	// is copied.
	kept := b.kept[:0]
	for i := range b.entries {
		at := len(kept)
		kept = append(kept, b.entries[i].Cmd...)
		b.entries[i].Cmd = kept[at:len(kept):len(kept)]
	}
	b.kept = kept
}

// unplan turns what was answered to the parts into what was answered to the entries: a
// fault of a command is one of each entry that it stands for.
func (b *batch) unplan(o *outcome) {
	b.spoilt = 0
	if b.merged() == 0 {
		return
	}
	for _, f := range o.failed {
		b.spoilt += b.parts[f.index].count - 1
	}
	o.queue = b.faultsOf(o.queue)
	o.failed = b.faultsOf(o.failed)
}

func (b *batch) faultsOf(parts []fault) []fault {
	if len(parts) == 0 {
		return parts
	}
	faults := make([]fault, 0, len(parts))
	for _, f := range parts {
		p := &b.parts[f.index]
		for i := p.first; ; i = b.merger.Next(i) {
			faults = append(faults, fault{i, f.text})
			if i == p.last {
				break
			}
		}
	}
	slices.SortFunc(faults, func(x, y fault) int { return cmp.Compare(x.index, y.index) })
	return faults
}

// joined reports whether an entry went with others.
func (b *batch) joined(index int) bool {
	for _, p := range b.parts {
		for i := p.first; p.count > 1; i = b.merger.Next(i) {
			if i == index {
				return true
			}
			if i == p.last {
				break
			}
		}
	}
	return false
}

// review looks at a verdict for what merging has to do with it. A merged command that
// the server would not even queue may be one that the user has no right to, so the
// entries are sent again as they are, and from now on all are.
func (b *batch) review(v *verdict) {
	if v.resend {
		n := len(v.dead)
		v.dead = slices.DeleteFunc(v.dead, func(f fault) bool { return b.joined(f.index) })
		if len(v.dead) < n {
			b.merging.on = false
		}
	}
	for _, f := range v.dead { // what is left of its write keeps no promise
		seq := b.entries[f.index].Seq
		for i := f.index; i >= 0 && b.entries[i].Seq == seq; i-- {
			b.entries[i].Reply = 0
		}
		for i := f.index; i < len(b.entries) && b.entries[i].Seq == seq; i++ {
			b.entries[i].Reply = 0
		}
	}
}
