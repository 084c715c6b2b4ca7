package engine

import (
	"errors"
	"testing"
)

func TestKeys(t *testing.T) {
	eachProtocol(t, func(o *oracle) {
		o.opaque("list")
		o.lines(`
			MSET a 1 b 2 c 3 d 4
			DEL
			DEL missing
			DEL a a missing
			UNLINK b missing b c
			UNLINK
			EXISTS d d list missing
			EXISTS
			TOUCH d d list missing
			TOUCH
			TYPE d
			TYPE list
			TYPE missing
			TYPE
			DEL list
			TYPE list
			RENAME missing x
			RENAME missing missing
			RENAME a
			RENAME d d
			SET from 1 PXAT 99999999999999
			SET to 2 PXAT 88888888888888
			RENAME from to
			EXISTS from
			GET to
			PEXPIRETIME to
			SET plain 3
			RENAME plain to
			PTTL to
			APPEND to x
			SET plain 4
			APPEND plain y
		`)
		o.opaque("list")
		o.lines(`
			EXPIRE list 1000
			RENAME list to
			TYPE to
			TTL to
			GET to
			PERSIST to
			TTL to
			RENAME d to
			TYPE to
			COPY missing to
			COPY missing to REPLACE
			COPY to to
			COPY missing missing
			COPY to to REPLACE
			COPY to copy
			COPY to copy
			APPEND to x
			COPY to copy REPLACE
			APPEND copy y
			GET to
			GET copy
			COPY to copy REPLACE REPLACE
			COPY to copy junk
			COPY to copy DB
			COPY to
			SET to v PXAT 99999999999999
			COPY to copy
			COPY to copy2
			COPY to copy REPLACE
			PEXPIRETIME copy
			PEXPIRETIME copy2
			SET to v
			COPY to copy REPLACE
			PEXPIRETIME copy
		`)
		o.sameState()
	})
}

func TestExpire(t *testing.T) {
	eachProtocol(t, func(o *oracle) {
		for _, name := range []string{"EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"} {
			far := map[string]string{"EXPIRE": "1000", "PEXPIRE": "1000000", "EXPIREAT": "9999999999", "PEXPIREAT": "9999999999999"}[name]
			farther := far + "0"
			o.lines(name)
			o.lines(name + " k")
			o.lines(name + " missing " + far)
			o.lines(name + " missing abc")
			o.lines(name + " missing 1 junk")
			for _, set := range []string{"SET k v", "SET k v PXAT 19999999999999"} {
				for _, when := range []string{
					"abc", "1.5", "", " 1", "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775",
					"9223372036854776", "-9223372036854775", "-9223372036854776", farther,
				} {
					for _, condition := range []string{"", "GT", "LT"} {
						o.lines(set + "\n" + name + " k " + quoted(when) + " " + condition + "\nTTL k")
					}
				}
				for _, condition := range []string{
					"", "NX", "XX", "GT", "LT", "gt", "NX XX", "XX GT", "XX LT", "GT LT", "NX GT", "NX LT", "LT XX GT",
					"NX NX", "junk", "NX junk", `"NX\x00y"`, `"N\r\nX"`, `"j\x00y"`,
				} {
					o.lines(set + "\n" + name + " k " + far + " " + condition + "\nTTL k")
					o.lines(name + " k 0 " + condition + "\nTTL k")
				}
			}
		}
		o.lines(`
			SET k v
			PERSIST k
			PEXPIREAT k 99999999999999
			PEXPIREAT k 99999999999999
			PERSIST k
			PERSIST k
			PERSIST missing
			PERSIST
			TTL k
			PTTL k
			EXPIRETIME k
			PEXPIRETIME k
			TTL missing
			PTTL missing
			EXPIRETIME missing
			PEXPIRETIME missing
			PEXPIREAT k 9999999999499
			EXPIRETIME k
			PEXPIREAT k 9999999999500
			EXPIRETIME k
			PEXPIREAT k 9223372036854775807
			EXPIRETIME k
			PEXPIRETIME k
			PEXPIREAT k 9223372036854775807 GT
			PEXPIREAT k 9223372036854775807 LT
			EXPIREAT k 9223372036854775
			PEXPIRETIME k
			TTL k
		`)
		o.sameState()
	})
}

func quoted(word string) string { return `"` + word + `"` }

func TestTimeToLiveIsRounded(t *testing.T) {
	m := newModel()
	m.now = func() int64 { return 1000 }
	for at, want := range map[string]string{
		"1001": ":0\r\n", "1499": ":0\r\n", "1500": ":1\r\n", "2499": ":1\r\n", "2500": ":2\r\n",
	} {
		m.do(split("SET k v PXAT "+at), 2)
		if got, _ := m.do(split("TTL k"), 2); string(got) != want {
			t.Errorf("TTL at 1000 of a deadline at %s is %q, want %q", at, got, want)
		}
	}
	m.do(split("SET k v PXAT 1000"), 2)
	if got, _ := m.do(split("TTL k"), 2); string(got) != ":-2\r\n" {
		t.Errorf("a deadline at this moment leaves the key: TTL is %q", got)
	}
}

func TestRenameMovesWhatIsNotKnown(t *testing.T) {
	m := newModel()
	from, to := m.object([]byte("from")), m.object([]byte("to"))
	*from = NewOpaque("ReJSON-RL")
	from.SetExpireAt(99999999999999)
	*to = NewString([]byte("was here"))
	c := m.call(split("RENAME from to"))
	c.Run()
	if from.Exists() || to.TypeName() != "ReJSON-RL" || !to.Opaque() || to.ExpireAt() != 99999999999999 {
		t.Errorf("after RENAME of an opaque value: source %+v, destination %+v", from, to)
	}
	c.Revert()
	if !from.Opaque() || from.TypeName() != "ReJSON-RL" || string(to.str) != "was here" {
		t.Errorf("after RENAME was taken back: source %+v, destination %+v", from, to)
	}
}

