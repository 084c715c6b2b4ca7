package resilient_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// crashAdopter runs a client with a journal of its own that looks often for those of
// the dead. It tells what it adopts, and ends when it is told to.
func crashAdopter() error {
	k, err := taskOfEnvironment()
	if err != nil {
		return err
	}
	o := &resilient.Options{
		Nodes: k.Addrs[1:], Dir: k.Dir, Group: "crash", Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		ProbeInterval: 20 * time.Millisecond, // so that it misses nothing of a short outage
		Listener: resilient.Listener{
			JournalAdopted: func(i resilient.JournalAdoptedInfo) { fmt.Println("adopted", i.ID, i.Entries) },
			JournalDrained: func(i resilient.JournalDrainedInfo) { fmt.Println("drained", i.ID, i.Replayed) },
			StateChanged: func(i resilient.StateInfo) {
				if i.To.State == resilient.StateNoPrimary {
					fmt.Println("outage seen")
				}
			},
		},
	}
	resilient.SetAdoptEvery(o, 20*time.Millisecond)
	c, err := resilient.NewClient(&redis.UniversalOptions{Addrs: k.Addrs[:1]}, o)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	return c.Close()
}

// said is a line that one of several processes printed.
type said struct {
	who  int
	line string
}

// crowd are processes that wait for the journals of the dead.
type crowd struct {
	cmds  []*exec.Cmd
	lines chan said
	heard []said
}

func (k crashTask) adopters(t *testing.T, n int) *crowd {
	t.Helper()
	c := &crowd{lines: make(chan said, 1024)}
	for who := range n {
		cmd, _, out := k.start(t, "adopter")
		if !out.Scan() || out.Text() != "ready" {
			t.Fatalf("an adopter said %q: %v", out.Text(), out.Err())
		}
		c.cmds = append(c.cmds, cmd)
		go func() {
			for out.Scan() {
				c.lines <- said{who, out.Text()}
			}
		}()
	}
	t.Cleanup(c.killAll) // before what they have logged is read
	return c
}

// await waits until n lines that begin so have been said, and returns the last one.
func (c *crowd) await(t *testing.T, beginning string, n int) said {
	t.Helper()
	deadline := time.After(testPatience)
	for at := 0; ; at++ {
		if at == len(c.heard) {
			select {
			case s := <-c.lines:
				c.heard = append(c.heard, s)
			case <-deadline:
				t.Fatalf("no %d adopters said %q, but %q", n, beginning, fmt.Sprint(c.heard))
			}
		}
		if s := c.heard[at]; strings.HasPrefix(s.line, beginning+" ") {
			if n--; n == 0 {
				return s
			}
		}
	}
}

func (c *crowd) kill(who int) {
	_ = c.cmds[who].Process.Kill() // it may have ended
	_ = c.cmds[who].Wait()         // of that
	c.cmds[who] = nil
}

func (c *crowd) killAll() {
	for who, cmd := range c.cmds {
		if cmd != nil {
			c.kill(who)
		}
	}
}

// TestAdoptRace: two processes see the journal of a third one that was killed. One
// of them replays it, and everything is in Redis once and in order.
func TestAdoptRace(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	for run := range 3 {
		k := crashTask{Addrs: g.Addrs(), Dir: t.TempDir(), Prefix: fmt.Sprintf("race%d:", run)}
		c := k.adopters(t, 2)
		acks := k.writeAndKill(t, g, 20, 400)
		promoted := (run + 1) % len(g.Nodes())
		check(t, g.Promote(ctx, promoted))
		drained := c.await(t, "drained", 1)
		c.killAll()
		for len(c.lines) > 0 {
			c.heard = append(c.heard, <-c.lines)
		}
		for _, s := range c.heard {
			if strings.HasPrefix(s.line, "drained ") && s != drained {
				t.Errorf("both drained it: %q", fmt.Sprint(c.heard))
			}
		}
		k.verifyIn(t, acks, g.Node(promoted))
	}
}

