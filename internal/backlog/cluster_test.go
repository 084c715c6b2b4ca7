package backlog

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/slot"
)

const patience = 60 * time.Second

// slotOf is the lane of a record in a Cluster.
func slotOf(r journal.Record) (lane uint16) {
	e, err := entry.Parse(r.Meta, r.Body)
	if err != nil {
		return 0
	}
	_ = entry.EachCommand(e.Write, func(_ []byte, args [][]byte) error {
		if key, ok := firstKey(args); ok {
			lane = slot.Of(key)
		}
		return nil
	})
	return lane
}

// process is a client of a Cluster that defers writes into a journal and replays it,
// and may be restarted.
type process struct {
	t       *testing.T
	c       *redistest.Cluster
	proxies []*redistest.Proxy // one for each server
	dir     string
	owners  [slot.Count]int // the shard of each slot
	wrote   map[string]int  // how often each key was written

	journal *journal.Journal
	lanes   *Lanes
}

func newProcess(t *testing.T, o redistest.ClusterOptions) *process {
	t.Helper()
	p := &process{t: t, c: redistest.StartClusterT(t, o), dir: t.TempDir(), wrote: map[string]int{}}
	for _, n := range p.c.Nodes() {
		proxy, err := redistest.NewProxy(n.Addr())
		must(t, err)
		t.Cleanup(func() { must(t, proxy.Close()) })
		p.proxies = append(p.proxies, proxy)
	}
	for i := range p.c.Shards() {
		from, to := p.c.SlotRange(i)
		for s := from; s <= to; s++ {
			p.owners[s] = i
		}
	}
	p.start()
	t.Cleanup(p.stop)
	return p
}

func (p *process) start() {
	p.t.Helper()
	var err error
	p.journal, _, err = journal.Open(journal.Options{Dir: p.dir, Retention: time.Hour})
	must(p.t, err)
	p.lanes = NewLanes(p.journal, slotOf)
	r := p.journal.NewReader(1)
	defer func() { must(p.t, r.Close()) }()
	for {
		records, err := r.Next(p.t.Context(), 1000, 1<<20)
		must(p.t, err)
		for _, rec := range records {
			p.lanes.Note(rec.Seq, slotOf(rec))
		}
		if len(records) == 0 {
			return
		}
	}
}

func (p *process) stop() { must(p.t, p.lanes.Close(), p.journal.Close()) }

// restart ends the process and starts the next one, which takes the journal over.
func (p *process) restart() {
	p.t.Helper()
	id := p.journal.ID()
	p.stop()
	p.start()
	if p.journal.ID() != id {
		p.t.Fatal("another journal was opened")
	}
}

// write defers n writes to each of so many keys, in a mixed order: an INCR, and an
// RPUSH of its number.
func (p *process) write(keys, n int) {
	p.t.Helper()
	for range n {
		for _, k := range rand.Perm(keys) {
			key := "{k" + strconv.Itoa(k) + "}"
			for _, c := range [][]byte{cmd("INCR", key+"n"), cmd("RPUSH", key+"log", strconv.Itoa(p.wrote[key]))} {
				rec := record(entry.Entry{Write: c})
				ticket, err := p.journal.Append(rec)
				must(p.t, err)
				p.lanes.Note(ticket.Seq(), slotOf(rec))
			}
			p.wrote[key]++
		}
	}
	must(p.t, p.journal.Sync(p.t.Context()))
}

// drain is a shard's replay under way.
type drain struct {
	*Source
	*replay.Replayer
	p      *process
	cancel context.CancelFunc
	ended  chan error

	mu   sync.Mutex
	upTo uint64 // guarded by mu: what Drained said last
}

