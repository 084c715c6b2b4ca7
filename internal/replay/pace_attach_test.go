package replay

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// info is one field of a node's INFO.
func (r *rig) info(node int, section, field string) string {
	r.t.Helper()
	return parseInfo(fmt.Sprint(r.do(node, "INFO", section)))[field]
}

// promoted is a group of three whose primary died and whose node 1 was promoted, with a
// backlog of entries many times as large as the replication backlog. Node 2 lives and has
// not heard of it.
func promoted(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, 2)
	r.do(0, "SET", "before", "1")
	r.must(r.g.WaitSynced(context.Background()))
	r.must(r.g.Node(0).Kill())
	r.must(r.g.PromoteOnly(context.Background(), 1))
	value := strings.Repeat("x", 1000)
	for i := range 4000 {
		r.src.add("SET", "k"+strconv.Itoa(i), value)
	}
	r.opt.AckBound = 10 * time.Millisecond // confirmation is not the matter here
	return r
}

func TestASecondReplicaKeepsItsData(t *testing.T) {
	t.Parallel()
	r := promoted(t)
	r.opt.Rate, r.opt.AttachGrace = -1, time.Hour
	full := r.info(1, "stats", "sync_full")
	rp := r.replayer()
	_, ended := r.run(rp, 1)
	// It goes on until its share of the replication backlog is used up.
	size, err := strconv.Atoi(r.info(1, "replication", "repl_backlog_size"))
	r.must(err)
	redistest.Eventually(t, patience, "the replay to be held back", func() bool {
		return rp.Stats().Bytes >= uint64(size/attachShare)
	})
	r.do(2, "REPLICAOF", "127.0.0.1", port(r.g.Node(1).Addr()))
	r.waitDrained(ended)
	r.must(r.g.WaitSynced(context.Background()))
	if got := r.info(1, "stats", "sync_partial_ok"); got != "1" {
		t.Errorf("%s partial resynchronizations, want 1", got)
	}
	if got := r.info(1, "stats", "sync_full"); got != full {
		t.Errorf("%s full resynchronizations, %s before", got, full)
	}
	r.want(2, "before", "1")
	if got := r.do(2, "DBSIZE"); got != int64(4002) { // and the fence
		t.Errorf("the replica has %v keys", got)
	}
}

func TestReplicasThatDoNotComeAreWaitedForOnce(t *testing.T) {
	t.Parallel()
	r := promoted(t)
	r.opt.Rate, r.opt.AttachGrace = -1, 300*time.Millisecond
	rp := r.replayer()
	begun := time.Now()
	stop, ended := r.run(rp, 1)
	r.waitDrained(ended)
	if took := time.Since(begun); took < r.opt.AttachGrace {
		t.Errorf("it was drained after %v, before the grace had passed", took)
	}
	_ = stop()
	// The next session to the same primary is not held back at all.
	rp.opt.AttachGrace = time.Hour
	for range 4000 {
		r.src.add("SET", "k", strings.Repeat("x", 1000))
	}
	_, ended = r.run(rp, 1)
	r.waitDrained(ended)
}

func TestReplicasThatAreDeadAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	r := promoted(t)
	r.opt.Rate, r.opt.AttachGrace = -1, time.Hour
	r.must(r.g.Node(2).Kill())
	_, ended := r.run(r.replayer(), 1)
	r.waitDrained(ended)
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
