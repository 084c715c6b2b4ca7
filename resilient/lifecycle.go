package resilient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// lifecycle owns what a client consists of: it is made in NewClient, in the
// order of the fields, and taken down in Close in the reverse order.
type lifecycle struct {
	options *Options
	inner   *redis.Client // the application's own, in a Wrap; else nil
	log     *slog.Logger
	ctx     context.Context // ends with the client; everything in the background hangs on it
	cancel  context.CancelFunc

	events   *events
	problems *problems
	parking  *parking
	prober   *topology.Prober
	keep     journal.Options // of the client's own journal, and of those it adopts
	journal  *journal.Journal
	found    ParkedJournal // what was in it, should it have to be parked
	nodes    *nodeClients  // for the application's commands
	seeds    *nodeClients  // for base values
	replicas replicas      // who must confirm what is replayed
	monitor  *topology.Monitor
	overlay  *overlay.Overlay
	lineage  *lineageKeeper
	source   *journalSource
	drain    *drain
	replayer atomic.Pointer[replay.Replayer] // the drain's, for the journal, which is there before it
	keeper   *keeper
	adopter  *adopter
	side     *side
	router   *router
	facade   *redis.Client
	pubsub   *redis.Client
	metrics  metric.Registration

	running bool // lineage and adopter have begun

	closing sync.Once
	closed  error // of Close, set in closing
}

// NewClient makes a client for the standalone replication group that u names by
// one address; further servers belong into [Options.Nodes]. o may be nil.
//
// It returns when the journal has been read, so that deferred writes of an
// earlier process are visible, and after one look at the servers, bounded by
// [Options.ProbeTimeout]. That no server answers is no error. Errors are wrong
// options and a directory that can't be used, all of them at once.
func NewClient(u *redis.UniversalOptions, o *Options) (*Client, error) {
	if err := errors.Join(validateUniversal(u), o.Validate(), o.checkDir()); err != nil {
		return nil, err
	}
	return newClient(simpleOptions(u), o, nil)
}

// start makes everything, and has the first look at the servers.
func (l *lifecycle) start(base *redis.Options) (*Client, error) {
	l.problems = &problems{events: l.events}
	l.parking = newParking(l.events)
	l.prober = topology.NewProber(base)
	if err := l.openJournal(base); err != nil {
		return nil, err
	}
	if err := l.build(base); err != nil {
		return nil, err
	}
	var c *Client
	c, l.facade = newClientOver(l, l.router.chain(), base.Protocol)
	l.monitor.Start(l.ctx)
	l.background()
	var err error
	l.metrics, err = registerMetrics(c, l.options.MeterProvider)
	return c, err
}

// build makes and wires the parts.
func (l *lifecycle) build(base *redis.Options) error {
	o := l.options
	l.nodes = newNodeClients(base, o.OnNewNode)
	l.nodes.adopt(l.inner)
	single := *base
	single.MaxRetries, single.DialerRetries, single.Protocol = -1, 1, 2
	single.ContextTimeoutEnabled = true
	single.OnConnect = nil
	l.seeds = newNodeClients(&single, nil)

	l.router = &router{
		journal: l.journal, nodes: l.nodes, seed: base.Addr, db: base.DB, proto: base.Protocol,
		maxRetries: retries(base.MaxRetries), blocks: o.OverflowPolicy == OverflowBlock,
		client: l.journal.ID().String(),
		clock:  o.clock, rules: newRulebook(o), learned: new(learned), durability: durabilityOf(o),
	}
	l.router.newBreaker()
	l.replicas.server = l.habits
	l.monitor = topology.NewMonitor(topology.Options{
		Seeds:    append([]string{base.Addr}, o.Nodes...),
		Interval: o.ProbeInterval,
		Timeout:  o.ProbeTimeout,
		Probe:    l.replicas.probe(l.prober.Probe),
		Pending:  l.pending,
		OnChange: l.changed(),
		OnReplay: func(order topology.ReplayOrder) { l.drain.order(order) },
		Logger:   l.log,
	})
	l.lineage = newLineageKeeper(l.ctx, l.journal, l.monitor, l.log)
	l.router.monitor = l.monitor
	l.router.route.Store(&route{view: l.monitor.View(), read: l.nodes.get(base.Addr)})
	l.side = newSide(base.Protocol)
	l.router.side = l.side
	if err := l.buildOverlay(); err != nil {
		return err
	}
	if err := l.buildDrain(base); err != nil {
		return err
	}
	l.pubsub = newPubSubClient(base, func() string {
		v := l.monitor.View()
		switch {
		case v.Live:
			return v.Primary.Addr
		case v.ReadFrom != "":
			return v.ReadFrom
		}
		return base.Addr
	})
	return nil
}

// buildOverlay makes the overlay and enters what the journal holds.
func (l *lifecycle) buildOverlay() error {
	o := l.options
	var err error
	l.overlay, err = overlay.New(overlay.Options{
		Source: &seedSource{
			route: l.router.current, monitor: l.monitor, clients: l.seeds,
			options: overlay.SeederOptions{
				Fence:    replay.FenceKey(l.journal.ID().String()),
				MaxBytes: int(o.MaxSeedBytes), MaxElements: int(o.MaxSeedFields),
			},
			seeders: make(map[string]*overlay.Seeder),
		},
		Now:      func() time.Time { return l.router.now() },
		MaxBytes: o.MaxOverlayBytes,

		EstimateCounters: o.EstimateCounters,
	})
	if err != nil {
		return fmt.Errorf("resilient: %w", err)
	}
	l.router.overlay = l.overlay
	return l.recover()
}

