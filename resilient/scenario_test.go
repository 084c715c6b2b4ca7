package resilient_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

var writeScenarios = flag.Bool("scenarios", false, "play every scenario and write docs/scenarios.md")

// scenarioSelection is played by every run of the tests; all scenarios are played
// with -scenarios and in a soak.
var scenarioSelection = []string{"S1", "S1-uneven", "S3", "S5", "S7", "S8", "SB", "WR", "P2"}

// After so many failures since a server takes writes again plain go-redis is not
// waited for any more: where it knows one address, and where it may learn of another.
const (
	scenarioTries         = 8
	scenarioTriesLearning = 40
)

// TestScenarios plays the ways for Redis to lose its primary, on real servers, with
// the same application over Holdfast and over plain go-redis at once. What Holdfast
// believes is compared with the table in scenario_want_test.go; of what it accepted
// nothing may be lost, doubled or out of order.
func TestScenarios(t *testing.T) {
	logging.Disable() // go-redis logs every dial that fails, and here hundreds are meant to
	t.Cleanup(logging.Enable)
	all := *writeScenarios || os.Getenv("HOLDFAST_SOAK") != ""
	var mu sync.Mutex // guards results
	var results []*scenarioResult
	t.Cleanup(func() {
		awaitDials(t)
		report(t, results)
	})
	pair := make(chan struct{}, 2) // each scenario is some nine processes
	for _, sc := range scenarios() {
		if !all && !slices.Contains(scenarioSelection, sc.Name) {
			continue
		}
		t.Run(sc.Name, func(t *testing.T) {
			t.Parallel()
			pair <- struct{}{}
			defer func() { <-pair }()
			r := playScenario(t, sc)
			mu.Lock()
			results = append(results, r)
			mu.Unlock()
			judgeScenario(t, r)
		})
	}
}

// awaitDials waits until the pools of closed clients have noticed that: once a
// second they look whether a dead server is back.
func awaitDials(t *testing.T) {
	stacks := make([]byte, 4<<20)
	redistest.Eventually(t, testPatience, "closed pools to dial no more", func() bool {
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("(*ConnPool).tryDial"))
	})
}

// wrappedName is S1 for a client in Wrap, which can't go to another address.
const wrappedName = "S1-wrapped"

// scenarios are those of redistest and the one that concerns Wrap.
func scenarios() []redistest.Scenario {
	all := redistest.Scenarios()
	wrapped := all[0]
	wrapped.Name, wrapped.Title = wrappedName, "the same for a wrapped client of one address; another server is promoted, then the first one"
	return slices.Insert(all, 1, wrapped)
}

// report logs the table, and writes the document if all of it is there.
func report(t *testing.T, results []*scenarioResult) {
	order := make(map[string]int)
	for i, sc := range scenarios() {
		order[sc.Name] = i
	}
	slices.SortFunc(results, func(a, b *scenarioResult) int { return order[a.sc.Name] - order[b.sc.Name] })
	for _, r := range results {
		t.Log(r)
	}
	if !*writeScenarios {
		return
	}
	if len(results) != len(order) || t.Failed() {
		t.Errorf("%d of %d scenarios were played, and failed is %t: docs/scenarios.md stays as it is", len(results), len(order), t.Failed())
		return
	}
	check(t, os.WriteFile("../docs/scenarios.md", []byte(scenarioDocument(results)), 0o644))
}

// scenarioResult is one row of the table.
type scenarioResult struct {
	sc       redistest.Scenario
	server   string   // version
	faults   []fault  // what is not as it should be
	path     []belief // what Holdfast believed, from Break to health
	reached  belief
	after    time.Duration // from the first write in trouble to what was reached; -1: it was not
	back     time.Duration // from a writable server to health with an empty journal; -1: without Holdfast
	again    time.Duration // from a writable server to plain go-redis's first write; -1: not in many tries
	holdfast *tally        // nil where NewClient refuses the topology
	plain    *tally
}

