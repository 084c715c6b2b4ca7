package backlog

import (
	"bytes"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// noon is the server's time in these tests.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// ms is a time before or after noon.
func ms(d time.Duration) int64 { return noon.Add(d).UnixMilli() }

// cmd encodes a command.
func cmd(words ...string) []byte { return resp.AppendCommandStrings(nil, words...) }

// record is the record of an entry.
func record(e entry.Entry) journal.Record {
	return journal.Record{At: noon.Add(-time.Hour), Meta: e.AppendMeta(nil), Body: e.Body()}
}

func TestFormOf(t *testing.T) {
	const tick = time.Millisecond
	var (
		set    = cmd("SET", "k", "v")
		incr   = cmd("INCR", "n")
		copied = cmd("SUNIONSTORE", "all", "a", "b")
		state  = append(cmd("DEL", "all"), cmd("SADD", "all", "x")...)
		echo   = cmd("ECHO", "")
		broken = set[:len(set)-1]
	)
	// deadline is the end of a key by what FormOf sends.
	deadline := func(key string, at int64) []byte { return cmd("PEXPIREAT", key, strconv.FormatInt(at, 10)) }
	tests := []struct {
		name     string
		entry    entry.Entry
		kind     Kind
		commands [][]byte
		standIn  []byte
		once     bool // it must not be sent twice
	}{
		{name: "plain", entry: entry.Entry{Write: set, Repeatable: true}, kind: KindWrite, commands: [][]byte{set}},
		{name: "not repeatable", entry: entry.Entry{Write: incr}, kind: KindWrite, commands: [][]byte{incr}, once: true},
		{name: "unit", entry: entry.Entry{Write: slices.Concat(set, incr)}, kind: KindWrite, commands: [][]byte{set, incr}, once: true},
		{name: "command of a later version", entry: entry.Entry{Write: cmd("FROB", "k")}, kind: KindWrite, commands: [][]byte{cmd("FROB", "k")}, once: true},

		{name: "rests on a deadline to come", entry: entry.Entry{Write: copied, Restore: state, Until: ms(entry.Margin + tick)}, kind: KindWrite, commands: [][]byte{copied}, once: true},
		{name: "rests on a deadline that has come", entry: entry.Entry{Write: copied, Restore: state, Until: ms(entry.Margin)}, kind: KindRestore, commands: [][]byte{cmd("DEL", "all"), cmd("SADD", "all", "x")}},
		{name: "until without a state", entry: entry.Entry{Write: copied, Until: ms(-time.Hour)}, kind: KindWrite, commands: [][]byte{copied}, once: true},

		{name: "not lapsed yet", entry: entry.Entry{Write: incr, Lapses: ms(entry.Margin + tick)}, kind: KindWrite, commands: [][]byte{incr}, once: true},
		{name: "lapsed by a former deadline", entry: entry.Entry{Write: incr, Lapses: ms(entry.Margin)}, kind: KindExpired, standIn: cmd("EXISTS", "n")},
		{name: "lapsed by its own deadline", entry: entry.Entry{Write: set, Sets: true, Lapses: ms(entry.Margin)}, kind: KindExpired, commands: [][]byte{deadline("k", ms(entry.Margin))}},
		{name: "lapsed, key not first", entry: entry.Entry{Write: cmd("XGROUP", "CREATE", "s", "g", "$"), Sets: true, Lapses: ms(-time.Hour)}, kind: KindExpired, commands: [][]byte{deadline("s", ms(-time.Hour))}},
		{name: "lapsed unit, key of the second", entry: entry.Entry{Write: slices.Concat(cmd("PING"), set), Sets: true, Lapses: ms(0)}, kind: KindExpired, commands: [][]byte{deadline("k", ms(0))}},
		{name: "lapsed unit, key of the first", entry: entry.Entry{Write: slices.Concat(incr, set), Sets: true, Lapses: ms(0)}, kind: KindExpired, commands: [][]byte{deadline("n", ms(0))}},
		{name: "lapsed, empty key", entry: entry.Entry{Write: cmd("SET", "", "v"), Sets: true, Lapses: ms(0)}, kind: KindExpired, commands: [][]byte{deadline("", ms(0))}},
		{name: "lapsed, key unknown, nothing to do", entry: entry.Entry{Write: cmd("FROB", "k"), Lapses: ms(0)}, kind: KindExpired, standIn: echo},
		{name: "lapsed, key unknown, and must go", entry: entry.Entry{Write: cmd("FROB", "k"), Sets: true, Lapses: ms(0)}, kind: KindUnreadable, standIn: echo},
		{name: "lapsed before the state is due", entry: entry.Entry{Write: incr, Restore: cmd("SET", "n", "7"), Until: ms(0), Lapses: ms(0)}, kind: KindExpired, standIn: cmd("EXISTS", "n")},

		{name: "useful still", entry: entry.Entry{Write: incr, Useful: ms(tick)}, kind: KindWrite, commands: [][]byte{incr}, once: true},
		{name: "of no more use", entry: entry.Entry{Write: set, Useful: ms(0)}, kind: KindUseless, standIn: echo},
		{name: "of no more use, and lapsed", entry: entry.Entry{Write: set, Sets: true, Useful: ms(0), Lapses: ms(0)}, kind: KindUseless, standIn: echo},
		{name: "of no more use, with a state", entry: entry.Entry{Write: incr, Restore: set, Until: ms(0), Useful: ms(0)}, kind: KindUseless, standIn: echo},

		{name: "half a command", entry: entry.Entry{Write: broken}, kind: KindUnreadable, standIn: echo},
		{name: "half a command behind another", entry: entry.Entry{Write: slices.Concat(incr, broken)}, kind: KindUnreadable, standIn: echo},
		{name: "no command", entry: entry.Entry{Write: []byte("*0\r\n")}, kind: KindUnreadable, standIn: echo},
		{name: "half a command that its state completes", entry: entry.Entry{Write: broken, Restore: set[len(set)-1:], Until: ms(time.Hour)}, kind: KindUnreadable, standIn: echo},
		{name: "half a state", entry: entry.Entry{Write: incr, Restore: broken, Until: ms(0)}, kind: KindUnreadable, standIn: echo},
		{name: "half a state that is not due", entry: entry.Entry{Write: incr, Restore: broken, Until: ms(time.Hour)}, kind: KindWrite, commands: [][]byte{incr}, once: true},
		{name: "half a command, lapsed", entry: entry.Entry{Write: slices.Concat(set, broken), Sets: true, Lapses: ms(0)}, kind: KindUnreadable, standIn: echo},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := Form{Kind: test.kind, Commands: test.commands, StandIn: test.standIn, Repeatable: !test.once}
			checkForm(t, FormOf(record(test.entry), noon), want)
		})
	}
}

