package resilient

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// TestRightsBehindASimpleProxy: where MULTI is declined, the question whether the fence may
// be set must not set it.
func TestRightsBehindASimpleProxy(t *testing.T) {
	t.Parallel()
	g := redistest.StartT(t, redistest.Options{})
	proxy, err := redistest.NewSimpleProxy(g.Node(0).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr(), Protocol: 2, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	const fence = "holdfast:fence:x"
	admin := g.Node(0).Client()
	if err := admin.Set(t.Context(), fence, "17", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, plain := range []bool{false, true} {
		c := client.Conn()
		missing, err := missingRights(t.Context(), c, fence, plain)
		if err != nil || len(missing) > 0 {
			t.Errorf("missing %q, %v", missing, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if v := admin.Get(t.Context(), fence).Val(); v != "17" {
			t.Fatalf("the fence is %q", v)
		}
	}
}
