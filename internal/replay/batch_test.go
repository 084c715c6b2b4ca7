package replay

import (
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

func command(args ...string) []byte { return resp.AppendCommandStrings(nil, args...) }

func TestEncode(t *testing.T) {
	t.Parallel()
	b := batch{last: 12, entries: []Entry{{Seq: 11, Cmd: command("INCR", "a")}, {Seq: 12, Cmd: command("DEL", "b")}}}
	var want []byte
	for _, cmd := range [][]string{
		{"MULTI"}, {"INCR", "a"}, {"DEL", "b"}, {"SET", "f", "12"}, {"EXEC"}, {"WATCH", "f"}, {"GET", "f"},
	} {
		want = append(want, command(cmd...)...)
	}
	for range 2 { // the buffer is used again
		if got := b.encode("f", "f"); string(got) != string(want) {
			t.Fatalf("encoded %q, want %q", got, want)
		}
	}
}

func TestEncodeLetsAHugeBufferGo(t *testing.T) {
	t.Parallel()
	b := batch{entries: []Entry{{Cmd: command("SET", "a", strings.Repeat("x", 2*keepBuffer))}}}
	b.encode("f", "f")
	b.entries = nil
	b.encode("f", "f")
	if cap(b.buf) > keepBuffer {
		t.Errorf("a buffer of %d bytes is kept", cap(b.buf))
	}
}

func TestVet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cmd  string
		want bool
	}{
		{string(command("INCR", "a")), true},
		{string(command("SET", "a", "MULTI")), true},
		{string(command("A_VERY_LONG_NAME_OF_A_MODULE", "a")), true},
		{string(command("MULTI")), false},
		{string(command("exec")), false},
		{string(command("ReSeT")), false},
		{string(command("SELECT", "1")), false},
		{string(command("SUBSCRIBE", "a")), false},
		{string(command("CLIENT", "REPLY", "OFF")), false},
		{string(command("INCR", "a")) + string(command("INCR", "a")), false},
		{string(command("INCR", "a")) + "x", false},
		{string(command("INCR", "a"))[:12], false},
		{"INCR a\r\n", false},
		{"*0\r\n", false},
		{"", false},
	} {
		if got := vet([]byte(c.cmd)); got != c.want {
			t.Errorf("vet(%q) = %v, want %v", c.cmd, got, c.want)
		}
	}
}

func TestDrop(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		faults []fault
		want   string
	}{
		{nil, "abcd"},
		{[]fault{{index: 0}}, "bcd"},
		{[]fault{{index: 1}, {index: 3}}, "ac"},
		{[]fault{{index: 0}, {index: 1}, {index: 2}, {index: 3}}, ""},
	} {
		b := batch{}
		for _, s := range "abcd" {
			b.entries = append(b.entries, Entry{Cmd: []byte(string(s))})
		}
		b.drop(c.faults)
		var got strings.Builder
		for _, e := range b.entries {
			got.Write(e.Cmd)
		}
		if got.String() != c.want {
			t.Errorf("without %v: %q, want %q", c.faults, got.String(), c.want)
		}
	}
}

func TestOptionsValidateReportsAll(t *testing.T) {
	t.Parallel()
	_, err := New(Options{DB: -1, BatchBytes: -1, ReplicaAcks: -2, FenceTTL: 1})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"ClientID", "Source", "DB is -1", "BatchBytes", "ReplicaAcks", "FenceTTL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
}
