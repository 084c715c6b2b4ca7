package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/holdfast-cache/holdfast/resilient"
)

// left makes a journal of writes that can be told to have been applied twice, as a
// process leaves it that is gone.
func left(t testing.TB, dir string, n int) string {
	t.Helper()
	j := openJournal(t, dir)
	now := time.Now()
	put(t, j, now, 0, entry.Entry{Write: cmd("SET", "text", "a value")})
	for i := range n {
		put(t, j, now, 0,
			entry.Entry{Write: cmd("INCR", "count")},
			entry.Entry{Write: cmd("RPUSH", "list", fmt.Sprint(i))},
			entry.Entry{Class: entry.ClassTransaction, Write: append(cmd("INCR", "unit"), cmd("RPUSH", "units", "x", "y")...)})
	}
	put(t, j, now, 0,
		entry.Entry{Write: cmd("LPUSH", "text", "wrong")},
		entry.Entry{Write: cmd("INCR", "gone"), Lapses: now.Add(-time.Minute).UnixMilli()},
		entry.Entry{Write: cmd("SET", "late", "x"), Useful: now.Add(-time.Minute).UnixMilli()},
		entry.Entry{Write: cmd("INCR", "count"), Restore: cmd("SET", "count", "1000"), Until: now.Add(-time.Minute).UnixMilli()})
	must(t, j.Close())
	return j.ID().String()
}

// wantApplied checks that the writes of left were applied once each.
func wantApplied(t testing.TB, c *redis.Client, n int) {
	t.Helper()
	if got, want := c.Get(bg, "count").Val(), "1000"; got != want {
		t.Errorf("count is %s, want %s", got, want)
	}
	if got := c.LRange(bg, "list", 0, -1).Val(); len(got) != n || got[0] != "0" || got[n-1] != fmt.Sprint(n-1) {
		t.Errorf("list is %v", got)
	}
	if got, units := c.Get(bg, "unit").Val(), c.LLen(bg, "units").Val(); got != fmt.Sprint(n) || units != int64(2*n) {
		t.Errorf("unit is %s, units has %d", got, units)
	}
	if got := c.Exists(bg, "gone", "late").Val(); got != 0 {
		t.Errorf("%d keys are there that should not be", got)
	}
}

// What export prints is what redis-cli --pipe takes.
func TestExportFeedsAServer(t *testing.T) {
	dir := t.TempDir()
	left(t, dir, 20)
	g := redistest.StartT(t, redistest.Options{})
	r := realTime("export", "--values", dir).want(t, exitFine)
	if cli, err := redistest.Find("redis-cli"); err == nil {
		host, port, _ := net.SplitHostPort(g.Node(0).Addr())
		c := exec.Command(cli, "-h", host, "-p", port, "--pipe")
		c.Stdin = strings.NewReader(r.out)
		out, err := c.CombinedOutput()
		// One is a rejected LPUSH, which redis-cli counts and reports by its status.
		if !bytes.Contains(out, []byte("errors: 1, ")) {
			t.Fatalf("redis-cli --pipe: %v\n%s", err, out)
		}
	} else {
		conn, err := net.Dial("tcp", g.Node(0).Addr())
		must(t, err)
		defer conn.Close()
		_, err = conn.Write(append([]byte(r.out), cmd("ECHO", "end")...))
		must(t, err)
		for rd := resp.NewReader(conn); ; {
			v, err := rd.ReadValue()
			must(t, err)
			if v.Text() == "end" {
				break
			}
		}
	}
	wantApplied(t, g.Node(0).Client(), 20)
}

