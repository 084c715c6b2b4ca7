package resilient

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// TestOldMapOfSlots: the Cluster client's map of slots names a server that is gone. What
// was not sent goes to the shard's primary, once, unless that is the one that is gone.
func TestOldMapOfSlots(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	const gone = "127.0.0.1:1"
	cluster := redis.NewClusterClient(&redis.ClusterOptions{
		DialerRetries: 1, MaxRedirects: -1,
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			return []redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: gone}}}}, nil
		},
	})
	nodes := newNodeClients(&redis.Options{}, nil)
	t.Cleanup(func() { _, _ = cluster.Close(), nodes.close() }) // nothing is under way
	c := &clustered{sharded: sharded{nodes: nodes}}
	forms := map[string]func(w clusterWriter) error{
		"INCR": func(w clusterWriter) error { return w.Process(ctx, &once{redis.NewIntCmd(ctx, "incr", "n")}) },
		"transaction": func(w clusterWriter) error {
			pipe := w.TxPipeline()
			_ = pipe.Process(ctx, &once{redis.NewIntCmd(ctx, "incr", "n")}) // only queues
			_ = pipe.Process(ctx, &once{redis.NewIntCmd(ctx, "incr", "n")})
			_, err := pipe.Exec(ctx)
			return err
		},
	}
	want := 0
	for what, send := range forms {
		if err := send(clusterWriter{&clusterShards{ClusterClient: cluster}, c, nil, gone}); faultOf(err) != faultUnsent {
			t.Errorf("%s to a primary that is gone: %v", what, err)
		}
		if err := send(clusterWriter{&clusterShards{ClusterClient: cluster}, c, nil, g.Node(0).Addr()}); err != nil {
			t.Errorf("%s by an old map: %v", what, err)
		}
		want++
	}
	if n, err := g.Node(0).Client().Get(ctx, "n").Int(); n != want+1 || err != nil {
		t.Errorf("%d increments, %v, want %d", n, err, want+1)
	}
}
