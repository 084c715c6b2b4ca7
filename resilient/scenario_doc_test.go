package resilient_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// String is a row for the log.
func (r *scenarioResult) String() string {
	text := fmt.Sprintf("%s: %v, after %s, back after %s (%s)", r.sc.Name, r.reached, span(r.after), span(r.back), beliefs(r.path))
	if r.holdfast != nil {
		text += fmt.Sprintf("\n  Holdfast %+v", *r.holdfast)
	}
	return text + fmt.Sprintf("\n  plain    %+v, writes again after %s", *r.plain, span(r.again))
}

func beliefs(path []belief) string {
	names := make([]string, len(path))
	for i, b := range path {
		names[i] = b.String()
	}
	return strings.Join(names, ", ")
}

// span is a time in the two or three digits that mean something.
func span(d time.Duration) string {
	if d >= time.Millisecond {
		d = d.Round(100 * time.Microsecond)
	}
	switch {
	case d < 0:
		return "–"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < 999500*time.Microsecond:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

const scenarioIntro = `# Scenarios

<!-- Written by make scenarios; do not edit. -->

Every way for Redis to lose its primary that is known to us, played with real servers. One application works all the time,
before, during and after: %d goroutines that INCR a new key each time, %d that RPUSH numbers onto a list each, one that reads
what was acknowledged last, each with a pause of up to %d ms between two calls. It does so twice at once: through Holdfast,
with its journal on disk, and through plain go-redis with its default options. Afterwards both are compared with what the one
primary holds.

%s.
One run: the counts are exact, the times are those of that run. A busy machine makes the short ones longer.

## What Holdfast makes of it

- **state**: what ` + "`Client.State()`" + ` says before the scenario is mended; of one that heals by itself, what it said on the way.
  [operations.md](operations.md) says what each means.
- **seen**: from the first write of either client that Redis did not take as usual to that state. Writes are deferred before:
  from the first that a server declines. Where the servers go on accepting writes that they will lose (SB, WR), it counts from
  the fault itself.
- **back**: from the moment when one server takes writes again to health with an empty journal; in S1-wrapped, when the one
  address does.
- **plain go-redis**: from that moment to its first write. "no": it failed %d more times, or %d where it
  could learn of another primary, and was not waited for any longer.
- **changes**: of state or cause, from the fault to health.

`

// scenarioDocument is docs/scenarios.md.
func scenarioDocument(results []*scenarioResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, scenarioIntro, scenarioCounters, scenarioLists, scenarioPace.Milliseconds(), setting(results),
		scenarioTries, scenarioTriesLearning)
	b.WriteString("| | scenario | state | seen | back | plain go-redis | changes |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range results {
		state, changes := r.reached.String(), fmt.Sprint(len(r.path))
		if r.holdfast == nil {
			state, changes = "not served yet", "–"
		}
		back, again := span(r.back), span(r.again)
		if len(r.path) == 0 {
			back = span(-1)
		}
		if r.again < 0 {
			again = "no"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.sc.Name, r.sc.Title, state, span(r.after), back, again, changes)
	}
	writeGaps(&b)
	writeTallies(&b, results)
	return b.String()
}

// writeGaps lists what is not as it is meant to be.
func writeGaps(b *strings.Builder) {
	if len(notYet) == 0 {
		return
	}
	b.WriteString("\nNot as it is meant to be, yet:\n\n")
	names := make(map[string][]string)
	var reasons []string
	for _, sc := range scenarios() {
		for _, g := range notYet[sc.Name] {
			if names[g.why] == nil {
				reasons = append(reasons, g.why)
			}
			names[g.why] = append(names[g.why], sc.Name)
		}
	}
	for _, why := range reasons {
		fmt.Fprintf(b, "- %s: %s.\n", strings.Join(names[why], ", "), why)
	}
}

const scenarioWrites = `
## The writes

Two rows each: Holdfast, then plain go-redis beside it at the same servers. Plain go-redis attempts fewer writes where each of
them takes long; its application waits.

- **deferred**: acknowledged by the journal. **refused**: with a typed error; the write was not made, and never will be.
  **failed**: an error of Redis or of the network, passed on as it is. **in doubt**: ` + "`ErrInDoubt`" + `, made or not.
- **lost**: acknowledged, and not in Redis in the end. What Redis had acknowledged by itself and lost is in brackets: by
  its asynchronous replication, or because the server that took it was not the one that counts in the end. No client can help
  that, but by noticing it sooner. It can happen in %s; in S8 to what was written between the snapshot and the restart.
- **doubled**: made more than once. **disordered**: pushes that stand behind a later one.
- **made**: refused or failed, and made all the same. Whoever repeats such a write doubles it.
- **reads**: answered, of those that were tried between the fault and its end. **slowest**: write.

| | | writes | live | deferred | refused | failed | in doubt | lost | doubled | disordered | made | reads | slowest |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
`

// writeTallies writes the table of what became of the writes.
func writeTallies(b *strings.Builder, results []*scenarioResult) {
	var losing []string
	for _, r := range results {
		if r.sc.Loses {
			losing = append(losing, r.sc.Name)
		}
	}
	fmt.Fprintf(b, scenarioWrites, strings.Join(losing, ", "))
	var others strings.Builder
	for _, r := range results {
		name := r.sc.Name
		for _, one := range []struct {
			client string
			*tally
		}{{"Holdfast", r.holdfast}, {"plain", r.plain}} {
			t := one.tally
			if t == nil {
				continue
			}
			fmt.Fprintf(b, "| %s | %s | %d | %d | %d | %d | %d | %d | %s | %d | %d | %d | %d of %d | %s |\n", name, one.client,
				t.attempted, t.live, t.deferred, t.refused, t.failed, t.doubt, t.losses(), t.doubled, t.misordered, t.made,
				t.answered, t.reads, span(t.slowest))
			if t.others > 0 {
				fmt.Fprintf(&others, "- %s, %s: %d of %d writes of other shards failed.\n", r.sc.Name, one.client, t.othersFailed, t.others)
			}
			name = ""
		}
	}
	if others.Len() > 0 {
		fmt.Fprintf(b, "\n### Other shards of the Cluster\n\n%s", others.String())
	}
	b.WriteString(scenarioRemarks)
}

const scenarioRemarks = `
## Remarks

- **S2** and the other scenarios that Sentinels end by themselves: the Sentinels ask their servers every second here (` + "`SENTINEL DEBUG INFO-PERIOD`" + `),
  with down-after 1 s and failover-timeout 4 s. With the usual ten seconds Redis needs 25 to 63 s for S2.
- That a scenario is what it says is checked once, at its beginning: the servers show that view, and a write at the first
  primary meets the error that belongs to it. What happens to it later is what the table shows.
- **P1**: a third application goes on writing to the primary directly.
- In a Cluster and under Sentinels the clients get the addresses of all servers or Sentinels; elsewhere Holdfast is told the
  other two addresses (` + "`Options.Nodes`" + `), but in P2, where there is one address that moves.
`

func (t *tally) losses() string {
	if t.lostLive > 0 {
		return fmt.Sprintf("%d (+ %d)", t.lostDeferred, t.lostLive)
	}
	return fmt.Sprint(t.lostDeferred)
}

// setting says with what a table was made.
func setting(results []*scenarioResult) string {
	server := "?"
	if len(results) > 0 {
		server = results[0].server
	}
	return fmt.Sprintf("Redis %s, go-redis %s, %s, %s/%s, %d cores%s, servers and clients on this one machine",
		server, redis.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor())
}

// processor is the name of the machine's processor where the system tells it.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return " (" + strings.TrimSpace(value) + ")"
		}
	}
	return ""
}
