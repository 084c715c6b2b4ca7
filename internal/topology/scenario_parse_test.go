package topology

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sentinelLine is a Sentinel of a story: what it knows of replicas is taken from the world.
type sentinelLine struct {
	report SentinelReport
	knows  []string
	late   []string // of these it says that their link had been down for too long
}

// parseSentinels reads lines such as "s1 names=a:1 run=A knows=b:1,c:1 sdown=2s odown failing noquorum",
// or "s2 refused". quorum is 2, and it knows all other Sentinels of the story.
func (s *scenario) parseSentinels(t *testing.T, input string) {
	s.sentinels = nil
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		one := sentinelLine{report: SentinelReport{
			Addr: words[0], ID: words[0], Seed: true, Outcome: OutcomeAnswered, Quorum: 2,
			DownAfter: 5 * time.Second, LastPing: -1,
		}}
		for _, word := range words[1:] {
			one.word(t, word)
		}
		s.sentinels = append(s.sentinels, one)
	}
	for i := range s.sentinels {
		s.sentinels[i].report.Others = len(s.sentinels) - 1
	}
}

func (l *sentinelLine) word(t *testing.T, word string) {
	r := &l.report
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "names":
		r.Primary, r.Watches = value, true
	case "run":
		r.PrimaryRunID = value
	case "knows":
		l.knows = strings.Split(value, ",")
	case "late":
		l.late = strings.Split(value, ",")
	case "sdown":
		r.SDown, r.DownFor = true, duration(t, value)
	case "odown":
		r.ODown = true
	case "failing":
		r.Failing = true
	case "noquorum":
		r.NoQuorum = "NOQUORUM"
	case "ping":
		r.LastPing = duration(t, value)
	default:
		r.Outcome = Outcome(index(t, outcomeNames[:], word))
	}
}

func (s *scenario) sentinelReports() []SentinelReport {
	var out []SentinelReport
	for _, l := range s.sentinels {
		r := l.report
		if r.Outcome != OutcomeAnswered {
			out = append(out, SentinelReport{Addr: r.Addr, Seed: true, Outcome: r.Outcome})
			continue
		}
		for _, addr := range l.knows {
			c := SentinelReplica{Addr: addr, Priority: defaultPriority}
			if n := findAddr(s.world, addr); n != nil {
				c.RunID, c.Down, c.Priority, c.Offset = n.RunID, !n.Answered(), n.Priority, n.Offset
			}
			if slices.Contains(l.late, addr) {
				c.LinkDownFor = time.Hour
			}
			r.Replicas = append(r.Replicas, c)
		}
		out = append(out, r)
	}
	return out
}

// parseShard reads "owner=a:1 voters=3 heard=3 votes=3 slots=0-5460 [failed]"; "none" ends the Cluster.
func parseShard(t *testing.T, input string) *ShardFacts {
	f := &ShardFacts{ID: "1", OwnerID: "1"}
	for _, word := range strings.Fields(input) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "none":
			return nil
		case "owner":
			f.Owner = value
		case "voters":
			f.Voters = atoi(t, value)
		case "heard":
			f.Heard = atoi(t, value)
		case "votes":
			f.Votes = atoi(t, value)
		case "failed":
			f.Failed = true
		case "slots":
			first, last, _ := strings.Cut(value, "-")
			f.Slots = []SlotRange{{First: atoi(t, first), Last: atoi(t, last)}}
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	return f
}

func (s *scenario) advice() string {
	a := s.m.View().Advice
	if a == nil {
		return "none\n"
	}
	if len(a.Command) == 0 {
		return a.Sentence + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\ncandidate %s, losses %d: %s\n", a.Order, orNone(a.Candidate.Addr), a.Losses, a.Why)
	for _, o := range a.Then {
		fmt.Fprintf(&b, "then %s\n", o)
	}
	return b.String()
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func index(t *testing.T, names []string, name string) int {
	t.Helper()
	for i, n := range names {
		if n == name {
			return i
		}
	}
	t.Fatalf("%q is none of %v", name, names)
	return 0
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	v, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%q is not a number", text)
	}
	return v
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
