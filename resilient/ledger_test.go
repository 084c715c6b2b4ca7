package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// adoptFile opens the journal of a client that was closed.
func adoptFile(t *testing.T, dir, id string) *journal.Journal {
	t.Helper()
	j, _, err := journal.Adopt(journal.Options{Dir: dir}, id)
	check(t, err)
	return j
}

// TestLedgerTellsEachEnd: the id of a receipt finds in the ledger what became of the
// write: replayed, expired or a dead letter.
func TestLedgerTellsEachEnd(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	c := open(t, g, &resilient.Options{Dir: dir})
	check(t, g.Cycle(ctx))
	want := map[string]journal.Outcome{}
	deferred := func(outcome journal.Outcome, write func(context.Context) error) {
		t.Helper()
		with, receipt := resilient.WithReceipt(ctx)
		if receipt.ID() != "" {
			t.Errorf("the id of an empty receipt: %q", receipt.ID())
		}
		check(t, write(with))
		want[receipt.ID()] = outcome
	}
	deferred(journal.OutcomeReplayed, func(ctx context.Context) error { return c.Set(ctx, "plain", 1, 0).Err() })
	for i := range 2 {
		deferred(journal.OutcomeExpired, func(ctx context.Context) error {
			return c.Set(ctx, fmt.Sprint("short:", i), 1, 10*time.Millisecond).Err()
		})
	}
	deferred(journal.OutcomeReplayed, func(ctx context.Context) error { return c.RPush(ctx, "list", 1).Err() })
	deferred(journal.OutcomeDeadLettered, func(ctx context.Context) error { return c.HSet(ctx, "hash", "f", 1).Err() })
	deferred(journal.OutcomeReplayed, func(ctx context.Context) error { return c.Incr(ctx, "n").Err() })
	check(t, c.Close())
	check(t, g.PromoteOnly(ctx, 1))
	check(t, g.Node(1).Client().Set(ctx, "hash", "another process", 0).Err())
	c = open(t, g, &resilient.Options{Dir: dir})
	flush(t, c)
	if s := c.Stats(); s.Expired != 2 || s.Replayed != 3 || s.DeadLettered != 1 || s.RetainedBytes == 0 {
		t.Errorf("stats %+v", s)
	}
	check(t, c.Close())
	checkFates(t, dir, want)
}

func checkFates(t *testing.T, dir string, want map[string]journal.Outcome) {
	t.Helper()
	for id, outcome := range want {
		client, number, ok := strings.Cut(id, "-")
		seq, err := strconv.ParseUint(number, 10, 64)
		if !ok || len(client) != 32 || err != nil {
			t.Fatalf("a receipt's id is %q", id)
		}
		j := adoptFile(t, dir, client)
		fate, known, err := j.Fate(seq)
		if err != nil || !known || fate.Outcome != outcome || fate.ReplID == "" && outcome != journal.OutcomeDeadLettered {
			t.Errorf("%d: %+v, known %v, %v; want %v", seq, fate, known, err, outcome)
		}
		check(t, j.Close())
	}
}

// TestRecordTellsOfItsWrite: what the journal keeps beside a write.
func TestRecordTellsOfItsWrite(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	c := open(t, g, &resilient.Options{Dir: dir})
	check(t, c.Set(ctx, "n", 41, 0).Err())
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	id, span := trace.TraceID{1, 15: 2}, trace.SpanID{3, 7: 4}
	with, receipt := resilient.WithReceipt(trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: trace.FlagsSampled,
	})))
	check(t, c.Incr(with, "n").Err())
	check(t, c.Set(ctx, "k", "v", 0).Err())
	check(t, c.Close())
	name, _, _ := strings.Cut(receipt.ID(), "-")
	j := adoptFile(t, dir, name)
	defer func() { check(t, j.Close()) }()
	r := j.NewReader(1)
	defer func() { check(t, r.Close()) }()
	records, err := r.Next(ctx, 10, 1<<20)
	if err != nil || len(records) != 2 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	incr, err := entry.Parse(records[0].Meta, records[0].Body)
	check(t, err)
	trail := entry.Trace{}
	copy(trail[:], id[:])
	copy(trail[16:], span[:])
	trail[24] = 1
	if incr.Class != entry.ClassAccumulating || incr.Trace != trail || incr.Reply != promise(t, ":42\r\n") ||
		!incr.RESP3 || incr.Estimated || incr.Repeatable {
		t.Errorf("INCR: %+v", incr)
	}
	set, err := entry.Parse(records[1].Meta, records[1].Body)
	check(t, err)
	if set.Class != entry.ClassBlind || set.Trace != (entry.Trace{}) || set.Reply != promise(t, "+OK\r\n") || !set.Repeatable {
		t.Errorf("SET: %+v", set)
	}
	if l := j.Lineage(); len(l.ReplIDs) == 0 || l.Primary != g.Node(0).Addr() {
		t.Errorf("lineage %+v", l)
	}
}