// A moved string must not write into the room behind one that is taken back.
func TestRenameLeavesNoRoomShared(t *testing.T) {
	m := newModel()
	m.do(split("APPEND a 0123456789"), 2)
	m.do(split("APPEND a x"), 2)
	before := m.state()
	calls := []*Call{m.call(split("RENAME a b")), nil}
	calls[0].Run()
	calls[0].Settle()
	calls[1] = m.call(split("APPEND b yyyy"))
	calls[1].Run()
	calls[1].Settle()
	kept := string(calls[0].Changes()[1].Before().str[:12:12])
	if kept[:11] != "0123456789x" || kept[11] == 'y' {
		t.Errorf("the old value and the room behind it are %q", kept)
	}
	calls[1].Revert()
	calls[0].Revert()
	m.mustBe(t, before, split("RENAME a b"))
}

func TestNothingDoneIsNotDirty(t *testing.T) {
	for _, line := range []string{
		"DEL missing", "UNLINK missing", "EXISTS k", "TOUCH k", "RENAME k k", "COPY missing k REPLACE", "COPY k t",
		"EXPIRE missing 10", "EXPIRE k 10 XX", "EXPIRE t 10 GT", "PERSIST k", "PERSIST missing", "GETEX k", "GETEX k PERSIST",
		"GETEX missing EX 10", "SET k v NX", "SET missing v XX", "APPEND k \"\"", "SETRANGE k 1 \"\"", "SETRANGE missing 1 \"\"",
		"INCRBY k 0", "INCRBYFLOAT k 0", "GET k", "MGET k t", "LCS k t",
	} {
		m := newModel()
		m.do(split("SET k 5"), 2)
		m.do(split("SET t 5 PXAT 99999999999999"), 2)
		c := m.call(split(line))
		c.Run()
		if c.Err() != nil || c.Failed() || c.Dirty() || len(c.Changes()) != 0 {
			t.Errorf("%s: error %v, reply %q, dirty %v, %d changes", line, c.Err(), c.Reply(), c.Dirty(), len(c.Changes()))
		}
	}
}

// What owes nothing to the value before is told apart: with no primary it may be
// done without knowing that value.
func TestReplaced(t *testing.T) {
	for line, want := range map[string]bool{
		"SET k v": true, "SET k v EX 10": true, "SET k v PXAT 1": true, "SETEX k 10 v": true, "MSET k v": true, "DEL k": true,
		"SET k v GET": true, "COPY t k REPLACE": true, "RENAME t k": true, "PEXPIREAT k 1": true,
		"SET k v XX": false, "SET k v KEEPTTL": false, "APPEND k v": false, "INCR k": false, "SETRANGE k 0 v": false,
		"EXPIRE k 10": false, "PEXPIREAT k 1 NX": false, "PERSIST t": false, "GETEX k PXAT 1": false,
	} {
		m := newModel()
		m.do(split("SET k 5"), 2)
		m.do(split("SET t 5 PXAT 99999999999999"), 2)
		c := m.call(split(line))
		c.Run()
		if len(c.Changes()) == 0 || !c.Dirty() {
			t.Fatalf("%s changed nothing: %q", line, c.Reply())
		}
		if got := c.Changes()[0].Replaced(); got != want {
			t.Errorf("%s: Replaced is %v, want %v", line, got, want)
		}
	}
}

func TestCopyOfContainers(t *testing.T) {
	for name, test := range map[string]struct {
		data container
		err  error
	}{
		"that copies itself":       {copyingContainer{}, nil},
		"that cannot be rebuilt":   {strangeContainer{}, ErrNotServed},
		"that is rebuilt to none":  {strangeContainer{command: "GET"}, ErrNotServed},
		"that is not wholly known": {strangeContainer{partial: true}, ErrTooBig},
	} {
		m := newModel()
		from, to := m.object([]byte("k")), m.object([]byte("k2"))
		*from = newObject(TypeHash, test.data)
		from.SetExpireAt(99999999999999)
		c := m.call(split("COPY k k2"))
		c.Run()
		switch {
		case !errors.Is(c.Err(), test.err):
			t.Errorf("a container %s: error %v, reply %q, want %v", name, c.Err(), c.Reply(), test.err)
		case test.err != nil && to.Exists():
			t.Errorf("a container %s: the refused call left %+v", name, to)
		case test.err == nil && (to.data != test.data || to.expireAt != from.expireAt || to.typ != TypeHash):
			t.Errorf("a container %s: the copy is %+v", name, to)
		}
		c.Revert()
		c = m.call(split("RENAME k k2"))
		if c.Run(); c.Err() != nil || from.Exists() || to.data != test.data {
			t.Errorf("a container %s: RENAME gives error %v and leaves %+v and %+v", name, c.Err(), from, to)
		}
	}
}

// strangeContainer restores itself by a command that makes nothing.
type strangeContainer struct {
	command string
	partial bool
}

func (strangeContainer) size() int64   { return 0 }
func (s strangeContainer) whole() bool { return !s.partial }
func (s strangeContainer) restore(dst []byte, key string) []byte {
	if s.command != "" {
		return appendStrings(dst, s.command, key)
	}
	return appendStrings(dst, "NOSUCHCOMMAND", key)
}

type copyingContainer struct{ strangeContainer }

func (s copyingContainer) copyOf() container { return s }
