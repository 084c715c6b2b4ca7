package resilient_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestRingJournalOfOtherShards: a process ends in an outage, and the next one has a Ring of
// other shards. The journal stays where it is, and that is told; a process with the first
// set of shards replays it, and then it is off the list.
func TestRingJournalOfOtherShards(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	s := startRing(t, 0)
	ring := s.ring()
	keys := s.keys(t, ring, 3)
	c := s.wrap(t, ring, dir)
	check(t, s.groups[0].Node(0).Kill())
	for _, key := range keys[0] {
		check(t, c.Set(ctx, key, "v", 0).Err())
	}
	check(t, c.Close())

	told := make(chan resilient.ParkedJournal, 8)
	o := &resilient.Options{
		Dir: dir, ProbeInterval: 50 * time.Millisecond,
		Listener: resilient.Listener{JournalParked: func(i resilient.JournalParkedInfo) { told <- i.Journal }},
	}
	resilient.SetAdoptEvery(o, 20*time.Millisecond)
	other := wrap(t, redis.NewRing(&redis.RingOptions{
		Addrs:              map[string]string{"shard1": s.groups[1].Node(0).Addr(), "shard2": s.groups[2].Node(0).Addr()},
		HeartbeatFrequency: time.Hour,
	}), o)
	select {
	case j := <-told:
		if j.Reason != resilient.ParkedOtherShards || j.Entries != 3 || j.Own || !strings.Contains(j.String(), "other shards") {
			t.Errorf("told of %v", j)
		}
	case <-time.After(testPatience):
		t.Fatal("nobody told of the journal")
	}
	parked := other.Parked()
	if len(parked) != 1 || parked[0].Reason != resilient.ParkedOtherShards || other.Stats().Parked != 1 {
		t.Fatalf("parked: %v", parked)
	}
	if err := other.ReplayParked(ctx, parked[0].ID); !errors.Is(err, resilient.ErrReplayRefused) || !strings.Contains(err.Error(), "other places") {
		t.Errorf("ReplayParked: %v", err)
	}

	check(t, s.groups[0].Node(0).Restart(ctx))
	first := s.wrap(t, s.ring(), dir)
	eventuallyFlushed(t, first)
	for _, key := range keys[0] {
		if v := s.direct(t, 0).Get(ctx, key).Val(); v != "v" {
			t.Errorf("its shard has %q", v)
		}
	}
	redistest.Eventually(t, testPatience, "the journal to be off the list", func() bool { return len(other.Parked()) == 0 })
	select {
	case j := <-told:
		t.Errorf("told again of %v", j)
	default:
	}
}

// TestUnreadLettersAreTold: of journals that are taken over, as the client's own or beside
// it, not all dead letters can be read. That is told, and not that they were left.
func TestUnreadLettersAreTold(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	first := open(t, g, &resilient.Options{Dir: dir})
	redistest.Eventually(t, testPatience, "a look that could take the second one's directory", func() bool { return resilient.Looks(first) > 0 })
	clients := []*resilient.Client{first, open(t, g, &resilient.Options{Dir: dir})}
	check(t, g.Cycle(ctx))
	for _, c := range clients {
		waitState(t, c, resilient.StateNoPrimary)
		check(t, c.Set(ctx, "k", "text", 0).Err())
	}
	for _, c := range clients {
		check(t, c.Close())
	}
	journals, err := filepath.Glob(filepath.Join(dir, "*"))
	check(t, err)
	if len(journals) != 2 {
		t.Fatalf("%q in the directory", journals)
	}
	for _, j := range journals {
		check(t, os.WriteFile(filepath.Join(j, "00000000000000000009.dead"), []byte(strings.Repeat("no letters ", 20)), 0o600))
	}
	o := &resilient.Options{Dir: dir}
	resilient.SetAdoptEvery(o, 20*time.Millisecond)
	c := open(t, g, o)
	check(t, g.Promote(ctx, 0))
	flush(t, c)
	redistest.Eventually(t, testPatience, "both faults to be told", func() bool { return len(c.Stats().JournalProblems) == 2 })
	for _, problem := range c.Stats().JournalProblems {
		if !strings.Contains(problem, "was taken over, but for what can't be read of its dead letters") {
			t.Errorf("told: %q", problem)
		}
	}
}
