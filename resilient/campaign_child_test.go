package resilient_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/resilient"
)

// The kill campaign's application is a process of its own, so that it can be killed. It
// has writers, each of which does one numbered write after the other, on keys that no
// other writer has, and tells of each what became of it, once it knows. On its input it
// takes orders:
//
//	flood N id…	the writers with these ids make N writes together, in pipelines
//	hush		no writer writes any more until "speak"; it answers "hushed"
//	flush		waits for the replay, and answers "flushed"
//
// On its output, a line each:
//
//	ready
//	w ID N FATE TIME REPLY…	write N of the writer ID had that fate
//	s REPLAYED ENTRIES UNCONFIRMED DEAD ADOPTED	figures, as often as they change
//	k ADDR…	the replicas that must confirm, as often as they change
//	flooded, hushed, flushed

func init() { roles["campaign"] = campaignApplication }

// campaignTask is what the process is given, as JSON in its environment.
type campaignTask struct {
	Addrs   []string // of the servers, or of the Sentinels
	Master  string   // the group's name, with Sentinels
	Cluster bool
	Dir     string
	Rate    int // Options.ReplayRate
	Writers []campaignWriter
}

// campaignWriter is who writes, and the number of the first write.
type campaignWriter struct {
	ID, Next int
	Tag      string // decides on the slot of all its keys
}

// campaignKind is what a write is.
type campaignKind int

const (
	campaignIncr campaignKind = iota
	campaignPush
	campaignStream
	campaignHash
	campaignSet
	campaignMulti
)

// campaignKindOf is what write n of a writer is; whoever knows the number knows it.
func campaignKindOf(id, n int) campaignKind {
	if n%campaignRun == campaignRun-1 {
		return campaignMulti
	}
	h := uint64(id)<<32 + uint64(n)
	h = (h ^ h>>17) * 0x9e3779b97f4a7c15
	return campaignKind(h >> 40 % uint64(campaignMulti))
}

const (
	// campaignRun is how many writes end with a transaction. Those before it may go in
	// one pipeline.
	campaignRun = 32
	// campaignSpan is how many writes of a writer go to the same keys: a list must not
	// become too long to be seeded.
	campaignSpan = 4000
	// campaignCalm is the time between two writes of a writer that does not flood.
	campaignCalm = 10 * time.Millisecond
)

// key is a key for write n.
func (w campaignWriter) key(what string, n int) string {
	return fmt.Sprintf("{%s}:%s:%d:%d", w.Tag, what, w.ID, n/campaignSpan)
}

// campaignFates are as in the lines of the process.
const (
	campaignDeferred = "deferred"
	// campaignEstimated: deferred, and the reply is said to be an estimate, as no server told
	// what the key held.
	campaignEstimated = "estimated"
	campaignLive      = "live"
	campaignDoubt     = "doubt"
	campaignRefused   = "refused"
	campaignFailed    = "failed"
)

// campaignApp is the process.
type campaignApp struct {
	c      *resilient.Client
	out    sync.Mutex // held while a line is written
	speak  sync.RWMutex
	floods map[int]*atomic.Pointer[campaignFlood] // by writer
}

// campaignFlood is one order to flood.
type campaignFlood struct {
	left atomic.Int64
	wg   sync.WaitGroup // of the writers
}

func campaignApplication() error {
	var k campaignTask
	if err := json.Unmarshal([]byte(os.Getenv(taskVariable)), &k); err != nil {
		return err
	}
	redis.SetLogger(quiet{}) // of each failing connection it tells the same
	c, err := k.open()
	if err != nil {
		return err
	}
	a := &campaignApp{c: c, floods: map[int]*atomic.Pointer[campaignFlood]{}}
	a.say("ready")
	for _, w := range k.Writers {
		a.floods[w.ID] = new(atomic.Pointer[campaignFlood])
	}
	go a.figures()
	go a.sources()
	for _, w := range k.Writers {
		go a.write(w)
	}
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		if err := a.obey(strings.Fields(orders.Text())); err != nil {
			return err
		}
	}
	return c.Close()
}