// fault is something that is not as it should be. Its kind is what notYet goes by.
type fault struct{ kind, text string }

func (r *scenarioResult) fault(kind, format string, args ...any) {
	r.faults = append(r.faults, fault{kind, fmt.Sprintf(format, args...)})
}

// belief is what Holdfast says of its shard, by name.
type belief struct {
	state, cause string
	certain      bool
}

func (b belief) String() string {
	switch {
	case b.state == "":
		return "nothing"
	case b.cause == "none":
		return b.state
	case b.certain:
		return b.state + " (" + b.cause + ", certain)"
	}
	return b.state + " (" + b.cause + ")"
}

func beliefOf(s resilient.ShardState) belief {
	return belief{s.State.String(), s.Cause.String(), s.Certain}
}

// alike reports whether two beliefs name the same state and cause.
func (b belief) alike(o belief) bool { return b.state == o.state && b.cause == o.cause }

// scenarioPlay is a scenario that is being played.
type scenarioPlay struct {
	*scenarioResult
	t      *testing.T
	ctx    context.Context
	stage  *redistest.Stage
	client *resilient.Client // nil where NewClient refuses the topology
	want   belief

	app      *stream // through client; nil without it
	plainApp *stream // beside it

	broken time.Time // when the breaking began
	over   time.Time // when the mending began
	ready  time.Time // when a server took writes again

	shard atomic.Pointer[string] // whose changes are noted; nil: there is only one

	mu  sync.Mutex // guards log
	log []change
}

// change is a change of what Holdfast believes.
type change struct {
	at time.Time
	belief
}

// playScenario is the course of each scenario.
func playScenario(t *testing.T, sc redistest.Scenario) *scenarioResult {
	ctx, cancel := context.WithTimeout(context.Background(), 3*testPatience)
	defer cancel()
	p := &scenarioPlay{
		scenarioResult: &scenarioResult{sc: sc, after: -1, back: -1, again: -1},
		t:              t, ctx: ctx, want: scenarioWant[sc.Name],
	}
	p.stage = redistest.SetupT(t, sc, redistest.StageOptions{})
	p.server = releaseOf(ctx, t, p.stage.Nodes()[0])
	p.begin()
	p.broken = time.Now()
	check(t, p.stage.Break(ctx))
	struck := time.Now()
	check(t, p.stage.Check(ctx))
	if !sc.Heals {
		p.outage()
	}
	p.over = time.Now()
	check(t, p.stage.Mend(ctx))
	_, err := p.stage.WaitWritable(ctx)
	check(t, err)
	if sc.Name == wrappedName {
		p.pinned()
	}
	p.ready = time.Now()
	p.comeBack()
	p.end(struck)
	return p.scenarioResult
}

// begin opens the clients and lets them work for a moment.
func (p *scenarioPlay) begin() {
	key := func(suffix string) string { return p.stage.Key(0) + ":" + suffix }
	var other func(string) string
	if of, ok := p.stage.OtherKey(0); ok {
		other = func(suffix string) string { return of + ":" + suffix }
	}
	plain := redis.NewUniversalClient(p.stage.ClientOptions())
	p.t.Cleanup(func() { _ = plain.Close() }) // nothing hangs on it
	p.plainApp = startStream(plain, "plain", key, other)
	p.t.Cleanup(func() { p.plainApp.stop(true) })
	p.await("plain go-redis to write", func() bool { return p.plainApp.count(fateLive) >= 30 })
	p.open()
	if p.client != nil {
		p.app = startStream(p.client, "holdfast", key, other)
		p.t.Cleanup(func() { p.app.stop(true) })
		p.await("Holdfast to write", func() bool { return p.app.count(fateLive) >= 30 })
	}
	if p.stage.Network == nil {
		return
	}
	// The rest of the world, from which nothing is cut off.
	world := startStream(redis.NewClient(&redis.Options{Addr: p.stage.Nodes()[0].Addr()}), "world", key, nil)
	p.t.Cleanup(func() {
		world.stop(true)
		_ = world.client.Close() // nothing hangs on it
	})
}

