package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// campaignStage is the servers of a campaign. What is done to them concerns one shard.
type campaignStage interface {
	// task is what a client is told; without Dir, Rate and Writers.
	task() campaignTask
	// tags are hash tags of the shards, one for each writer.
	tags() [][]string
	// nodes are the servers of a shard.
	nodes(shard int) []*redistest.Node
	// primary is the one that takes writes, nil while there is none.
	primary(ctx context.Context, shard int) *redistest.Node
	// calm begins an outage in which no server dies, and reports false where there is none
	// of the kind.
	calm(ctx context.Context) (bool, error)
	// mend ends an outage. Whoever has most becomes the primary.
	mend(ctx context.Context, shard int) error
	// revive starts a dead server again as a replica, and settle waits until all servers
	// are and know each other.
	revive(ctx context.Context, shard int, n *redistest.Node) error
	settle(ctx context.Context) error
	// reader reads what the primaries have.
	reader(ctx context.Context) redis.UniversalClient
}

// groupStage is a group of three servers, and its Sentinels if it has any.
type groupStage struct {
	t         *testing.T
	group     *redistest.Group
	sentinels *redistest.Sentinels
}

func newGroupStage(t *testing.T, watched bool) *groupStage {
	s := &groupStage{t: t, group: redistest.StartT(t, redistest.Options{Replicas: 2})}
	if watched {
		s.sentinels = redistest.StartSentinelsT(t, s.group, redistest.SentinelsOptions{
			DownAfter: time.Second, FailoverTimeout: 4 * time.Second, InfoPeriod: 500 * time.Millisecond,
		})
	}
	return s
}

func (s *groupStage) task() campaignTask {
	if s.sentinels != nil {
		return campaignTask{Addrs: s.sentinels.Addrs(), Master: s.sentinels.Name()}
	}
	return campaignTask{Addrs: s.group.Addrs()}
}

func (s *groupStage) tags() [][]string { return [][]string{{"a", "b", "c", "d", "e", "f"}} }

func (s *groupStage) nodes(int) []*redistest.Node { return s.group.Nodes() }

func (s *groupStage) primary(ctx context.Context, _ int) *redistest.Node {
	n, _ := s.group.Primary(ctx)
	return n
}

func (s *groupStage) calm(ctx context.Context) (bool, error) { return true, s.group.Cycle(ctx) }

// mend lets the Sentinels do it, where there are any.
func (s *groupStage) mend(ctx context.Context, shard int) error {
	if s.sentinels == nil {
		n, err := s.group.Freshest(ctx)
		if err != nil {
			return err
		}
		return s.group.Promote(ctx, slices.Index(s.group.Nodes(), n))
	}
	return until(ctx, "a failover by the Sentinels", func() bool {
		n := s.primary(ctx, shard)
		return n != nil && s.named(ctx, n.Addr())
	})
}