// What is no entry, or one of a later version, is never sent, whatever its bytes are.
func TestFormOfForeignMeta(t *testing.T) {
	whole := record(entry.Entry{Write: cmd("SET", "k", "v")})
	newer := bytes.Clone(whole.Meta)
	newer[0]++
	for name, meta := range map[string][]byte{"none": nil, "short": whole.Meta[:5], "newer": newer, "half a field": append(bytes.Clone(whole.Meta), 1)} {
		t.Run(name, func(t *testing.T) {
			got := FormOf(journal.Record{Meta: meta, Body: whole.Body}, noon)
			checkForm(t, got, Form{Kind: KindUnreadable, StandIn: cmd("ECHO", ""), Repeatable: true})
		})
	}
}

func checkForm(t *testing.T, got, want Form) {
	t.Helper()
	if got.Kind != want.Kind || got.Repeatable != want.Repeatable || !bytes.Equal(got.StandIn, want.StandIn) ||
		!slices.EqualFunc(got.Commands, want.Commands, bytes.Equal) {
		t.Errorf("%v, repeatable %v\nsends %q\nor    %q\nwant %v, repeatable %v\n      %q\nor    %q",
			got.Kind, got.Repeatable, got.Commands, got.StandIn, want.Kind, want.Repeatable, want.Commands, want.StandIn)
	}
}

// Each kind has a name, and those that are set aside a reason: the two lists must not
// end before the constants do.
func TestKindNames(t *testing.T) {
	names := make(map[string]Kind)
	for k := KindWrite; k <= KindUnreadable; k++ {
		if other, taken := names[k.String()]; taken || k.String() == "unknown" {
			t.Errorf("kind %d is called %q, as %d", k, k, other)
		}
		names[k.String()] = k
		if setAside := k == KindUseless || k == KindUnreadable; (k.reason() != "") != setAside {
			t.Errorf("the reason of %v is %q", k, k.reason())
		}
	}
	for _, k := range []Kind{0, KindUnreadable + 1} {
		if k.String() != "unknown" {
			t.Errorf("%d is called %q", uint8(k), k)
		}
	}
}
