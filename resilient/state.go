package resilient

import (
	"fmt"
	"time"

	"github.com/holdfast-cache/holdfast/internal/topology"
)

// State is what a client believes about its shard. The zero value is
// StateUnknown.
type State uint8

// The states of a shard. Writes go to the network only in StateHealthy and,
// for keys without deferred writes, in StateReplaying.
const (
	StateUnknown     State = iota // nothing has been learnt yet
	StateHealthy                  // a verified primary takes writes
	StateSuspect                  // a write was declined, or probes contradict each other; being checked
	StateNoPrimary                // servers answer and none of them is a usable primary
	StateUnreachable              // no server answers
	StateReturning                // a primary has been seen and is being verified
	StateReplaying                // deferred writes are being sent to the verified primary
)

var stateNames = [...]string{
	"unknown", "healthy", "suspect", "no-primary", "unreachable", "returning", "replaying",
}

// String is the state's name in logs and metrics, such as "no-primary".
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Cause is why a shard is in its state. The zero value is CauseNone.
type Cause uint8

// The causes told apart so far.
const (
	CauseNone            Cause = iota
	CauseAllReplicas           // every server is a replica of another
	CausePrimaryDown           // the primary doesn't answer
	CauseLoading               // the primary is loading its data set
	CauseMinReplicas           // the primary lacks the replicas it demands
	CauseSplitBrain            // more than one server says that it is the primary
	CauseWritableReplica       // a replica accepts writes, which would be lost
	CauseForeignPrimary        // the only primary holds a data set of unknown origin
	CauseHung                  // the primary accepts connections and doesn't answer
	CauseNoAnswer              // no server answers, and none refuses the connection
	CauseDenied                // servers answer, but the client's user may not ask for their role
	CauseWriteRefused          // a server declined a write; not looked into yet
	CauseAmbiguous             // connections to the primary break
	CauseReplayParked          // the primary is fine, but the replay can't go on by itself
	CauseQuorumLost            // the primary is down, and too few Sentinels are left to promote another
	CauseSlotsUncovered        // a Cluster has slots without an owner that works
	CausePartitioned           // the primary doesn't answer us, but its replicas hear from it: others write on
	CausePinned                // another node was promoted than those that may be written to
	CauseUnnamed               // a server says that it is the primary, and the Sentinels name another
)

var causeNames = [...]string{
	"none", "all-replicas", "primary-down", "loading", "min-replicas",
	"split-brain", "writable-replica", "foreign-primary", "hung", "no-answer",
	"denied", "write-refused", "ambiguous", "replay-parked",
	"quorum-lost", "slots-uncovered", "partitioned", "pinned", "unnamed",
}

// String is the cause's name in logs and metrics, such as "all-replicas".
func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return fmt.Sprintf("cause(%d)", uint8(c))
}

// severity orders states from well to badly off.
func (s State) severity() int {
	switch s {
	case StateHealthy:
		return 0
	case StateReplaying:
		return 1
	case StateReturning:
		return 2
	case StateSuspect:
		return 3
	case StateUnknown:
		return 4
	case StateNoPrimary:
		return 5
	case StateUnreachable:
		return 6
	}
	return 4
}

// ShardState is a snapshot of what the client believes about its shard.
type ShardState struct {
	// Shard names the shard of a Cluster, as the Cluster does where it has a name for
	// it; empty where there is only one.
	Shard string
	State State
	Cause Cause
	// Certain is true when every server that is known answered: then the data
	// can't change until one is promoted. Otherwise the cause is the likely one.
	Certain bool
	// Primary is the address writes go to; empty while there is none.
	Primary string
	// Since is when the state began.
	Since time.Time
	// Elsewhere is the address of a primary that others write to and this client's
	// writes can't reach: with CausePinned it is another address than the client's,
	// with CausePartitioned it does not answer us. Empty otherwise.
	Elsewhere string
	// Overload says that the primary is there and has refused writes in the last
	// seconds for want of means. It moves neither State nor Cause.
	Overload Overload
	// Diagnosis says in a sentence what is wrong and what to do about it;
	// empty while healthy.
	Diagnosis string
	// Advice is what ends the outage, for programs; Diagnosis has it in words. Nil
	// when nothing is wrong or nothing can be advised. Don't change it.
	Advice *Advice
}

// Advice is what an operator can do to end an outage. Nothing is ever done by itself.
type Advice struct {
	// Sentence is all of it, for people.
	Sentence string
	// Candidate is the address of the server that becomes the primary by it; empty
	// when the advice is to wait, or to mend something else.
	Candidate string
	// Commands are command lines in the order in which they are to be entered; TLS
	// and credentials are to be added. Empty when the advice is to wait.
	Commands []string
	// Reason says why this server and these commands.
	Reason string
	// LostBytes is by how much the candidate's replication is behind the freshest
	// server that answers and holds the same data set. What only a server holds that
	// doesn't answer is not known.
	LostBytes int64
}