// replay --to does what the client would have done: in order, once, with dead
// letters and a ledger, and trims; a second run has nothing to do.
func TestReplayTo(t *testing.T) {
	dir := t.TempDir()
	const n = 300
	id := left(t, dir, n)
	g := redistest.StartT(t, redistest.Options{Replicas: 1, Password: "a secret"})
	addr := g.Node(0).Addr()
	t.Setenv("REDISCLI_AUTH", "a secret")
	replayed := func(args ...string) result {
		var out, errs bytes.Buffer
		a := &app{ctx: bg, out: &out, err: &errs, zone: time.UTC, now: time.Now, env: os.Getenv}
		code := a.run(append([]string{"replay", "--to", addr, "--json"}, args...))
		return result{code, out.String(), errs.String()}
	}
	r := replayed("--dry-run", dir).want(t, exitFine)
	if want := fmt.Sprintf(`"send":%d,"restore":1,"expired":1,"useless":1`, 3*n+2); !strings.Contains(r.out, want) {
		t.Fatalf("dry run: %s, want %s", r.out, want)
	}
	if got := g.Node(0).Client().DBSize(bg).Val(); got != 0 {
		t.Fatalf("the dry run wrote %d keys", got)
	}
	r = replayed(dir).want(t, exitFound) // there are dead letters
	var report replayJSON
	must(t, json.Unmarshal([]byte(r.out), &report))
	if report.Replayed != 3*n+2 || report.Expired != 1 || report.DeadLettered != 2 || report.Unconfirmed != 0 || report.Waiting != 0 {
		t.Fatalf("report: %+v", report)
	}
	wantApplied(t, g.Node(0).Client(), n)
	if fence := g.Node(0).Client().Get(bg, replay.FenceKey(id)).Val(); fence != fmt.Sprint(3*n+5) {
		t.Errorf("the fence is %q", fence)
	}
	replayed(dir).want(t, exitFine)
	wantApplied(t, g.Node(0).Client(), n)

	for key, want := range map[string]string{"list": "replayed", "gone": "expired", "late": "dead-lettered", "units": "replayed"} {
		if r := realTime("ledger", "--key", key, dir).want(t, exitFine); !strings.Contains(r.out, want) {
			t.Errorf("fate of %s: %s", key, r.out)
		}
	}
	if r := realTime("ledger", "--outcome", "dead-lettered", dir); strings.Count(r.out, "\n") != 3 {
		t.Errorf("dead letters: %s", r.out)
	}

	// Not mended yet; then mended; then there is nothing left.
	lpush := fmt.Sprint(3*n + 2)
	if r := replayed("--dead", "--seq", lpush, dir).want(t, exitFound); !strings.Contains(r.out, "rejected: WRONGTYPE") {
		t.Errorf("not mended: %s", r.out)
	}
	must(t, g.Node(0).Client().Del(bg, "text").Err())
	replayed("--dead", "--seq", lpush, dir).want(t, exitFine)
	replayed("--dead", "--seq", lpush, dir).want(t, exitFound)
	if got := g.Node(0).Client().LRange(bg, "text", 0, -1).Val(); len(got) != 1 {
		t.Errorf("text is %v", got)
	}
	if r := realTime("ledger", "--seq", lpush, dir).want(t, exitFine); !strings.Contains(r.out, "replayed (mended)") {
		t.Errorf("its fate: %s", r.out)
	}
	replayed("--dead", dir).want(t, exitFine)
	if got := g.Node(0).Client().Get(bg, "late").Val(); got != "x" {
		t.Errorf("late is %q", got)
	}
	realTime("verify", dir).want(t, exitFine)
}

// What can't be read is set aside and never sent, as the client does: also where its
// bytes happen to be a command.
func TestReplayToSetsAside(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	ticket, err := j.Append(journal.Record{At: time.Now(), Meta: []byte{0xff}, Body: cmd("SET", "newer", "x")})
	must(t, err)
	must(t, ticket.Wait(bg))
	put(t, j, time.Now(), 0, entry.Entry{Write: cmd("SET", "plain", "x")})
	must(t, j.Close())
	g := redistest.StartT(t, redistest.Options{})
	r := realTime("replay", "--json", "--to", g.Node(0).Addr(), dir).want(t, exitFound)
	var report replayJSON
	must(t, json.Unmarshal([]byte(r.out), &report))
	if report.Replayed != 1 || report.DeadLettered != 1 || report.Waiting != 0 {
		t.Errorf("report: %+v", report)
	}
	if got := g.Node(0).Client().MGet(bg, "newer", "plain").Val(); fmt.Sprint(got) != "[<nil> x]" {
		t.Errorf("in Redis: %v", got)
	}
}