// until waits for a condition, beside the test's goroutine.
func until(ctx context.Context, what string, cond func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// named reports whether most Sentinels name a server, and have done with its promotion: one
// that dies while the other replica is still being pointed to it confuses them for minutes.
func (s *groupStage) named(ctx context.Context, addr string) bool {
	votes := 0
	for _, one := range s.sentinels.All() {
		c := one.Client()
		if strings.Join(c.GetMasterAddrByName(ctx, s.sentinels.Name()).Val(), ":") != addr {
			continue
		}
		votes++
		if strings.Contains(c.Master(ctx, s.sentinels.Name()).Val()["flags"], "failover") {
			return false
		}
	}
	return votes > len(s.sentinels.All())/2
}

func (s *groupStage) revive(ctx context.Context, shard int, n *redistest.Node) error {
	source := s.primary(ctx, shard)
	if source == nil {
		return errors.New("no primary to revive a server for")
	}
	return n.RestartReplica(ctx, source)
}

func (s *groupStage) settle(ctx context.Context) error {
	if err := s.group.WaitSynced(ctx); err != nil || s.sentinels == nil {
		return err
	}
	n := s.primary(ctx, 0)
	return errors.Join(
		s.sentinels.WaitPrimary(ctx, slices.Index(s.group.Nodes(), n)), s.sentinels.WaitKnown(ctx))
}

func (s *groupStage) reader(ctx context.Context) redis.UniversalClient {
	return s.primary(ctx, 0).Client()
}

// clusterStage is a Cluster of three shards, with two replicas each.
type clusterStage struct {
	t       *testing.T
	cluster *redistest.Cluster
	tagged  [][]string
}

func newClusterStage(t *testing.T) *clusterStage {
	s := &clusterStage{t: t, cluster: redistest.StartClusterT(t, redistest.ClusterOptions{
		Replicas: 2, PartialCoverage: true, AllowReadsWhenDown: true,
		// A server that has no replica for a moment must not be given that of another shard.
		Args: []string{"--cluster-migration-barrier", "100"},
	})}
	check(t, s.cluster.AutoFailover(context.Background(), false))
	for shard := range s.cluster.Shards() {
		s.tagged = append(s.tagged, keysOfShard(t, s.cluster, shard, 4))
	}
	return s
}

func (s *clusterStage) task() campaignTask {
	return campaignTask{Addrs: s.cluster.Addrs(), Cluster: true}
}

func (s *clusterStage) tags() [][]string                   { return s.tagged }
func (s *clusterStage) nodes(shard int) []*redistest.Node  { return s.cluster.Shard(shard) }
func (s *clusterStage) calm(context.Context) (bool, error) { return false, nil }
func (s *clusterStage) settle(ctx context.Context) error   { return s.cluster.WaitComplete(ctx) }
func (s *clusterStage) primary(ctx context.Context, shard int) *redistest.Node {
	n, _ := s.cluster.Primary(ctx, shard)
	return n
}

func (s *clusterStage) mend(ctx context.Context, shard int) error {
	var best *redistest.Node
	most := int64(-1)
	for _, n := range s.nodes(shard) {
		if at := standOf(ctx, n); at.offset > most {
			best, most = n, at.offset
		}
	}
	if best == nil {
		return fmt.Errorf("no server of shard %d runs", shard)
	}
	return s.cluster.Failover(ctx, best, redistest.FailoverTakeover)
}

func (s *clusterStage) revive(ctx context.Context, _ int, n *redistest.Node) error {
	return errors.Join(n.Restart(ctx), s.cluster.AutoFailover(ctx, false))
}

func (s *clusterStage) reader(context.Context) redis.UniversalClient {
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: s.cluster.Addrs()})
	s.t.Cleanup(func() { _ = c.Close() }) // was only asked
	return c
}

// stand is how far a server's data are, and in which history.
type stand struct {
	replID string
	offset int64
}

// standOf asks a server; its offset is -1 when it does not answer.
func standOf(ctx context.Context, n *redistest.Node) stand {
	at := stand{offset: -1}
	if !n.Running() {
		return at
	}
	for line := range strings.Lines(n.Client().Info(ctx, "replication").Val()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "master_replid":
			at.replID = value
		case "master_repl_offset":
			at.offset, _ = strconv.ParseInt(value, 10, 64) // a server's own number
		}
	}
	return at
}

// campaignWorld is what a campaign has done to the servers, and when.
type campaignWorld struct {
	campaignStage
	t      *testing.T
	random *rand.Rand
	wg     sync.WaitGroup // of those who revive servers

	mu      sync.Mutex // guards what follows
	dead    map[*redistest.Node]int
	falls   []fall
	unasked int // of these, primaries that nobody killed
	moves   int // odd while primaries are made replicas on purpose
	marks   []mark
}

// fall is the death of a primary of a shard, or its demotion by Sentinels that have changed
// their mind: its replicas may lack what it had acknowledged by itself.
type fall struct {
	shard       int
	begun, over int64 // times
}

// mark says that all of a shard's servers have what was acknowledged at that time.
type mark struct {
	shard int
	at    int64
}

