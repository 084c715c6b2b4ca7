package backlog

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/slot"
)

// Lanes is how far each lane of one journal is, for several Sources that replay some
// lanes each. The entries of a lane are in one order and of different lanes in none: a
// lane is a hash slot in a Cluster, and a shard in a Ring.
//
// All of it is in memory: after a restart every entry that the journal still has
// counts as pending, and the fences tell which of them a primary has.
//
// It is safe for concurrent use, has no goroutine, and a Note takes no lock.
type Lanes struct {
	journal *journal.Journal
	laneOf  func(journal.Record) uint16
	states  [slot.Count]laneState
	high    atomic.Uint64 // beyond this nothing is done in any lane
	owed    owed

	// sweeps is how often giving the journal's beginning back was asked for since
	// somebody does so, who alone uses what follows.
	sweeps  atomic.Int64
	reader  *journal.Reader
	swept   uint64       // up to here everything is done
	blocked replay.Place // the first entry that was not; Seq 0: not known
}

// laneState is one lane.
type laneState struct {
	last    atomic.Uint64 // of its entries; may be too high after a Rollback
	done    atomic.Uint64 // its entries up to this sequence are over
	waiting atomic.Int64  // about how many are not
}

// NewLanes returns the state of a journal whose records' lanes lane tells; it is
// called from several goroutines. Lanes are numbered from 0 to 16383. Note what the
// journal holds already, then each entry. Close it after its Sources.
func NewLanes(j *journal.Journal, lane func(journal.Record) uint16) *Lanes {
	l := &Lanes{journal: j, laneOf: lane, swept: j.Stats().Trimmed}
	l.reader = j.NewReader(l.swept + 1)
	return l
}

// Close gives up the journal's files. The Sources must have been closed.
func (l *Lanes) Close() error { return errors.Join(l.owed.settled(), l.reader.Close()) }

func (l *Lanes) state(lane uint16) *laneState { return &l.states[lane%slot.Count] }

// lane is the lane of a record, in range.
func (l *Lanes) lane(r *journal.Record) uint16 { return l.laneOf(*r) % slot.Count }

// Note says that the journal has taken an entry. It costs some ten nanoseconds. An
// entry is sent whether it was noted or not, but until then nobody knows that it
// waits: note it before its caller is answered.
func (l *Lanes) Note(seq uint64, lane uint16) {
	s := l.state(lane)
	s.waiting.Add(1)
	raise(&s.last, seq)
}

// raise makes v at least seq.
func raise(v *atomic.Uint64, seq uint64) {
	for {
		old := v.Load()
		if seq <= old || v.CompareAndSwap(old, seq) {
			return
		}
	}
}

// Rollback says that the entries from a sequence on never came into the journal. No
// Note may run beside it. A lane that had some may count as pending until its next
// replay, which finds nothing to do.
func (l *Lanes) Rollback(from uint64) {
	for i := range l.states {
		if s := &l.states[i]; from > 0 && s.last.Load() >= from {
			s.last.Store(from - 1)
		}
	}
}

// Pending reports whether any of mine has an entry that is not over.
func (l *Lanes) Pending(mine func(lane uint16) bool) bool {
	for i := range l.states {
		if l.states[i].pending() && mine(uint16(i)) {
			return true
		}
	}
	return false
}

// Over reports whether an entry of a lane is over.
func (l *Lanes) Over(seq uint64, lane uint16) bool { return seq <= l.state(lane).done.Load() }

func (s *laneState) pending() bool { return s.last.Load() > s.done.Load() }

// Last is the last entry of mine that is not over; 0: there is none.
func (l *Lanes) Last(mine func(lane uint16) bool) (last uint64) {
	for i := range l.states {
		if s := &l.states[i]; s.pending() && s.last.Load() > last && mine(uint16(i)) {
			last = s.last.Load()
		}
	}
	return last
}

// finish notes that the lanes' entries up to a sequence are over; taken are those that
// were read.
func (l *Lanes) finish(lanes []uint16, taken []replay.Place, upTo uint64) {
	for _, p := range taken {
		l.state(p.Lane).waiting.Add(-1)
	}
	for _, lane := range lanes {
		s := l.state(lane)
		raise(&s.done, upTo)
		if !s.pending() {
			s.waiting.Store(0) // it may have counted what was rolled back, or was not read
		}
	}
	raise(&l.high, upTo)
}

// sweep gives back the beginning of the journal that is over in all lanes. One caller
// at a time does it, also for those who come meanwhile.
func (l *Lanes) sweep(ctx context.Context) error {
	if l.sweeps.Add(1) > 1 {
		return nil
	}
	for {
		seen := l.sweeps.Load()
		err := l.advance(ctx)
		if err != nil {
			l.sweeps.Store(0) // the next one tries again
			return err
		}
		if l.sweeps.CompareAndSwap(seen, 0) {
			return nil
		}
	}
}

// advance reads on from where everything is over, up to the first entry that is not.
// To read is the only way to be sure: an entry may be in the journal and not noted.
func (l *Lanes) advance(ctx context.Context) error {
	before := l.swept
	for !l.isBlocked() && l.swept < l.high.Load() {
		records, err := l.reader.Next(ctx, 1024, 1<<20)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			break
		}
		l.pass(records)
	}
	// Back to the first entry that is not over, and out of the file: an open one keeps
	// its disk, although it was removed.
	if err := l.reader.Seek(l.swept + 1); err != nil || l.swept == before {
		return err
	}
	return l.journal.Trim(ctx, l.swept)
}

// pass goes over the records that are over.
func (l *Lanes) pass(records []journal.Record) {
	for i := range records {
		l.blocked = replay.Place{Seq: records[i].Seq, Lane: l.lane(&records[i])}
		if l.isBlocked() {
			return
		}
		l.swept = records[i].Seq
	}
}

// isBlocked reports whether the entry that was not over still isn't.
func (l *Lanes) isBlocked() bool {
	if l.blocked.Seq > l.state(l.blocked.Lane).done.Load() && !l.journal.IsDead(l.blocked.Seq) {
		return true
	}
	l.blocked = replay.Place{}
	return false
}