// drain replays a shard's part to a server.
func (p *process) drain(shard, server int) *drain {
	p.t.Helper()
	d := &drain{p: p, ended: make(chan error, 1)}
	d.Source = New(context.Background(), Options{
		Journal: p.journal, Now: time.Now, Lanes: p.lanes,
		Mine:  func(lane uint16) bool { return p.owners[lane] == shard },
		Hooks: Hooks{Problem: func(what string, err error) { p.t.Errorf("%s: %v", what, err) }},
	})
	id := p.journal.ID().String()
	var err error
	d.Replayer, err = replay.New(replay.Options{
		ClientID: id, Source: d.Source, BatchEntries: 10, Timeout: 10 * time.Second,
		Fence: func(lane uint16) string { return replay.FenceKeyOf(id, lane) },
		Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", p.proxies[server].Addr())
		},
		Replicas: func() []string { return nil },
		Hooks: replay.Hooks{
			Ready: func(r replay.Ready) { d.Met(r.RunID) },
			Gap:   func(g replay.Gap) { p.t.Errorf("a gap: %+v", g) },
			Drained: func(upTo uint64) {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.upTo = upTo
			},
		},
	})
	must(p.t, err)
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(context.Background())
	go func() { d.ended <- d.Run(ctx, replay.Target{Addr: p.c.Node(server).Addr()}) }()
	return d
}

// stop ends the replay, and returns why it ended.
func (d *drain) stop() error {
	d.p.t.Helper()
	d.cancel()
	err := <-d.ended
	must(d.p.t, d.Close())
	return err
}

// finish waits until all is in the primary, and ends the replay.
func (d *drain) finish() {
	d.p.t.Helper()
	redistest.Eventually(d.p.t, patience, "the drain", func() bool {
		select {
		case err := <-d.ended:
			d.p.t.Fatalf("Run ended before the drain: %v", err)
		default:
		}
		b := d.Bounds()
		d.mu.Lock()
		defer d.mu.Unlock()
		return b.Trimmed >= b.Last && d.upTo == b.Last
	})
	if err := d.stop(); !errors.Is(err, context.Canceled) {
		d.p.t.Fatalf("Run ended with %v", err)
	}
}

// check compares what some shards have with what was written.
func (p *process) check(shards ...int) {
	p.t.Helper()
	missing, doubled := 0, 0
	for key, n := range p.wrote {
		s := int(slot.Of(key))
		if len(shards) > 0 && p.owners[s] != shards[0] {
			continue
		}
		owner, ok := p.c.Owner(p.t.Context(), s)
		if !ok {
			p.t.Fatalf("the slot of %s has no owner", key)
		}
		got, err := owner.Client().Get(p.t.Context(), key+"n").Int()
		must(p.t, err)
		missing, doubled = missing+max(n-got, 0), doubled+max(got-n, 0)
		log, err := owner.Client().LRange(p.t.Context(), key+"log", 0, -1).Result()
		must(p.t, err)
		var want []string
		for i := range n {
			want = append(want, strconv.Itoa(i))
		}
		if strings.Join(log, ",") != strings.Join(want, ",") {
			p.t.Errorf("%s: %v, want 0 to %d in order", key, log, n-1)
		}
	}
	if missing != 0 || doubled != 0 {
		p.t.Errorf("%d increments are missing, %d doubled", missing, doubled)
	}
}

// checkLedger looks for the fate of every entry.
func (p *process) checkLedger() {
	p.t.Helper()
	must(p.t, p.journal.Sync(p.t.Context()))
	for seq := range p.journal.Stats().Last {
		f, known, err := p.journal.Fate(seq + 1)
		must(p.t, err)
		if !known || f.Outcome != journal.OutcomeReplayed {
			p.t.Fatalf("the fate of entry %d: %+v, %v", seq+1, f, known)
		}
	}
}

// TestClusterWithAShardDown: the shards that have a primary are drained, and the
// journal keeps what the other one needs, over a restart too.
func TestClusterWithAShardDown(t *testing.T) {
	t.Parallel()
	p := newProcess(t, redistest.ClusterOptions{Primaries: 3, Replicas: 1, PartialCoverage: true})
	ctx := t.Context()
	must(t, p.c.AutoFailover(ctx, false), p.c.Node(1).Kill())
	p.write(60, 5)
	p.drain(0, 0).finish()
	p.drain(2, 2).finish()
	p.check(0)
	p.check(2)
	down := func(lane uint16) bool { return p.owners[lane] == 1 }
	up := func(lane uint16) bool { return !down(lane) }
	if p.lanes.Pending(up) || !p.lanes.Pending(down) {
		t.Error("what is pending")
	}
	last := p.journal.Stats().Last
	if got := p.journal.Stats().Trimmed; got >= last || got > p.lanes.Last(down) {
		t.Errorf("the journal gave back up to %d of %d", got, last)
	}

	p.restart()
	p.write(60, 1)
	p.drain(0, 0).finish()
	p.drain(2, 2).finish()
	must(t, p.c.Failover(ctx, p.c.Node(4), redistest.FailoverForce))
	p.drain(1, 4).finish()
	p.check()
	if st := p.journal.Stats(); st.Trimmed != st.Last || st.Entries != 0 {
		t.Errorf("the journal still has %d entries", st.Entries)
	}
	p.checkLedger()
}