// recover enters the journal's entries into the overlay: their keys are held
// from the start, and get their base when a command first asks for it.
func (l *lifecycle) recover() error {
	reader := l.journal.NewReader(1)
	defer func() { _ = reader.Close() }() // it was only read from
	unknown := 0
	for {
		records, err := reader.Next(l.ctx, 1024, 1<<20)
		if err != nil {
			return fmt.Errorf("resilient: reading the journal: %w", err)
		}
		if len(records) == 0 {
			break
		}
		for _, rec := range records {
			if !l.journal.IsDead(rec.Seq) && !l.recoverOne(rec) {
				unknown++
			}
		}
	}
	if unknown > 0 {
		l.problems.add(fmt.Sprintf("%d journal entries hold commands that this version can't show before their replay", unknown))
	}
	return nil
}

// recoverOne enters one entry; false when the overlay can't execute it. Where an
// entry holds commands that restore its key, these make the key known at once.
func (l *lifecycle) recoverOne(rec journal.Record) bool {
	e, err := entry.Parse(rec.Meta, rec.Body)
	if err != nil {
		return false
	}
	commands := e.Write
	if len(e.Restore) > 0 {
		commands = e.Restore
	}
	return entry.EachCommand(commands, func(_ []byte, args [][]byte) error {
		keys, err := keysOf(args)
		if err != nil {
			return err
		}
		c := overlay.Command{Args: args, Keys: keys}
		err = l.overlay.Recover(rec.Seq, rec.DB, c, rec.At.UnixMilli(), e.Lapses)
		if errors.Is(err, overlay.ErrNotServed) {
			c.Unseen = true // deferred by a rule, such as a script
			err = l.overlay.Recover(rec.Seq, rec.DB, c, rec.At.UnixMilli(), e.Lapses)
		}
		return err
	}) == nil
}

func durabilityOf(o *Options) Durability {
	switch {
	case o.Dir == "":
		return DurabilityMemory
	case o.Fsync != FsyncAlways:
		return DurabilityOS
	}
	return DurabilityDisk
}

// buildDrain makes what sends the journal to a returned primary.
func (l *lifecycle) buildDrain(base *redis.Options) error {
	o := l.options
	l.source = newJournalSource(l.ctx, l.journal, l.overlay, l.router.now, l.log)
	d := &drain{
		ctx: l.ctx, source: l.source, admit: l.admitReplay, refused: l.refused, settled: l.settled, monitor: l.monitor, events: l.events, log: l.log,
		batch: replay.DefaultBatchEntries,
	}
	ro := replay.Options{
		Dial:        dialer(base),
		Credentials: credentials(base),
		DB:          base.DB,
		Replicas:    func() []string { return l.replicas.promotable(l.monitor.View()) },
		ReplicaAcks: o.ReplicaAcks,
		AckBound:    o.ReplicaAckTimeout,
	}
	own := ro
	own.ClientID, own.Source = l.journal.ID().String(), l.source
	own.Hooks = replay.Hooks{Ready: d.ready, Drained: d.drainedUpTo, Gap: d.gap, Paused: d.paused}
	var err error
	d.replayer, err = replay.New(own)
	if err != nil {
		return fmt.Errorf("resilient: %w", err)
	}
	l.drain = d
	if o.Dir != "" {
		l.adopter = newAdopter(l, l.keep, ro)
	}
	l.replayer.Store(d.replayer)
	l.keeper = newKeeper(l.ctx, l.journal, l.overlay, l.events, l.log)
	if l.journal.Failure() != nil {
		l.keeper.failed() // the disk had no room at the start
	}
	r := l.router
	r.cutover = d
	r.failed = l.keeper.failed
	r.replayed = l.source.await
	r.accepted = func() {
		d.replayer.Wake()
		if l.monitor.View().State == topology.StateHealthy {
			l.monitor.Backlog(true) // accepted at the moment of return
		}
	}
	return nil
}

// habits tells the overlay whose replies it imitates, and the router what the
// servers know.
func (l *lifecycle) habits(server engine.Server) {
	if old := l.router.server.Load(); old == nil || *old != server {
		l.router.server.Store(&server)
		l.overlay.SetServer(server)
	}
}

// background starts what only looks after journals, once the servers are watched.
func (l *lifecycle) background() {
	if l.options.Dir == "" {
		return
	}
	go l.lineage.run()
	go l.adopter.run()
	l.running = true
}

// pending is the monitor's question whether there is anything to replay.
func (l *lifecycle) pending() bool {
	s := l.journal.Stats()
	return s.Last > s.Trimmed
}

// changed makes the monitor's OnChange.
func (l *lifecycle) changed() func(topology.Change) {
	last := ShardState{}
	return func(c topology.Change) {
		now := ShardState{
			State: stateOf(c.To), Cause: causeOf(c.Cause), Certain: c.Certain,
			Since: c.At, Diagnosis: c.Diagnosis,
		}
		if c.To.Live() {
			now.Primary = c.Primary.Addr
		}
		if now.State != last.State || now.Cause != last.Cause {
			l.events.stateChanged(StateInfo{From: last, To: now})
		} else {
			now.Since = last.Since
		}
		last = now
	}
}

func retries(n int) int {
	switch {
	case n == 0:
		return 3 // go-redis's default
	case n < 0:
		return 0
	}
	return n
}