// A letter whose answer was lost is not applied again: the mark tells.
func TestDeadLetterIsAppliedOnce(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	put(t, j, time.Now(), 0, entry.Entry{Write: cmd("INCR", "count")}, entry.Entry{Write: append(cmd("INCR", "a"), cmd("INCR", "b")...)},
		entry.Entry{Write: cmd("INCR", "doubt")})
	r := j.NewReader(1)
	records, err := r.Next(bg, 10, 1<<20)
	must(t, err)
	for i, reason := range []string{"rejected: ERR no", "rejected: ERR no", "in doubt"} {
		must(t, j.DeadLetter(bg, records[i], reason))
	}
	must(t, r.Close(), j.Trim(bg, 3), j.Close())
	g := redistest.StartT(t, redistest.Options{})
	c := g.Node(0).Client()
	mark := replay.MarkOf(j.ID().String(), 1, []byte("count"))
	must(t, c.Set(bg, mark, "done", 0).Err())
	res := realTime("replay", "--dead", "--to", g.Node(0).Addr(), dir).want(t, exitFound)
	if got := c.Exists(bg, "count", "a", "b", "doubt").Val(); got != 0 {
		t.Fatalf("%d keys were written\n%s", got, res.out)
	}
	for _, want := range []string{"its other commands were applied", "it may have been applied", "1 INCR: replayed (mended)"} {
		if !strings.Contains(res.out, want) {
			t.Errorf("%q is not in: %s", want, res.out)
		}
	}
	realTime("replay", "--dead", "--force", "--to", g.Node(0).Addr(), dir).want(t, exitFine)
	if got := c.MGet(bg, "count", "a", "b", "doubt").Val(); fmt.Sprint(got) != "[<nil> 1 1 1]" {
		t.Fatalf("by force: %v", got)
	}
}

// Nothing is sent to a replica, and nothing goes when nobody answers.
func TestReplayToTheWrongServer(t *testing.T) {
	dir := t.TempDir()
	left(t, dir, 3)
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	r := realTime("replay", "--to", g.Node(1).Addr(), dir).want(t, exitFailed)
	if !strings.Contains(r.err, "not the verified primary") {
		t.Errorf("to a replica: %s", r.err)
	}
	must(t, g.Node(0).Kill())
	realTime("replay", "--to", g.Node(0).Addr(), "--timeout", "1s", dir).want(t, exitFailed)
	realTime("replay", "--dead", "--to", g.Node(0).Addr(), dir).want(t, exitFound)
	v, err := journal.Inspect(dir)
	must(t, err)
	if v[0].Entries != 14 || v[0].Live {
		t.Errorf("%d writes wait, live: %v", v[0].Entries, v[0].Live)
	}
}

// What was discarded is not executed: not when its letter was damaged, and not when a
// crash came between the ledger and the trim.
func TestDiscardedIsNotExecuted(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	id := j.ID().String()
	for _, key := range []string{"a", "ended", "ended", "b"} {
		put(t, j, time.Now(), 0, entry.Entry{Write: cmd("INCR", key)})
	}
	must(t, j.Close())
	realTime("discard", "--yes", "--seq", "2", dir, id).want(t, exitFine)
	letters, err := filepath.Glob(filepath.Join(dir, id, "*.dead"))
	must(t, err)
	b, err := os.ReadFile(letters[0])
	must(t, err)
	b[len(b)-3] ^= 1
	must(t, os.WriteFile(letters[0], b, 0o600))
	j = openJournal(t, dir)
	must(t, j.Record(journal.Fate{From: 3, To: 3, Outcome: journal.OutcomeDiscarded}), j.Close())

	g := redistest.StartT(t, redistest.Options{})
	realTime("verify", dir).want(t, exitFound)
	realTime("replay", "--to", g.Node(0).Addr(), "--acks", "-1", dir).want(t, exitFine)
	c := g.Node(0).Client()
	if a, b, ended := c.Get(bg, "a").Val(), c.Get(bg, "b").Val(), c.Exists(bg, "ended").Val(); a != "1" || b != "1" || ended != 0 {
		t.Errorf("a is %q, b is %q, and of what was discarded %d keys are there", a, b, ended)
	}
	// Nor is its letter, which is there still.
	j = openJournal(t, dir)
	put(t, j, time.Now(), 0, entry.Entry{Write: cmd("INCR", "ended")})
	must(t, j.Close())
	realTime("discard", "--yes", "--seq", "5", dir, id).want(t, exitFine)
	realTime("replay", "--to", g.Node(0).Addr(), "--acks", "-1", dir).want(t, exitFine)
	for _, args := range [][]string{{"--dead"}, {"--dead", "--force"}} {
		args = append(append([]string{"replay"}, args...), "--to", g.Node(0).Addr(), dir)
		if r := realTime(args...).want(t, exitFound); !strings.Contains(r.out, "it was discarded") || c.Exists(bg, "ended").Val() != 0 {
			t.Errorf("%v: %s", args, r.out)
		}
	}
	r := realTime("ledger", "--outcome", "discarded", dir).want(t, exitFine)
	if n := strings.Count(r.out, "\n"); n != 1+3 {
		t.Errorf("in the ledger:\n%s", r.out)
	}
}

