package resilient_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestSubscriptionFollowsTheTopology: a subscription gets messages from the
// primary, and after its death and the promotion of another from that one.
func TestSubscriptionFollowsTheTopology(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	subs := map[string]*redis.PubSub{
		"news":  c.Subscribe(ctx, "news"),
		"p:one": c.PSubscribe(ctx, "p:*"),
		"shard": c.SSubscribe(ctx, "shard"),
	}
	messages := map[string]<-chan *redis.Message{}
	for name, sub := range subs {
		t.Cleanup(func() { _ = sub.Close() }) // closed twice at most
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		messages[name] = sub.Channel()
	}
	publish := func(channel, text string) {
		t.Helper()
		var err error
		if channel == "shard" {
			err = c.SPublish(ctx, channel, text).Err()
		} else {
			err = c.Publish(ctx, channel, text).Err()
		}
		if err != nil {
			t.Errorf("%s: %v", channel, err)
		}
	}
	for channel, got := range messages {
		publish(channel, "healthy")
		if m := receive(t, got); m.Payload != "healthy" || m.Channel != channel {
			t.Errorf("%s: %v", channel, m)
		}
	}
	if n := c.PoolStats().PubSubStats.Active; n != 3 {
		t.Errorf("%d subscriptions counted, want 3", n)
	}
	check(t, g.Node(0).Kill())
	var err error
	redistest.Eventually(t, testPatience, "a publication to be refused", func() bool {
		err = c.Publish(ctx, "news", "nobody hears").Err()
		return errors.Is(err, resilient.ErrNoPrimary)
	})
	refused(t, err, "publish", "publish")
	check(t, g.Promote(ctx, 1))
	waitState(t, c, resilient.StateHealthy)
	for channel, got := range messages {
		redistest.Eventually(t, testPatience, "the subscription to "+channel+" to move", func() bool {
			publish(channel, "returned")
			select {
			case m := <-got:
				return m.Payload == "returned"
			case <-time.After(50 * time.Millisecond):
				return false
			}
		})
		check(t, subs[channel].Close())
	}
}

func receive(t *testing.T, from <-chan *redis.Message) *redis.Message {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-time.After(testPatience):
		t.Fatal("no message")
		return nil
	}
}

// TestSubscribeInAnOutage: a subscription made then is a replica's, and a
// client that is closed ends it.
func TestSubscribeInAnOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	check(t, g.Cycle(ctx))
	waitState(t, c, resilient.StateNoPrimary)
	sub := c.Subscribe(ctx, "news")
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	check(t, sub.Ping(ctx))
	check(t, sub.Close())
	refused(t, c.Publish(ctx, "news", "x").Err(), "publish", "publish")
}
