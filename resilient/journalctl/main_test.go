package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

var bg = context.Background()

// morning is when the writes of the fixtures were accepted.
var morning = time.Date(2026, 1, 2, 8, 30, 0, 0, time.UTC)

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

// invoke runs a command line some time after morning.
func invoke(env map[string]string, args ...string) result {
	var out, errs bytes.Buffer
	a := &app{
		ctx: bg, out: &out, err: &errs, zone: time.UTC,
		now: func() time.Time { return morning.Add(2 * time.Hour) },
		env: func(name string) string { return env[name] },
	}
	code := a.run(args)
	return result{code, out.String(), errs.String()}
}

// realTime runs a command line now.
func realTime(args ...string) result {
	var out, errs bytes.Buffer
	a := &app{ctx: bg, out: &out, err: &errs, zone: time.UTC, now: time.Now, env: func(string) string { return "" }}
	code := a.run(args)
	return result{code, out.String(), errs.String()}
}

func (r result) want(t testing.TB, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\n%s%s", r.code, code, r.out, r.err)
	}
	return r
}

// cmd encodes a command.
func cmd(words ...string) []byte { return resp.AppendCommandStrings(nil, words...) }

// record is the record of an entry.
func record(at time.Time, db int, e entry.Entry) journal.Record {
	return journal.Record{At: at, DB: db, Meta: e.AppendMeta(nil), Body: e.Body()}
}

