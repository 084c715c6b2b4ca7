package topology

import (
	"fmt"
	"strings"
	"time"
)

// Event is something that [Step] takes: one of the types below.
type Event interface {
	// when is the time of the event.
	when() time.Time
}

type (
	// ProbeRound is one look at all known nodes.
	ProbeRound struct {
		At time.Time
		// Nodes has one report for each known address. Step keeps it: it must not change afterwards.
		Nodes []NodeReport
		// Sentinels has one report for each known Sentinel; empty where there are none. The same holds.
		Sentinels []SentinelReport
		// Cluster is what the other servers of the Cluster say of this shard; nil where there is none.
		Cluster *ShardFacts
	}
	// Signal is something that the write path has seen.
	Signal struct {
		At   time.Time
		Kind SignalKind
		// Addr is the node that it came from. Signals of another node than the present primary only
		// ask for a probe round; empty means the present primary.
		Addr string
		// Overload is what SignalOverload tells; it is ignored in others.
		Overload Overload
	}
	// Backlog tells whether the journal holds entries that are not trimmed.
	Backlog struct {
		At      time.Time
		Pending bool
	}
	// ReplayReady says: the replay of that attempt has read the fence of the primary with that run_id.
	ReplayReady struct {
		At      time.Time
		Attempt uint64
		RunID   string
	}
	// Drained says: the replay of that attempt has ended with nothing left in the journal.
	Drained struct {
		At      time.Time
		Attempt uint64
	}
	// ReplayStopped says: the replay of that attempt has ended before it was drained.
	ReplayStopped struct {
		At      time.Time
		Attempt uint64
		Reason  StopReason
	}
	// RetryReplay ends StopParked: the replay is to be tried again.
	RetryReplay struct {
		At time.Time
	}
)

// WriteAnswered says: the server with that run_id has answered a write. It ends the hold that
// SignalHung began: see View.AwaitsWrite.
type WriteAnswered struct {
	At    time.Time
	RunID string
}

func (e WriteAnswered) when() time.Time { return e.At }
func (e ProbeRound) when() time.Time    { return e.At }
func (e Signal) when() time.Time        { return e.At }
func (e Backlog) when() time.Time       { return e.At }
func (e ReplayReady) when() time.Time   { return e.At }
func (e Drained) when() time.Time       { return e.At }
func (e ReplayStopped) when() time.Time { return e.At }
func (e RetryReplay) when() time.Time   { return e.At }

// Action is something that [Step] wants done: one of the types below. Actions are to be carried out
// in their order.
type Action interface {
	fmt.Stringer
	action()
}

type (
	// Announce tells of a change.
	Announce struct{ Change Change }
	// StopReplay ends the running replay. Its late events are ignored.
	StopReplay struct{ Attempt uint64 }
	// StartReplay begins a replay to a verified primary. Its events carry the attempt.
	StartReplay struct {
		Attempt uint64
		Primary NodeID
	}
	// ProbeNow asks for a probe round at once.
	ProbeNow struct{}
)

func (Announce) action()    {}
func (StopReplay) action()  {}
func (StartReplay) action() {}
func (ProbeNow) action()    {}

// String returns the change.
func (a Announce) String() string { return a.Change.String() }

// String returns a stable text.
func (a StopReplay) String() string { return fmt.Sprintf("stop-replay attempt=%d", a.Attempt) }

// String returns a stable text.
func (a StartReplay) String() string {
	return fmt.Sprintf("start-replay attempt=%d primary=%s", a.Attempt, a.Primary.Addr)
}

// String returns a stable text.
func (ProbeNow) String() string { return "probe-now" }

// Change is a change of state, cause, certainty, primary or candidate.
type Change struct {
	At       time.Time
	From, To State
	Cause    Cause
	Certain  bool
	// Primary and Candidate are those of the View after the change.
	Primary, Candidate NodeID
	// Elsewhere, Automation and Advice are those of the View after the change.
	Elsewhere  NodeID
	Automation Automation
	Advice     *Advice
	Epoch      uint64
	// Diagnosis is a sentence for people; see View.Diagnosis.
	Diagnosis string
}

// String returns a stable text without times, such as
// "healthy -> no-primary (all-replicas, certain) primary=a:1 candidate=b:1 epoch=4".
func (c Change) String() string {
	var b strings.Builder
	if c.From != c.To {
		fmt.Fprintf(&b, "%s -> ", c.From)
	}
	b.WriteString(c.To.String())
	switch {
	case c.Cause != CauseNone && c.Certain:
		fmt.Fprintf(&b, " (%s, certain)", c.Cause)
	case c.Cause != CauseNone:
		fmt.Fprintf(&b, " (%s)", c.Cause)
	}
	if c.Primary.Addr != "" {
		fmt.Fprintf(&b, " primary=%s", c.Primary.Addr)
	}
	if c.Candidate.Addr != "" {
		fmt.Fprintf(&b, " candidate=%s", c.Candidate.Addr)
	}
	fmt.Fprintf(&b, " epoch=%d", c.Epoch)
	return b.String()
}
