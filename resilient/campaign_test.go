package resilient_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// campaignKills is how many kills there are, over all topologies.
func campaignKills(t *testing.T) int {
	t.Helper()
	if s := os.Getenv("HOLDFAST_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		check(t, err)
		return n
	}
	if os.Getenv("HOLDFAST_SOAK") != "" {
		return 300
	}
	return 40
}

// What a kill hits.
const (
	killClient = iota
	killPrimary
	killBoth
	killKinds
)

// campaign is the part of one topology.
type campaign struct {
	t      *testing.T
	name   string
	random *rand.Rand
	world  *campaignWorld
	ledger *campaignLedger
	task   campaignTask

	child   *campaignChild
	standby *campaignChild // another process, which takes over the journal of the child when that dies; or nil
	lastID  int            // of a writer

	heir   bool     // the child is to take over the journal of the one before
	heirAt uint64   // how many it had taken over before that
	story  []string // what was done, for a failure

	kills   [killKinds]int
	adopted int // kills after which a process took over that was running already
	missed  int // drains that ended before they were met
	figures campaignFigures
}

// TestCampaign kills the client, the primary or both at random moments of the drain, again
// and again, while the client goes on with other writes: over a group, a group with
// Sentinels, and a Cluster. In the end every write that was acknowledged is there, once and
// in its place, and none that was refused.
//
// HOLDFAST_KILLS is the number of kills, HOLDFAST_SEED makes the choices of a former run
// again, as far as the servers let it.
func TestCampaign(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		check(t, err)
		seed = n
	}
	t.Logf("HOLDFAST_SEED=%d", seed)
	kills := campaignKills(t)
	// A failover by Sentinels takes seconds: that is why they get the smallest share.
	stages := []struct {
		name  string
		upTo  int // its share of the kills and the shares before it, in percent
		start func(t *testing.T) campaignStage
	}{
		{"standalone", 40, func(t *testing.T) campaignStage { return newGroupStage(t, false) }},
		{"Sentinel", 65, func(t *testing.T) campaignStage { return newGroupStage(t, true) }},
		{"Cluster", 100, func(t *testing.T) campaignStage { return newClusterStage(t) }},
	}
	var mu sync.Mutex // guards lines and total
	var lines []string
	total := campaignSum{name: fmt.Sprintf("all, seed %d", seed)}
	t.Run("topology", func(t *testing.T) {
		given := 0
		for i, s := range stages {
			share := kills*s.upTo/100 - given
			given += share
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				c := newCampaign(t, s.name, s.start(t), rand.New(rand.NewPCG(seed, uint64(i))))
				sum := c.run(share)
				mu.Lock()
				defer mu.Unlock()
				lines = append(lines, sum.String())
				total.add(&sum)
			})
		}
	})
	t.Logf("kills in mid-drain\n%s\n%v", strings.Join(lines, "\n"), &total)
}

func newCampaign(t *testing.T, name string, stage campaignStage, random *rand.Rand) *campaign {
	c := &campaign{
		t: t, name: name, random: random,
		world:  &campaignWorld{campaignStage: stage, t: t, random: random, dead: map[*redistest.Node]int{}},
		ledger: &campaignLedger{of: map[int]*campaignHistory{}, fates: map[string]int{}},
		task:   stage.task(),
	}
	c.task.Dir = t.TempDir()
	return c
}

// patience bounds one step of a campaign.
func (c *campaign) patience() context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), testPatience)
	c.t.Cleanup(cancel)
	return ctx
}

// run makes so many kills and says what came of it.
func (c *campaign) run(kills int) campaignSum {
	c.t.Helper()
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("%s:\n%s", c.name, strings.Join(c.story, "\n"))
		}
	})
	ctx, cancel := context.WithCancel(c.t.Context())
	var watching sync.WaitGroup
	for shard := range c.world.tags() {
		watching.Go(func() { c.world.watch(ctx, shard) })
	}
	c.t.Cleanup(watching.Wait)
	c.t.Cleanup(cancel)
	c.child = c.start(c.newWriters())
	done := 0
	for round := 0; done < kills; round++ {
		if round > 20+3*kills {
			c.t.Fatalf("%d kills in %d rounds: the drains end too early", done, round)
		}
		done += c.round(kills - done)
	}
	c.settle()
	cancel()
	watching.Wait()
	return c.verdict()
}

// newWriters are one for each tag.
func (c *campaign) newWriters() []campaignWriter {
	var writers []campaignWriter
	for shard, tags := range c.world.tags() {
		for _, tag := range tags {
			c.lastID++
			w := campaignWriter{ID: c.lastID, Next: 1, Tag: tag}
			writers = append(writers, w)
			c.ledger.add(w, shard)
		}
	}
	return writers
}