// openJournal makes a journal below dir.
func openJournal(t testing.TB, dir string) *journal.Journal {
	t.Helper()
	j, _, err := journal.Open(journal.Options{Dir: dir, Target: "group test db 0", Retention: keepAll})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// put appends writes.
func put(t testing.TB, j *journal.Journal, at time.Time, db int, entries ...entry.Entry) {
	t.Helper()
	for i, e := range entries {
		ticket, err := j.Append(record(at.Add(time.Duration(i)*time.Second), db, e))
		if err == nil {
			err = ticket.Wait(bg)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// incident fills a journal with what an outage leaves: writes that were replayed,
// one that had expired, one that was rejected, and some that wait.
func incident(t testing.TB, dir string) *journal.Journal {
	t.Helper()
	j := openJournal(t, dir)
	put(t, j, morning, 0,
		entry.Entry{Class: entry.ClassBlind, Repeatable: true, Write: cmd("SET", "user:1", "lovelace")},
		entry.Entry{Class: entry.ClassAccumulating, Write: cmd("INCR", "hits"), Lapses: morning.Add(time.Minute).UnixMilli()},
		entry.Entry{Class: entry.ClassAccumulating, Write: cmd("LPUSH", "user:1", "secret")})
	at := morning.Add(40 * time.Minute)
	runID, replID := strings.Repeat("1f", 20), strings.Repeat("2e", 20)
	rec := record(morning.Add(2*time.Second), 0, entry.Entry{Class: entry.ClassAccumulating, Write: cmd("LPUSH", "user:1", "secret")})
	rec.Seq = 3
	must(t, j.DeadLetter(bg, rec, "rejected: WRONGTYPE Operation against a key holding the wrong kind of value"),
		j.Record(journal.Fate{From: 3, To: 3, Outcome: journal.OutcomeDeadLettered, Detail: "rejected", At: at}),
		j.Record(journal.Fate{From: 1, To: 3, Outcome: journal.OutcomeReplayed, RunID: runID, ReplID: replID, At: at}),
		j.Record(journal.Fate{From: 2, To: 2, Outcome: journal.OutcomeExpired, RunID: runID, ReplID: replID, At: at}),
		j.Acknowledge(journal.Progress{Acked: 3, ReplID: replID, RunID: runID}),
		j.SaveLineage(bg, journal.Lineage{ReplIDs: []string{replID}, Primary: "10.0.0.7:6379"}),
		j.Trim(bg, 3))
	put(t, j, morning.Add(time.Hour), 0,
		entry.Entry{Class: entry.ClassTransaction, Write: append(cmd("INCR", "hits"), cmd("PEXPIREAT", "hits", "1893456000000")...)},
		entry.Entry{Class: entry.ClassBlind, Repeatable: true, Sets: true, Write: cmd("SET", "session:9", "token", "PXAT", "1767346800000"), Lapses: 1767346800000},
		entry.Entry{Class: entry.ClassAccumulating, Estimated: true, Write: cmd("RPUSH", "queue", "a", "\xff\x00")},
		entry.Entry{Class: entry.ClassBlind, Useful: morning.Add(90 * time.Minute).UnixMilli(), Write: cmd("SET", "greeting", "good morning")})
	return j
}

var keptPattern = regexp.MustCompile(`\.\d{13}\.kept`)

// normal replaces what differs from run to run.
func normal(s, dir, id string) string {
	s = strings.NewReplacer(dir, "DIR", "\r\n", "\n", "\xff", `\xff`, "\x00", `\x00`).Replace(s)
	s = strings.ReplaceAll(s, id, "JOURNAL-"+strings.Repeat("0", 24))
	s = strings.ReplaceAll(s, id[:8], "JOURNAL0")
	s = keptPattern.ReplaceAllString(s, ".1767346260000.kept")
	return s
}

// TestCommands runs the command lines of testdata/commands.txt, one after the other,
// against the journal that incident leaves.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	j := incident(t, dir)
	must(t, j.Close())
	datadriven.RunTest(t, "testdata/commands.txt", func(_ *testing.T, d *datadriven.TestData) string {
		args := strings.Fields(strings.ReplaceAll(d.Input, "DIR", dir))
		for i, arg := range args {
			args[i] = strings.ReplaceAll(arg, "ID", j.ID().String())
		}
		r := invoke(nil, args...)
		var b strings.Builder
		b.WriteString(r.out)
		for line := range strings.Lines(r.err) {
			b.WriteString("! " + line)
		}
		fmt.Fprintf(&b, "exit %d\n", r.code)
		return normal(b.String(), dir, j.ID().String())
	})
}

// Without --values nothing that is printed holds a key or a value.
func TestNothingIsShownUnasked(t *testing.T) {
	dir := t.TempDir()
	j := incident(t, dir)
	must(t, j.Close())
	secrets := []string{"user:1", "lovelace", "secret", "session:9", "token", "queue", "greeting", "good morning", "hits", "wrong kind"}
	for _, line := range []string{
		"ls DIR", "show --all DIR", "show --all --json DIR", "verify DIR", "verify --json DIR", "ledger DIR", "ledger --json DIR",
		"ledger --entries DIR", "export --status all --format json DIR", "replay --dry-run DIR", "replay --dry-run --dead DIR",
		"replay --dry-run --dead --json DIR", "export DIR",
	} {
		r := invoke(nil, strings.Fields(strings.ReplaceAll(line, "DIR", dir))...)
		for _, secret := range secrets {
			if strings.Contains(r.out+r.err, secret) {
				t.Errorf("%s shows %q:\n%s", line, secret, r.out+r.err)
			}
		}
		if r.code == exitFailed {
			t.Errorf("%s: %s", line, r.err)
		}
	}
}

// A command without a name, which no server takes, is shown as what it is: unreadable.
func TestEmptyCommandIsUnreadable(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, dir)
	put(t, j, morning, 0,
		entry.Entry{Class: entry.ClassBlind, Write: append(cmd("SET", "a", "1"), "*0\r\n"...)},
		entry.Entry{Class: entry.ClassBlind, Write: cmd("SET", "b", "2")})
	must(t, j.Close())
	for line, want := range map[string]string{
		"show DIR":                 "(unreadable)",
		"show --values DIR":        "(unreadable)",
		"show --json --values DIR": `"error":"entry: malformed"`,
		"export --values DIR":      "SET\r\n$1\r\nb\r\n$1\r\n2\r\n",
		"replay --dry-run DIR":     "unreadable",
	} {
		r := invoke(nil, strings.Fields(strings.ReplaceAll(line, "DIR", dir))...)
		if r.code == exitFailed || !strings.Contains(r.out, want) {
			t.Errorf("%s: exit code %d, want %q in it\n%s%s", line, r.code, want, r.out, r.err)
		}
	}
}

// Who takes a journal over says what of it can't be read, and goes on.
func TestDamageIsSaidOnTheWay(t *testing.T) {
	dir := t.TempDir()
	j := incident(t, dir)
	id := j.ID().String()
	must(t, j.Close())
	ledgers, err := filepath.Glob(filepath.Join(dir, id, "*.ledger"))
	if err != nil || len(ledgers) != 1 {
		t.Fatalf("ledger files %v, %v", ledgers, err)
	}
	b, err := os.ReadFile(ledgers[0])
	must(t, err)
	b[len(b)-1] ^= 1
	must(t, os.WriteFile(ledgers[0], b, 0o600))
	want := filepath.Base(ledgers[0]) + ": journal: "
	if r := invoke(nil, "discard", "--yes", "--key", "queue", dir, id).want(t, exitFine); !strings.Contains(r.err, want) {
		t.Errorf("not a word of %s:\n%s%s", want, r.out, r.err)
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	incident(t, dir)
	for line, want := range map[string]int{
		"":                                     exitUsage,
		"help":                                 exitFine,
		"ls --help":                            exitFine,
		"frobnicate":                           exitUsage,
		"ls":                                   exitUsage,
		"ls DIR a b":                           exitUsage,
		"ls --nonsense DIR":                    exitUsage,
		"show --seq 0 DIR":                     exitUsage,
		"show --seq 5-3 DIR":                   exitUsage,
		"show --since yesterday DIR":           exitUsage,
		"show DIR/missing":                     exitFailed,
		"show DIR ffffffffffffffffffffffff":    exitFailed,
		"ledger --outcome lost DIR":            exitUsage,
		"ledger --entries --key k DIR":         exitUsage,
		"ledger --key missing DIR":             exitFound,
		"ledger --receipt 12-3 DIR":            exitUsage,
		"export DIR":                           exitUsage,
		"export --values --format xml DIR":     exitUsage,
		"export --values --status odd DIR":     exitUsage,
		"replay DIR":                           exitUsage,
		"replay --to nowhere DIR":              exitUsage,
		"replay --force --to 127.0.0.1:1 DIR":  exitUsage,
		"replay --user u --to 127.0.0.1:1 DIR": exitUsage,
		"replay --sni x --to 127.0.0.1:1 DIR":  exitUsage,
		"replay --acks -2 --dry-run DIR":       exitUsage,
		"discard --yes DIR":                    exitUsage,
		"confirm DIR/missing":                  exitFailed,
	} {
		var args []string
		if line != "" {
			args = strings.Fields(strings.ReplaceAll(line, "DIR", dir))
		}
		if r := invoke(nil, args...); r.code != want {
			t.Errorf("%q: exit code %d, want %d\n%s%s", line, r.code, want, r.out, r.err)
		}
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"90m":                       now.Add(-90 * time.Minute),
		"2026-01-01T08:30:05Z":      time.Date(2026, 1, 1, 8, 30, 5, 0, time.UTC),
		"2026-01-01T08:30:05+01:00": time.Date(2026, 1, 1, 7, 30, 5, 0, time.UTC),
		"2026-01-01T08:30:05":       time.Date(2026, 1, 1, 8, 30, 5, 0, time.UTC),
		"2026-01-01 08:30":          time.Date(2026, 1, 1, 8, 30, 0, 0, time.UTC),
		"2026-01-01":                time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		"08:30":                     time.Date(2026, 1, 2, 8, 30, 0, 0, time.UTC),
		"08:30:05":                  time.Date(2026, 1, 2, 8, 30, 5, 0, time.UTC),
	} {
		w := when{now: now, zone: time.UTC}
		if err := w.Set(s); err != nil || !w.at.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", s, w.at, err, want)
		}
	}
	for _, s := range []string{"", "noon", "-5m", "25:00"} {
		w := when{now: now, zone: time.UTC}
		if err := w.Set(s); err == nil {
			t.Errorf("%q passes for %v", s, w.at)
		}
	}
}

// A journal that a process holds is only looked at.
func TestLiveJournalIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	j := incident(t, dir)
	id := j.ID().String()
	for _, line := range []string{"ls DIR", "show DIR", "verify DIR", "ledger DIR", "replay --dry-run DIR"} {
		invoke(nil, strings.Fields(strings.ReplaceAll(line, "DIR", dir))...).want(t, exitFine)
	}
	for _, args := range [][]string{
		{"replay", "--to", "127.0.0.1:1", dir},
		{"replay", "--dead", "--to", "127.0.0.1:1", dir},
		{"discard", "--yes", dir, id},
		{"discard", "--yes", "--dead", dir, id},
	} {
		if r := invoke(nil, args...).want(t, exitFailed); !strings.Contains(r.err, "a process holds the journal") {
			t.Errorf("%v: %s", args, r.err)
		}
	}
	if s := j.Stats(); s.Entries != 4 || s.Dead != 1 {
		t.Errorf("the journal changed: %+v", s)
	}
}

func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	j := incident(t, dir)
	id := j.ID().String()
	must(t, j.Close())
	count := func(status string) int {
		return strings.Count(invoke(nil, "export", "--format", "json", "--status", status, dir).out, "\n")
	}
	if r := invoke(nil, "discard", dir, id).want(t, exitFine); !strings.Contains(r.out, "4 would be discarded") || count("pending") != 4 {
		t.Fatalf("without --yes: %s", r.out)
	}
	invoke(nil, "discard", "--yes", "--key", "queue", dir, id).want(t, exitFine)
	if p, d := count("pending"), count("dead"); p != 3 || d != 2 {
		t.Fatalf("%d wait, %d dead letters", p, d)
	}
	if r := invoke(nil, "ledger", "--key", "queue", dir).want(t, exitFine); !strings.Contains(r.out, "discarded") {
		t.Fatalf("its fate: %s", r.out)
	}
	invoke(nil, "discard", "--yes", dir, id).want(t, exitFine)
	if p, d := count("pending"), count("dead"); p != 0 || d != 2 {
		t.Fatalf("%d wait, %d dead letters", p, d)
	}
	invoke(nil, "discard", "--yes", "--dead", "--seq", "3", dir, id).want(t, exitFine)
	invoke(nil, "discard", "--yes", "--dead", dir, id).want(t, exitFine)
	invoke(nil, "discard", "--yes", "--dead", dir, id).want(t, exitFound)
	if d := count("dead"); d != 0 {
		t.Fatalf("%d dead letters", d)
	}
	r := invoke(nil, "ledger", "--outcome", "discarded", dir).want(t, exitFine)
	if n := strings.Count(r.out, "\n"); n != 1+5 { // the head, and 3 to 7
		t.Fatalf("%d lines:\n%s", n, r.out)
	}
	invoke(nil, "verify", dir).want(t, exitFine)
}

