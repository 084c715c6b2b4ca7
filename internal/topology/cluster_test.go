package topology

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const clusterNodes = "07c37dfeb235213a872192d90877d0cd55635b91 127.0.0.1:30004@31004,host-4 slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 1426238317239 4 connected\n" +
	"67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 127.0.0.1:30002@31002 master,fail - 0 1426238316232 2 disconnected 5461-10922\n" +
	"e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca :30001@31001 myself,master - 0 0 1 connected 0-5460 10923 [5461-<-67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1]\n" +
	"292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f ::1:30003@31003 master,fail? - 0 1426238318243 3 connected 10924-16383\n" +
	"824fe116063bc5fcf9f4ffd895bc17aee7731ac3 :0@0 slave,noaddr 292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f 0 0 6 disconnected\n\nnonsense\n"

func TestParseClusterNodes(t *testing.T) {
	r := parseClusterNodes(clusterNodes, "10.0.0.9:30001")
	if r.ID[:4] != "e7d1" || len(r.Members) != 4 {
		t.Fatalf("%+v", r)
	}
	me := r.member(r.ID)
	if me.Addr != "10.0.0.9:30001" || !me.Master || me.Epoch != 1 || !slices.Equal(me.Slots, []SlotRange{{0, 5460}, {10923, 10923}}) {
		t.Errorf("%+v", me)
	}
	if m := r.Members[0]; m.Master || m.MasterID != r.ID || m.Addr != "127.0.0.1:30004" {
		t.Errorf("%+v", m)
	}
	if m := r.ownerOf(6000); m == nil || !m.Failed || m.Doubted {
		t.Errorf("%+v", m)
	}
	if m := r.ownerOf(16383); m == nil || m.Failed || !m.Doubted || m.Addr != "[::1]:30003" {
		t.Errorf("%+v", m)
	}
}

// view is what one server of a test's Cluster says; members are "id[/master][:slots][!][@epoch]".
func view(id string, members ...string) ClusterReport {
	r := ClusterReport{ID: id}
	for _, text := range members {
		m := ClusterMember{Master: true}
		text, epoch, _ := strings.Cut(text, "@")
		m.Epoch = number(epoch, 1)
		text, m.Failed = strings.CutSuffix(text, "!")
		text, slots, owns := strings.Cut(text, ":")
		if s, ok := parseSlots(slots); owns && ok {
			m.Slots = []SlotRange{s}
		}
		m.ID, m.MasterID, _ = strings.Cut(text, "/")
		m.Master = m.MasterID == ""
		m.Addr = m.ID + ":1"
		r.Members = append(r.Members, m)
	}
	return r
}

// all makes every server say the same.
func all(ids string, members ...string) []ClusterReport {
	var out []ClusterReport
	for _, id := range ids {
		out = append(out, view(string(id), members...))
	}
	return out
}

func (c Cluster) text() string {
	var out []string
	for _, f := range c.Shards {
		failed := ""
		if f.Failed {
			failed = " failed"
		}
		out = append(out, fmt.Sprintf("%s owner=%s slots=%v members=%s %d/%d/%d%s",
			f.ID, f.Owner, f.Slots, strings.Join(f.Members, ","), f.Votes, f.Heard, f.Voters, failed))
	}
	return strings.Join(out, "\n")
}

