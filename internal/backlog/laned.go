package backlog

import (
	"cmp"
	"errors"
	"slices"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/slot"
)

// laned is the part of a Source that reads some lanes of its journal.
type laned struct {
	*Lanes
	mine []uint16 // ascending
	is   [slot.Count]bool

	window []placed // of the latest Window; of the goroutine of the replay

	// What follows is guarded by Source.mu.
	trimmed uint64
	settled uint64         // up to here the ledger has been told; trimmed follows
	seen    []replay.Place // was handed out, or found in the primary, and is not trimmed; ascending
	lapsed  spans          // of these: were found there, and their deadlines have passed
}

// placed is a record of a window.
type placed struct {
	replay.Place
	journal.Record
}

// newLaned takes the state of the lanes as it is at this time.
func newLaned(l *Lanes, mine func(lane uint16) bool) *laned {
	d := &laned{Lanes: l}
	for lane := range uint16(slot.Count) {
		if mine == nil || mine(lane) {
			d.mine, d.is[lane] = append(d.mine, lane), true
		}
	}
	for i, lane := range d.mine {
		// Also lanes without entries count: one may be in the journal already, and
		// not be noted yet.
		if done := l.state(lane).done.Load(); i == 0 || done < d.trimmed {
			d.trimmed = done
		}
	}
	return d
}

// wants reports whether a record is one that this Source has to replay. dead says that
// the journal may have dead letters.
func (s *Source) wants(r *journal.Record, dead bool) (lane uint16, ok bool) {
	ok = !dead || !s.opts.Journal.IsDead(r.Seq)
	if s.lanes == nil {
		return 0, ok
	}
	lane = s.lanes.lane(r)
	ok = ok && s.lanes.is[lane] && r.Seq > s.lanes.state(lane).done.Load()
	return lane, ok
}

// pass goes over a record that wants does not.
func (s *Source) pass(r *journal.Record) {
	if s.opts.Conflicts && s.opts.Journal.IsDead(r.Seq) && (s.lanes == nil || s.lanes.is[s.lanes.lane(r)]) {
		s.skip(r)
	}
}

// bounds is Bounds of a Source with lanes.
func (s *Source) bounds(committed uint64) replay.Bounds {
	b := replay.Bounds{Trimmed: s.Trimmed()}
	b.Last = b.Trimmed
	for _, lane := range s.lanes.mine {
		if st := s.lanes.state(lane); st.pending() {
			b.Last = max(b.Last, min(st.last.Load(), committed))
		}
	}
	return b
}

