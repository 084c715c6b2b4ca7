package engine

import (
	"errors"
	"strconv"
	"testing"
)

// eachProtocol runs f against a server over either protocol.
func eachProtocol(t *testing.T, f func(o *oracle)) {
	t.Helper()
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			t.Parallel()
			f(startOracle(t, proto))
		})
	}
}

// opaque gives a key a list on the server, of which the model knows the type.
func (o *oracle) opaque(key string) {
	o.t.Helper()
	o.server(split("DEL " + key))
	o.server(split("RPUSH " + key + " x"))
	l := NewOpaque("list")
	*o.model.object([]byte(key)) = l
}

func TestSet(t *testing.T) {
	eachProtocol(t, func(o *oracle) {
		o.opaque("list")
		o.lines(`
			SET
			SET k
			SET k v
			GET k
			GET missing
			GET
			GET k k
			SET k v NX
			SET k2 v nx
			SET missing v XX
			GET missing
			SET k w XX GET
			SET missing w XX GET
			SET new w NX GET
			SET new x NX GET
			SET k v NX XX
			SET k v XX NX
			SET k v GET GET
			SET k v EX
			SET k v EX 0
			SET k v EX -1
			SET k v EX abc
			SET k v EX 9223372036854775807
			SET k v EX 9223372036854775
			SET k v PX 9223372036854775807
			SET k v PXAT 9223372036854775807
			PEXPIRETIME k
			EXPIRETIME k
			SET k v EXAT 9223372036854775
			PEXPIRETIME k
			SET k v EXAT 9223372036854776
			SET k v EX 100 PX 100
			SET k v EX 100 EX 200
			TTL k
			SET k v KEEPTTL
			TTL k
			SET k v KEEPTTL EX 10
			SET k v EX 10 KEEPTTL
			SET k v keepttl KEEPTTL
			SET k v PERSIST
			SET k v "EX\x00junk" 300
			TTL k
			SET k v "EX " 300
			SET k v IFEQ2 v
			SET k v
			TTL k
			SET k v PXAT 1
			EXISTS k
			SET k v KEEPTTL
			TTL k
			SET list v GET
			SET list v NX GET
			SET list v XX GET
			TYPE list
			SET list v EX abc GET
			SET list v KEEPTTL
			GET list
			SET k "" GET
			GET k
			SETEX k 100 v
			TTL k
			SETEX k 0 v
			SETEX k -1 v
			SETEX k abc v
			SETEX k 9223372036854775807 v
			SETEX k 100
			SETEX k 100 v w
			PSETEX k 100000 v
			TTL k
			PSETEX k 0 v
			PSETEX k 9223372036854775807 v
			PSETEX k " 1" v
			MSET a 1 b 2 a 3
			MGET a b missing
			MSET a 1 b
			MSET a
			MSET
			SET a v PXAT 99999999999999
			MSET a 1
			TTL a
		`)
		o.opaque("list")
		o.lines(`
			MGET list a list
			MGET
			GET list
			STRLEN list
			GETEX list
			MSET list 1
			GET list
		`)
		o.sameStateBut("k")
	})
}

// sameStateBut is sameState without keys whose deadlines count from now.
func (o *oracle) sameStateBut(keys ...string) {
	o.t.Helper()
	for _, key := range keys {
		o.lines("DEL " + key)
	}
	o.sameState()
}

func TestGetEx(t *testing.T) {
	eachProtocol(t, func(o *oracle) {
		o.opaque("list")
		o.lines(`
			GETEX k
			GETEX k EX abc
			GETEX k EX
			GETEX k NX
			SET k v
			GETEX k
			TTL k
			GETEX k EX 100
			TTL k
			GETEX k PERSIST
			TTL k
			GETEX k PERSIST
			GETEX k PERSIST PERSIST
			GETEX k PX 100000
			TTL k
			GETEX k PERSIST EX 100
			GETEX k EX 100 PERSIST
			GETEX k KEEPTTL
			GETEX k GET
			GETEX k EX 0
			GETEX k EX abc
			GETEX k PXAT -1
			GETEX k EXAT 9223372036854775807
			GETEX k PXAT 9223372036854775807
			PEXPIRETIME k
			GETEX k EX 100 EX 0
			GETEX k EXAT 1
			GETEX k
			GETEX list EX 10
			GETEX list EX abc
			GETEX list XX
			GETEX
			SET k v
			GETEX k PXAT 1
			EXISTS k
		`)
		o.sameState()
	})
}