func TestConfirm(t *testing.T) {
	dir := t.TempDir()
	j := incident(t, dir)
	id := j.ID().String()
	must(t, j.Close())
	invoke(nil, "confirm", dir, id).want(t, exitFine)
	if !journal.IsConfirmed(dir, id) {
		t.Fatal("the mark is not there")
	}
	if r := invoke(nil, "ls", dir).want(t, exitFine); !strings.Contains(r.out, "confirmed") {
		t.Fatalf("ls: %s", r.out)
	}
	invoke(nil, "confirm", filepath.Join(dir, id)).want(t, exitFine)

	// The mark goes with what it was given for.
	invoke(nil, "discard", "--yes", "--key", "queue", dir, id).want(t, exitFine)
	if !journal.IsConfirmed(dir, id) {
		t.Error("some were discarded, and the others are not confirmed any more")
	}
	invoke(nil, "discard", "--yes", dir, id).want(t, exitFine)
	if r := invoke(nil, "ls", dir).want(t, exitFine); !strings.Contains(r.out, "idle") {
		t.Errorf("ls: %s", r.out)
	}
	if r := invoke(nil, "confirm", dir, id).want(t, exitFound); !strings.Contains(r.err, "nothing waits") {
		t.Errorf("confirm: %s", r.err)
	}
	j = openJournal(t, dir) // the next process takes the idle directory
	put(t, j, time.Now(), 0, entry.Entry{Write: cmd("SET", "new", "write")})
	must(t, j.Close())
	if j = openJournal(t, dir); j.ID().String() != id || j.Stats().Entries != 1 || j.Confirmed() {
		t.Errorf("%d entries of a later process, confirmed: %v", j.Stats().Entries, j.Confirmed())
	}
}