func TestClusterMerge(t *testing.T) {
	var c Cluster
	step := func(what string, views []ClusterReport, want ...string) {
		t.Helper()
		c = c.Merge(views)
		if got := c.text(); got != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant:\n%s", what, got, strings.Join(want, "\n"))
		}
	}
	step("nothing known", nil)
	step("at start", all("abcxyz", "a:0-5000", "b:5001-10000@2", "c:10001-16383@3", "x/a", "y/b", "z/c"),
		"a owner=a:1 slots=[0-5000] members=a:1,x:1 3/3/3",
		"b owner=b:1 slots=[5001-10000] members=b:1,y:1 3/3/3",
		"c owner=c:1 slots=[10001-16383] members=c:1,z:1 3/3/3")
	step("a has died, nobody has agreed on it yet", all("bcxyz", "a:0-5000", "b:5001-10000@2", "c:10001-16383@3", "x/a", "y/b", "z/c"),
		"a owner=a:1 slots=[0-5000] members=a:1,x:1 2/2/3",
		"b owner=b:1 slots=[5001-10000] members=b:1,y:1 2/2/3",
		"c owner=c:1 slots=[10001-16383] members=c:1,z:1 2/2/3")
	step("it is marked as failed", all("bcxyz", "a:0-5000!", "b:5001-10000@2", "c:10001-16383@3", "x/a", "y/b", "z/c"),
		"a owner=a:1 slots=[0-5000] members=a:1,x:1 2/2/3 failed",
		"b owner=b:1 slots=[5001-10000] members=b:1,y:1 2/2/3",
		"c owner=c:1 slots=[10001-16383] members=c:1,z:1 2/2/3")
	if u := c.Shards[1].Uncovered; !slices.Equal(u, []SlotRange{{0, 5000}}) {
		t.Errorf("uncovered %v", u)
	}
	elected := []string{"a!", "b:5001-10000@2", "c:10001-16383@3", "x:0-5000@4", "y/b", "z/c"}
	step("x is elected: the shard is the same, c has not heard it", append(all("bxyz", elected...),
		view("c", "a:0-5000!", "b:5001-10000@2", "c:10001-16383@3", "x/a", "y/b", "z/c")),
		"a owner=x:1 slots=[0-5000] members=a:1,x:1 2/3/3",
		"b owner=b:1 slots=[5001-10000] members=b:1,y:1 3/3/3",
		"c owner=c:1 slots=[10001-16383] members=c:1,z:1 3/3/3")
	step("a comes back and still claims its slots: the higher epoch holds", append(all("bcxyz", elected...),
		view("a", "a:0-5000", "b:5001-10000@2", "c:10001-16383@3", "x/a", "y/b", "z/c")),
		"a owner=x:1 slots=[0-5000] members=a:1,x:1 3/3/3",
		"b owner=b:1 slots=[5001-10000] members=b:1,y:1 3/3/3",
		"c owner=c:1 slots=[10001-16383] members=c:1,z:1 3/3/3")
	step("slots move from b to x, and y goes to c", all("abcxyz", "a/x@4", "b:6000-10000@2", "c:10001-16383@3", "x:0-5999@5", "y/c", "z/c"),
		"a owner=x:1 slots=[0-5999] members=a:1,x:1 3/3/3",
		"b owner=b:1 slots=[6000-10000] members=b:1 3/3/3",
		"c owner=c:1 slots=[10001-16383] members=c:1,y:1,z:1 3/3/3")
	step("b has given all away", all("abcxyz", "a/x@4", "b@2", "c:10001-16383@3", "x:0-10000@6", "y/c", "z/c"),
		"a owner=x:1 slots=[0-10000] members=a:1,x:1 2/2/2",
		"c owner=c:1 slots=[10001-16383] members=c:1,y:1,z:1 2/2/2")
	before := c.text()
	step("silence tells nothing", nil, before)
}

// What our own cut-off primary says does not count for those who are cut off from it.
func TestClusterMinority(t *testing.T) {
	c := Cluster{}.Merge([]ClusterReport{view("a", "a:0-5000", "b:5001-10000!@2", "c:10001-16383!@3", "x/a")})
	if len(c.Shards) != 3 || c.Shards[0].word().majority || c.Shards[0].Heard != 1 || !c.Shards[1].Failed {
		t.Errorf("%s", c.text())
	}
}

func TestClusterTakesShardIDs(t *testing.T) {
	views := all("ab", "a:0-5000", "b:5001-16383@2")
	views[1].ShardID = "shard"
	c := Cluster{}.Merge(views)
	if c.Shards[0].ID != "a" || c.Shards[1].ID != "shard" {
		t.Errorf("%s", c.text())
	}
	views[0].ShardID = "late"
	if c = c.Merge(views); c.Shards[0].ID != "a" {
		t.Errorf("renamed: %s", c.text())
	}
}

// FuzzParseClusterNodes: whatever a server sends, nothing panics, here and in the merge.
func FuzzParseClusterNodes(f *testing.F) {
	f.Add(clusterNodes)
	f.Add("a b:1@1 myself - 0 0 99999999999999999999 x 0-16384 5-4 -1 16383\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := parseClusterNodes(text, "h:1")
		if len(r.Members) > clusterLimit {
			t.Errorf("%d members", len(r.Members))
		}
		c := Cluster{}.Merge([]ClusterReport{*r})
		for _, s := range c.Merge([]ClusterReport{*r}).Shards {
			if s.ID == "" && s.OwnerID != "" || len(s.Slots) == 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}
