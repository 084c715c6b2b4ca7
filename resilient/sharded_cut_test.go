package resilient_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// fleet are servers behind proxies, and how to make a client of several shards
// over them.
type fleet struct {
	nodes   []*redistest.Node
	proxies []*redistest.Proxy
	client  func() redis.UniversalClient
}

func (f *fleet) behindProxies(t *testing.T) (instead map[string]string) {
	instead = map[string]string{}
	for _, n := range f.nodes {
		p, err := redistest.NewProxy(n.Addr())
		check(t, err)
		t.Cleanup(func() { _ = p.Close() }) // has nothing to fail
		f.proxies = append(f.proxies, p)
		instead[n.Addr()] = p.Addr()
	}
	return instead
}

// cut closes connections after each request that contains text was sent.
func (f *fleet) cut(text string) (hits func() int, disarm func()) {
	var rules []*redistest.Rule
	for _, p := range f.proxies {
		rules = append(rules, p.CutAfterSend(redistest.Contains(text)))
	}
	hits = func() (sum int) {
		for _, r := range rules {
			sum += r.Hits()
		}
		return sum
	}
	return hits, func() {
		for _, r := range rules {
			r.Disarm()
		}
	}
}

// value is what a key holds, on whichever server has it.
func (f *fleet) value(t *testing.T, key string) string {
	t.Helper()
	for _, n := range f.nodes {
		if v, err := n.Client().Get(context.Background(), key).Result(); err == nil {
			return v
		}
	}
	return ""
}

func fleets(t *testing.T) map[string]*fleet {
	cluster := &fleet{nodes: redistest.StartClusterT(t, redistest.ClusterOptions{}).Nodes()}
	instead := cluster.behindProxies(t)
	cluster.client = func() redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{cluster.nodes[0].Addr()}, Dialer: mapped(instead)})
	}
	ring := &fleet{nodes: []*redistest.Node{
		redistest.StartT(t, redistest.Options{}).Node(0), redistest.StartT(t, redistest.Options{}).Node(0),
	}}
	ring.behindProxies(t)
	ring.client = func() redis.UniversalClient { return ringOf(ring.proxies[0].Addr(), ring.proxies[1].Addr()) }
	return map[string]*fleet{"Cluster": cluster, "Ring": ring}
}

// TestShardedWritesAreSentOnce: replies are lost on the way. Plain go-redis sends
// the write again and again; ours once, and says that it is in doubt.
func TestShardedWritesAreSentOnce(t *testing.T) {
	t.Parallel()
	for name, f := range fleets(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			plain, c := f.client(), wrap(t, f.client(), nil)
			t.Cleanup(func() { _ = plain.Close() })
			check(t, c.Incr(ctx, "warm").Err())

			hits, disarm := f.cut("cut:")
			if err := plain.Incr(ctx, "cut:plain").Err(); err == nil || f.value(t, "cut:plain") == "1" {
				t.Errorf("plain go-redis: %v, applied %s times: there is no trap to avoid", err, f.value(t, "cut:plain"))
			}
			before := hits()
			doubt := func(what string, write func(context.Context) error) {
				t.Helper()
				tracked, receipt := resilient.WithReceipt(ctx)
				wantDoubt(t, what, write(tracked))
				if receipt.Outcome() != resilient.OutcomeInDoubt {
					t.Errorf("%s: the receipt says %v", what, receipt.Outcome())
				}
			}
			incr := func(key string) func(redis.Pipeliner) error {
				return func(p redis.Pipeliner) error { p.Incr(ctx, key); return nil }
			}
			doubt("INCR", func(ctx context.Context) error { return c.Incr(ctx, "cut:n").Err() })
			doubt("a script", func(ctx context.Context) error {
				return c.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{"cut:script"}).Err()
			})
			doubt("a transaction", func(ctx context.Context) error { return pipelined(c.TxPipelined(ctx, incr("cut:tx"))) })
			doubt("a pipeline of one", func(ctx context.Context) error { return pipelined(c.Pipelined(ctx, incr("cut:p"))) })
			doubt("a watched transaction", func(ctx context.Context) error {
				return c.Watch(ctx, func(tx *redis.Tx) error { return pipelined(tx.TxPipelined(ctx, incr("cut:{w}"))) }, "{w}watched")
			})
			doubt("a write inside Watch", func(ctx context.Context) error {
				return c.Watch(ctx, func(tx *redis.Tx) error { return tx.Incr(ctx, "cut:{i}").Err() }, "{i}watched")
			})
			for _, key := range []string{"cut:n", "cut:script", "cut:tx", "cut:p", "cut:{w}", "cut:{i}"} {
				if v := f.value(t, key); v != "1" {
					t.Errorf("%s was applied %s times", key, v)
				}
			}
			if n := hits() - before; n != 6 {
				t.Errorf("%d requests, want one for each", n)
			}
			if s := c.Stats(); s.InDoubt != 6 || s.Refused != 0 {
				t.Errorf("%+v", s)
			}
			disarm()
			check(t, c.Incr(ctx, "cut:n").Err())
		})
	}
}

// TestShardedRepeatsTheHarmless: a lost reply to what may be repeated is none of
// the caller's concern.
func TestShardedRepeatsTheHarmless(t *testing.T) {
	t.Parallel()
	for name, f := range fleets(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			c := wrap(t, f.client(), nil)
			for _, p := range f.proxies {
				p.CutAfterSend(redistest.Once(redistest.Contains("once:")))
			}
			check(t, c.Set(ctx, "once:k", "v", 0).Err())
			if v, err := c.Get(ctx, "once:k").Result(); v != "v" || err != nil {
				t.Errorf("GET = %q, %v", v, err)
			}
			hits, _ := f.cut("always:")
			wantDoubt(t, "SET whose replies all get lost", c.Set(ctx, "always:k", "v", 0).Err())
			if hits() < 2 {
				t.Errorf("SET was sent %d times", hits())
			}
		})
	}
}

// TestShardedPipelineIsNotRepeated: of a pipeline over several servers one loses
// its connection. Every write is applied once, and only its part is in doubt.
func TestShardedPipelineIsNotRepeated(t *testing.T) {
	t.Parallel()
	for name, f := range fleets(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			c := wrap(t, f.client(), nil)
			const keys = 40
			rule := f.proxies[1].CutAfterSend(redistest.Once(redistest.Contains("p:")))
			p := c.Pipeline()
			var writes, reads []redis.Cmder
			for i := range keys {
				writes = append(writes, p.Incr(ctx, fmt.Sprint("p:", i)))
				reads = append(reads, p.Exists(ctx, fmt.Sprint("p:", i)))
			}
			_, err := p.Exec(ctx)
			wantDoubt(t, "the pipeline", err)
			if rule.Hits() != 1 {
				t.Fatalf("%d cuts", rule.Hits())
			}
			doubts := 0
			for i, cmd := range writes {
				key := fmt.Sprint("p:", i)
				if v := f.value(t, key); v != "1" {
					t.Errorf("%s was applied %s times (%v)", key, v, cmd.Err())
				}
				if cmd.Err() != nil {
					wantDoubt(t, key, cmd.Err())
					doubts++
				} else if reads[i].Err() != nil {
					t.Errorf("EXISTS behind %s: %v", key, reads[i].Err())
				}
			}
			if doubts == 0 || doubts == keys || c.Stats().InDoubt != uint64(doubts) {
				t.Errorf("%d of %d in doubt, counted %d", doubts, keys, c.Stats().InDoubt)
			}
		})
	}
}