// synced tries to make a mark for a shard: it waits until its servers have what the
// primary has now, ctx ends, or there is no such primary. A primary that gets its first replica begins a new history,
// so it is asked again while the histories differ.
func (w *campaignWorld) synced(ctx context.Context, shard int) bool {
	now := time.Now().UnixNano()
	primary := w.primary(ctx, shard)
	if primary == nil {
		return false
	}
	want := standOf(ctx, primary)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, n := range w.nodes(shard) {
		for n != primary && n.Running() {
			if at := standOf(ctx, n); at.replID == want.replID && at.offset >= want.offset {
				break
			} else if at.replID != want.replID {
				if w.primary(ctx, shard) != primary {
					return false
				}
				want = standOf(ctx, primary)
			}
			select {
			case <-ctx.Done():
				return false
			case <-tick.C:
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marks = append(w.marks, mark{shard, now})
	return true
}

// topple kills the primary of a shard.
func (w *campaignWorld) topple(ctx context.Context, shard int) {
	w.t.Helper()
	n := w.primary(ctx, shard)
	if n == nil {
		w.t.Fatal("there is no primary to kill")
	}
	f := fall{shard: shard, begun: time.Now().UnixNano()}
	check(w.t, n.Kill())
	f.over = time.Now().UnixNano()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.falls = append(w.falls, f)
	w.dead[n] = shard
}

// soothe makes an outage in which all servers are there, if it can be made.
func (w *campaignWorld) soothe(ctx context.Context) (bool, error) {
	move := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.moves++
	}
	move()
	defer move()
	return w.calm(ctx)
}

// watch sees primaries that are made replicas although nobody has killed them, until ctx
// ends. Sentinels do that: one is promoted by the first of them and, before its replicas
// have come, another one by the next.
func (w *campaignWorld) watch(ctx context.Context, shard int) {
	type sight struct {
		runID string
		moves int
		at    int64
	}
	masters := make(map[*redistest.Node]sight)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, n := range w.nodes(shard) {
			w.mu.Lock()
			now := sight{moves: w.moves, at: time.Now().UnixNano()}
			w.mu.Unlock()
			role := ""
			if n.Running() {
				info := n.Client().InfoMap(ctx, "server", "replication")
				role, now.runID = info.Item("Replication", "role"), info.Item("Server", "run_id")
			}
			last, was := masters[n]
			switch {
			case role == "":
				continue // Sentinels cut the connections of a server that they demote
			case role == "master":
				masters[n] = now
				continue
			case role == "slave" && was && now.runID == last.runID && now.moves == last.moves && now.moves%2 == 0:
				w.mu.Lock()
				w.falls = append(w.falls, fall{shard: shard, begun: last.at, over: time.Now().UnixNano()})
				w.unasked++
				w.mu.Unlock()
			}
			delete(masters, n)
		}
	}
}

// raise ends an outage, and has the dead come back beside what goes on.
func (w *campaignWorld) raise(ctx context.Context, shard int) error {
	w.wg.Wait() // a server that is being started must be told of the new primary too
	if err := w.mend(ctx, shard); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for n, shard := range w.dead {
		w.wg.Go(func() {
			if err := w.revive(ctx, shard, n); err != nil {
				w.t.Errorf("%v does not come back: %v", n, err)
			}
		})
	}
	clear(w.dead)
	return nil
}

// losses are the times of which Redis itself may have lost what it acknowledged, by shard:
// its primary died before anybody saw that the replicas had it. mu is held.
func (w *campaignWorld) losses() map[int][]lossTime {
	all := make(map[int][]lossTime)
	for _, f := range w.falls {
		l := lossTime{to: f.over}
		for _, m := range w.marks {
			if m.shard == f.shard && m.at < f.begun {
				l.from = max(l.from, m.at)
			}
		}
		all[f.shard] = append(all[f.shard], l)
	}
	return all
}

// lossTime is from one time to another, which both belong to it.
type lossTime struct{ from, to int64 }
