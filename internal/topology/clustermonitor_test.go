package topology

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeCluster answers probes with views, by address.
type fakeCluster struct {
	mu    sync.Mutex // guards views
	views map[string]ClusterReport
}

func (f *fakeCluster) probe(_ context.Context, addr string) NodeReport {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.views[addr]
	if !ok {
		return NodeReport{Addr: addr, Outcome: OutcomeRefused}
	}
	n := NodeReport{Addr: addr, Outcome: OutcomeAnswered, Role: RoleReplica, RunID: "run " + v.ID, ReplID: "data", Cluster: &v}
	for _, m := range v.Members {
		if m.ID == v.ID && m.Master {
			n.Role = RoleMaster
		}
	}
	return n
}

// become makes the servers at these addresses those of a Cluster whose members say this.
func (f *fakeCluster) become(ids map[string]string, moved map[string]string, members ...string) {
	views := make(map[string]ClusterReport)
	for addr, id := range ids {
		v := view(id, members...)
		for i := range v.Members {
			if to, ok := moved[v.Members[i].ID]; ok {
				v.Members[i].Addr = to
			}
		}
		views[addr] = v
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.views = views
}

func watchFake(t *testing.T, f *fakeCluster, seeds ...string) *ClusterMonitor {
	c := NewClusterMonitor(ClusterOptions{Options: Options{Seeds: seeds, Probe: f.probe}})
	t.Cleanup(c.Close)
	c.Start(t.Context())
	return c
}

func (c *ClusterMonitor) wantOwners(t *testing.T, what, want string) {
	t.Helper()
	time.Sleep(time.Minute) // by the clock of the test
	synctest.Wait()
	var owners, live []string
	for _, f := range c.Facts() {
		owners = append(owners, f.Owner)
	}
	for _, s := range c.Shards() {
		if v := s.View(); v.Live {
			live = append(live, v.Primary.Addr)
		}
	}
	if got := strings.Join(owners, " "); got != want || strings.Join(live, " ") != want {
		t.Errorf("%s: owned by %s, live at %v; want %s", what, got, live, want)
	}
}

// TestClusterSeedUnderAnotherName: what was asked of a seed is not believed for ever where the
// Cluster has other addresses for its servers.
func TestClusterSeedUnderAnotherName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := []string{"a:0-8000", "b:8001-16383@2"}
		f := &fakeCluster{}
		f.become(map[string]string{"host-a:1": "a", "a:1": "a", "b:1": "b"}, nil, members...)
		c := watchFake(t, f, "host-a:1", "host-b:1")
		c.wantOwners(t, "at start", "a:1 b:1")
		f.become(map[string]string{"host-a:1": "a", "new-a:1": "a", "b:1": "b"}, map[string]string{"a": "new-a:1"}, members...)
		c.wantOwners(t, "one server has another address", "new-a:1 b:1")
		f.become(map[string]string{"host-a:1": "a", "far-a:1": "a", "far-b:1": "b"},
			map[string]string{"a": "far-a:1", "b": "far-b:1"}, members...)
		c.wantOwners(t, "all have", "far-a:1 far-b:1")
	})
}

// TestClusterStranger: a server of another Cluster that has got the address of one which is gone
// has no say, but for one that has come in the place of all.
func TestClusterStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeCluster{}
		ids := map[string]string{"a:1": "a", "b:1": "b", "x:1": "x"}
		f.become(ids, nil, "a:0-8000", "b:8001-16383@2", "x/a")
		c := watchFake(t, f, "a:1")
		c.wantOwners(t, "at start", "a:1 b:1")
		stranger := view("q", "q:0-16383@99")
		f.mu.Lock()
		f.views["x:1"] = stranger
		f.mu.Unlock()
		c.wantOwners(t, "a stranger at a replica's address", "a:1 b:1")
		f.become(map[string]string{"a:1": "p"}, map[string]string{"p": "a:1"}, "p:0-16383")
		c.wantOwners(t, "a Cluster made anew at the seed", "a:1")
	})
}