// quiet is a logger of go-redis.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func (k campaignTask) open() (*resilient.Client, error) {
	o := &resilient.Options{
		Dir: k.Dir, Group: "campaign", ReplayRate: k.Rate, ProbeInterval: 100 * time.Millisecond,
		// What a busy machine delays is not what is looked for.
		ReplicaAckTimeout: 30 * time.Second,
		Logger:            slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	resilient.SetAdoptEvery(o, 100*time.Millisecond)
	u := &redis.UniversalOptions{Addrs: k.Addrs, MasterName: k.Master}
	if k.Master == "" && !k.Cluster {
		u.Addrs, o.Nodes = k.Addrs[:1], k.Addrs[1:]
	}
	return resilient.NewClient(u, o)
}

func (a *campaignApp) obey(order []string) error {
	ctx := context.Background()
	switch order[0] {
	case "flood":
		n, err := strconv.Atoi(order[1])
		if err != nil {
			return err
		}
		f := new(campaignFlood)
		f.left.Store(int64(n))
		for _, id := range order[2:] {
			at, err := strconv.Atoi(id)
			if err != nil {
				return err
			}
			f.wg.Add(1)
			a.floods[at].Store(f)
		}
		go func() { f.wg.Wait(); a.say("flooded") }()
	case "hush":
		a.speak.Lock()
		a.say("hushed")
	case "speak":
		a.speak.Unlock()
	case "flush":
		if err := a.c.Flush(ctx); err != nil {
			return err
		}
		a.tellFigures("")
		a.say("flushed")
	}
	return nil
}

func (a *campaignApp) say(lines string) {
	a.out.Lock()
	defer a.out.Unlock()
	_, _ = os.Stdout.WriteString(lines + "\n") // nobody hears it when it is about to be killed
}

// figures tells the figures whenever they change.
func (a *campaignApp) figures() {
	last := ""
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		<-tick.C
		last = a.tellFigures(last)
		if n%50 == 0 {
			a.say(strings.Join(append([]string{"k"}, resilient.Awaited(a.c)...), " "))
		}
	}
}

func (a *campaignApp) tellFigures(last string) string {
	s := a.c.Stats()
	line := fmt.Sprintf("s %d %d %d %d %d", s.Replayed, s.Entries+s.AdoptedEntries, s.Unconfirmed, s.DeadLettered, s.Adopted)
	if line != last {
		a.say(line)
	}
	return line
}

// sources tells on the error output where base values come from, as often as it changes.
func (a *campaignApp) sources() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for last := ""; ; <-tick.C {
		if now := resilient.SeededFrom(a.c); now != last {
			last = now
			fmt.Fprintln(os.Stderr, time.Now().UTC().Format(campaignClock), "base values:", now)
		}
	}
}

// write writes until it is killed.
func (a *campaignApp) write(w campaignWriter) {
	tick := time.NewTicker(campaignCalm)
	defer tick.Stop()
	for n := w.Next; ; {
		f := a.floods[w.ID].Load()
		if f == nil {
			<-tick.C
			n = a.writeRun(w, n, 1)
			continue
		}
		next := a.writeRun(w, n, campaignRun)
		if f.left.Add(int64(n-next)) <= 0 {
			a.floods[w.ID].Store(nil)
			f.wg.Done()
		}
		n = next
	}
}

// writeRun makes writes from n on, up to so many, and returns the number after them.
func (a *campaignApp) writeRun(w campaignWriter, n, most int) int {
	a.speak.RLock()
	defer a.speak.RUnlock()
	ctx, receipt := resilient.WithReceipt(context.Background())
	if campaignKindOf(w.ID, n) == campaignMulti {
		p := a.c.TxPipeline()
		cmds := w.multi(ctx, p, n)
		_, err := p.Exec(ctx)
		a.say(campaignLine(w.ID, n, campaignFate(err, resilient.DeferredBy(receipt) == 1, receipt.Exact()), cmds))
		return n + 1
	}
	if most == 1 {
		cmd := w.single(ctx, a.c, n)
		exact := receipt.Exact() || campaignKindOf(w.ID, n) == campaignStream
		a.say(campaignLine(w.ID, n, campaignFate(cmd.Err(), resilient.DeferredBy(receipt) == 1, exact), []redis.Cmder{cmd}))
		return n + 1
	}
	// The reply of XADD is always an estimate, and one receipt stands for a pipeline.
	var streams, others []int
	for ; len(streams)+len(others) < most && campaignKindOf(w.ID, n) != campaignMulti; n++ {
		if campaignKindOf(w.ID, n) == campaignStream {
			streams = append(streams, n)
		} else {
			others = append(others, n)
		}
	}
	a.writeAll(w, others)
	a.writeAll(w, streams)
	return n
}

