package replay

import (
	"errors"
	"strings"
)

// Why a Run ended. After each of them another Run is safe: it reads the fence
// before it sends anything.
var (
	// ErrNotPrimary: the node is not, or is no longer, the primary that was
	// verified. Look for the primary again.
	ErrNotPrimary = errors.New("replay: the node is not the verified primary")
	// ErrUnreachable: the primary could not be reached, or sending made no
	// progress, several times in a row.
	ErrUnreachable = errors.New("replay: the primary cannot be reached")
	// ErrFenceAhead: the fence is beyond everything this journal ever sent, so
	// another process uses the same client id or the journal is an older copy.
	// Sending would lose or double writes: it needs a new client id.
	ErrFenceAhead = errors.New("replay: the fence is ahead of the journal; give the journal a new client id")
	// ErrRefused: the server refuses what replay itself needs (INFO, MULTI, EXEC,
	// WATCH, and GET and SET of the fence key). Grant these rights.
	ErrRefused = errors.New("replay: the server refuses a command that replay needs")
	// ErrMoved: a lane's slot has another owner. What of the lane was not applied was
	// not applied at all. Look who owns it, and replay the lane there, with the other
	// lanes of that owner. The error is a *MovedError.
	ErrMoved = errors.New("replay: a slot of the journal's entries has another owner; look for it and replay there")
	// ErrRunning: a Run of the same Replayer has not ended yet.
	ErrRunning = errors.New("replay: already running; wait for the other run to end")
)

// MovedError is ErrMoved with what the server said.
type MovedError struct {
	// Lane is one whose slot has moved; others may have as well.
	Lane uint16
	// Addr is the new owner as the server knows it. Empty: it did not tell.
	Addr string
}

func (e *MovedError) Error() string { return ErrMoved.Error() }

// Is makes errors.Is(err, ErrMoved) true.
func (e *MovedError) Is(target error) bool { return target == ErrMoved }

// errReread says that the session's knowledge is void and the fence must be read
// again. It never leaves the package.
var errReread = errors.New("replay: the fence has to be read again")

// pauseError is a passing condition of the server: wait, then read the fence.
// It never leaves the package.
type pauseError struct{ code string }

func (e *pauseError) Error() string { return "replay: the server answers " + e.code }

// codeKind is what an error code of the server means for a batch.
type codeKind uint8

const (
	codeOther      codeKind = iota // the fault of one command
	codeNotPrimary                 // this node takes no writes; another may
	codePassing                    // this node will take writes again
)

// kindOf classifies a code. The node's own state is told from the fault of a
// command, because only the latter makes a dead letter.
func kindOf(code string) codeKind {
	switch code {
	case "READONLY", "MASTERDOWN", "MOVED", "ASK", "UNBLOCKED":
		return codeNotPrimary
	case "OOM", "LOADING", "NOREPLICAS", "MISCONF", "BUSY", "CLUSTERDOWN", "TRYAGAIN":
		return codePassing
	}
	return codeOther
}

// codeOf is the code that begins an error's text. Only the code may go into
// errors of ours: the rest can quote keys and values.
func codeOf(text string) string {
	code, _, _ := strings.Cut(text, " ")
	if code == "" || len(code) > 32 {
		return "ERR"
	}
	for i := range len(code) {
		c := code[i]
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return "ERR"
		}
	}
	return code
}

// abortCause is the code inside "EXECABORT Transaction discarded because of:
// READONLY …", or "" for the form that names none.
func abortCause(text string) string {
	_, cause, ok := strings.Cut(text, "because of: ")
	if !ok {
		return ""
	}
	return codeOf(cause)
}

// CodeOf is the code that begins an error's text, such as WRONGTYPE: all of it that may
// be shown, as the rest can quote keys and values.
func CodeOf(text string) string { return codeOf(text) }
