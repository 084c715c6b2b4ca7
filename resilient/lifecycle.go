package resilient

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// lifecycle is the backend over one replication group. It owns what a client
// consists of: made in NewClient, in the order of the fields, and taken down in Close
// in the reverse order.
type lifecycle struct {
	foundation
	shard

	place     *place
	inner     *redis.Client // the application's own, in a Wrap; else nil
	prober    *topology.Prober
	sentinels *topology.SentinelProber // nil without Sentinels
	nodes     *nodeClients             // for the application's commands
	replicas  replicas                 // who must confirm what is replayed
	lineage   *lineageKeeper
	adopter   *adopter
	pubsub    *redis.Client

	running bool // lineage and adopter have begun
}

// NewClient makes a client for one replication group. u names it by the address of
// one server, and further servers belong into [Options.Nodes]; or by MasterName and
// the addresses of its Sentinels, by which the servers are found and the primary is
// known. o may be nil.
//
// The client follows the primary to whichever server is promoted. One address may
// lead to different servers in the course of time: a virtual IP or a DNS name that
// moves. With Sentinels, IsClusterMode, RouteByLatency, RouteRandomly and ReadOnly are
// errors: reads come from the primary while there is one.
//
// It returns when the journal has been read, so that deferred writes of an
// earlier process are visible, and after one look at the servers, bounded by
// [Options.ProbeTimeout]. That no server answers is no error. Errors are wrong
// options and a directory that can't be used, all of them at once.
func NewClient(u *redis.UniversalOptions, o *Options) (*Client, error) {
	if err := errors.Join(validateUniversal(u), o.Validate(), o.checkDir()); err != nil {
		return nil, err
	}
	if !ofCluster(u) {
		return newClient(placeOf(u, o), o, nil)
	}
	inner := redis.NewClusterClient(u.Cluster())
	c, err := Wrap(inner, o)
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	return c, nil
}

// ofCluster reports whether the options mean a Cluster, as they do for go-redis.
func ofCluster(u *redis.UniversalOptions) bool {
	return u.MasterName == "" && (u.IsClusterMode || len(u.Addrs) > 1)
}

// newClient makes a client over one replication group. inner is the application's
// own client, nil when there is none.
func newClient(p *place, o *Options, inner *redis.Client) (*Client, error) {
	l := &lifecycle{place: p, inner: inner}
	l.init(o)
	c, err := l.start(p.base)
	if err != nil {
		if l.nodes != nil {
			l.nodes.spare(inner)
		}
		return nil, errors.Join(err, l.teardown())
	}
	if inner != nil {
		l.log.Debug("wrapped a client", slog.Bool("failover", isFailover(inner)))
	}
	return c, nil
}

// start makes everything, and has the first look at the servers.
func (l *lifecycle) start(base *redis.Options) (*Client, error) {
	l.prober = topology.NewProber(base)
	if len(l.place.sentinels) > 0 {
		l.sentinels = topology.NewSentinelProber(l.place.ask, l.place.master)
	}
	group := l.options.Group
	if group == "" {
		group = l.place.name
	}
	look := l.firstLook()
	err := l.openJournal(fmt.Sprintf("group %s db %d", group, base.DB),
		func(j *journal.Journal, found *journal.Recovery) error { return l.admitJournal(base, j, found, look()) })
	if err != nil {
		return nil, err
	}
	if err := l.build(base); err != nil {
		return nil, err
	}
	var c *Client
	if l.options.Observe {
		o := newOnlooker(l)
		c, l.facade = newClientOver(o, o.chain(), base.Protocol)
	} else {
		c, l.facade = newClientOver(l, l.router.chain(), base.Protocol)
	}
	l.monitor.Start(l.ctx)
	l.preflight = newPreflight(&l.foundation, &l.shard, base, func() string { return replay.FenceKey(l.core.client) })
	go l.preflight.run()
	l.background()
	l.metrics, err = registerMetrics(c, l.options.MeterProvider)
	return c, err
}

// build makes and wires the parts.
func (l *lifecycle) build(base *redis.Options) error {
	o := l.options
	l.nodes = newNodeClients(base, o.OnNewNode)
	l.nodes.adopt(l.inner)
	l.seeds = newNodeClients(singleAttempt(base), nil)
	l.buildCore(base)
	l.router = l.newRouter(groupServers{l.nodes}, l.place.fallback)
	l.bases = l.newSeedSource(l.router, l.seeds, overlay.SeederOptions{Fence: replay.FenceKey(l.core.client)})
	l.replicas.server = l.core.habits
	l.bind(topology.NewMonitor(l.watchPlace(topology.Options{
		Interval: o.ProbeInterval,
		Timeout:  o.ProbeTimeout,
		Probe:    l.replicas.probe(l.prober.Probe),
		Forget:   l.prober.Forget,
		Pending:  l.pending,
		OnChange: l.changed(""),
		OnReplay: func(order topology.ReplayOrder) { l.drain.order(order) },
		Logger:   l.log,
	})), l.nodes.get(base.Addr))
	l.lineage = newLineageKeeper(l.ctx, l.journal, l.monitor, l.log)
	if err := l.buildOverlay(overlay.Options{Source: l.bases, Now: l.now}); err != nil {
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
		return l.place.fallback(v)
	})
	return nil
}

// buildDrain makes what sends the journal to a returned primary.
func (l *lifecycle) buildDrain(base *redis.Options) error {
	l.source = newJournalSource(l.ctx, l.journal, l.overlay, l.now, l.log, l.options.watchesConflicts())
	d := &drain{
		ctx: l.ctx, admit: l.admitReplay, refused: l.refused, settled: l.settled,
		monitor: l.monitor, events: l.events, log: l.log,
	}
	ro := l.replayOptions(base, func() []string { return l.replicas.promotable(l.monitor.View()) })
	own := ro
	own.ClientID, own.Source = l.core.client, l.source
	own.Hooks = replay.Hooks{Ready: d.ready, Drained: d.drainedUpTo, Gap: d.gap, Paused: d.paused, Advanced: d.advanced}
	l.guard(&own, l.source)
	l.source.watch(&own)
	replayer, err := replay.New(own)
	if err != nil {
		return fmt.Errorf("resilient: %w", err)
	}
	d.feed.Store(&feed{source: l.source, replayer: replayer})
	l.drain = d
	if l.options.Dir != "" {
		l.adopter = newAdopter(l, l.keep, ro)
	}
	wake := d.wake
	l.committed.Store(&wake)
	l.buildKeeper()
	l.core.replayed = l.source.await
	l.router.cutover, l.router.accepted = d, l.accept(wake)
	return nil
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
