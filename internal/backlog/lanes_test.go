package backlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// laneByName is the lane of a record in these tests: the number that its key begins
// with.
func laneByName(r journal.Record) uint16 {
	e, err := entry.Parse(r.Meta, r.Body)
	if err != nil {
		return 0
	}
	lane := uint16(0)
	_ = entry.EachCommand(e.Write, func(_ []byte, args [][]byte) error {
		if key, ok := firstKey(args); ok {
			n, _ := strconv.Atoi(strings.TrimRight(string(key), "abcdefghijklmnopqrstuvwxyz"))
			lane = uint16(n)
		}
		return nil
	})
	return lane
}

func is(lanes ...uint16) func(uint16) bool {
	return func(lane uint16) bool { return slices.Contains(lanes, lane) }
}

func incr(key string) journal.Record { return record(entry.Entry{Write: cmd("INCR", key)}) }

// laneFixture is a journal of several lanes, all of whose records are noted.
type laneFixture struct {
	*fixture
	t     *testing.T
	lanes *Lanes
}

func layLanes(t *testing.T, records ...journal.Record) *laneFixture {
	t.Helper()
	b := &laneFixture{fixture: lay(t, records...), t: t}
	b.lanes = NewLanes(b.journal, laneByName)
	t.Cleanup(func() { must(t, b.lanes.Close()) })
	for i, r := range records {
		b.lanes.Note(uint64(i+1), laneByName(r))
	}
	return b
}

// source makes a Source of some lanes.
func (b *laneFixture) source(lanes ...uint16) *fixture {
	b.t.Helper()
	f := &fixture{journal: b.journal, now: noon}
	o := b.opts
	o.Lanes, o.Mine, o.Now = b.lanes, is(lanes...), func() time.Time { return f.now }
	o.Hooks = Hooks{
		Dead:    func(seq uint64, reason string) { f.dead = append(f.dead, fmt.Sprint(seq, " ", reason)) },
		Trimmed: func(upTo uint64) { f.trimmed = append(f.trimmed, upTo) },
		Problem: func(what string, err error) { f.problems = append(f.problems, what+": "+err.Error()) },
	}
	f.Source = New(context.Background(), o)
	b.t.Cleanup(func() { must(b.t, f.Close()) })
	return f
}

// add appends a record and notes it.
func (b *laneFixture) add(r journal.Record) {
	b.t.Helper()
	ticket, err := b.journal.Append(r)
	must(b.t, err)
	must(b.t, ticket.Wait(b.t.Context()))
	b.lanes.Note(ticket.Seq(), laneByName(r))
}

func (f *fixture) wantBounds(t *testing.T, trimmed, last uint64) {
	t.Helper()
	if got := f.Bounds(); got != (replay.Bounds{Trimmed: trimmed, Last: last}) || f.Trimmed() != trimmed {
		t.Errorf("bounds %+v, want %d to %d", got, trimmed, last)
	}
}

// places are those of a window behind after, as "seq/lane".
func (f *fixture) places(t *testing.T, after uint64, maxEntries int) (shown []string) {
	t.Helper()
	places, err := f.Window(nil, after, maxEntries, 1<<20)
	must(t, err)
	for _, p := range places {
		shown = append(shown, fmt.Sprint(p.Seq, "/", p.Lane))
	}
	return shown
}

// entries are the sequences of what is to be sent of the window, where the lanes are
// applied up to some sequence; a lane that is not given is left out.
func (f *fixture) entries(t *testing.T, applied map[uint16]uint64) (seqs []string) {
	t.Helper()
	all, err := f.Entries(nil, func(lane uint16) (uint64, bool) { upTo, ok := applied[lane]; return upTo, ok })
	must(t, err)
	for _, e := range all {
		seqs = append(seqs, fmt.Sprint(e.Seq, "/", e.Lane))
	}
	return seqs
}

func (b *laneFixture) wantTrimmed(upTo uint64) {
	b.t.Helper()
	if got := b.journal.Stats().Trimmed; got != upTo {
		b.t.Errorf("the journal is trimmed up to %d, want %d", got, upTo)
	}
}

