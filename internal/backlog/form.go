package backlog

import (
	"strconv"
	"time"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// Kind is what a replay does with an entry at a time. The zero value is invalid.
type Kind uint8

// The kinds.
const (
	// KindWrite: it sends the write.
	KindWrite Kind = iota + 1
	// KindRestore: it sends the state that the write left, as what the write rests on
	// is gone by now: its key's former deadline has passed.
	KindRestore
	// KindExpired: the key's deadline has passed, so that nothing is left of the
	// write but, where it set that deadline itself, the key's end.
	KindExpired
	// KindUseless: the write's use has ended. It becomes a dead letter.
	KindUseless
	// KindUnreadable: this version can't tell what to send, and to send it as it
	// stands could do anything. It becomes a dead letter.
	KindUnreadable
)

var kindNames = [...]string{"", "write", "restore", "expired", "useless", "unreadable"}

// String is the kind in a word.
func (k Kind) String() string {
	if k > 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// reason says why an entry is set aside; empty for one that is not.
func (k Kind) reason() string {
	switch k {
	case KindUseless:
		return "its use had ended before it could be replayed"
	case KindUnreadable:
		return "this version can't read it"
	case KindWrite, KindRestore, KindExpired:
	}
	return ""
}

// Form is an entry as it is sent at a time.
type Form struct {
	Kind Kind
	// Commands are the commands that take effect, each encoded as RESP and aliasing
	// the record where that holds them. Empty: nothing is left to do.
	Commands [][]byte
	// StandIn is what a replay sends where Commands is empty, so that its fence
	// counts the entry: one command that changes nothing on any server.
	StandIn []byte
	// Repeatable says that sending all of it twice in a row is as sending it once.
	Repeatable bool
	// Reply is the digest of what Commands have to be answered with; 0: nothing was
	// promised, or it can't be kept any more.
	Reply uint64
}

// nothing is the StandIn of an entry that names no key.
var nothing = resp.AppendCommandStrings(nil, "ECHO", "")

// FormOf says what a replay does with a record at now, a time of the server's.
func FormOf(r journal.Record, now time.Time) Form { return *new(former).of(&r, now) }

// former is FormOf with memory that is used again: a Form of it is good until the next
// one. It is not safe for concurrent use.
type former struct {
	entry          entry.Entry
	form           Form
	commands, args [][]byte
}

func (m *former) of(r *journal.Record, now time.Time) *Form {
	e := &m.entry
	err := e.Decode(r.Meta, r.Body)
	switch {
	case err != nil: // of a later version, perhaps
		m.form = unsent(KindUnreadable)
	case e.Stale(now):
		m.form = unsent(KindUseless)
	case e.Lapsed(now):
		m.form = lapsed(e)
	case !e.Stands(now):
		m.send(KindRestore, e.Restore, true)
	default:
		// A unit of several is as repeatable as its commands only where these don't
		// build on each other, which is not looked into.
		m.send(KindWrite, e.Write, e.Repeatable)
		if m.form.Kind == KindWrite && promised(e, now) {
			m.form.Reply = e.Reply
		}
	}
	return &m.form
}

// promised reports whether what the caller was answered is what a server answers. Where
// a deadline that the result rests on has passed, and there is nothing to restore, the
// write finds another state than it had.
func promised(e *entry.Entry, now time.Time) bool {
	return !e.Estimated && (e.Until == 0 || e.Until > now.Add(entry.Margin).UnixMilli())
}

func unsent(k Kind) Form { return Form{Kind: k, StandIn: nothing, Repeatable: true} }

// send makes the form one that sends commands.
func (m *former) send(k Kind, commands []byte, repeatable bool) {
	m.commands = m.commands[:0]
	for len(commands) > 0 {
		args, n, err := resp.ParseCommand(commands, m.args[:0])
		if err != nil || len(args) == 0 {
			m.form = unsent(KindUnreadable)
			return
		}
		m.args = args
		m.commands = append(m.commands, commands[:n:n])
		commands = commands[n:]
	}
	m.form = Form{Kind: k, Repeatable: repeatable, Commands: m.commands}
}

// lapsed is the form of a write whose key's deadline has passed. Where the write
// itself set the deadline, the key is deleted by it. Otherwise the key had the
// deadline from before, so that it is gone already, and anything the write did
// would bring it back.
func lapsed(e *entry.Entry) Form {
	var key []byte
	found := false
	whole := eachCommand(e.Write, func(_ []byte, args [][]byte) {
		if !found {
			key, found = firstKey(args)
		}
	})
	f := unsent(KindExpired)
	switch {
	case !whole, e.Sets && !found: // whatever had to go by the deadline can't be told
		return unsent(KindUnreadable)
	case e.Sets:
		deadline := strconv.AppendInt(nil, e.Lapses, 10)
		f.Commands = [][]byte{resp.AppendCommand(nil, []byte("PEXPIREAT"), key, deadline)}
		f.StandIn = nil
	case found: // of the key: for that the user has rights
		f.StandIn = resp.AppendCommand(nil, []byte("EXISTS"), key)
	}
	return f
}

// eachCommand calls f with each command of b; false if b is not whole commands.
func eachCommand(b []byte, f func(cmd []byte, args [][]byte)) (whole bool) {
	empty := false
	err := entry.EachCommand(b, func(cmd []byte, args [][]byte) error {
		empty = empty || len(args) == 0
		f(cmd, args)
		return nil
	})
	return err == nil && !empty
}

// firstKey is the first key that a command names.
func firstKey(args [][]byte) (key []byte, found bool) {
	if len(args) == 0 {
		return nil, false
	}
	keys, err := command.Lookup(string(args[0])).AppendKeys(nil, len(args), func(i int) string { return string(args[i]) })
	if err != nil || len(keys) == 0 {
		return nil, false
	}
	return args[keys[0]], true
}