// TestOverflowBlock: where the options say so, a write waits for room, no longer than
// its context.
func TestOverflowBlock(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, &resilient.Options{Dir: t.TempDir(), MaxEntries: 2, OverflowPolicy: resilient.OverflowBlock})
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, "a", 1, 0).Err())
	check(t, c.Set(ctx, "b", 1, 0).Err())
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	err := c.Set(short, "c", 1, 0).Err()
	if !errors.Is(err, resilient.ErrJournalFull) || !errors.Is(err, context.DeadlineExceeded) || !resilient.SafeToRetry(err) {
		t.Errorf("a write without room: %v", err)
	}
	var refused *resilient.CommandError
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "MaxEntries") {
		t.Errorf("its reason: %v", err)
	}
	// A read of a held key, and a pipeline, don't stand behind those that wait.
	waiting := make(chan error, 3)
	for i := range 2 {
		go func() { waiting <- c.Incr(ctx, fmt.Sprint("late:", i)).Err() }()
	}
	go func() {
		waiting <- pipelined(c.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "tx"); return nil }))
	}()
	if v := c.Get(ctx, "a").Val(); v != "1" {
		t.Errorf("GET beside waiting writes: %q", v)
	}
	select {
	case err := <-waiting:
		t.Errorf("a write did not wait: %v", err)
	case <-short.Done():
	}
	check(t, g.PromoteOnly(ctx, 1))
	for range cap(waiting) {
		check(t, <-waiting)
	}
	flush(t, c)
	if got := fmt.Sprint(g.Node(1).Client().MGet(ctx, "a", "b", "c", "late:0", "late:1", "tx").Val()); got != "[1 1 <nil> 1 1 1]" {
		t.Errorf("in Redis: %s", got)
	}
}

// TestEntriesOfALaterVersion: what can't be read is set aside and never sent.
func TestEntriesOfALaterVersion(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	dir := t.TempDir()
	j, _, err := journal.Open(journal.Options{Dir: dir})
	check(t, err)
	for _, meta := range []string{"", "\xff", "\x01"} {
		ticket, err := j.Append(journal.Record{
			At: time.Now(), Meta: []byte(meta), Body: []byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"),
		})
		check(t, err)
		check(t, ticket.Wait(ctx))
	}
	check(t, j.Close())
	c := open(t, g, &resilient.Options{Dir: dir})
	flush(t, c)
	if s := c.Stats(); s.DeadLettered != 3 || s.Replayed != 0 || len(s.JournalProblems) != 1 {
		t.Errorf("stats %+v", s)
	}
	if n := g.Node(0).Client().Exists(ctx, "k").Val(); n != 0 {
		t.Error("one of them was sent")
	}
}

// TestAdoptedEntriesOfALaterVersion: what an adopted journal held and can't be read is
// counted as the client's own is.
func TestAdoptedEntriesOfALaterVersion(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	dir := t.TempDir()
	c := open(t, g, adopting(dir))
	waitState(t, c, resilient.StateHealthy)
	j, _, err := journal.Open(journal.Options{Dir: dir})
	check(t, err)
	for range 2 {
		ticket, err := j.Append(journal.Record{At: time.Now(), Meta: []byte("\xff"), Body: []byte("*1\r\n$4\r\nPING\r\n")})
		check(t, err)
		check(t, ticket.Wait(ctx))
	}
	check(t, j.Close())
	redistest.Eventually(t, testPatience, "the adoption", func() bool { return c.Stats().Adopted == 1 })
	if s := c.Stats(); s.DeadLettered != 2 || s.Replayed != 0 {
		t.Errorf("stats %+v, want 2 dead letters", s)
	}
}
