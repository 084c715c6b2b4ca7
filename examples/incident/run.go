package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

const (
	startLimit   = 20 * time.Second // for the servers to start
	verbLimit    = 5 * time.Second  // for one change of the topology
	drainLimit   = 15 * time.Second // for the backlog to reach the new primary
	finishLimit  = 5 * time.Second  // for the operations under way when the time is up
	flushLimit   = 5 * time.Second  // for what is deferred even then
	verifyLimit  = 10 * time.Second // for reading everything back
	cleanupLimit = 10 * time.Second // for removing the keys from a deployment
	afterwards   = 2 * time.Second  // of life after the backlog is drained
	promoted     = 2                // the node that becomes the primary; not the one it was
)

// errNoClient says that the Holdfast client could not be made, say because of
// its directory.
var errNoClient = errors.New("no Holdfast client")

// run tells the whole story and returns what came of it.
func run(ctx context.Context, cfg config, open opener, p *printer, logger *slog.Logger) (r *report, err error) {
	dir, remove, err := journalDir(cfg.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	set := func(addrs []string) (*scene, error) {
		client, err := open(addrs, dir, listener(p), logger)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNoClient, err)
		}
		return setScene(cfg, client, addrs[0], p), nil
	}
	if len(cfg.addrs) > 0 {
		return visit(ctx, cfg, set, p)
	}
	return reenact(ctx, cfg, set, p)
}

