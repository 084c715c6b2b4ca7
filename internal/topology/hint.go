package topology

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// hintRetry is how long a Sentinel that can't be listened to is left alone. Hints only hasten what
// the rounds find out anyway.
const hintRetry = 10 * time.Second

// abortedPattern is the channels on which failed failovers are announced.
const abortedPattern = "-failover-abort-*"

// hintLoop listens to one Sentinel until the monitor is closed.
func (m *Monitor) hintLoop(addr string) {
	for {
		m.listenTo(addr)
		if !m.sleep(hintRetry, nil) {
			return
		}
	}
}

func (m *Monitor) listenTo(addr string) {
	defer func() {
		if r := recover(); r != nil {
			m.logPanic("ListenSentinel", r)
		}
	}()
	_ = m.opts.ListenSentinel(m.ctx, addr, m.Hint) // the rounds go on without it
}

// Listen follows what a Sentinel announces of primaries and failovers, and calls hint for each, and
// once when it begins, as something may have been missed before. It returns when ctx ends or the
// connection breaks; one that dies in silence is noticed within a minute, by PING. It holds one
// connection.
func (p *SentinelProber) Listen(ctx context.Context, addr string, hint func()) error {
	opts := p.prober.options(addr)
	opts.PoolSize = 1
	opts.DialTimeout = 5 * time.Second
	client := redis.NewClient(&opts)
	defer func() { _ = client.Close() }() // nothing was buffered
	sub := client.Subscribe(ctx, "+switch-master", "+odown", "-odown", "-role-change", "+role-change", "+failover-end", "+promoted-slave")
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer stop()
	defer func() { _ = sub.Close() }()
	if err := sub.PSubscribe(ctx, abortedPattern); err != nil {
		return fmt.Errorf("topology: can't listen to the Sentinel %s; its hints are done without: %w", addr, err)
	}
	const quiet = 30 * time.Second
	for asked := false; ; {
		msg, err := sub.ReceiveTimeout(ctx, quiet)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && (asked || !isTimeout(err)):
			return fmt.Errorf("topology: the Sentinel %s can't be heard any more; its hints are done without: %w", addr, err)
		case err != nil:
			if err := sub.Ping(ctx); err != nil {
				return fmt.Errorf("topology: the Sentinel %s can't be heard any more; its hints are done without: %w", addr, err)
			}
			asked = true
			continue
		}
		asked = false
		switch msg := msg.(type) {
		case *redis.Message:
			hint()
		case *redis.Subscription:
			if msg.Channel == abortedPattern { // the last of them
				hint()
			}
		}
	}
}
