package resilient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/topology"
)

// place is where the servers of a replication group are found, and how they are
// dialled.
type place struct {
	base  *redis.Options // for each server; Addr is nowhere if none is given
	seeds []string       // the addresses to begin with
	// pinned are the only addresses that writes can go to; empty if any will do.
	pinned []string
	name   string // of the group in journals, unless Options.Group gives one

	given *redis.UniversalOptions // as NewClient got them; nil in a Wrap

	master    string         // the name of the group at the Sentinels
	sentinels []string       // their addresses; empty where there are none
	ask       *redis.Options // how they are dialled
}

// nowhere stands for the address of a server where none is known: a group that is
// found by its Sentinels, and none of them has answered yet.
const nowhere = "unknown:0"

// errNowhere is why a command can't be sent while no server is known. It comes as the
// error of a dial, which is certain to have sent nothing.
var errNowhere = fmt.Errorf("%w: no server of the group is known, as no Sentinel that knows it has answered yet; "+
	"check the Sentinels' addresses and MasterName", ErrNoPrimary)

func dialNowhere(context.Context, string, string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errNowhere}
}

// placeOf is where NewClient finds the servers.
func placeOf(u *redis.UniversalOptions, o *Options) *place {
	given := *u // go-redis writes defaults into it
	p := &place{base: simpleOptions(u), given: &given}
	if u.MasterName == "" {
		p.name, p.seeds = p.base.Addr, append([]string{p.base.Addr}, o.nodes()...)
		return p
	}
	p.seeds = o.nodes()
	failover := given.Failover()
	p.watched(u.MasterName, slices.Clone(failover.SentinelAddrs), topology.SentinelOptions(failover))
	p.base.Addr = nowhere
	return p
}

// wrappedPlace is where Wrap finds the servers of a standalone group or of one that
// Sentinels watch.
func wrappedPlace(c *redis.Client, o *Options) *place {
	base := asGiven(*c.Options())
	p := &place{base: &base, name: base.Addr, seeds: append([]string{base.Addr}, o.nodes()...)}
	if isFailover(c) {
		base.Dialer = nil // it dials whatever the Sentinels name
		base.Addr = nowhere
		p.seeds = o.nodes()
		if len(p.seeds) > 0 {
			base.Addr, p.name = p.seeds[0], p.seeds[0]
		}
	} else {
		p.pinned = []string{base.Addr}
	}
	if o != nil && len(o.Sentinels) > 0 {
		p.watched(o.MasterName, slices.Clone(o.Sentinels), &redis.Options{
			Dialer: base.Dialer, TLSConfig: base.TLSConfig, Username: o.SentinelUsername, Password: o.SentinelPassword,
		})
		if !isFailover(c) {
			p.name = base.Addr
		}
	}
	return p
}

// watched says that Sentinels watch the group. Its name is theirs: they may be listed
// in any order, some of them or all.
func (p *place) watched(name string, sentinels []string, ask *redis.Options) {
	p.name, p.master, p.sentinels, p.ask = name, name, sentinels, ask
}

func (o *Options) nodes() []string {
	if o == nil {
		return nil
	}
	return slices.Clone(o.Nodes)
}

// fallback is the address to try while the topology knows of no server that answers:
// the one that was given, or the one that most Sentinels name.
func (p *place) fallback(v *topology.View) string {
	if p.base.Addr != nowhere {
		return p.base.Addr
	}
	if named := namedPrimary(v); named != "" {
		return named
	}
	return nowhere
}

// namedPrimary is the address that most of the Sentinels that answer give as the
// primary's; "" without any.
func namedPrimary(v *topology.View) (addr string) {
	votes := make(map[string]int)
	for i := range v.Sentinels {
		r := &v.Sentinels[i]
		if r.Outcome != topology.OutcomeAnswered || r.Primary == "" {
			continue
		}
		votes[r.Primary]++
		if addr == "" || votes[r.Primary] > votes[addr] {
			addr = r.Primary
		}
	}
	return addr
}

// firstAddrs are the addresses to ask at the start: those that were given, and those that
// the Sentinels tell, each of them asked within Options.ProbeTimeout.
func (l *lifecycle) firstAddrs() []string {
	ctx, cancel := context.WithTimeout(l.ctx, l.options.ProbeTimeout)
	defer cancel()
	reports := make([]topology.SentinelReport, len(l.place.sentinels))
	var wg sync.WaitGroup
	for i, addr := range l.place.sentinels {
		wg.Go(func() { reports[i] = l.sentinels.Probe(ctx, addr) })
	}
	wg.Wait()
	addrs := slices.Clone(l.place.seeds)
	add := func(addr string) {
		if addr != "" && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	for i := range reports {
		add(reports[i].Primary)
		for _, replica := range reports[i].Replicas {
			add(replica.Addr)
		}
	}
	return addrs
}

// watchPlace enters the Sentinels, if there are any, and what the client is bound to into
// the options of the group's monitor.
func (l *lifecycle) watchPlace(o topology.Options) topology.Options {
	o.Seeds, o.Pinned, o.MasterName = l.place.seeds, l.place.pinned, l.place.master
	if len(l.place.sentinels) > 0 {
		o.Sentinels = l.place.sentinels
		o.ProbeSentinel, o.ListenSentinel = l.sentinels.Probe, l.sentinels.Listen
	}
	return o
}

// validateSentinels reports faults of the options by which a wrapped client's
// Sentinels are found.
func (o *Options) validateSentinels() []error {
	var faults []error
	for i, addr := range o.Sentinels {
		if err := checkAddr(addr); err != nil {
			faults = append(faults, fmt.Errorf("resilient: Options.Sentinels[%d]: %w", i, err))
		}
	}
	switch {
	case len(o.Sentinels) > 0 && o.MasterName == "":
		faults = append(faults, errors.New("resilient: Options.Sentinels without MasterName; give the group's name at the Sentinels"))
	case len(o.Sentinels) == 0 && (o.MasterName != "" || o.SentinelUsername != "" || o.SentinelPassword != ""):
		faults = append(faults, errors.New("resilient: Options.MasterName, SentinelUsername or SentinelPassword without Sentinels; list their addresses"))
	}
	return faults
}

// validateFailover reports the go-redis options that don't go with Sentinels.
func validateFailover(u *redis.UniversalOptions) []error {
	var faults []error
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"IsClusterMode", u.IsClusterMode},
		{"RouteByLatency", u.RouteByLatency},
		{"RouteRandomly", u.RouteRandomly},
		{"ReadOnly", u.ReadOnly},
	} {
		if f.set {
			faults = append(faults, fmt.Errorf("resilient: UniversalOptions.%s with MasterName is not supported, as reads would go "+
				"to replicas, which may not have this client's own writes yet; leave it off", f.name))
		}
	}
	return faults
}