// Trimmed is Bounds().Trimmed at less cost.
func (s *Source) Trimmed() uint64 {
	if s.lanes == nil {
		return s.opts.Journal.Stats().Trimmed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes.trimmed
}

// Few reports whether about n entries wait at most. It is for a Source with lanes,
// whose sequences don't tell how many entries lie between two; false for others.
func (s *Source) Few(n int) bool {
	if s.lanes == nil {
		return false
	}
	left := int64(n)
	for _, lane := range s.lanes.mine {
		if left -= max(s.lanes.state(lane).waiting.Load(), 0); left < 0 {
			return false
		}
	}
	return true
}

// HasLanes implements replay.Laned.
func (s *Source) HasLanes() bool { return s.lanes != nil }

// errNoLanes says that a method of replay.Laned was called which is not there.
var errNoLanes = errors.New("backlog: the Source has no lanes; give Options.Lanes")

// Highest implements replay.Laned.
func (s *Source) Highest() uint64 {
	st := s.opts.Journal.Stats()
	return max(st.Last, st.Trimmed)
}

// Window implements replay.Laned.
func (s *Source) Window(dst []replay.Place, after uint64, maxEntries, maxBytes int) ([]replay.Place, error) {
	if s.lanes == nil {
		return dst, errNoLanes
	}
	s.noteRead(after)
	s.forget(s.Trimmed())
	s.lanes.window = s.lanes.window[:0]
	for len(s.lanes.window) == 0 {
		records, err := s.records(after, maxEntries, maxBytes)
		if err != nil || len(records) == 0 {
			return dst, err
		}
		dead := s.opts.Journal.HasDead()
		for i := range records {
			after = records[i].Seq
			lane, ok := s.wants(&records[i], dead)
			if !ok {
				s.pass(&records[i])
				continue
			}
			p := replay.Place{Seq: after, Lane: lane}
			dst = append(dst, p)
			s.lanes.window = append(s.lanes.window, placed{Place: p, Record: records[i]})
		}
	}
	return dst, nil
}

// Entries implements replay.Laned. What a primary has already is not looked at again:
// to set it aside now, as too late or unreadable, would offer it to be sent once more.
func (s *Source) Entries(dst []replay.Entry, applied func(lane uint16) (uint64, bool)) ([]replay.Entry, error) {
	if s.lanes == nil {
		return dst, errNoLanes
	}
	start, now := len(dst), s.opts.Now()
	for i := range s.lanes.window {
		p := &s.lanes.window[i]
		upTo, ok := applied(p.Lane)
		switch {
		case !ok, s.opts.Journal.IsDead(p.Place.Seq):
		case p.Place.Seq <= upTo:
			s.found(p)
		default:
			s.see(p.Place)
			var err error
			if dst, err = s.appendEntries(dst, &p.Record, p.Lane, now); err != nil {
				return dst[:start], err
			}
		}
	}
	return dst, nil
}

// see notes that an entry was come across, and reports whether for the first time.
func (s *Source) see(p replay.Place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Seq <= s.lanes.settled {
		return false // a window is looked through again while what is behind it is trimmed
	}
	all := s.lanes.seen
	if n := len(all); n == 0 || all[n-1].Seq < p.Seq {
		s.lanes.seen = append(all, p)
		return true
	}
	i, known := slices.BinarySearchFunc(all, p.Seq, bySeq)
	if !known {
		s.lanes.seen = slices.Insert(all, i, p)
	}
	return !known
}

func bySeq(p replay.Place, seq uint64) int { return cmp.Compare(p.Seq, seq) }

// found notes an entry that the primary has. Of one that an earlier process sent and
// whose deadline has passed nobody can tell which came first.
func (s *Source) found(p *placed) {
	if !s.see(p.Place) || FormOf(p.Record, s.opts.Now()).Kind != KindExpired {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes.lapsed.add(p.Place.Seq)
}

// trimLanes is Trim of a Source with lanes: it ends their entries, and gives back what
// is over in all lanes.
func (s *Source) trimLanes(upTo uint64, confirmed bool) error {
	taken := s.settleLanes(upTo, confirmed)
	s.lanes.finish(s.lanes.mine, taken, upTo)
	s.mu.Lock()
	s.lanes.trimmed = max(s.lanes.trimmed, upTo)
	s.mu.Unlock()
	if s.opts.Hooks.Trimmed != nil {
		s.opts.Hooks.Trimmed(upTo)
	}
	return s.freed(s.lanes.sweep(s.ctx))
}

// settleLanes enters into the ledger how the entries up to upTo ended, and returns
// them. They stand between those of others, of which nothing is said.
func (s *Source) settleLanes(upTo uint64, confirmed bool) []replay.Place {
	s.mu.Lock()
	from, unread := s.lanes.trimmed+1, min(upTo, s.unread)
	s.lanes.settled = max(s.lanes.settled, upTo)
	n, known := slices.BinarySearchFunc(s.lanes.seen, upTo, bySeq)
	if known {
		n++
	}
	taken := slices.Clone(s.lanes.seen[:n])
	s.lanes.seen = slices.Delete(s.lanes.seen, 0, n)
	expired, diverged, lapsed := s.expired.take(upTo), s.diverged.take(upTo), s.lanes.lapsed.take(upTo)
	fate := s.fate(confirmed)
	s.mu.Unlock()

	early, late := s.passed(from, unread)
	taken = slices.Concat(early, taken)
	lapsed = slices.Concat(late, lapsed)
	s.enterPlaces(fate, taken, lapsed)
	s.enterSpans(fate, journal.OutcomeExpired, expired)
	s.enterSpans(fate, journal.OutcomeDiverged, diverged)
	return taken
}

// passed are the entries from the one to the other that were never read, as the
// primary had them from the start, and those of them whose deadlines have passed.
func (s *Source) passed(from, to uint64) (places []replay.Place, lapsed spans) {
	now := s.opts.Now()
	s.between(from, to, func(r *journal.Record) {
		lane, ok := s.wants(r, true)
		if !ok {
			return
		}
		places = append(places, replay.Place{Seq: r.Seq, Lane: lane})
		if FormOf(*r, now).Kind == KindExpired {
			lapsed.add(r.Seq)
		}
	})
	return places, lapsed
}

// fatesAtOnce bounds what is entered into the ledger before its writer is waited for:
// it holds only so many that are not written.
const fatesAtOnce = 1 << 14

// enterPlaces enters a fate for entries that stand alone or in ranges.
func (s *Source) enterPlaces(fate journal.Fate, places []replay.Place, lapsed spans) {
	entered := 0
	for len(places) > 0 {
		detail := ""
		if lapsed.has(places[0].Seq) {
			detail = detailLapsed
		}
		n := 1
		for n < len(places) && places[n].Seq == places[n-1].Seq+1 && lapsed.has(places[n].Seq) == (detail != "") {
			n++
		}
		fate.From, fate.To, fate.Detail = places[0].Seq, places[n-1].Seq, detail
		s.enter(fate)
		places = places[n:]
		entered++
		s.letLedger(entered)
	}
}
