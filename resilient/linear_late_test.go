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

// TestClusterPipelineOvertakesNothing: a pipeline is under way when the primary dies, and
// go-redis goes on dialling for it. When there is a primary again it must not be sent there
// in front of what was deferred meanwhile: two callers would be told the same number.
func TestClusterPipelineOvertakesNothing(t *testing.T) {
	t.Parallel()
	outliveDials(t)
	ctx := context.Background()
	servers := redistest.StartClusterT(t, redistest.ClusterOptions{Replicas: 1, PartialCoverage: true, AllowReadsWhenDown: true})
	check(t, servers.AutoFailover(ctx, false))
	c := newClientFor(t, &redis.UniversalOptions{
		Addrs: servers.Addrs(), MaxRedirects: 200, MinRetryBackoff: 20 * time.Millisecond, MaxRetryBackoff: 20 * time.Millisecond, DialerRetries: 1,
	}, &resilient.Options{ProbeInterval: 100 * time.Millisecond})
	tag := keysOfShard(t, servers, 0, 1)[0]
	key := "{" + tag + "}n"
	check(t, c.Incr(ctx, key).Err())
	primary, replica := servers.Shard(0)[0], servers.Shard(0)[1]
	caughtUp(t, primary, replica)
	check(t, primary.Kill())

	piped := make(chan *redis.IntCmd, 1)
	go func() {
		p := c.Pipeline()
		cmd := p.Incr(ctx, key)
		_, _ = p.Exec(ctx) // the command has its error
		piped <- cmd
	}()
	redistest.Eventually(t, testPatience, "no primary", func() bool { return shardStates(c, resilient.StateHealthy) == 2 })
	for _, key := range keysOfShard(t, servers, 0, 1500) {
		check(t, c.Set(ctx, key, 1, 0).Err())
	}
	told := c.Incr(ctx, key)
	check(t, told.Err())
	check(t, servers.Failover(ctx, replica, redistest.FailoverTakeover))
	eventuallyFlushed(t, c)
	late := <-piped
	t.Logf("in the outage: %v; the pipeline: %v", told, late)
	want := 2
	switch {
	case late.Err() == nil && late.Val() == told.Val():
		t.Errorf("two callers were told %d", told.Val())
	case late.Err() == nil:
		want = 3
	case !errors.Is(late.Err(), resilient.ErrInDoubt) && !resilient.SafeToRetry(late.Err()):
		t.Errorf("the pipeline: %v", late.Err())
	}
	if n, err := c.Get(ctx, key).Int(); n != want && !errors.Is(late.Err(), resilient.ErrInDoubt) || err != nil {
		t.Errorf("the counter is %d, %v; want %d", n, err, want)
	}
}