// TestClusterCutsAndRestarts: connections are cut at random points, primaries replaced,
// slots moved, and the process restarted in mid-drain. Nothing may be missing, doubled
// or out of order.
func TestClusterCutsAndRestarts(t *testing.T) {
	t.Parallel()
	p := newProcess(t, redistest.ClusterOptions{Primaries: 3, Replicas: 1})
	ctx := t.Context()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	server := []int{0, 1, 2} // the primary of each shard
	// The servers may have another failover of their own.
	look := func() {
		must(t, p.c.WaitComplete(ctx))
		for shard := range server {
			redistest.Eventually(t, patience, "a primary", func() bool {
				n, _ := p.c.Primary(ctx, shard)
				server[shard] = slices.Index(p.c.Nodes(), n)
				return n != nil
			})
		}
	}
	cuts := 0
	for round := range 9 {
		look()
		p.write(60, 2)
		var rules []*redistest.Rule
		for _, proxy := range p.proxies {
			var n atomic.Int64
			every := int64(20 + rng.IntN(150))
			match := func([]byte) bool { return n.Add(1)%every == 0 }
			how := []func(redistest.Match) *redistest.Rule{proxy.CutBeforeSend, proxy.CutAfterSend, proxy.CutMidReply}
			rules = append(rules, how[rng.IntN(3)](match))
		}
		var drains []*drain
		for shard := range 3 {
			drains = append(drains, p.drain(shard, server[shard]))
		}
		some := uint64(rng.IntN(20))
		redistest.Eventually(t, patience, "some progress", func() bool {
			select {
			case err := <-drains[0].ended:
				drains[0].ended <- err
				return true
			default:
				return drains[0].Stats().Batches >= some
			}
		})
		switch round % 3 {
		case 0: // another primary
			shard := rng.IntN(3)
			must(t, p.c.WaitComplete(ctx))
			to := shard + 3
			if server[shard] == to {
				to = shard
			}
			must(t, p.c.Failover(ctx, p.c.Node(to), redistest.FailoverPlanned))
			server[shard] = to
		case 1: // another owner
			s := int(slot.Of("k" + strconv.Itoa(rng.IntN(60))))
			to := (p.owners[s] + 1) % 3
			must(t, p.c.WaitComplete(ctx))
			must(t, p.c.MoveSlots(ctx, s, s, p.c.Node(server[to])))
			for _, d := range drains {
				wantEnd(t, d)
			}
			drains = nil
			p.owners[s] = to
		}
		for _, d := range drains {
			wantEnd(t, d)
		}
		for _, r := range rules {
			r.Disarm()
			cuts += r.Hits()
		}
		if round%3 == 2 {
			p.restart()
		}
	}
	look()
	var drains []*drain
	for shard := range 3 {
		drains = append(drains, p.drain(shard, server[shard]))
	}
	for _, d := range drains {
		d.finish()
	}
	p.check()
	if t.Logf("%d cuts", cuts); cuts == 0 {
		t.Error("nothing was cut")
	}
	if st := p.journal.Stats(); st.Trimmed != st.Last || st.Dead != 0 {
		t.Errorf("stats of the journal %+v", st)
	}
	p.checkLedger()
}

// wantEnd ends a replay, which may have ended by what was done to it.
func wantEnd(t *testing.T, d *drain) {
	t.Helper()
	err := d.stop()
	for _, want := range []error{context.Canceled, replay.ErrMoved, replay.ErrNotPrimary, replay.ErrUnreachable} {
		if errors.Is(err, want) {
			return
		}
	}
	t.Errorf("Run ended with %v", err)
}