// The evening of an incident: the directory of a running client is looked into
// while it defers writes, and again after their replay.
func TestLiveDirectory(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	dir := t.TempDir()
	c, err := resilient.NewClient(&redis.UniversalOptions{Addrs: g.Addrs()[:1]}, &resilient.Options{Dir: dir, Nodes: g.Addrs()})
	must(t, err)
	defer c.Close()
	redistest.Eventually(t, time.Minute, "health", func() bool { return c.State().State == resilient.StateHealthy })
	must(t, c.Set(bg, "before", 1, 0).Err(), g.WaitSynced(bg), g.Cycle(bg))
	redistest.Eventually(t, time.Minute, "the outage", func() bool { return c.State().State == resilient.StateNoPrimary })

	const n = 200
	written := make(chan error, 1)
	go func() {
		for i := range n {
			if err := c.RPush(bg, "queue", i).Err(); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for working := true; working; {
		select {
		case err := <-written:
			must(t, err)
			working = false
		default:
		}
		realTime("ls", dir).want(t, exitFine)
		realTime("verify", dir).want(t, exitFine)
		realTime("show", dir).want(t, exitFine)
	}
	r := realTime("export", "--json", "--key", "queue", dir).want(t, exitFine)
	if got := strings.Count(r.out, "\n"); got != n {
		t.Fatalf("%d writes wait, want %d", got, n)
	}
	if r := realTime("ls", dir).want(t, exitFine); !strings.Contains(r.out, "live") {
		t.Errorf("ls: %s", r.out)
	}
	rctx, receipt := resilient.WithReceipt(bg)
	must(t, c.Set(rctx, "receipted", "x", 0).Err())
	if r := realTime("ledger", "--receipt", receipt.ID(), dir).want(t, exitFine); !strings.Contains(r.out, "pending") || strings.Count(r.out, "\n") != 2 {
		t.Errorf("a receipt's write: %s", r.out)
	}
	must(t, g.Promote(bg, 0))
	ctx := t.Context()
	must(t, c.Flush(ctx))
	var seqs []string
	redistest.Eventually(t, time.Minute, "the ledger", func() bool {
		r := realTime("ledger", "--command", "rpush", "--json", dir)
		seqs = nil
		for line := range strings.Lines(r.out) {
			var w writeJSON
			must(t, json.Unmarshal([]byte(line), &w))
			if w.Fate != nil && (w.Fate.Outcome == "replayed" || w.Fate.Outcome == "unconfirmed") {
				seqs = append(seqs, fmt.Sprint(w.Seq))
			}
		}
		return len(seqs) == n
	})
	if r := realTime("ledger", "--receipt", receipt.ID(), dir).want(t, exitFine); !strings.Contains(r.out, "replayed") && !strings.Contains(r.out, "unconfirmed") {
		t.Errorf("a receipt's write at the end: %s", r.out)
	}
	if got := g.Node(0).Client().LLen(bg, "queue").Val(); got != n {
		t.Errorf("queue has %d", got)
	}
	realTime("verify", dir).want(t, exitFine)
}