// writeAll makes writes in a pipeline: those of streams, or no such.
func (a *campaignApp) writeAll(w campaignWriter, ns []int) {
	if len(ns) == 0 {
		return
	}
	ctx, receipt := resilient.WithReceipt(context.Background())
	p := a.c.Pipeline()
	cmds := make([]redis.Cmder, len(ns))
	for i, n := range ns {
		cmds[i] = w.single(ctx, p, n)
	}
	_, _ = p.Exec(ctx) // each command has its own error
	// One receipt stands for all: unless every write was deferred, none counts as such.
	done := 0
	for _, cmd := range cmds {
		if cmd.Err() == nil {
			done++
		}
	}
	deferred := resilient.DeferredBy(receipt) == done
	exact := receipt.Exact() || campaignKindOf(w.ID, ns[0]) == campaignStream
	lines := make([]string, len(cmds))
	for i, cmd := range cmds {
		lines[i] = campaignLine(w.ID, ns[i], campaignFate(cmd.Err(), deferred, exact), cmds[i:i+1])
	}
	a.say(strings.Join(lines, "\n"))
}

// single makes a write that is no transaction, or queues it.
func (w campaignWriter) single(ctx context.Context, c redis.Cmdable, n int) redis.Cmder {
	switch campaignKindOf(w.ID, n) {
	case campaignPush:
		return c.RPush(ctx, w.key("list", n), n)
	case campaignStream:
		return c.XAdd(ctx, &redis.XAddArgs{Stream: w.key("stream", n), Values: []any{"n", n}})
	case campaignHash:
		return c.HIncrBy(ctx, w.key("hash", n), "n", 1)
	case campaignSet:
		return c.Set(ctx, w.key("text", n), n, 0)
	default:
		return c.Incr(ctx, w.key("counter", n))
	}
}

// multi queues the commands of a transaction.
func (w campaignWriter) multi(ctx context.Context, p redis.Pipeliner, n int) []redis.Cmder {
	return []redis.Cmder{
		p.Incr(ctx, w.key("unit-counter", n)),
		p.RPush(ctx, w.key("unit-list", n), n),
		p.HIncrBy(ctx, w.key("unit-hash", n), "n", 1),
	}
}

// campaignFate is what became of a write.
func campaignFate(err error, deferred, exact bool) string {
	switch {
	case err == nil && deferred && !exact:
		return campaignEstimated
	case err == nil && deferred:
		return campaignDeferred
	case err == nil:
		return campaignLive
	case errors.Is(err, resilient.ErrInDoubt):
		return campaignDoubt
	case resilient.SafeToRetry(err):
		return campaignRefused
	}
	return campaignFailed
}

// campaignLine tells of a write. The time is the system's, which the parent has too.
func campaignLine(id, n int, fate string, cmds []redis.Cmder) string {
	line := fmt.Sprintf("w %d %d %s %d", id, n, fate, time.Now().UnixNano())
	for _, cmd := range cmds {
		switch cmd := cmd.(type) {
		case *redis.IntCmd:
			line += fmt.Sprintf(" %d", cmd.Val())
		case *redis.StringCmd:
			line += " " + cmd.Val()
		}
	}
	if fate == campaignFailed || fate == campaignRefused {
		for _, cmd := range cmds {
			line += " " + strings.ReplaceAll(fmt.Sprint(cmd.Err()), "\n", " ")
		}
	}
	return line
}