// TestLanesOfTwoSources: each sees and ends its own entries, and the journal gives back
// what is over for both.
func TestLanesOfTwoSources(t *testing.T) {
	b := layLanes(t, incr("1a"), incr("2a"), incr("1b"), incr("2b"), incr("2c"), incr("1c"), incr("3a"))
	one, other := b.source(1), b.source(2, 3)
	one.wantBounds(t, 0, 6)
	other.wantBounds(t, 0, 7)
	if one.Highest() != 7 || !one.Few(3) || one.Few(2) || b.Few(100) {
		t.Errorf("highest %d, few %v", one.Highest(), one.Few(3))
	}
	equal(t, "a window", one.places(t, 0, 100), "1/1", "3/1", "6/1")
	equal(t, "the rest of it", one.places(t, 3, 100), "6/1")
	equal(t, "what was applied is left out", one.entries(t, map[uint16]uint64{1: 6}))
	one.places(t, 0, 100)
	equal(t, "the entries", one.entries(t, map[uint16]uint64{1: 0}), "1/1", "3/1", "6/1")
	one.Met("run one")
	must(t, one.SaveProgress(replay.Progress{Acked: 6, ReplID: " repl"}))
	if got := b.journal.Progress(); got != (journal.Progress{}) {
		t.Errorf("the journal keeps the progress of one of several: %+v", got)
	}

	must(t, one.Trim(6, true))
	one.wantBounds(t, 6, 6)
	b.wantTrimmed(1)
	equal(t, "the ledger", b.outcomes(t, 7),
		"replayed run one repl", "none", "replayed run one repl", "none", "none", "replayed run one repl", "none")
	if b.lanes.Pending(is(1)) || !b.lanes.Pending(is(3)) || b.lanes.Last(is(1)) != 0 || b.lanes.Last(is(2)) != 5 {
		t.Error("what is pending")
	}
	if !one.Few(0) {
		t.Error("what is over still waits")
	}

	equal(t, "the other's window", other.places(t, 0, 2), "2/2")
	equal(t, "all applied", other.entries(t, map[uint16]uint64{2: 2}))
	equal(t, "the other's window", other.places(t, 2, 100), "4/2", "5/2", "7/3")
	equal(t, "without a lane", other.entries(t, map[uint16]uint64{2: 4}), "5/2")
	equal(t, "with it", other.entries(t, map[uint16]uint64{2: 5, 3: 0}), "7/3")
	must(t, other.Trim(4, true))
	b.wantTrimmed(4)
	if other.Few(1) || !other.Few(2) {
		t.Error("two entries wait")
	}
	must(t, other.Trim(7, false))
	b.wantTrimmed(7)
	other.wantBounds(t, 7, 7)
	one.wantBounds(t, 6, 6)
	equal(t, "the ledger", b.outcomes(t, 7),
		"replayed run one repl", "replayed", "replayed run one repl", "replayed", "unconfirmed", "replayed run one repl", "unconfirmed")
	if !slices.Equal(one.trimmed, []uint64{6}) || !slices.Equal(other.trimmed, []uint64{4, 7}) {
		t.Errorf("told of %v and %v", one.trimmed, other.trimmed)
	}
	b.add(incr("1d"))
	one.wantBounds(t, 6, 8)
	equal(t, "what came later", one.places(t, 6, 100), "8/1")
	equal(t, "problems", slices.Concat(one.problems, other.problems))
}

// TestLanesChangeHands: a Source goes on where the ones before it were, in each lane.
func TestLanesChangeHands(t *testing.T) {
	b := layLanes(t, incr("1a"), incr("2a"), incr("1b"), incr("2b"), incr("1c"))
	must(t, b.source(1).Trim(3, true))
	both := b.source(1, 2)
	both.wantBounds(t, 0, 5)
	equal(t, "of both", both.places(t, 0, 100), "2/2", "4/2", "5/1")
	equal(t, "read plainly", both.read(t, 0, 100), "2 INCR 2a", "4 INCR 2b", "5 INCR 1c")
	must(t, both.Trim(5, true))
	b.wantTrimmed(5)
	again := b.source(2)
	again.wantBounds(t, 5, 5)
	if !again.Few(0) {
		t.Error("what is over still waits")
	}
}

// TestLanesNotNoted: an entry that is in the journal and not noted yet is neither given
// back nor left out.
func TestLanesNotNoted(t *testing.T) {
	b := layLanes(t, incr("1a"))
	ticket, err := b.journal.Append(incr("2a"))
	must(t, err, ticket.Wait(t.Context()))
	b.add(incr("1b"))
	must(t, b.source(1).Trim(3, true))
	b.wantTrimmed(1)
	late := b.source(1, 2)
	b.lanes.Note(2, 2)
	late.wantBounds(t, 0, 2)
	equal(t, "the window", late.places(t, 0, 100), "2/2")
	must(t, late.Trim(3, true))
	b.wantTrimmed(3)
}