// start starts a process with these writers.
func (c *campaign) start(writers []campaignWriter) *campaignChild {
	c.t.Helper()
	k := c.task
	k.Writers = writers
	k.Rate = []int{0, 0, 0, 4000, 4000, 8000, -1}[c.random.IntN(7)]
	child := startCampaignChild(c.patience(), c.t, k, c.ledger)
	c.tell("process %d begins with the writers %v", child.cmd.Process.Pid, writers)
	return child
}

// tell adds to the story, with what the journals hold at this time.
func (c *campaign) tell(format string, args ...any) {
	line := time.Now().UTC().Format(campaignClock) + " " + fmt.Sprintf(format, args...)
	infos, err := journal.Inspect(c.task.Dir)
	if err != nil {
		line += "; " + err.Error()
	}
	for _, i := range infos {
		line += fmt.Sprintf("; journal %.4s holds %d", i.ID, i.Entries)
	}
	c.story = append(c.story, line)
}

// round makes an outage and up to so many kills in the drain after it.
func (c *campaign) round(most int) (done int) {
	c.t.Helper()
	c.settle()
	ctx := c.patience()
	shard := c.random.IntN(len(c.world.tags()))
	// A server that is slow to answer may hide who the primary is.
	check(c.t, until(ctx, "the replicas to follow", func() bool { return c.world.synced(ctx, shard) }))
	calm := false
	if c.random.IntN(3) > 0 {
		var err error
		calm, err = c.world.soothe(ctx)
		check(c.t, err)
	}
	if !calm {
		c.world.topple(ctx, shard)
	}
	c.tell("an outage of shard %d, calm: %v", shard, calm)
	if c.standby == nil && c.random.IntN(4) == 0 {
		c.standby = c.start(c.newWriters())
	}
	c.flood(ctx, shard)
	raised := c.raise(shard)
	planned := 1 + c.random.IntN(min(3, most))
	falls := 0
	for left := planned; left > 0; left-- {
		kind := c.random.IntN(killKinds)
		if falls > 0 && c.world.task().Master != "" || falls > 1 {
			kind = killClient // nobody is left whom the Sentinels may promote
		}
		if kind != killClient {
			check(c.t, <-raised)
			falls++
		}
		if !c.meet(shard, kind, left) {
			c.missed++
			break
		}
		done++
		c.kills[kind]++
		c.tell("killed: %s", [...]string{"the client", "the primary", "both"}[kind])
		if kind == killClient {
			c.succeed()
			continue
		}
		first := c.random.IntN(2) == 0
		if first {
			raised = c.raise(shard)
		}
		if kind == killBoth {
			c.succeed()
		}
		if !first {
			raised = c.raise(shard)
		}
	}
	check(c.t, <-raised)
	return done
}

// raise begins to end an outage. The channel gives the result, as often as it is asked.
func (c *campaign) raise(shard int) <-chan error {
	ctx := c.patience()
	result := make(chan error, 1)
	go func() {
		defer close(result)
		if err := c.world.raise(ctx, shard); err != nil {
			result <- err
		}
	}()
	return result
}

// flood makes a backlog for a shard.
func (c *campaign) flood(ctx context.Context, shard int) {
	c.t.Helper()
	n := 1500 + c.random.IntN(3500)
	if c.child.rate < 0 {
		n *= 2
	}
	var ids []string
	for _, w := range c.child.writers {
		if c.ledger.of[w.ID].shard == shard {
			ids = append(ids, strconv.Itoa(w.ID))
		}
	}
	ids = ids[1:] // one goes on calmly, and is through soon after the return
	c.child.order(ctx, "flooded", "flood %d %s", n, strings.Join(ids, " "))
}