// journalDir is the directory asked for, which is kept, or a temporary one.
func journalDir(asked string) (dir string, remove func() error, err error) {
	if asked != "" {
		return asked, func() error { return nil }, nil
	}
	dir, err = os.MkdirTemp("", "holdfast-incident-")
	if err != nil {
		return "", nil, fmt.Errorf("no directory for the journal: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// scene is the stage on which both applications work: their clients, their
// operations and the timeline. Its goroutines end with end.
type scene struct {
	printer  *printer
	clock    *phaseClock
	prefix   string // of all keys of this run
	client   holdfastClient
	plain    *side
	holdfast *side
	workload *workload
	claims   *claims

	owned  []redis.UniversalClient // closed by end
	cancel context.CancelFunc      // ends the timeline, the claims and the workload
	others sync.WaitGroup          // timeline and claims
}

// setter opens the Holdfast client on a group of servers, the primary first,
// and sets the scene around it.
type setter func(addrs []string) (*scene, error)

// setScene makes the rest. The scene's end closes client too.
func setScene(cfg config, client holdfastClient, primary string, p *printer) *scene {
	s := &scene{
		printer: p,
		clock:   &phaseClock{},
		prefix:  "incident:" + strconv.FormatInt(time.Now().UnixMilli(), 36) + ":",
		client:  client,
		claims:  &claims{},
		cancel:  func() {},
	}
	plain := openPlain(primary)
	s.owned = append(s.owned, plain, client)
	s.plain = newSide("plain go-redis", s.prefix+"plain:", plain)
	s.holdfast = newSide("Holdfast", s.prefix+"holdfast:", client)
	s.workload = newWorkload(s.clock, cfg.rate, cfg.seed)
	return s
}

// begin prepares the keys and lets everything run.
func (s *scene) begin(ctx context.Context, first phase) error {
	s.clock.set(first)
	if err := fillQueue(ctx, s.client, s.prefix); err != nil {
		return err
	}
	ctx, s.cancel = context.WithCancel(ctx)
	t := &timeline{printer: s.printer, clock: s.clock, client: s.client, plain: s.plain, holdfast: s.holdfast}
	s.others.Go(func() { t.run(ctx) })
	s.others.Go(func() { s.claims.run(ctx, s.workload, s.client, s.prefix) })
	s.workload.start(ctx, s.plain, s.holdfast)
	return nil
}

// repoint lets the plain side use another server, as a hand that changes its
// configuration would.
func (s *scene) repoint(addr string) {
	client := openPlain(addr)
	s.owned = append(s.owned, client)
	s.plain.use(client)
}

// settle ends the operations, flushes what is deferred and counts what is in
// Redis. primary is asked for once the flush is done.
func (s *scene) settle(ctx context.Context, primary func(context.Context) (redis.Cmdable, error)) (*report, error) {
	s.workload.stop()
	finish, cancel := context.WithTimeout(ctx, finishLimit)
	defer cancel()
	plainEnded, ended := s.plain.await(finish), s.holdfast.await(finish)
	if !plainEnded {
		s.printer.say("plain operations are still under way after %v and are cut off: count them as refused", finishLimit)
	}
	s.halt()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	flushCtx, cancel := context.WithTimeout(ctx, flushLimit)
	defer cancel()
	flushErr := s.client.Flush(flushCtx)

	ctx, cancel = context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	server, err := primary(ctx)
	if err != nil {
		return nil, err
	}
	r := &report{flushErr: flushErr, stats: s.client.Stats(), claims: s.claims, cutOff: !ended}
	for s, t := range map[*side]*tally{s.plain: &r.plain, s.holdfast: &r.holdfast} {
		writes := s.writes()
		misordered, err := verify(ctx, server, writes)
		if err != nil {
			return nil, err
		}
		*t = count(writes, misordered)
	}
	return r, nil
}

// halt ends all goroutines of the scene, whatever they are doing.
func (s *scene) halt() {
	s.cancel()
	s.plain.running.Wait()
	s.holdfast.running.Wait()
	s.others.Wait()
}

// end stops whatever still runs and closes the clients.
func (s *scene) end() error {
	s.halt()
	var errs []error
	for _, c := range s.owned {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// reenact makes the incident on servers of its own.
func reenact(ctx context.Context, cfg config, set setter, p *printer) (r *report, err error) {
	startCtx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	group, err := redistest.Start(startCtx, redistest.Options{Replicas: 2})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, group.Close()) }()

	s, err := set(group.Addrs())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	p.say("three redis-server processes run: a primary, node 0 (%s), and two replicas", group.Node(0).Addr())
	p.say("both applications log in, send messages and trigger automations")
	if err := s.begin(ctx, phaseHealthy); err != nil {
		return nil, err
	}
	if err := story(ctx, cfg, s, group); err != nil {
		return nil, err
	}
	r, err = s.settle(ctx, func(ctx context.Context) (redis.Cmdable, error) {
		if err := group.WaitSynced(ctx); err != nil {
			return nil, err
		}
		return group.Node(promoted).Client(), nil
	})
	if err != nil {
		return nil, err
	}
	r.reenacted = true
	p.say("every write was looked for in node %d, the primary", promoted)
	s.conclude(r)
	return r, nil
}

// story is what happens to the servers.
func story(ctx context.Context, cfg config, s *scene, group *redistest.Group) error {
	p := s.printer
	if err := pause(ctx, cfg.warmup); err != nil {
		return err
	}
	s.clock.set(phaseCycling)
	if err := within(ctx, verbLimit, group.Cycle); err != nil {
		return fmt.Errorf("making the replication cycle: %w", err)
	}
	s.clock.set(phaseOutage)
	p.say("REPLICAOF on the primary: every server is a replica now, none is down, all of them answer PING")
	if err := pause(ctx, cfg.outage); err != nil {
		return err
	}

	s.clock.set(phasePromoting)
	p.say("REPLICAOF NO ONE on node %d: another node is promoted after %v", promoted, cfg.outage)
	err := within(ctx, verbLimit, func(ctx context.Context) error { return group.Promote(ctx, promoted) })
	if err != nil {
		return fmt.Errorf("promoting node %d: %w", promoted, err)
	}
	s.clock.set(phaseReplaying)
	s.repoint(group.Node(promoted).Addr())
	p.say("node %d (%s) is the primary; the plain application is told so by hand, Holdfast finds out by itself",
		promoted, group.Node(promoted).Addr())

	start := time.Now()
	if err := within(ctx, drainLimit, s.drained); err != nil {
		if ctx.Err() != nil {
			return err
		}
		p.say("the backlog was not drained within %v", drainLimit)
	} else {
		p.say("drained %.1f s after the promotion: every deferred write is in the primary", time.Since(start).Seconds())
	}
	s.clock.set(phaseDrained)
	return pause(ctx, afterwards)
}

// drained waits until Holdfast has a primary and no deferred writes.
func (s *scene) drained(ctx context.Context) error {
	for s.client.State().State != resilient.StateHealthy || s.client.Stats().Entries > 0 {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// conclude prints the account.
func (s *scene) conclude(r *report) {
	p := s.printer
	p.print("")
	p.print(renderTable(section{s.plain.name, r.plain}, section{s.holdfast.name, r.holdfast}))
	p.print(tableLegend)
	p.print("")
	p.print(fmt.Sprintf("Holdfast deferred %d writes and replayed %d; %d were given up waiting for replicas.",
		r.stats.Deferred, r.stats.Replayed, r.stats.Unconfirmed))
	p.print(wrap(r.claims.summary(), ""))
	p.print("")
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// within calls f with a time limit.
func within(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}
