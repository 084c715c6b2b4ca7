package resilient_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestRingPipelineKeepsItsOrder: a command over keys of two shards stands in a pipeline
// between commands on one of them. Each sees what was before it, as with plain go-redis.
func TestRingPipelineKeepsItsOrder(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	one, two := redistest.StartT(t, redistest.Options{}), redistest.StartT(t, redistest.Options{})
	c := wrap(t, ringOf(one.Node(0).Addr(), two.Node(0).Addr()), nil)
	plain := ringOf(one.Node(0).Addr(), two.Node(0).Addr())
	t.Cleanup(func() { _ = plain.Close() }) // nothing is under way
	keys := keysOf(t, c, []*redistest.Node{one.Node(0), two.Node(0)})
	run := func(c redis.UniversalClient, round int) string {
		p := c.Pipeline()
		cmds := []redis.Cmder{
			p.Set(ctx, keys[0], round, 0), p.Append(ctx, keys[1], "x"), p.Del(ctx, keys[0], keys[1]),
			p.Append(ctx, keys[0], "a"), p.MGet(ctx, keys[0], keys[1]), p.Set(ctx, keys[1], "b", 0), p.Get(ctx, keys[0]),
		}
		_, err := p.Exec(ctx)
		return fmt.Sprint(cmds, err)
	}
	for round := range 200 {
		if want, got := run(plain, round), run(c, round); got != want {
			t.Fatalf("round %d: %s, plain go-redis: %s", round, got, want)
		}
	}
}

// TestClusterSlotMovesUnderAPipeline: a slot goes to another shard between the decision to
// defer a write and its entry. Pipelines and transactions follow it, each command once and
// in its order.
func TestClusterSlotMovesUnderAPipeline(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	servers, c := clusterOf(t, redistest.ClusterOptions{PartialCoverage: true, AllowReadsWhenDown: true}, nil)
	keys := keysOfShard(t, servers, 0, 6) // of different slots
	primary, _ := servers.Primary(ctx, 0)
	heir := servers.Shard(1)[0]
	var armed atomic.Pointer[string] // the key whose slot is to move
	resilient.SetCommitting(c, func() {
		key := armed.Swap(nil)
		if key == nil {
			return
		}
		slot, err := servers.Slot(ctx, *key)
		check(t, err)
		was := resilient.OwnerOf(c, *key)
		check(t, servers.TakeSlots(ctx, slot, slot, heir))
		redistest.Eventually(t, testPatience, "the slot to be seen to have moved", func() bool { return resilient.OwnerOf(c, *key) != was })
	})
	check(t, primary.Kill())
	redistest.Eventually(t, testPatience, "the outage", func() bool { return shardStates(c, resilient.StateHealthy) == 2 })
	for name, run := range map[string]func(key string) ([]redis.Cmder, error){
		"command": func(key string) ([]redis.Cmder, error) {
			cmd := c.RPush(ctx, key, "a")
			check(t, c.RPush(ctx, key, "b").Err())
			return []redis.Cmder{cmd, c.LRange(ctx, key, 0, -1)}, cmd.Err()
		},
		"pipeline": func(key string) ([]redis.Cmder, error) {
			return c.Pipelined(ctx, func(p redis.Pipeliner) error {
				p.RPush(ctx, key, "a")
				p.RPush(ctx, key, "b")
				p.LRange(ctx, key, 0, -1)
				return nil
			})
		},
		"transaction": func(key string) ([]redis.Cmder, error) {
			return c.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.RPush(ctx, key, "a")
				p.RPush(ctx, key, "b")
				return nil
			})
		},
	} {
		key := keys[0]
		keys = keys[1:]
		armed.Store(&key)
		cmds, err := run(key)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if list, is := cmds[len(cmds)-1].(*redis.StringSliceCmd); is && fmt.Sprint(list.Val()) != "[a b]" {
			t.Errorf("%s: the list is %q", name, list.Val())
		}
		if v := heir.Client().LRange(ctx, key, 0, -1).Val(); fmt.Sprint(v) != "[a b]" {
			t.Errorf("%s: the slot's new server has %q", name, v)
		}
	}
	if s := c.Stats(); s.Refused+s.InDoubt+s.Deferred != 0 {
		t.Errorf("%+v", s)
	}
}
