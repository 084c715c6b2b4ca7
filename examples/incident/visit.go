package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// errNotReached says that none of the addresses of -redis is a primary.
var errNotReached = errors.New("-redis: none of the servers given is a primary that answers; start with a healthy group")

// errKeysLeft says that the deployment was not left as it was found.
var errKeysLeft = errors.New("keys are left behind")

// lookInterval is the pause between two looks for a primary.
const lookInterval = 200 * time.Millisecond

// deletedAtOnce is how many keys one UNLINK names.
const deletedAtOnce = 500

// visit lets both applications work on somebody's deployment. Whoever wants an
// outage makes it there.
func visit(ctx context.Context, cfg config, set setter, p *printer) (r *report, err error) {
	servers := deployment(cfg.addrs)
	defer func() { err = errors.Join(err, servers.close()) }()
	primary, err := servers.primary(ctx)
	if err != nil {
		return nil, err
	}
	addrs := append([]string{primary.Options().Addr},
		slices.DeleteFunc(slices.Clone(cfg.addrs), func(a string) bool { return a == primary.Options().Addr })...)
	s, err := set(addrs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	// The context may have ended by Ctrl-C; the keys are to go all the same.
	defer func() { err = errors.Join(err, s.sweep(context.WithoutCancel(ctx), servers)) }()

	length := cfg.warmup + cfg.outage
	p.say("%s is the primary. Its group's topology is left alone; both applications work on it for %v", addrs[0], length)
	p.say("all keys begin with %q and are removed in the end. The plain application stays with %s", s.prefix, addrs[0])
	if err := s.begin(ctx, phaseVisiting); err != nil {
		return nil, err
	}
	if err := pause(ctx, length); err != nil {
		return nil, err
	}
	p.say("time is up")
	r, err = s.settle(ctx, func(ctx context.Context) (redis.Cmdable, error) { return servers.await(ctx) })
	if err != nil {
		return nil, err
	}
	s.conclude(r)
	return r, nil
}

// sweep removes the keys of this run.
func (s *scene) sweep(ctx context.Context, servers group) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupLimit)
	defer cancel()
	s.halt()
	removed := 0
	err := func() error {
		primary, err := servers.await(ctx)
		if err != nil {
			return err
		}
		removed, err = unlink(ctx, primary, s.prefix)
		return err
	}()
	if err != nil {
		return fmt.Errorf("%w, those that begin with %q: %w", errKeysLeft, s.prefix, err)
	}
	s.printer.say("%d keys removed", removed)
	return nil
}

// unlink removes every key that begins with prefix, which has no special
// characters of a pattern.
func unlink(ctx context.Context, server redis.Cmdable, prefix string) (removed int, err error) {
	keys := server.Scan(ctx, 0, prefix+"*", deletedAtOnce).Iterator()
	var batch []string
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		n, err := server.Unlink(ctx, batch...).Result()
		removed += int(n)
		batch = batch[:0]
		return err
	}
	for keys.Next(ctx) {
		if batch = append(batch, keys.Val()); len(batch) == deletedAtOnce {
			if err := flush(); err != nil {
				return removed, err
			}
		}
	}
	return removed, errors.Join(keys.Err(), flush())
}

// group is an existing deployment: a client for each of its servers.
type group []*redis.Client

func deployment(addrs []string) group {
	var g group
	for _, addr := range addrs {
		g = append(g, redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1}))
	}
	return g
}

// primary is the first server that says it is a master. The error is
// errNotReached, with what the servers said.
func (g group) primary(ctx context.Context) (*redis.Client, error) {
	errs := []error{errNotReached}
	for _, c := range g {
		role, err := c.Do(ctx, "ROLE").Slice()
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", c.Options().Addr, err))
		case len(role) > 0 && role[0] == "master":
			return c, nil
		default:
			errs = append(errs, fmt.Errorf("%s: is a replica", c.Options().Addr))
		}
	}
	return nil, errors.Join(errs...)
}

// await waits for a primary until ctx ends: somebody's outage may outlast ours.
func (g group) await(ctx context.Context) (*redis.Client, error) {
	for {
		primary, err := g.primary(ctx)
		if err == nil {
			return primary, nil
		}
		if pause(ctx, lookInterval) != nil {
			return nil, fmt.Errorf("there is no primary in the end: %v", err) //nolint:errorlint // errNotReached is for the beginning
		}
	}
}

func (g group) close() error {
	var errs []error
	for _, c := range g {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