// meet waits for a random moment of the drain, of which so many kills are still to come,
// and kills. It reports false when the drain was over before.
func (c *campaign) meet(shard, kind, left int) bool {
	c.t.Helper()
	child := c.child
	from := child.now()
	if from.entries == 0 && !c.inherits(from) {
		return false
	}
	begun, drained := false, false
	ctx, cancel := context.WithCancel(c.patience())
	defer cancel()
	var marking sync.WaitGroup
	if kind != killClient {
		marking.Go(func() {
			for ctx.Err() == nil {
				c.world.synced(ctx, shard)
			}
		})
	}
	target := uint64(0)
	share := 0.05 + c.random.Float64()/float64(left)
	child.await(ctx, "the drain to go on", func() bool {
		f := child.figures
		if f.entries > 0 && !begun {
			begun, target = true, from.replayed+1+uint64(share*float64(f.entries))
		}
		drained = f.entries == 0 && (begun || !c.inherits(f))
		return drained || begun && f.replayed >= target
	})
	cancel()
	if drained {
		marking.Wait()
		return false
	}
	if c.standby != nil {
		c.heirAt = c.standby.now().adopted
	}
	switch {
	case kind == killClient:
		child.kill()
	case kind == killPrimary:
		c.world.topple(c.t.Context(), shard)
	case c.random.IntN(2) == 0:
		child.kill()
		c.world.topple(c.t.Context(), shard)
	default:
		c.world.topple(c.t.Context(), shard)
		child.kill()
	}
	marking.Wait()
	return true
}

// inherits reports whether the child, which has said f, has yet to replay the journal of
// the one before.
func (c *campaign) inherits(f campaignFigures) bool {
	if !c.heir || f.adopted > c.heirAt {
		return false
	}
	infos, err := journal.Inspect(c.task.Dir)
	return err != nil || slices.ContainsFunc(infos, func(i journal.Info) bool { return i.Entries > 0 })
}

// succeed puts another process in the place of the one that was killed.
func (c *campaign) succeed() {
	c.t.Helper()
	c.enter(c.child)
	if c.standby != nil {
		c.child, c.standby, c.heir = c.standby, nil, true
		c.adopted++
		c.tell("process %d takes over", c.child.cmd.Process.Pid)
		return
	}
	writers := c.child.writers
	for i := range writers {
		writers[i].Next = c.ledger.next(writers[i].ID)
	}
	c.child, c.heir = c.start(writers), false
}

// enter adds the figures of a process that is over.
func (c *campaign) enter(child *campaignChild) {
	f := child.now()
	c.figures.replayed += f.replayed
	c.figures.unconfirmed += f.unconfirmed
	c.figures.adopted += f.adopted
	c.figures.dead = max(c.figures.dead, f.dead)
}

// settle waits until all is replayed, all servers run, and the processes know them.
func (c *campaign) settle() {
	c.t.Helper()
	ctx := c.patience()
	c.world.wg.Wait()
	for _, child := range []*campaignChild{c.child, c.standby} {
		if child != nil {
			child.await(ctx, "the drain to end", func() bool { return child.figures.entries == 0 })
		}
	}
	check(c.t, c.world.settle(ctx))
	var replicas []string
	for shard := range c.world.tags() {
		primary := c.world.primary(ctx, shard)
		for _, n := range c.world.nodes(shard) {
			if n != primary {
				replicas = append(replicas, n.Addr())
			}
		}
	}
	c.child.await(ctx, "the process to know the replicas", func() bool {
		for _, addr := range replicas {
			if !c.child.awaited[addr] {
				return false
			}
		}
		return true
	})
}

// verdict ends the processes and compares.
func (c *campaign) verdict() campaignSum {
	c.t.Helper()
	c.settle()
	ctx := c.patience()
	for _, child := range []*campaignChild{c.child, c.standby} {
		if child != nil {
			child.order(ctx, "hushed", "hush")
			child.order(ctx, "flushed", "flush")
		}
	}
	redistest.Eventually(c.t, testPatience, "no journal to hold anything", func() bool {
		infos, err := journal.Inspect(c.task.Dir)
		entries := int64(0)
		for _, i := range infos {
			entries += i.Entries
		}
		return err == nil && entries == 0
	})
	for _, child := range []*campaignChild{c.child, c.standby} {
		if child != nil {
			child.end()
			c.enter(child)
		}
	}
	v, err := c.ledger.judge(c.patience(), c.world)
	check(c.t, err)
	for _, note := range append(v.notes, c.ledger.faults...) {
		c.t.Error(note)
	}
	if v.missing+v.doubled+v.misordered+v.wrong > 0 || c.figures.dead > 0 {
		c.t.Errorf("missing %d, doubled %d, misordered %d, wrong %d, dead letters %d",
			v.missing, v.doubled, v.misordered, v.wrong, c.figures.dead)
	}
	f := c.ledger.fates
	return campaignSum{
		name: c.name, kills: c.kills, adopted: c.adopted, missed: c.missed, verdict: *v,
		deferred: f[campaignDeferred] + f[campaignEstimated], estimated: f[campaignEstimated],
		live: f[campaignLive], doubt: f[campaignDoubt], refused: f[campaignRefused],
		unconfirmed: c.figures.unconfirmed, unasked: c.world.unasked,
	}
}