// TestLanesOfDeadLetters: what is dead keeps nothing in the journal.
func TestLanesOfDeadLetters(t *testing.T) {
	b := layLanes(t, incr("1a"), incr("2a"), incr("1b"))
	one, other := b.source(1), b.source(2)
	equal(t, "the window", other.places(t, 0, 100), "2/2")
	must(t, other.DeadLetter(replay.DeadLetter{Seq: 2, Reason: replay.ReasonInDoubt}))
	equal(t, "a dead one", other.entries(t, map[uint16]uint64{2: 0}))
	equal(t, "read again", other.places(t, 0, 100))
	must(t, one.Trim(3, true))
	b.wantTrimmed(3)
	must(t, other.Trim(2, true))
	equal(t, "the ledger", b.outcomes(t, 3), "replayed", "dead-lettered in doubt", "replayed")
}

// TestLanesLookedThroughAgain: what was trimmed while the rest of a window waits is over, and
// counts once.
func TestLanesLookedThroughAgain(t *testing.T) {
	lapsing := record(entry.Entry{Write: cmd("SET", "1b", "v"), Sets: true, Lapses: ms(time.Minute)})
	b := layLanes(t, incr("1a"), lapsing, incr("2a"), incr("1c"), incr("1d"))
	f := b.source(1, 2)
	f.places(t, 0, 100)
	f.entries(t, map[uint16]uint64{1: 0, 2: 0})
	must(t, f.Trim(2, true))
	f.now = noon.Add(time.Hour)
	equal(t, "the rest", f.entries(t, map[uint16]uint64{1: 2, 2: 0}), "3/2", "4/1", "5/1")
	if n := b.lanes.state(1).waiting.Load(); n != 2 {
		t.Errorf("%d entries of the lane wait, want 2", n)
	}
	must(t, f.Trim(3, false))
	if n := b.lanes.state(1).waiting.Load(); n != 2 {
		t.Errorf("%d entries of the lane wait after the other lane's end, want 2", n)
	}
	equal(t, "the ledger", b.outcomes(t, 3), "replayed", "replayed", "unconfirmed")
}

// TestLanesOfWhatThePrimaryHas: an entry that is applied already is not looked at for
// whether it is too late by now: it would be set aside and offered to be sent again.
func TestLanesOfWhatThePrimaryHas(t *testing.T) {
	late := func(key string) journal.Record {
		return record(entry.Entry{Write: cmd("SET", key, "v"), Useful: ms(time.Minute)})
	}
	lapsing := func(key string) journal.Record {
		return record(entry.Entry{Write: cmd("SET", key, "v"), Sets: true, Lapses: ms(time.Minute)})
	}
	b := layLanes(t, late("1a"), late("2a"), lapsing("1b"), lapsing("2b"))
	f := b.source(1, 2)
	f.places(t, 0, 100)
	equal(t, "at noon", f.entries(t, map[uint16]uint64{1: 0, 2: 4}), "1/1", "3/1")
	f.now = noon.Add(time.Hour)
	f.places(t, 0, 100)
	equal(t, "later, all applied", f.entries(t, map[uint16]uint64{1: 4, 2: 4}))
	equal(t, "dead letters", f.dead)
	if f.Counts() != (Counts{}) {
		t.Errorf("counts %+v", f.Counts())
	}
	must(t, f.Trim(4, true))
	equal(t, "the ledger", b.outcomes(t, 4), "replayed", "replayed", "replayed", "replayed")

	b = layLanes(t, lapsing("1a"), lapsing("2a"))
	f = b.source(1, 2)
	f.now = noon.Add(time.Hour)
	f.places(t, 0, 100)
	equal(t, "an earlier process's", f.entries(t, map[uint16]uint64{1: 1, 2: 0}), "2/2")
	must(t, f.Trim(2, true))
	equal(t, "the ledger", b.outcomes(t, 2), "replayed "+detailLapsed, "expired")
}

// TestLanesReadPlainly: with one fence for all, what lies before the first reading is
// entered into the ledger too, and nobody else's is.
func TestLanesReadPlainly(t *testing.T) {
	b := layLanes(t, incr("1a"), incr("2a"), incr("1b"), incr("2b"), incr("1c"))
	f := b.source(1)
	equal(t, "behind the fence", f.read(t, 3, 100), "5 INCR 1c")
	must(t, f.Trim(5, true))
	equal(t, "the ledger", b.outcomes(t, 5), "replayed", "none", "replayed", "none", "replayed")
	b.wantTrimmed(1)
}

