package resilient_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// crashRuns is how often the writing process is killed; more often in a soak.
func crashRuns() int {
	if os.Getenv("HOLDFAST_SOAK") != "" {
		return 200
	}
	return 10
}

const (
	crashWriters  = 20
	crashCounters = 3
	tokenSize     = 12 // of one entry of a log, such as "w07:0000123;"
)

// crashTask is what a program under test is given, as JSON in its environment.
type crashTask struct {
	Addrs  []string
	Dir    string
	Prefix string
}

const taskVariable = "HOLDFAST_TEST_TASK"

func (k crashTask) open() (*resilient.Client, error) {
	return resilient.NewClient(&redis.UniversalOptions{Addrs: k.Addrs[:1]}, &resilient.Options{
		Nodes: k.Addrs[1:], Dir: k.Dir, Group: "crash", Logger: slog.New(slog.DiscardHandler),
	})
}

func taskOfEnvironment() (k crashTask, err error) {
	return k, json.Unmarshal([]byte(os.Getenv(taskVariable)), &k)
}

func (k crashTask) counter(i int) string { return fmt.Sprintf("%scounter:%d", k.Prefix, i) }
func (k crashTask) log(i int) string     { return fmt.Sprintf("%slog:%d", k.Prefix, i) }

func token(writer, n int) string { return fmt.Sprintf("w%02d:%07d;", writer, n) }

// ack is one acknowledged write: INCR of counter Key, or APPEND of token N to
// log Key, and the reply.
type ack struct {
	Kind   string
	Key    int
	Writer int
	N      int
	Reply  int64
}

// crashWriter writes until it is killed, and tells each acknowledged write.
func crashWriter() error {
	k, err := taskOfEnvironment()
	if err != nil {
		return err
	}
	c, err := k.open()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	tell := func(a ack) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%s %d %d %d %d\n", a.Kind, a.Key, a.Writer, a.N, a.Reply)
	}
	ctx := context.Background()
	errs := make(chan error)
	for w := range crashWriters {
		go func() {
			for n := 1; ; n++ {
				i := n % crashCounters
				reply, err := c.Incr(ctx, k.counter(i)).Result()
				if err != nil {
					errs <- err
					return
				}
				tell(ack{"incr", i, w, n, reply})
				reply, err = c.Append(ctx, k.log(i), token(w, n)).Result()
				if err != nil {
					errs <- err
					return
				}
				tell(ack{"append", i, w, n, reply})
			}
		}()
	}
	return <-errs
}

// crashSuccessor reads what the killed process wrote, tells it, and flushes when
// it is told to.
func crashSuccessor() error {
	k, err := taskOfEnvironment()
	if err != nil {
		return err
	}
	c, err := k.open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range crashCounters {
		n, err := c.Get(ctx, k.counter(i)).Result()
		if err != nil {
			return fmt.Errorf("counter: %w", err)
		}
		text, err := c.Get(ctx, k.log(i)).Result()
		if err != nil {
			return fmt.Errorf("log: %w", err)
		}
		fmt.Println(n, text)
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if err := c.Flush(ctx); err != nil {
		return err
	}
	return c.Close()
}

// start starts this binary in a role.
func (k crashTask) start(t *testing.T, role string) (cmd *exec.Cmd, in io.WriteCloser, out *bufio.Scanner) {
	t.Helper()
	task, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, taskVariable+"="+string(task))
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	if in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // if it still runs
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("%s: %s", role, stderr)
		}
	})
	out = bufio.NewScanner(stdout)
	out.Buffer(nil, 64<<20)
	return cmd, in, out
}