// open makes the client. That its topology is not served yet is a fault like others.
func (p *scenarioPlay) open() {
	u := p.stage.ClientOptions()
	o := &resilient.Options{
		Dir: p.t.TempDir(), Logger: slog.New(slog.DiscardHandler),
		Listener: resilient.Listener{StateChanged: p.changed},
	}
	if p.sc.Topology == redistest.TopologyStandalone && p.stage.VIP == nil {
		o.Nodes = p.stage.Addrs()[1:]
	}
	var c *resilient.Client
	var err error
	if p.sc.Name == wrappedName {
		c, err = resilient.Wrap(redis.NewUniversalClient(u), o)
	} else {
		c, err = resilient.NewClient(u, o)
	}
	if err != nil {
		p.fault("topology", "no client: %v", err)
		return
	}
	p.t.Cleanup(func() { _ = c.Close() }) // closed before, unless the test has failed
	p.client = c
	p.await("health", func() bool { return c.State().State == resilient.StateHealthy })
	if p.stage.Cluster == nil {
		return
	}
	slot, err := p.stage.Cluster.Slot(p.ctx, p.stage.Key(0))
	check(p.t, err)
	owner, _ := p.stage.Cluster.Owner(p.ctx, slot)
	for _, s := range c.Shards() {
		if s.Primary == owner.Addr() {
			p.shard.Store(&s.Shard)
		}
	}
}

func (p *scenarioPlay) changed(i resilient.StateInfo) {
	if name := p.shard.Load(); name != nil && i.To.Shard != *name {
		return // another shard of the Cluster
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, change{time.Now(), beliefOf(i.To)})
}

// holds waits for a condition, and reports whether it came true in time.
func (p *scenarioPlay) holds(patience time.Duration, cond func() bool) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return cond()
		}
	}
	return true
}

// await is for what the rest makes no sense without.
func (p *scenarioPlay) await(what string, cond func() bool) {
	p.t.Helper()
	redistest.Eventually(p.t, testPatience, what, cond)
}

// outage waits for Holdfast to see what there is to see, and lets both go on for a
// while.
func (p *scenarioPlay) outage() {
	if p.sc.Refusal != redistest.RefusalNone {
		p.await("a write of plain go-redis to be in trouble", func() bool { return p.plainApp.suffers(p.broken) })
	}
	if p.client == nil {
		checked := time.Now()
		p.await("plain go-redis to fail, or to wait for long", func() bool { return p.plainApp.failed(checked) })
		return
	}
	if p.want.state == resilient.StateHealthy.String() {
		live := p.app.count(fateLive)
		from := p.app.count() - live
		p.await("writes that Redis does not take", func() bool { return p.app.count()-p.app.count(fateLive) >= from+20 })
		p.reached = beliefOf(p.client.State())
		return
	}
	p.reached = p.believe(p.want, notYet[p.sc.Name])
	from := p.app.count()
	p.await("Holdfast's application to go on", func() bool { return p.app.count() >= from+150 })
}

// believe waits until Holdfast believes what it should, or what it does instead as
// long as that is not so yet, and returns which.
func (p *scenarioPlay) believe(want belief, gaps []gap) (now belief) {
	p.holds(testPatience/2, func() bool {
		now = beliefOf(p.client.State())
		return now == want || slices.ContainsFunc(gaps, func(g gap) bool { return g.today == now })
	})
	return now
}

// pinned looks at a wrapped client while its one address is not the primary, and
// ends that.
func (p *scenarioPlay) pinned() {
	want := belief{"no-primary", "pinned", false}
	if now := p.believe(want, notYet[wrappedName]); now != want {
		p.fault("pinned", "with the primary elsewhere it believed %v, want %v", now, want)
	}
	check(p.t, p.stage.Group.Promote(p.ctx, 0))
	p.await("the first server to be the primary", func() bool {
		n, ok := p.stage.Writable(p.ctx)
		return ok && n == p.stage.Nodes()[0]
	})
}