func TestStringsKnownByTypeOnly(t *testing.T) {
	for line, want := range map[string]error{
		"GET k":           ErrTooBig,
		"MGET k":          ErrTooBig,
		"GETEX k PERSIST": ErrTooBig,
		"STRLEN k":        ErrTooBig,
		"GETRANGE k 0 1":  ErrTooBig,
		"LCS k k2":        ErrTooBig,
		"APPEND k v":      ErrTooBig,
		"SETRANGE k 0 v":  ErrTooBig,
		"INCR k":          ErrTooBig,
		"INCRBYFLOAT k 1": ErrTooBig,
		"SET k v GET":     ErrTooBig,
		"COPY k k2":       ErrTooBig,
		"COPY k k2 DB 1":  ErrNotServed,
		"SET k v XX":      nil,
		"SET k v KEEPTTL": nil,
		"SET k v NX":      nil,
		"SET k v EX 10":   nil,
		"MSET k v":        nil,
		"DEL k":           nil,
		"RENAME k k2":     nil,
		"EXPIRE k 10":     nil,
		"COPY k2 k":       nil,
	} {
		m := newModel()
		*m.object([]byte("k")) = NewOpaque("string")
		c := m.call(split(line))
		c.Run()
		if !errors.Is(c.Err(), want) || (want == nil && (c.Failed() || len(c.Reply()) == 0)) {
			t.Errorf("%s: error %v, reply %q, want error %v", line, c.Err(), c.Reply(), want)
		}
	}
}

func TestComparisonsAreLeftToNewerServers(t *testing.T) {
	const syntax = "-ERR syntax error\r\n"
	for _, test := range []struct {
		server Server
		reply  string
	}{
		{Server{}, syntax},
		{Server{Version: 80000}, syntax},
		{Server{Version: 80400}, ""},
		{Server{Version: 80000, Valkey: true}, syntax},
		{Server{Version: 80100, Valkey: true}, ""},
	} {
		m := newModel()
		m.server = test.server
		c := m.call(split("SET k v IFEQ w"))
		c.Run()
		if test.reply == "" {
			if !errors.Is(c.Err(), ErrNotServed) {
				t.Errorf("%+v: error %v, reply %q, want ErrNotServed", test.server, c.Err(), c.Reply())
			}
		} else if c.Err() != nil || string(c.Reply()) != test.reply {
			t.Errorf("%+v: error %v, reply %q, want %q", test.server, c.Err(), c.Reply(), test.reply)
		}
	}
}

func TestMSetEx(t *testing.T) {
	const now = 1_700_000_000_000
	run := func(line string, keys ...*Object) *Call {
		args := split(line)
		s := Setup{Command: Lookup(args), Args: args, Keys: keys, Now: now}
		for i := range keys {
			s.KeyArgs = append(s.KeyArgs, 2+2*i)
		}
		c := new(Call)
		c.Begin(s)
		c.Run()
		c.Settle()
		return c
	}
	a, b := new(Object), new(Object)
	for _, test := range []struct {
		line     string
		needs    Need
		reply    string
		expireAt int64
	}{
		{"MSETEX 2 a 1 b 2", NeedNothing, ":1\r\n", 0},
		{"MSETEX 2 a 1 b 2 EX 10", NeedNothing, ":1\r\n", now + 10_000},
		{"MSETEX 2 a 1 b 2 keepttl", NeedMeta, ":1\r\n", now + 10_000},
		{"MSETEX 2 a 1 b 2 PXAT 1800000000000", NeedNothing, ":1\r\n", 1_800_000_000_000},
	} {
		c := run(test.line, a, b)
		if got := c.cmd.Needs(c.args); got != test.needs {
			t.Errorf("%s: needs %d, want %d", test.line, got, test.needs)
		}
		if string(c.Reply()) != test.reply || string(a.str) != "1" || string(b.str) != "2" ||
			a.expireAt != test.expireAt || b.expireAt != test.expireAt {
			t.Errorf("%s: reply %q, values %q %q, deadlines %d %d", test.line, c.Reply(), a.str, b.str, a.expireAt, b.expireAt)
		}
	}
	for _, line := range []string{"MSETEX 2 a 1 b 2 NX", "MSETEX 3 a 1 b 2", "MSETEX x a 1 b 2", "MSETEX 0 a 1"} {
		if c := run(line, a, b); !errors.Is(c.Err(), ErrNotServed) {
			t.Errorf("%s: error %v, reply %q, want ErrNotServed", line, c.Err(), c.Reply())
		}
	}
	if run("MSETEX 2 a 1 b 2 PXAT 1", a, b); a.Exists() || b.Exists() {
		t.Error("a deadline that has passed leaves a value")
	}
}

func TestNeedsOfSet(t *testing.T) {
	for line, want := range map[string]Need{
		"SET k v":               NeedNothing,
		"SET k v EX 10":         NeedNothing,
		"SET k v XX":            NeedMeta,
		"SET k v EX 10 nx":      NeedMeta,
		"SET k v KEEPTTL":       NeedMeta,
		"SET k v XX GET":        NeedValue,
		"SET k v \"GET\\x00x\"": NeedValue,
		"SET k get":             NeedNothing,
	} {
		args := split(line)
		if got := Lookup(args).Needs(args); got != want {
			t.Errorf("%s needs %d, want %d", line, got, want)
		}
	}
}
