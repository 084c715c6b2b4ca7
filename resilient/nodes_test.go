package resilient

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/topology"
)

// TestFailoverClientBesideASecondPrimary: the client that Sentinels lead is trusted as long as
// there is one primary. Of two it may know the other one, which would take its writes and lose
// them when the Sentinels agree.
func TestFailoverClientBesideASecondPrimary(t *testing.T) {
	led := redis.NewClient(&redis.Options{Addr: nowhere, Dialer: dialNowhere})
	n := newNodeClients(&redis.Options{}, nil)
	n.primary = led
	defer func() { _ = n.close() }()
	master := func(addr, id string) topology.NodeReport {
		return topology.NodeReport{Addr: addr, RunID: id, Outcome: topology.OutcomeAnswered, Role: topology.RoleMaster}
	}
	one := []topology.NodeReport{master("a:1", "a")}
	both := append(one, master("b:1", "b"))
	if got := n.live("a:1", aloneAmong(one, "a")); got != led {
		t.Error("the application's client is not used beside a single primary")
	}
	if got := n.live("a:1", aloneAmong(both, "a")); got == led || got.Options().Addr != "a:1" {
		t.Error("of two primaries the one that was verified is not addressed")
	}
}

// TestVersionOfAServerThatIsGone: after an upgrade with servers at new addresses the old ones'
// version must not count for ever.
func TestVersionOfAServerThatIsGone(t *testing.T) {
	r := new(replicas)
	r.remember("old:1", topology.NodeReport{Version: "6.2.14"})
	if oldest := r.remember("new:1", topology.NodeReport{Version: "7.2.4"}); oldest.Version != 60214 {
		t.Errorf("beside an old server: %d", oldest.Version)
	}
	h := r.last["old:1"]
	h.at = h.at.Add(-versionMemory - time.Second)
	r.last["old:1"] = h
	if oldest := r.remember("new:1", topology.NodeReport{Version: "7.2.4"}); oldest.Version != 70204 {
		t.Errorf("long after it has gone: %d", oldest.Version)
	}
}
