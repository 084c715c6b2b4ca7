package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/resilient"
)

// later returns when another client's clock, which is set by the servers', tells a later
// time too.
func later(t *testing.T) {
	t.Helper()
	now := time.Now()
	redistest.Eventually(t, testPatience, "a later time", func() bool { return time.Since(now) > 50*time.Millisecond })
}

// TestOlderJournalGoesAhead: in an outage one process takes over from another, which
// ends only then. What the later one wrote stands, whenever it was started.
func TestOlderJournalGoesAhead(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	older := open(t, g, adopting(dir))
	newer := open(t, g, adopting(dir))
	for i := range 2 {
		check(t, g.Cycle(ctx))
		key := fmt.Sprint("session:", i)
		check(t, older.Set(ctx, key, "old", 0).Err())
		check(t, older.RPush(ctx, "list", "old").Err())
		later(t)
		check(t, newer.Set(ctx, key, "new", 0).Err())
		check(t, newer.RPush(ctx, "list", "new").Err())
		check(t, older.Close())
		check(t, g.Promote(ctx, 1-i))
		waitState(t, newer, resilient.StateHealthy)
		if v := value(g, 1-i, key); v != "new" {
			t.Errorf("outage %d: the server has %q", i, v)
		}
		if s := newer.Stats(); s.Adopted != uint64(i+1) || s.Parked != 0 || s.Entries != 0 {
			t.Errorf("outage %d: %+v", i, s)
		}
		older = open(t, g, adopting(dir))
	}
	if got := fmt.Sprint(g.Node(0).Client().LRange(ctx, "list", 0, -1).Val()); got != "[old new old new]" {
		t.Errorf("the list is %s", got)
	}
}

// TestParkedJournalHoldsNothingUp: an older journal that may not be replayed is passed
// over, and the client's own is.
func TestParkedJournalHoldsNothingUp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	older := open(t, g, &resilient.Options{Dir: dir, Group: "g"})
	o := adopting(dir)
	o.MaxReplayAge = time.Millisecond
	newer := open(t, g, o)
	check(t, g.Cycle(ctx))
	check(t, older.Set(ctx, "k", "old", 0).Err())
	check(t, older.Close())
	later(t)
	check(t, newer.Set(ctx, "own", "v", 0).Err())
	check(t, g.Promote(ctx, 1))
	waitState(t, newer, resilient.StateHealthy)
	if s := newer.Stats(); s.Entries != 0 || s.Parked != 1 || s.Adopted != 0 || value(g, 1, "own") != "v" || value(g, 1, "k") != "" {
		t.Errorf("%+v; own %q, k %q", s, value(g, 1, "own"), value(g, 1, "k"))
	}
}

// TestAdoptOldestFirst: of several journals the one with the newest writes is replayed
// last.
func TestAdoptOldestFirst(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	living := open(t, g, adopting(dir))
	var dying []*resilient.Client
	for range 5 {
		dying = append(dying, open(t, g, &resilient.Options{Dir: dir, Group: "g"}))
	}
	check(t, g.Cycle(ctx))
	want := ""
	for i, c := range dying {
		check(t, c.Append(ctx, "log", fmt.Sprint(i, ";")).Err())
		later(t)
		want += fmt.Sprint(i, ";")
	}
	waitState(t, living, resilient.StateNoPrimary)
	for _, c := range dying {
		check(t, c.Close())
	}
	check(t, g.Promote(ctx, 1))
	redistest.Eventually(t, testPatience, "the adoptions", func() bool { return living.Stats().Adopted == 5 })
	if v := value(g, 1, "log"); v != want {
		t.Errorf("in Redis: %q, want %q", v, want)
	}
}

// TestReplayParkedThatIsRefused: a journal whose copy has gone further is not tried
// over and over, and who confirms it hears so.
func TestReplayParkedThatIsRefused(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	leftBehind(t, g, dir, "k")
	check(t, g.PromoteOnly(ctx, 1))
	o := adopting(dir)
	o.MaxReplayAge = time.Millisecond
	adopted, parked := make(chan string, 64), make(chan resilient.ParkReason, 64)
	o.Listener.JournalAdopted = func(i resilient.JournalAdoptedInfo) { adopted <- i.ID }
	o.Listener.JournalParked = func(i resilient.JournalParkedInfo) { parked <- i.Journal.Reason }
	c := open(t, g, o)
	p := parkedOne(t, c)
	fence := g.Node(1).Client()
	check(t, fence.Set(ctx, replay.FenceKey(p.ID), "99", 0).Err())
	bounded, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	for range 2 {
		err := c.ReplayParked(bounded, p.ID)
		if !errors.Is(err, resilient.ErrReplayRefused) || !errors.Is(err, replay.ErrFenceAhead) {
			t.Fatalf("ReplayParked: %v", err)
		}
	}
	looks := resilient.Looks(c)
	redistest.Eventually(t, testPatience, "further looks", func() bool { return resilient.Looks(c) > looks+3 })
	if all := c.Parked(); len(all) != 1 || all[0].Reason != resilient.ParkedRefused {
		t.Errorf("parked %v", all)
	}
	check(t, fence.Del(ctx, replay.FenceKey(p.ID)).Err())
	check(t, c.ReplayParked(bounded, p.ID))
	if v := value(g, 1, "k"); v != "deferred" {
		t.Errorf("after a call that nothing stood against: %q", v)
	}
	check(t, c.Close()) // all events have been told
	if len(adopted) != 3 || len(parked) != 2 || <-parked != resilient.ParkedOld || <-parked != resilient.ParkedRefused {
		t.Errorf("%d adoptions, %d parkings", len(adopted), len(parked))
	}
}

