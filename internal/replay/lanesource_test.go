package replay

import (
	"slices"

	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/holdfast-cache/holdfast/internal/slot"
)

// laneSource is a memSource whose entries have the slot of their key as their lane, or
// a part of one that others replay too.
type laneSource struct {
	*memSource
	mine   func(lane uint16) bool
	window []Entry
	done   uint64
}

func newLaneSource(m *memSource, mine func(lane uint16) bool) *laneSource {
	return &laneSource{memSource: m, mine: mine}
}

func everyLane(uint16) bool { return true }

func laneOf(cmd []byte) uint16 {
	args, _, err := resp.ParseCommand(cmd, nil)
	if err != nil || len(args) < 2 {
		return 0
	}
	return slot.Of(args[1])
}

// pending are the entries of mine; mu is held.
func (s *laneSource) pending() (all []Entry) {
	for _, e := range s.entries {
		_, dead := s.dead[e.Seq]
		if e.Lane = laneOf(e.Cmd); e.Seq > s.done && !dead && s.mine(e.Lane) {
			all = append(all, e)
		}
	}
	return all
}

func (s *laneSource) Bounds() Bounds {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := Bounds{Trimmed: s.done, Last: s.done}
	for _, e := range s.entries {
		if s.mine(laneOf(e.Cmd)) {
			b.Last = max(b.Last, e.Seq)
		}
	}
	return b
}

func (s *laneSource) HasLanes() bool { return true }

func (s *laneSource) Highest() uint64 { return s.memSource.Bounds().Last }

func (s *laneSource) Window(dst []Place, after uint64, maxEntries, maxBytes int) ([]Place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window = s.window[:0]
	if s.failRead {
		return dst, errJournal
	}
	size := 0
	for _, e := range s.pending() {
		if e.Seq <= after {
			continue
		}
		if size += len(e.Cmd); len(s.window) == maxEntries || len(s.window) > 0 && size > maxBytes {
			break
		}
		s.window = append(s.window, e)
		dst = append(dst, Place{Seq: e.Seq, Lane: e.Lane})
	}
	return dst, nil
}

func (s *laneSource) Entries(dst []Entry, applied func(lane uint16) (uint64, bool)) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.window {
		_, dead := s.dead[e.Seq]
		if upTo, ok := applied(e.Lane); ok && e.Seq > upTo && !dead {
			dst = append(dst, e)
		}
	}
	return dst, nil
}

func (s *laneSource) Trim(upTo uint64, confirmed bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failTrim {
		return errJournal
	}
	if !confirmed {
		s.unconfirmed = append(s.unconfirmed, upTo)
	}
	s.done = max(s.done, upTo)
	s.entries = slices.DeleteFunc(s.entries, func(e Entry) bool { return e.Seq <= upTo && s.mine(laneOf(e.Cmd)) })
	return nil
}