// TestAdoptAfterAdopter: who replays the journal of a dead process is killed in the
// middle of it, when the primary has entries that the journal doesn't know to be
// there: a replica that stands still keeps them from being confirmed. The next one
// goes on by the dead one's fence, and nothing is doubled.
func TestAdoptAfterAdopter(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for run := range 3 {
		g := redistest.StartT(t, redistest.Options{Replicas: 1})
		k := crashTask{Addrs: g.Addrs(), Dir: t.TempDir(), Prefix: fmt.Sprintf("heir%d:", run)}
		c := k.adopters(t, 3)
		acks := k.writeAndKill(t, g, 20, 2000)
		c.await(t, "outage", 3) // so that all know of the replica that is to confirm
		check(t, g.Node(0).Pause())
		check(t, g.PromoteOnly(ctx, 1))
		first := c.await(t, "adopted", 1)
		var id string
		var entries int
		if _, err := fmt.Sscanf(first.line, "adopted %s %d", &id, &entries); err != nil {
			t.Fatalf("an adopter said %q", first.line)
		}
		redistest.Eventually(t, testPatience, "a part of the replay", func() bool {
			n, err := g.Node(1).Client().Get(ctx, "holdfast:fence:"+id).Int()
			return err == nil && n > run*entries/3
		})
		c.kill(first.who)
		check(t, g.Node(0).Resume())
		last := c.await(t, "drained "+id, 1)
		if last.who == first.who {
			t.Errorf("run %d: the adopter that was killed had been through, so that nothing was shown", run)
		}
		c.killAll()
		k.verifyIn(t, acks, g.Node(1))
	}
}

func (k crashTask) verifyIn(t *testing.T, acks []ack, n *redistest.Node) {
	t.Helper()
	ctx := context.Background()
	admin := n.Client()
	k.verify(t, acks, "Redis", func(i int) (string, string) {
		return admin.Get(ctx, k.counter(i)).Val(), admin.Get(ctx, k.log(i)).Val()
	})
}

// TestAdoptKeepsOut: a client doesn't show the writes of an adopted journal before
// they are in Redis, nor touch it in an outage.
func TestAdoptKeepsOut(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	o := &resilient.Options{Dir: dir}
	resilient.SetAdoptEvery(o, 10*time.Millisecond)
	adopted := make(chan resilient.JournalAdoptedInfo, 1)
	o.Listener.JournalAdopted = func(i resilient.JournalAdoptedInfo) { adopted <- i }
	living := open(t, g, o)
	dying := open(t, g, &resilient.Options{Dir: dir})
	check(t, g.Cycle(ctx))
	check(t, dying.Set(ctx, "k", "deferred by the other", 0).Err())
	check(t, dying.Close())
	check(t, living.Set(ctx, "own", "v", 0).Err())
	waitState(t, living, resilient.StateNoPrimary)
	if v, err := living.Get(ctx, "k").Result(); err != redis.Nil { //nolint:errorlint // never wrapped
		t.Errorf("GET of the other's key: %q, %v", v, err)
	}
	if s := living.Stats(); s.Adopted != 0 || s.AdoptedEntries != 0 || s.Entries != 1 {
		t.Errorf("in the outage: %+v", s)
	}
	check(t, g.PromoteOnly(ctx, 1))
	redistest.Eventually(t, testPatience, "the adoption", func() bool { return living.Stats().Adopted == 1 })
	if v := g.Node(1).Client().Get(ctx, "k").Val(); v != "deferred by the other" {
		t.Errorf("in Redis: %q", v)
	}
	if i := <-adopted; i.Entries != 1 || i.Newest.IsZero() || i.ID == "" {
		t.Errorf("event %+v", i)
	}
	redistest.Eventually(t, testPatience, "its own to be replayed", func() bool { return living.Stats().Entries == 0 })
	if s := living.Stats(); s.Replayed != 2 || s.Parked != 0 {
		t.Errorf("after it: %+v", s)
	}
}

// TestAdoptIdleThatWasTaken: a journal that was found idle is looked at again once
// somebody has written to it.
func TestAdoptIdleThatWasTaken(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	o := &resilient.Options{Dir: dir}
	resilient.SetAdoptEvery(o, 5*time.Millisecond)
	living := open(t, g, o)
	check(t, open(t, g, &resilient.Options{Dir: dir}).Close())
	for i := range 2 {
		looks := resilient.Looks(living)
		redistest.Eventually(t, testPatience, "a look at the idle journal", func() bool { return resilient.Looks(living) > looks+1 })
		dying := open(t, g, &resilient.Options{Dir: dir})
		check(t, g.Cycle(ctx))
		check(t, dying.Incr(ctx, "n").Err())
		check(t, dying.Close())
		check(t, g.Promote(ctx, i%2))
		redistest.Eventually(t, testPatience, "the adoption", func() bool { return living.Stats().Adopted == uint64(i+1) })
	}
	if v := g.Node(1).Client().Get(ctx, "n").Val(); v != "2" {
		t.Errorf("n = %q", v)
	}
}