// TestReplayParkedOwnThatIsRefused is the same of the client's own journal.
func TestReplayParkedOwnThatIsRefused(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	theirs := redistest.StartT(t, redistest.Options{Replicas: 1})
	ours := redistest.StartT(t, redistest.Options{})
	dir := t.TempDir()
	leftBehind(t, theirs, dir, "k")
	check(t, ours.Node(0).Kill())
	c := open(t, ours, adopting(dir))
	check(t, ours.Node(0).Restart(ctx))
	p := parkedOne(t, c)
	fence := ours.Node(0).Client()
	check(t, fence.Set(ctx, replay.FenceKey(p.ID), "99", 0).Err())
	bounded, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	if err := c.ReplayParked(bounded, p.ID); !errors.Is(err, resilient.ErrReplayRefused) || !errors.Is(err, replay.ErrFenceAhead) {
		t.Fatalf("ReplayParked: %v", err)
	}
	check(t, fence.Del(ctx, replay.FenceKey(p.ID)).Err())
	check(t, c.ReplayParked(bounded, p.ID))
	waitState(t, c, resilient.StateHealthy)
	if v := value(ours, 0, "k"); v != "deferred" {
		t.Errorf("after the second call: %q", v)
	}
	if marks, err := filepath.Glob(filepath.Join(dir, "*", "confirmed")); err != nil || len(marks) != 0 {
		t.Errorf("confirmations that outlived what they were for: %v, %v", marks, err)
	}
}

// TestAdoptAfterAPassingError: a journal that can't be opened at one time is looked at
// again at the next.
func TestAdoptAfterAPassingError(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	c := open(t, g, adopting(dir))
	waitState(t, c, resilient.StateHealthy)
	made := t.TempDir()
	j, _, err := journal.Open(journal.Options{Dir: made, Target: "group g db 0"})
	check(t, err)
	ticket, err := j.Append(journal.Record{At: time.Now(), Meta: []byte("\xff"), Body: []byte("*1\r\n$4\r\nPING\r\n")})
	check(t, err)
	check(t, ticket.Wait(ctx))
	id := j.ID().String()
	check(t, j.Close())
	// The lock's place is taken, as it seems to be where a limit is used up.
	lock := filepath.Join(filepath.Join(made, id), "LOCK")
	check(t, os.Remove(lock))
	check(t, os.Mkdir(lock, 0o700))
	check(t, os.Rename(filepath.Join(made, id), filepath.Join(dir, id)))
	redistest.Eventually(t, testPatience, "the error", func() bool { return len(c.Stats().JournalProblems) == 1 })
	check(t, os.Remove(filepath.Join(dir, id, "LOCK")))
	redistest.Eventually(t, testPatience, "the adoption", func() bool { return c.Stats().Adopted == 1 })
	if s := c.Stats(); len(s.JournalProblems) != 1 {
		t.Errorf("problems %q", s.JournalProblems)
	}
}

// TestReceiptOverTwoClients: a receipt tells of the writes of each client by itself.
func TestReceiptOverTwoClients(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	disk := open(t, g, &resilient.Options{Dir: t.TempDir()})
	memory := open(t, g, nil)
	check(t, g.Cycle(ctx))
	for i := range 5 {
		check(t, disk.Set(ctx, "x", i, 0).Err())
	}
	with, r := resilient.WithReceipt(ctx)
	check(t, disk.Set(with, "a", 1, 0).Err())
	first := r.ID()
	check(t, memory.Set(with, "b", 1, 0).Err())
	second, seq := r.ID(), r.Seq()
	check(t, disk.Set(with, "c", 1, 0).Err())
	if third := r.ID(); first[:32] != third[:32] || first[:32] == second[:32] || first[32:] != "-6" || second[32:] != "-1" || third[32:] != "-7" {
		t.Errorf("ids %s, %s, %s", first, second, third)
	}
	if seq != 1 || r.Seq() != 7 || r.Deferred() != 3 || r.Durability() != resilient.DurabilityMemory {
		t.Errorf("places %d and %d of %d writes, durability %v", seq, r.Seq(), r.Deferred(), r.Durability())
	}
	check(t, g.Promote(ctx, 1))
	flush(t, disk)
	flush(t, memory)
	bounded, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	check(t, r.Wait(bounded))
}
