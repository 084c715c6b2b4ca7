package resilient

import (
	"bytes"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// route is where commands go now: what the hot path needs of a topology view,
// published whole whenever the view changes and never modified.
type route struct {
	view *topology.View
	// write takes writes. It is nil while no write may touch the network.
	write redis.UniversalClient
	// read takes reads of keys without deferred writes. It is never nil: where
	// nothing answers, it is the server that did last, for its error.
	read   redis.UniversalClient
	closed bool
	since  moment // not after the view was the newest
}

// router decides each command's way: forward, defer or refuse. Safe for
// concurrent use.
//
// A write is deferred under the lock of its keys, after a look at the route
// under that same lock; a write to a key is forwarded only after a look at the
// overlay that comes after the look at the route. So of two writes to one key
// at the moment of return, either the later sees the earlier one's entry and
// queues behind it, or the earlier sees the live route and is forwarded too.
type router struct {
	*core

	route   atomic.Pointer[route] // of the view that was the newest; see current
	monitor *topology.Monitor
	nodes   servers
	cutover cutover
	breaker *gobreaker.TwoStepCircuitBreaker[any]
	trying  atomic.Bool // a write is being tried after a hang
	tripped atomic.Bool // the breaker has failures on record, or is open

	returned atomic.Uint64 // core.turn when the shard had a primary again

	accepted func() // tells the replay that an entry is durable
	// seed is the address that commands would go to without us; nil over a Cluster.
	seed func(*topology.View) string

	// Of one shard of several:
	shard   string            // its name
	mine    func(uint16) bool // tells its lanes now
	pending func() bool       // reports whether any of them has deferred writes
	partial bool              // a server that is asked for all keys knows only some
	retired atomic.Bool       // the shard is gone, and its monitor closed

	// lacking are the rights that deferral needs and the user lacks at the shard's servers;
	// nil if none is known to be missing.
	lacking atomic.Pointer[[]string]
}

// cutover tells the router how far the replay is.
type cutover interface {
	// near reports whether the entry will be sent with the batch in flight or
	// the one after it, so that waiting for it is short.
	near(seq uint64) bool
	// crowded reports that the backlog grows, or hardly shrinks, as so much is added.
	crowded() bool
	// stalled reports that the replay has not moved for a while.
	stalled() bool
	// starved reports that the replay waits for a primary that is short of means.
	starved() bool
}

// current is the route of the newest view. It costs two atomic loads.
func (r *router) current() *route {
	rt, view := r.route.Load(), r.monitor.View()
	if rt.view == view || rt.closed {
		return rt
	}
	return r.reroute(rt)
}

// reroute makes the route of the newest view.
func (r *router) reroute(old *route) *route {
	since := r.moment()
	view := r.monitor.View()
	rt := &route{view: view, read: old.read, since: since}
	if c := r.nodes.get(view.ReadFrom); c != nil {
		rt.read = c
	}
	addr := view.Primary.Addr
	switch {
	case view.Live:
	case view.Cause == topology.CauseDenied && view.State == topology.StateUnreachable && r.seed != nil:
		// The servers answer, but don't tell this user their roles: nothing can be
		// known, so nothing is deferred, and writes go where they would without us.
		addr = r.seed(view)
	case view.State == topology.StateNoPrimary, view.State == topology.StateUnreachable:
		r.nodes.lost()
		addr = ""
	default:
		addr = ""
	}
	if c := r.nodes.live(addr, aloneAmong(view.Nodes, view.Primary.RunID)); c != nil {
		rt.write = c
		if view.ReadFrom == addr {
			rt.read = c
		}
	}
	switch {
	case rt.write == nil && old.write != nil:
		r.turn.Add(1) // before anything is deferred
	case rt.write != nil && old.write == nil:
		r.returned.Store(since.turn)
	}
	// A route that lost the race is used once and made again.
	r.route.CompareAndSwap(old, rt)
	return rt
}

// close lets every command end with ErrClosed. The client that reads stays: it
// answers that to who is under way.
func (r *router) close() {
	r.route.Store(&route{view: r.monitor.View(), read: r.route.Load().read, closed: true})
}

// now is the shard's time: deadlines are the server's to judge. The overlay asks
// for it under its locks, so it makes no route.
func (r *router) now() time.Time {
	return r.clock().Add(r.monitor.View().ClockSkew)
}

// process is the way of one command. It is the innermost hook of the facade.
func (r *router) process(ctx context.Context, cmd redis.Cmder) error {
	rt := r.current()
	spec := command.Lookup(cmd.Name())
	if rt.write != nil && r.quiet() && spec != nil && !spec.Session() && !spec.Container() {
		if !spec.MayWrite() {
			return r.forwardRead(ctx, cmd, rt)
		}
		return r.forwardWrite(ctx, cmd, rt)
	}
	return r.processSlow(ctx, cmd, spec)
}

// processSlow is process where something stands in the way: an outage, pending
// keys, a command that is not in the table or that can't be let through.
func (r *router) processSlow(ctx context.Context, cmd redis.Cmder, spec *command.Spec) error {
	rt := r.current()
	if err := r.barred(ctx, rt, cmd, spec); err != nil {
		return fail(cmd, err)
	}
	if rt.write != nil && r.quiet() {
		return r.forwardWrite(ctx, cmd, rt)
	}
	q, err := newRequest(ctx, r.side, cmd)
	if err != nil {
		return fail(cmd, err)
	}
	defer q.free()
	return r.processRequest(ctx, cmd, q, nil)
}

// processRequest decides a command whose arguments are known. cause is the
// error that a first attempt on the network came back with, if there was one.
func (r *router) processRequest(ctx context.Context, cmd redis.Cmder, q *request, cause error) error {
	for {
		way, err := r.decide(ctx, q, cause)
		if err != nil {
			return fail(cmd, err)
		}
		rt := r.current()
		switch way {
		case wayRead:
			return r.readRemote(ctx, cmd, q, rt)
		case wayForward:
			if rt.write == nil {
				continue // lost again between the decision and here
			}
			return r.forwardWrite(ctx, cmd, rt)
		case wayLocal:
			done, err := r.answer(ctx, cmd, q, cause)
			if done {
				return err
			}
		case wayMerge:
			return r.merge(ctx, cmd, q, rt)
		case wayInvalid: // decide gives it only with an error
		}
	}
}

// answer answers cmd from the overlay and, for a write, from the journal. It is
// not done when the shard turned out to take the command itself.
func (r *router) answer(ctx context.Context, cmd redis.Cmder, q *request, cause error) (done bool, err error) {
	out, err := r.accept(ctx, q)
	switch {
	case err == errLive, err == errAgain: //nolint:errorlint // private sentinels, never wrapped
		return false, nil
	case err != nil:
		return true, fail(cmd, r.refuse(q, err, cause))
	}
	err = r.deliver(ctx, cmd, q, &out)
	switch lost := r.awaitCommit(ctx, q.name, q.class(), &out); {
	case lost == errNoRoom: //nolint:errorlint // a private sentinel, never wrapped
		_ = undeliver(cmd, nil) // it has no error yet
		return false, nil
	case lost != nil:
		return true, undeliver(cmd, lost)
	}
	return true, err
}

// deliver gives the command its reply. That fails only when the client is being
// closed; a write is accepted by then, so its caller must not hear otherwise.
func (r *router) deliver(ctx context.Context, cmd redis.Cmder, q *request, out *outcome) error {
	err := r.side.deliver(ctx, cmd, out.reply)
	if err != nil && out.ticket.Seq() != 0 && !isReply(err) {
		return fail(cmd, r.doubt(ctx, q.name, q.class(), err))
	}
	return err
}

// way is what is to be done with a command.
type way uint8

const (
	wayInvalid way = iota
	wayRead        // to where reads go
	wayForward     // to the primary
	wayLocal       // to the overlay and the journal
	wayMerge       // to a server and the overlay: a read over all keys
)

// decide chooses the way of a command while the shard has no primary or while
// keys have deferred writes. It waits where a write has to wait for its key.
func (r *router) decide(ctx context.Context, q *request, cause error) (way, error) {
	if q.spec == nil {
		return r.decideUnknown(ctx, q, cause)
	}
	class := q.class()
	if !q.spec.MayWrite() || class == command.ClassPassthrough || class == command.ClassRead {
		return r.decideRead(q)
	}
	if err := r.rule(ctx, q); err != nil {
		return wayInvalid, r.refuse(q, err, cause)
	}
	switch {
	case r.current().write != nil:
		return r.settle(ctx, q)
	case q.decision.action == actionForward, r.lacks(q) && q.spec.Deferrable(q.args):
		return wayRead, nil
	case q.decision.action == actionRefuse:
		return wayInvalid, r.refuse(q, errRuled, cause)
	case !r.deferrable(q):
		return wayInvalid, r.refuse(q, ErrNoPrimary, cause)
	}
	return wayLocal, nil
}

// lacks reports whether the servers are too old for a command that could be
// answered here. They say so themselves when they are asked, and a write among
// them would end as a dead letter.
func (r *router) lacks(q *request) bool {
	server := r.server.Load()
	return server != nil && !q.spec.On(q.args, server.Version, server.Valkey)
}

// rule asks the rules about a command, once.
func (r *router) rule(ctx context.Context, q *request) (err error) {
	if !q.ruled {
		q.decision, err = r.rules.of(ctx, q)
		q.ruled = err == nil
	}
	return err
}

// deferrable reports whether the command may go into the journal: by rule, or
// else by the command table.
func (r *router) deferrable(q *request) bool {
	switch q.decision.action {
	case actionDefer:
		return q.decision.reply != nil || !r.lacks(q)
	case actionForward, actionRefuse:
		return false
	case actionDefault:
	}
	return q.spec.Deferrable(q.args) && !r.lacks(q)
}

func (r *router) decideRead(q *request) (way, error) {
	if r.quiet() {
		return wayRead, nil
	}
	if q.spec.Keyspace() && !r.partial {
		return wayMerge, nil
	}
	switch {
	case q.looksFurther():
		return wayLocal, nil
	case !r.anyPending(q), q.spec.Served() && r.lacks(q):
		return wayRead, nil
	case q.spec.Served():
		return wayLocal, nil
	}
	return wayInvalid, r.refuse(q, errPendingKey, nil)
}

// looksFurther reports whether a read looks at keys that it computes: SORT with BY
// or GET. Some of them may have deferred writes.
func (q *request) looksFurther() bool {
	if q.name != "sort" && q.name != "sort_ro" || q.malformed {
		return false
	}
	return slices.ContainsFunc(q.args[2:], func(arg []byte) bool { return bytes.IndexByte(arg, '*') >= 0 })
}

// anyPending reports whether a key of the command has deferred writes.
func (r *router) anyPending(q *request) bool {
	for _, key := range q.keys {
		if _, held := r.overlay.Held(r.db, string(key)); held {
			return true
		}
	}
	return false
}

// barred refuses what can't be let through in any state.
func (r *router) barred(ctx context.Context, rt *route, cmd redis.Cmder, spec *command.Spec) error {
	if rt.closed {
		return ErrClosed
	}
	session, err := bindsConnection(ctx, r.side, cmd, spec)
	if err != nil || !session {
		return err
	}
	return errSession(cmd.Name(), r.state(rt))
}

// bindsConnection reports whether the command is about the one connection that
// would carry it.
func bindsConnection(ctx context.Context, s *side, cmd redis.Cmder, spec *command.Spec) (bool, error) {
	if spec.Container() { // such as CLIENT REPLY
		q, err := newRequest(ctx, s, cmd)
		if err != nil {
			return false, err
		}
		defer q.free()
		return q.class() == command.ClassSession, nil
	}
	return spec.Session(), nil
}

// errSession refuses a command that binds to one connection.
func errSession(name string, s ShardState) error {
	return &CommandError{
		Name: name, Class: command.ClassSession.String(), State: s.State, Cause: s.Cause,
		Reason: "it would change one connection of the pool; use Watch, TxPipeline or the client's options, " +
			"or a go-redis client of your own",
		Err: ErrNotSupported,
	}
}

// undeliver takes the reply of a write back, which it had while its entry was on the
// way to the disk, and sets its error. A value of another type than those here is
// of a command that changes nothing, or stays beside the error, as go-redis leaves it.
func undeliver(cmd redis.Cmder, err error) error {
	switch c := cmd.(type) {
	case interface{ SetVal(any) }:
		c.SetVal(nil)
	case interface{ SetVal(string) }:
		c.SetVal("")
	case interface{ SetVal(int64) }:
		c.SetVal(0)
	case interface{ SetVal(bool) }:
		c.SetVal(false)
	case interface{ SetVal(float64) }:
		c.SetVal(0)
	case interface{ SetVal([]any) }:
		c.SetVal(nil)
	case interface{ SetVal([]string) }:
		c.SetVal(nil)
	case interface{ SetVal([]int64) }:
		c.SetVal(nil)
	case interface{ SetVal([]bool) }:
		c.SetVal(nil)
	}
	return fail(cmd, err)
}

// fail sets the command's error, as go-redis does for errors of hooks.
func fail(cmd redis.Cmder, err error) error {
	cmd.SetErr(err)
	return err
}

// refuse makes the CommandError of a refused command and counts it. kind is one
// of this package's errors; cause is the original error, if any.
func (r *router) refuse(q *request, kind, cause error) error {
	return r.refuseName(q.name, q.class(), kind, cause)
}

func (r *router) refuseName(name string, class command.Class, kind, cause error) error {
	if r.current().closed {
		return ErrClosed // whatever failed, failed of that
	}
	r.stats.refused.Add(1)
	return r.commandError(name, class, kind, cause)
}

func (r *router) commandError(name string, class command.Class, kind, cause error) error {
	s := r.state(r.current())
	return &CommandError{
		Name:   name,
		Class:  class.String(),
		Shard:  r.shard,
		State:  s.State,
		Cause:  s.Cause,
		Reason: reasonOf(kind, class),
		Err:    withCause(kind, cause),
	}
}

// state is the route's view in public terms.
func (r *router) state(rt *route) ShardState { return shardState(rt.view) }

// signal tells the topology what an attempt on a server came back with.
func (r *router) signal(addr string, f fault, err error) {
	kind := topology.SignalUnknown
	if f == faultNotWritable || f == faultUnsent || f == faultMoving {
		r.nodes.declined(addr)
	}
	if !r.concerns(addr, f, err) {
		r.monitor.Hint()
		return
	}
	switch f {
	case faultNotWritable:
		switch {
		case redis.IsLoadingError(err):
			kind = topology.SignalLoading
		case redis.IsNoReplicasError(err):
			kind = topology.SignalMinReplicas
		case redis.IsClusterDownError(err):
			kind = topology.SignalUncovered
		default:
			kind = topology.SignalNotWritable
		}
	case faultOverload:
		r.strain(addr, err)
		return
	case faultUnsent:
		kind = topology.SignalDialRefused
	case faultHung, faultBroken:
		// A single one proves nothing; a row of hangs trips the breaker.
		kind = topology.SignalAmbiguous
	case faultNone, faultBusy, faultContext, faultMoving:
		return
	}
	r.monitor.Signal(topology.Signal{Kind: kind, Addr: addr, At: time.Now()})
}
