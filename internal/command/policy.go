package command

// Decision is what becomes of a command while its shard has no primary, unless a
// rule of the application says otherwise. The zero value is DecisionRefuse.
type Decision uint8

// The decisions.
const (
	// DecisionRefuse answers with an error at once.
	DecisionRefuse Decision = iota
	// DecisionForward sends the command on to any server that answers.
	DecisionForward
	// DecisionRead answers from the overlay where that has a key of the command,
	// else from a replica.
	DecisionRead
	// DecisionDefer executes the command in the overlay and keeps it in the journal.
	DecisionDefer
)

// String is the decision in a word, as it appears in documents.
func (d Decision) String() string {
	switch d {
	case DecisionForward:
		return "forward"
	case DecisionRead:
		return "read"
	case DecisionDefer:
		return "defer"
	default:
		return "refuse"
	}
}

// Default is the decision for the command when it is called with args. Where the
// base of a counter is unknown a DecisionDefer for one needs leave; see Counter.
func (s *Spec) Default(args [][]byte) Decision {
	switch s.Class(args) {
	case ClassPassthrough:
		return DecisionForward
	case ClassRead:
		return DecisionRead
	case ClassBlind, ClassAccumulating, ClassConditional:
		if s.Deferrable(args) {
			return DecisionDefer
		}
	default:
	}
	return DecisionRefuse
}

// Counter reports whether the command is of the INCR family, whose replies are
// used as identities: two processes that both get the same number do harm. With an
// unknown base such a command is refused unless the application says otherwise.
func (s *Spec) Counter() bool { return s != nil && s.counter }

// Estimated reports whether the reply of the command, called with args, cannot be
// exact when it is deferred, however well its keys are known: the server makes up
// an entry's ID (XADD with * or ms-*), or trims only about as far as it is told (~).
func (s *Spec) Estimated(args [][]byte) bool {
	return s != nil && s.estimated != nil && s.estimated(args)
}

var estimates = map[string]func(args [][]byte) bool{
	"xadd": func(args [][]byte) bool {
		o := parseXAdd(args)
		return o.generatedID || o.approximate
	},
	"xtrim": func(args [][]byte) bool { return parseTrim(args, 2).approximate },
}

// Barrier reports whether the command, called with args, must not overtake writes
// that a replay still has to send, of whatever key: it drops or swaps keys that it
// does not name (FLUSHALL, FLUSHDB, SWAPDB and their like), runs code that may do
// so, or makes its caller the owner of something, who then acts on what other keys
// say. Commands that are not in the table are barriers too.
func (s *Spec) Barrier(args [][]byte) bool {
	if s == nil {
		return true
	}
	if len(s.subs) > 0 && len(args) > 1 {
		s = findSub(s, args[1])
		if s == nil {
			return true
		}
	}
	if s.flushes {
		return true
	}
	switch s.Class(args) {
	case ClassScript, ClassClaiming, ClassUnknown:
		return true
	default:
		return false
	}
}