// String is the sentence.
func (a *Advice) String() string {
	if a == nil {
		return ""
	}
	return a.Sentence
}

// Overload is why a primary that is where it should be refuses writes. The zero value
// is OverloadNone.
type Overload uint8

// The kinds of overload.
const (
	OverloadNone    Overload = iota
	OverloadMemory           // OOM: its memory is full
	OverloadDisk             // MISCONF: it can't keep its data on disk
	OverloadBusy             // BUSY: a script or function runs
	OverloadClients          // it takes no more connections
)

var overloadNames = [...]string{"none", "memory", "disk", "busy", "clients"}

// String is the overload's name in logs, such as "memory".
func (o Overload) String() string {
	if int(o) < len(overloadNames) {
		return overloadNames[o]
	}
	return fmt.Sprintf("overload(%d)", uint8(o))
}

// String is one line for logs.
func (s ShardState) String() string {
	text := s.State.String()
	if s.Cause != CauseNone {
		certainty := "probable"
		if s.Certain {
			certainty = "certain"
		}
		text += fmt.Sprintf(" (%s, %s)", s.Cause, certainty)
	}
	if s.Primary != "" {
		text += " primary " + s.Primary
	}
	return text
}

// stateOf converts a state at the package's edge.
func stateOf(s topology.State) State {
	switch s {
	case topology.StateHealthy:
		return StateHealthy
	case topology.StateSuspect:
		return StateSuspect
	case topology.StateNoPrimary:
		return StateNoPrimary
	case topology.StateUnreachable:
		return StateUnreachable
	case topology.StateReturning:
		return StateReturning
	case topology.StateReplaying:
		return StateReplaying
	case topology.StateUnknown:
	}
	return StateUnknown
}

// causes pairs the causes at the package's edge.
var causes = map[topology.Cause]Cause{
	topology.CauseNone:            CauseNone,
	topology.CauseAllReplicas:     CauseAllReplicas,
	topology.CausePrimaryDown:     CausePrimaryDown,
	topology.CauseHung:            CauseHung,
	topology.CauseLoading:         CauseLoading,
	topology.CauseMinReplicas:     CauseMinReplicas,
	topology.CauseSplitBrain:      CauseSplitBrain,
	topology.CauseWritableReplica: CauseWritableReplica,
	topology.CauseForeignPrimary:  CauseForeignPrimary,
	topology.CauseNoAnswer:        CauseNoAnswer,
	topology.CauseDenied:          CauseDenied,
	topology.CauseWriteRefused:    CauseWriteRefused,
	topology.CauseAmbiguous:       CauseAmbiguous,
	topology.CauseReplayParked:    CauseReplayParked,
	topology.CauseQuorumLost:      CauseQuorumLost,
	topology.CauseSlotsUncovered:  CauseSlotsUncovered,
	topology.CausePartitioned:     CausePartitioned,
	topology.CausePinned:          CausePinned,
	topology.CauseUnnamed:         CauseUnnamed,
}

func causeOf(c topology.Cause) Cause { return causes[c] }

// overloads pairs the kinds of overload at the package's edge.
var overloads = map[topology.Overload]Overload{
	topology.OverloadNone:    OverloadNone,
	topology.OverloadMemory:  OverloadMemory,
	topology.OverloadDisk:    OverloadDisk,
	topology.OverloadBusy:    OverloadBusy,
	topology.OverloadClients: OverloadClients,
}

func adviceOf(a *topology.Advice) *Advice {
	if a == nil {
		return nil
	}
	out := &Advice{Sentence: a.Sentence, Candidate: a.Candidate.Addr, Reason: a.Why, LostBytes: a.Losses}
	if len(a.Command) > 0 {
		out.Commands = append(out.Commands, a.Order.String())
	}
	for _, o := range a.Then {
		out.Commands = append(out.Commands, o.String())
	}
	return out
}

// fullState is shardState with the advice, which takes some making.
func fullState(v *topology.View) ShardState {
	s := shardState(v)
	s.Advice = adviceOf(v.Advice)
	return s
}

// shardState is what a view says, but for the advice.
func shardState(v *topology.View) ShardState {
	s := ShardState{
		State: stateOf(v.State), Cause: causeOf(v.Cause), Certain: v.Certain, Since: v.Since,
		Elsewhere: v.Elsewhere.Addr, Overload: overloads[v.Overload], Diagnosis: v.Diagnosis,
	}
	if v.Live {
		s.Primary = v.Primary.Addr
	}
	return s
}

// changedState is fullState for a change that is told of.
func changedState(c *topology.Change) ShardState {
	return fullState(&topology.View{
		State: c.To, Cause: c.Cause, Certain: c.Certain, Since: c.At, Live: c.To.Live(), Primary: c.Primary,
		Elsewhere: c.Elsewhere, Diagnosis: c.Diagnosis, Advice: c.Advice,
	})
}