// comeBack waits until all is as before, and a little longer.
func (p *scenarioPlay) comeBack() {
	if p.client != nil {
		p.await("health and an empty journal", func() bool {
			return p.client.State().State == resilient.StateHealthy && p.client.Stats().Entries == 0
		})
		p.back = time.Since(p.ready)
		from := p.app.count(fateLive)
		p.await("Redis to take Holdfast's writes", func() bool { return p.app.count(fateLive) >= from+30 })
	}
	tries := scenarioTries
	if p.sc.Topology != redistest.TopologyStandalone {
		tries = scenarioTriesLearning
	}
	p.await("plain go-redis to write, or to fail often", func() bool {
		taken, others, first := p.plainApp.since(p.ready)
		if taken >= 5 {
			p.again = first.Sub(p.ready)
		}
		return taken >= 5 || others >= tries
	})
}

// end stops all, and counts.
func (p *scenarioPlay) end(struck time.Time) {
	p.plainApp.stop(true)
	if p.client != nil {
		p.app.stop(false)
		flush(p.t, p.client)
		if s := p.client.Stats(); s.DeadLettered != 0 || s.Entries != 0 || s.Parked != 0 {
			p.fault("journal", "%+v", s)
		}
	}
	var n *redistest.Node
	p.await("a primary", func() (ok bool) {
		n, ok = p.stage.Writable(p.ctx)
		return ok
	})
	p.plain = p.plainApp.tally(p.broken, p.ready)
	check(p.t, p.plainApp.audit(p.ctx, p.plain, n.Client()))
	if p.client == nil {
		return
	}
	p.holdfast = p.app.tally(p.broken, p.ready)
	check(p.t, p.app.audit(p.ctx, p.holdfast, n.Client()))
	check(p.t, p.client.Close())
	p.believed(struck)
}

// believed looks through what was believed, and when the wanted came.
func (p *scenarioPlay) believed(struck time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	trouble := time.Time{}
	if p.sc.Refusal == redistest.RefusalNone {
		trouble = struck // writes are accepted, and that is the trouble
	}
	for _, s := range []*stream{p.plainApp, p.app} {
		for i := range s.writes {
			w := &s.writes[i]
			if w.fate == fateLive || w.ended.Before(p.broken) {
				continue
			}
			begun := w.begun
			if begun.Before(p.broken) {
				begun = p.broken
			}
			if trouble.IsZero() || begun.Before(trouble) {
				trouble = begun
			}
		}
	}
	for _, c := range p.log {
		if c.at.Before(p.broken) {
			continue
		}
		p.path = append(p.path, c.belief)
		if p.sc.Heals && p.reached.state == "" && c.alike(p.want) {
			p.reached = c.belief
		}
		switch {
		case c.alike(p.reached) && p.after < 0:
			p.after = max(0, c.at.Sub(trouble))
			p.beside(c)
		case p.after >= 0 && c.at.Before(p.over) && !p.sc.Heals:
			p.fault("flap", "believed %v after %v, and nothing had changed", c.belief, p.reached)
		}
	}
}

// beside looks for writes that were deferred beside a primary that others write to,
// once that was known.
func (p *scenarioPlay) beside(known change) {
	if known.cause != "partitioned" {
		return
	}
	deferred := 0
	for i := range p.app.writes {
		if w := &p.app.writes[i]; w.fate == fateDeferred && w.begun.After(known.at) && w.ended.Before(p.over) {
			deferred++
		}
	}
	if deferred > 0 {
		p.fault("partition", "%d writes were deferred beside a primary that others write to", deferred)
	}
}

// releaseOf is what the server says of itself.
func releaseOf(ctx context.Context, t *testing.T, n *redistest.Node) string {
	t.Helper()
	info, err := n.Client().InfoMap(ctx, "server").Result()
	check(t, err)
	return info["Server"]["redis_version"]
}