// TestLanesOfNone: a Source of the whole journal is none of some lanes.
func TestLanesOfNone(t *testing.T) {
	b := lay(t, incr("1a"))
	if b.HasLanes() || !layLanes(t).source(1).HasLanes() {
		t.Error("which of the two has lanes")
	}
	if _, err := b.Window(nil, 0, 10, 10); !errors.Is(err, errNoLanes) {
		t.Errorf("Window: %v", err)
	}
	if _, err := b.Entries(nil, nil); !errors.Is(err, errNoLanes) {
		t.Errorf("Entries: %v", err)
	}
	o := replay.Options{ClientID: "x", Source: b.Source, Fence: func(uint16) string { return "f" }}
	if err := o.Validate(); err == nil {
		t.Error("a fence for each lane of a Source without lanes")
	}
}

// TestLanesRollback: what never came into the journal is waited for by nobody.
func TestLanesRollback(t *testing.T) {
	b := layLanes(t, incr("1a"), incr("2a"))
	b.lanes.Note(3, 1)
	b.lanes.Note(4, 2)
	f := b.source(1, 2)
	f.wantBounds(t, 0, 2) // what is not committed can't be read
	b.lanes.Rollback(3)
	f.places(t, 0, 100)
	must(t, f.Trim(2, true))
	f.wantBounds(t, 2, 2)
	if b.lanes.Pending(is(1, 2)) || !f.Few(0) {
		t.Error("something waits")
	}
	b.wantTrimmed(2)
}

// TestLanesAtOnce: writers, and the replays of four shards, all at once.
func TestLanesAtOnce(t *testing.T) {
	b := layLanes(t)
	const shards, each = 4, 300
	var writers, replays sync.WaitGroup
	for range shards {
		writers.Go(func() {
			for range each {
				r := incr(strconv.Itoa(rand.IntN(40)) + "k")
				ticket, err := b.journal.Append(r)
				if err != nil {
					t.Error(err)
					return
				}
				b.lanes.Note(ticket.Seq(), laneByName(r))
			}
		})
	}
	var mu sync.Mutex
	seen := map[uint64]int{}
	written := make(chan struct{})
	for shard := range uint16(shards) {
		o := b.opts
		o.Hooks = Hooks{}
		o.Lanes, o.Mine = b.lanes, func(lane uint16) bool { return lane%shards == shard }
		s := New(context.Background(), o)
		t.Cleanup(func() { must(t, s.Close()) })
		replays.Go(func() {
			for last := false; ; {
				select {
				case <-written:
					last = true
				default:
				}
				bounds := s.Bounds()
				entries, err := drainOnce(s, bounds)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, e := range entries {
					seen[e.Seq]++
				}
				mu.Unlock()
				if last && bounds.Last == bounds.Trimmed {
					return
				}
			}
		})
	}
	writers.Wait()
	must(t, b.journal.Sync(t.Context()))
	close(written)
	replays.Wait()
	for seq := uint64(1); seq <= shards*each; seq++ {
		if seen[seq] != 1 {
			t.Fatalf("entry %d was read %d times", seq, seen[seq])
		}
	}
	b.wantTrimmed(shards * each)
	for _, outcome := range b.outcomes(t, shards*each) {
		if outcome != "replayed" {
			t.Fatalf("an entry's fate is %q", outcome)
		}
	}
	if b.lanes.Pending(func(uint16) bool { return true }) {
		t.Error("something is pending")
	}
}

// drainOnce reads a window and trims it.
func drainOnce(s *Source, b replay.Bounds) ([]replay.Entry, error) {
	if b.Last == b.Trimmed {
		return nil, nil
	}
	places, err := s.Window(nil, b.Trimmed, 50, math.MaxInt)
	if err != nil {
		return nil, err
	}
	upTo := b.Last
	if len(places) > 0 {
		upTo = places[len(places)-1].Seq
	}
	entries, err := s.Entries(nil, func(uint16) (uint64, bool) { return 0, true })
	if err != nil {
		return nil, err
	}
	return entries, s.Trim(upTo, true)
}

func BenchmarkNote(b *testing.B) {
	j, _, err := journal.Open(journal.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	l := NewLanes(j, laneByName)
	seq := uint64(0)
	for b.Loop() {
		seq++
		l.Note(seq, uint16(seq))
	}
}

func BenchmarkBounds(b *testing.B) {
	j, _, err := journal.Open(journal.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	s := New(context.Background(), Options{
		Journal: j, Now: time.Now, Lanes: NewLanes(j, laneByName), Mine: func(lane uint16) bool { return lane%3 == 0 },
	})
	for b.Loop() {
		s.Bounds()
	}
}
