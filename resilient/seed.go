package resilient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// seedSource chooses the server that base values are read from: the promotion
// candidate during an outage, so that all of them come from the node whose data
// will survive, and otherwise the primary. Safe for concurrent use.
type seedSource struct {
	route   func() *route
	monitor *topology.Monitor
	clients *nodeClients // one attempt each, own connections
	options overlay.SeederOptions

	mu      sync.Mutex // guards seeders
	seeders map[string]*overlay.Seeder
}

// A server that doesn't give a base within this bound is given up: the write
// that needs it waits meanwhile.
const seedTimeout = 2 * time.Second

var errNoServer = errors.New("resilient: no server answers")

// Seed implements overlay.Source.
func (s *seedSource) Seed(ctx context.Context, keys []overlay.Key, depth overlay.Depth) (seeds []overlay.Seed, err error) {
	err = s.ask(ctx, func(ctx context.Context, seeder *overlay.Seeder) (err error) {
		seeds, err = seeder.Seed(ctx, keys, depth)
		return err
	})
	return seeds, err
}

// Members implements overlay.Source.
func (s *seedSource) Members(
	ctx context.Context, key overlay.Key, typ engine.Type, members [][]byte,
) (facts []engine.Fact, err error) {
	err = s.ask(ctx, func(ctx context.Context, seeder *overlay.Seeder) (err error) {
		facts, err = seeder.Members(ctx, key, typ, members)
		return err
	})
	return facts, err
}

// ask has the server read that is the right one at this time, and again where
// that has changed meanwhile.
func (s *seedSource) ask(ctx context.Context, read func(context.Context, *overlay.Seeder) error) error {
	bounded, cancel := context.WithTimeout(ctx, seedTimeout)
	defer cancel()
	for {
		view, err := s.settled(bounded)
		if err != nil {
			return err
		}
		addr := view.SeedFrom
		if view.Live {
			addr = view.Primary.Addr
		}
		seeder, err := s.seeder(addr)
		if err != nil {
			return err
		}
		err = read(bounded, seeder)
		if deadline, ok := ctx.Deadline(); err != nil && ok && !time.Now().Before(deadline) {
			<-ctx.Done() // the connection noticed the deadline first
		}
		switch {
		case bounded.Err() == nil && s.route().view.Epoch != view.Epoch:
			continue // read at a time that is over
		case err != nil && ctx.Err() == nil:
			s.monitor.Signal(topology.Signal{Kind: topology.SignalAmbiguous, Addr: addr, At: time.Now()})
		}
		return err
	}
}

// settled waits for one look at the servers where the state is still open.
func (s *seedSource) settled(ctx context.Context) (*topology.View, error) {
	view := s.route().view
	if view.State != topology.StateSuspect && view.State != topology.StateUnknown {
		return view, nil
	}
	if err := s.monitor.WaitRound(ctx); err != nil {
		return nil, err
	}
	return s.route().view, nil
}

func (s *seedSource) seeder(addr string) (*overlay.Seeder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seeder := s.seeders[addr]; seeder != nil {
		return seeder, nil
	}
	client := s.clients.get(addr)
	if client == nil {
		return nil, errNoServer
	}
	o := s.options
	o.Client = client
	seeder, err := overlay.NewSeeder(o)
	if err != nil {
		return nil, fmt.Errorf("resilient: %w", err)
	}
	s.seeders[addr] = seeder
	return seeder, nil
}
