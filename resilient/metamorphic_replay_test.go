package resilient_test

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestBatchesDoNotChangeResults: what one process deferred in an outage ends in the same
// data, however it is cut into segments on the disk and into batches on the way.
func TestBatchesDoNotChangeResults(t *testing.T) {
	t.Parallel()
	n, seed := 3_000, uint64(time.Now().UnixNano())
	if os.Getenv("HOLDFAST_SOAK") != "" {
		n = 100_000
	}
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("HOLDFAST_SEED=%d", seed)
	commands := sequence(seed, n)
	before := commands[:n/4]
	records := deferredBy(t, before, commands[n/4:])
	var first *passage
	for _, v := range []struct {
		name   string
		kept   journal.Options
		replay replay.Options
	}{
		{"defaults", journal.Options{Dir: "disk"}, replay.Options{}},
		{"in memory", journal.Options{}, replay.Options{}},
		{"one by one", journal.Options{}, replay.Options{BatchEntries: 1}},
		{"by seven, small segments", journal.Options{Dir: "disk", SegmentBytes: 4 << 10}, replay.Options{BatchEntries: 7}},
		{"not merged, not paced", journal.Options{}, replay.Options{NoCoalescing: true, Rate: -1}},
		{"by few bytes", journal.Options{}, replay.Options{BatchBytes: 200}},
	} {
		p := &passage{variant: variant{name: v.name}}
		server := redistest.StartT(t, redistest.Options{}).Node(0)
		for _, args := range before {
			words := make([]any, len(args))
			for i, a := range args {
				words[i] = a
			}
			_ = server.Client().Do(context.Background(), words...) // its errors are the same everywhere
		}
		if v.kept.Dir != "" {
			v.kept.Dir = t.TempDir()
		}
		s := replayTo(t, server, records, v.kept, v.replay)
		if s.DeadLettered != 0 || s.Replayed != uint64(len(records)) {
			t.Errorf("%s: %+v of %d entries", v.name, s, len(records))
		}
		p.keys = digests(t, server.Client())
		if first == nil {
			first = p
			t.Logf("%d commands, %d entries, %d keys", n, len(records), len(p.keys))
		}
		for _, fault := range compareKeys(first, p) {
			t.Errorf("%q and %q: %s", first.name, p.name, fault)
		}
	}
}

// deferredBy is the journal that a client leaves behind which executed some commands
// before an outage and others in it.
func deferredBy(t *testing.T, before, in [][][]byte) []journal.Record {
	t.Helper()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	o := resilient.Options{Dir: t.TempDir(), Fsync: resilient.FsyncNo}
	c := openWith(t, g, redis.UniversalOptions{}, &o)
	p := &passage{}
	p.run(ctx, c, before)
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	p.run(ctx, c, in)
	check(t, c.Close())
	names, err := os.ReadDir(o.Dir)
	check(t, err)
	if len(names) != 1 {
		t.Fatalf("%d journals in the directory, want 1", len(names))
	}
	j, _, err := journal.Adopt(journal.Options{Dir: o.Dir, MaxBytes: -1}, names[0].Name())
	check(t, err)
	defer func() { check(t, j.Close()) }()
	r := j.NewReader(1)
	defer func() { check(t, r.Close()) }()
	var all []journal.Record
	for {
		some, err := r.Next(ctx, 100, 1<<20)
		check(t, err)
		if len(some) == 0 {
			break
		}
		for _, rec := range some {
			rec.Meta, rec.Body = bytes.Clone(rec.Meta), bytes.Clone(rec.Body)
			all = append(all, rec)
		}
	}
	if len(all) < len(in)/4 {
		t.Fatalf("%d commands left %d entries", len(in), len(all))
	}
	return all
}

// replayTo writes entries into a journal of its own and replays it to a server.
func replayTo(t *testing.T, server *redistest.Node, records []journal.Record, kept journal.Options, o replay.Options) replay.Stats {
	t.Helper()
	kept.MaxBytes, kept.Fsync = -1, journal.FsyncNo
	j, _, err := journal.Open(kept)
	check(t, err)
	defer func() { check(t, j.Close()) }()
	var last journal.Ticket
	for _, rec := range records {
		last, err = j.Append(rec)
		check(t, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	check(t, last.Wait(ctx))
	// A ticket without a directory is through before that.
	redistest.Eventually(t, testPatience, "the journal to hold all", func() bool { return j.Stats().Last == last.Seq() })
	src := backlog.New(ctx, backlog.Options{Journal: j, Now: time.Now})
	defer func() { check(t, src.Close()) }()
	drained := make(chan struct{}, 1)
	o.ClientID, o.Source = j.ID().String(), src
	o.Hooks.Drained = func(uint64) {
		drained <- struct{}{} // nobody adds to this journal: it comes once
		cancel()
	}
	r, err := replay.New(o)
	check(t, err)
	err = r.Run(ctx, replay.Target{Addr: server.Addr()})
	select {
	case <-drained:
	default:
		t.Fatalf("the replay ended before all was sent: %v", err)
	}
	return r.Stats()
}

// TestWeakerSyncOutlivesTheProcess: what is acknowledged with FsyncEverySec and FsyncNo
// is in the files, if not on the disk: whoever reads them while the process still runs, and
// so after its death as well, finds all of it.
func TestWeakerSyncOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	check(t, g.WaitSynced(ctx))
	check(t, g.Cycle(ctx))
	for _, sync := range []resilient.Fsync{resilient.FsyncEverySec, resilient.FsyncNo} {
		dir, copied := t.TempDir(), t.TempDir()
		c := open(t, g, &resilient.Options{Dir: dir, Fsync: sync})
		key := "n" + strconv.Itoa(int(sync))
		for want := int64(1); want <= 200; want++ {
			if n, err := c.Incr(ctx, key).Result(); n != want || err != nil {
				t.Fatalf("INCR = %d, %v", n, err)
			}
		}
		check(t, os.CopyFS(copied, os.DirFS(dir)))
		next := open(t, g, &resilient.Options{Dir: copied, Fsync: sync})
		if n := next.Stats().Entries; n != 200 {
			t.Errorf("sync %d: %d entries in the files, want 200", sync, n)
		}
		if n, err := next.Get(ctx, key).Int(); n != 200 || err != nil {
			t.Errorf("sync %d: the successor reads %d, %v", sync, n, err)
		}
		check(t, next.Close())
		check(t, c.Close())
	}
}