// TestKillInOutage kills a writing process at random points of an outage and
// starts another: every acknowledged write is visible to it before the flush,
// and afterwards in the promoted primary, once and in its place.
func TestKillInOutage(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	g := redistest.StartT(t, redistest.Options{Replicas: 2})
	total := 0
	for run := range crashRuns() {
		k := crashTask{Addrs: g.Addrs(), Dir: t.TempDir(), Prefix: fmt.Sprintf("run%d:", run)}
		before, after := random.IntN(200), 1+random.IntN(3000)
		acks := k.writeAndKill(t, g, before, after)
		total += len(acks)

		cmd, in, out := k.start(t, "successor")
		k.verify(t, acks, "the successor before the flush", func(int) (string, string) {
			if !out.Scan() {
				t.Fatalf("the successor said nothing: %v", out.Err())
			}
			n, text, _ := strings.Cut(out.Text(), " ")
			return n, text
		})
		ctx := context.Background()
		promoted := (run + 1) % len(g.Nodes())
		if err := g.Promote(ctx, promoted); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("flush\n")); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("the successor: %v", err)
		}
		admin := g.Node(promoted).Client()
		k.verify(t, acks, "Redis", func(i int) (string, string) {
			return admin.Get(ctx, k.counter(i)).Val(), admin.Get(ctx, k.log(i)).Val()
		})
		if t.Failed() {
			t.Fatalf("run %d: killed %d acknowledged writes into the outage", run, after)
		}
	}
	t.Logf("%d kills, %d acknowledged writes, each one in Redis once and in order", crashRuns(), total)
}

// writeAndKill lets a process write, makes the outage after some acknowledged
// writes, and kills it after some more. It returns all that was acknowledged.
func (k crashTask) writeAndKill(t *testing.T, g *redistest.Group, before, after int) []ack {
	t.Helper()
	cmd, _, out := k.start(t, "writer")
	var acks []ack
	read := func(n int) {
		for range n {
			if !out.Scan() {
				t.Fatalf("the writer ended by itself: %v", out.Err())
			}
			var a ack
			if _, err := fmt.Sscanf(out.Text(), "%s %d %d %d %d", &a.Kind, &a.Key, &a.Writer, &a.N, &a.Reply); err != nil {
				t.Fatalf("the writer said %q: %v", out.Text(), err)
			}
			acks = append(acks, a)
		}
	}
	read(before)
	cycled := make(chan error, 1)
	go func() { cycled <- g.Cycle(context.Background()) }()
	done := false
	for !done {
		select {
		case err := <-cycled:
			if err != nil {
				t.Fatal(err)
			}
			done = true
		default:
			read(1)
		}
	}
	read(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for out.Scan() { // what it had told before it died
		var a ack
		if n, _ := fmt.Sscanf(out.Text(), "%s %d %d %d %d", &a.Kind, &a.Key, &a.Writer, &a.N, &a.Reply); n == 5 {
			acks = append(acks, a)
		}
	}
	_ = cmd.Wait() // killed
	return acks
}

// verify compares what somebody sees with what was acknowledged. A writer that
// was killed may have had one more write on its way.
func (k crashTask) verify(t *testing.T, acks []ack, who string, read func(i int) (counter, log string)) {
	t.Helper()
	for i := range crashCounters {
		counter, log := read(i)
		value, err := strconv.Atoi(counter)
		if err != nil {
			t.Errorf("%s: counter %d is %q", who, i, counter)
			continue
		}
		incrs, replies := 0, map[int64]bool{}
		for _, a := range acks {
			if a.Key != i {
				continue
			}
			switch a.Kind {
			case "incr":
				incrs++
				if replies[a.Reply] || a.Reply > int64(value) {
					t.Errorf("%s: counter %d answered %d twice, or above its value %d", who, i, a.Reply, value)
				}
				replies[a.Reply] = true
			case "append":
				want := token(a.Writer, a.N)
				if end := int(a.Reply); end > len(log) || log[end-tokenSize:end] != want {
					t.Errorf("%s: log %d of %d bytes lacks %q, which was acknowledged to end at %d", who, i, len(log), want, a.Reply)
				}
				if n := strings.Count(log, want); n > 1 {
					t.Errorf("%s: log %d has %q %d times", who, i, want, n)
				}
			}
		}
		if value < incrs || value > incrs+crashWriters {
			t.Errorf("%s: counter %d is %d after %d acknowledged INCR of %d writers", who, i, value, incrs, crashWriters)
		}
		checkOrder(t, who, log)
	}
}

// checkOrder checks that each writer's tokens rise.
func checkOrder(t *testing.T, who, log string) {
	t.Helper()
	last := map[string]int{}
	for at := 0; at+tokenSize <= len(log); at += tokenSize {
		writer, number, ok := strings.Cut(log[at:at+tokenSize-1], ":")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n <= last[writer] {
			t.Errorf("%s: %q at %d comes after number %d of its writer", who, log[at:at+tokenSize], at, last[writer])
			return
		}
		last[writer] = n
	}
}
