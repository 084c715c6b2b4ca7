package engine

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// streamCall runs a command on objects and leaves the call to the test.
func streamCall(m *model, c *Call, args [][]byte) {
	s := Setup{Command: Lookup(args), Args: args, Now: m.now(), Server: m.server}
	idx, err := command.Lookup(string(args[0])).AppendKeys(nil, len(args), func(i int) string { return string(args[i]) })
	if err == nil {
		s.KeyArgs = idx
		for _, i := range idx {
			s.Keys = append(s.Keys, m.object(args[i]))
		}
	}
	c.Begin(s)
	c.Run()
}

// streamPicture is all that can be seen of the objects, their sizes included.
func streamPicture(m *model) string {
	var b bytes.Buffer
	var names []string
	for name := range m.objects {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		o := m.objects[name]
		if !o.Exists() {
			continue
		}
		fmt.Fprintf(&b, "%s %s %d %v %d\n", name, o.Type(), o.ExpireAt(), o.Partial(), o.Size())
		if !o.Partial() {
			restore, _ := o.AppendRestore(nil, name)
			b.Write(restore)
		}
		if s, ok := o.data.(*stream); ok {
			fmt.Fprintf(&b, "%+v\n", s.streamMeta)
			for _, n := range s.nodes {
				fmt.Fprintf(&b, "%+v\n", *n)
			}
			for _, g := range s.groups {
				for _, co := range g.consumers {
					fmt.Fprintf(&b, "%+v\n", *co)
				}
			}
		}
	}
	return b.String()
}

// streamSize counts anew what size keeps count of.
func streamSize(s *stream) int64 {
	n := int64(streamOverhead)
	for _, node := range s.nodes {
		n += node.memory()
	}
	for _, g := range s.groups {
		n += g.memory()
	}
	return n
}

// TestStreamUndo runs random commands, takes each back at once, runs it again, and
// at times takes back several, the newest first.
func TestStreamUndo(t *testing.T) {
	seed, n := streamSeed(t, 1000)
	g, m := streamGenerator(seed, 80000), newModel()
	m.server = Server{Version: 80000}
	now := int64(1_700_000_000_000)
	m.now = func() int64 { return now }
	type done struct {
		changes []Change
		before  string
	}
	var past []done
	for i := range n {
		args := g.Next()
		now += int64(g.IntN(5))
		before := streamPicture(m)
		var c Call
		streamCall(m, &c, args)
		dirty := c.Dirty()
		c.Revert()
		if got := streamPicture(m); got != before {
			t.Fatalf("command %d %q, taken back, leaves\n%s\nof\n%s", i, args, got, before)
		}
		streamCall(m, &c, args)
		if c.Err() != nil {
			c.Revert()
			continue
		}
		if after := streamPicture(m); !dirty && after != before {
			t.Fatalf("command %d %q says it changed nothing, and leaves\n%s\nof\n%s", i, args, after, before)
		}
		c.Settle()
		past = append(past, done{slices.Clone(c.Changes()), before})
		if len(past) > 30 {
			past = past[1:]
		}
		for _, o := range m.objects {
			if s, ok := o.data.(*stream); ok && s.size() != streamSize(s) {
				t.Fatalf("after %q: size %d, counted %d", args, s.size(), streamSize(s))
			}
		}
		if g.Chance(3) {
			for k := g.IntN(len(past) + 1); k > 0; k-- {
				last := past[len(past)-1]
				past = past[:len(past)-1]
				for j := len(last.changes) - 1; j >= 0; j-- {
					last.changes[j].Revert()
				}
				if got := streamPicture(m); got != last.before {
					t.Fatalf("taken back later, a command leaves\n%s\nof\n%s", got, last.before)
				}
			}
		}
	}
}

// streamDo runs a command that must be answered, without the wire's framing.
func streamDo(t *testing.T, m *model, line string) string {
	t.Helper()
	reply, ok := m.do(split(line), 2)
	if !ok {
		t.Fatalf("%s: not answered", line)
	}
	return string(reply)
}

func streamErr(m *model, line string) error {
	var c Call
	streamCall(m, &c, split(line))
	err := c.Err()
	c.Revert()
	return err
}

func TestStreamGeneratesIDs(t *testing.T) {
	m := newModel()
	now := int64(1000)
	m.now = func() int64 { return now }
	for _, c := range []struct {
		now  int64
		want string
	}{{1000, "1000-0"}, {1000, "1000-1"}, {900, "1000-2"}, {1001, "1001-0"}} {
		now = c.now
		if got, want := streamDo(t, m, "XADD s * a 1"), fmt.Sprintf("$%d\r\n%s\r\n", len(c.want), c.want); got != want {
			t.Errorf("at %d: %q, want %q", c.now, got, want)
		}
	}
	streamDo(t, m, "XADD u 5-18446744073709551615 a 1")
	now = 3
	if got := streamDo(t, m, "XADD u * a 1"); got != "$3\r\n6-0\r\n" {
		t.Errorf("behind the last sequence: %q", got)
	}
}

// TestStreamPromises: what rests on an id that was generated here is refused, all
// else is not.
func TestStreamPromises(t *testing.T) {
	const auto = "XADD s 5-1 a 1;XADD s * a 1" // 5-1, and 1000-0 promised
	const half = "XADD s 5-1 a 1;XADD s 7-* a 1;XADD s 7-* a 1"
	for _, c := range []struct {
		setup, line string
		refused     bool
		want        string
	}{
		{auto, "XDEL s 5-1 1000-0", true, ""},
		{auto, "XDEL s 5-1 999-0", false, ":1\r\n"},
		{auto, "XACK s g 1000-0", true, ""},
		{auto, "XACK s g 5-1", false, ":0\r\n"},
		{auto, "XADD s 5-1 a 1", false, "-" + errStreamOrder + "\r\n"},
		{auto, "XADD s 6-1 a 1", true, ""},
		{auto, "XADD s 1000-0 a 1", true, ""},
		{auto, "XADD s 2000-0 a 1", true, ""}, // the server may generate a later one
		{auto, "XADD s 4-* a 1", false, "-" + errStreamOrder + "\r\n"},
		{auto, "XADD s 1000-* a 1", true, ""},
		{auto, "XADD s * a 1", false, "$6\r\n1000-1\r\n"},
		{auto, "XTRIM s MAXLEN 0", false, ":2\r\n"},
		{auto, "XTRIM s MINID 1000-0", false, ":1\r\n"},
		{auto, "XTRIM s MINID 1000-1", true, ""},
		{auto, "XTRIM s MINID ~ 1000-1", true, ""},
		{auto, "XADD s MINID 2000 * a 1", true, ""},
		{auto, "XREAD STREAMS s 1000-0", false, "*-1\r\n"},
		{auto, "XRANGE s 1000-0 + COUNT 1", false, "*1\r\n*2\r\n$6\r\n1000-0\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"},
		{auto, "XSETID s 2000-0", true, ""},
		{half, "XADD s 7-5 a 1", true, ""},
		{half, "XADD s 7-0 a 1", false, "-" + errStreamOrder + "\r\n"},
		{half, "XADD s 8-0 a 1", false, "$3\r\n8-0\r\n"},
		{half, "XADD s 6-* a 1", false, "-" + errStreamOrder + "\r\n"},
		{half, "XADD s 7-* a 1", false, "$3\r\n7-2\r\n"},
		{half, "XADD s 8-* a 1", false, "$3\r\n8-0\r\n"},
		{half, "XDEL s 7-0", true, ""},
		{half, "XTRIM s MINID 7-1", true, ""},
		{half + ";XADD s 8-0 a 1", "XTRIM s MINID 8-0", true, ""},
		{half + ";XADD s 8-0 a 1", "XDEL s 8-0", false, ":1\r\n"},
		{half + ";XADD s 8-0 a 1;XTRIM s MAXLEN 1", "XADD s 8-1 a 1", false, "$3\r\n8-1\r\n"},
	} {
		m := newModel()
		m.now = func() int64 { return 1000 }
		streamDo(t, m, "XGROUP CREATE s g 0 MKSTREAM")
		for line := range bytes.SplitSeq([]byte(c.setup), []byte(";")) {
			streamDo(t, m, string(line))
		}
		before := streamPicture(m)
		err := streamErr(m, c.line)
		if errors.Is(err, ErrPromised) != c.refused {
			t.Errorf("%s; %s: error %v", c.setup, c.line, err)
		}
		if after := streamPicture(m); after != before {
			t.Errorf("%s; %s: taken back leaves %s of %s", c.setup, c.line, after, before)
		}
		if !c.refused {
			if got := streamDo(t, m, c.line); got != c.want {
				t.Errorf("%s; %s: %q, want %q", c.setup, c.line, got, c.want)
			}
		}
	}
}

// TestPartialStream drives a stream of which only figures are known beside one that
// is known: where the first answers, it answers the same.
func TestPartialStream(t *testing.T) {
	whole, part := newModel(), newModel()
	clock := func() int64 { return 5000 }
	whole.now, part.now = clock, clock
	for i := 1; i <= 300; i++ {
		streamDo(t, whole, "XADD s "+strconv.Itoa(i)+"-1 a 1")
	}
	obj := NewPartialStream(300, StreamID{300, 1}, StreamID{}, 300)
	part.objects["s"] = &obj
	for _, c := range []struct {
		line string
		big  bool
	}{
		{"XLEN s", false},
		{"XADD s 300-1 a 1", false},
		{"XADD s 301-1 a 1", false},
		{"XADD s NOMKSTREAM 302-* b 2 c 3", false},
		{"XADD s MAXLEN 1000 303-1 a 1", false},
		{"XADD s MAXLEN = 5 304-1 a 1", true},
		{"XADD s MINID 5 304-1 a 1", true},
		{"XTRIM s MAXLEN 100", true},
		{"XTRIM s MAXLEN 303", false},
		{"XLEN s", false},
		{"XRANGE s - +", true},
		{"XRANGE s 300-1 +", true},
		{"XRANGE s (300-1 +", false},
		{"XREVRANGE s + 301", false},
		{"XREVRANGE s + - COUNT 1", true},
		{"XREAD STREAMS s 300-1", false},
		{"XREAD STREAMS s 300-0", true},
		{"XREAD STREAMS s $", false},
		{"XDEL s 301-1 999-9", false},
		{"XDEL s 300-1", true},
		{"XLEN s", false},
		{"XINFO STREAM s", true},
		{"XINFO GROUPS s", true},
		{"XPENDING s g", true},
		{"XACK s g 1-1", true},
		{"XADD s * a 1", false},
		{"XLEN s", false},
	} {
		if c.big {
			before := streamPicture(part)
			if err := streamErr(part, c.line); !errors.Is(err, ErrTooBig) {
				t.Errorf("%s: error %v", c.line, err)
			}
			if after := streamPicture(part); after != before {
				t.Errorf("%s: taken back leaves %s of %s", c.line, after, before)
			}
			continue
		}
		if got, want := streamDo(t, part, c.line), streamDo(t, whole, c.line); got != want {
			t.Errorf("%s: %q, want %q", c.line, got, want)
		}
	}
	if got := streamDo(t, part, "XADD s MAXLEN ~ 5 * a 1"); got[0] != '$' {
		t.Errorf("adding with a trim that may do nothing: %q", got)
	}
	if _, ok := part.objects["s"].AppendRestore(nil, "s"); ok {
		t.Error("a partial stream can be restored")
	}
}

func TestNewStream(t *testing.T) {
	entry := func(ms uint64) StreamEntry {
		return StreamEntry{ID: StreamID{ms, 0}, Fields: [][]byte{[]byte("a"), []byte("1")}}
	}
	obj := NewStream(StreamState{
		Entries: []StreamEntry{entry(1), entry(3), entry(2), entry(4), entry(9), {ID: StreamID{5, 0}}},
		LastID:  StreamID{6, 0}, MaxDeletedID: StreamID{5, 0}, EntriesAdded: 5,
		Groups: []StreamGroup{
			{Name: []byte("z"), LastID: StreamID{3, 0}, EntriesRead: -1},
			{
				Name: []byte("g"), LastID: StreamID{4, 0}, EntriesRead: 3,
				Consumers: []StreamConsumer{{Name: []byte("d"), SeenAt: 900, ActiveAt: -1}, {Name: []byte("c"), SeenAt: 900, ActiveAt: 800}},
				Pending: []StreamPending{
					{ID: StreamID{3, 0}, Consumer: []byte("c"), DeliveredAt: 700, Count: 2},
					{ID: StreamID{1, 0}, Consumer: []byte("c"), DeliveredAt: 700, Count: 1},
				},
			},
		},
	})
	m := newModel()
	m.now = func() int64 { return 1000 }
	m.server = Server{Version: 80000}
	m.objects["s"] = &obj
	for line, want := range map[string]string{
		"XLEN s":                  ":3\r\n",
		"XPENDING s g":            "*4\r\n:2\r\n$3\r\n1-0\r\n$3\r\n3-0\r\n*1\r\n*2\r\n$1\r\nc\r\n$1\r\n2\r\n",
		"XPENDING s g 3 + 9":      "*1\r\n*4\r\n$3\r\n3-0\r\n$1\r\nc\r\n:300\r\n:2\r\n",
		"XINFO CONSUMERS s g":     "*2\r\n*8\r\n$4\r\nname\r\n$1\r\nc\r\n$7\r\npending\r\n:2\r\n$4\r\nidle\r\n:100\r\n$8\r\ninactive\r\n:200\r\n*8\r\n$4\r\nname\r\n$1\r\nd\r\n$7\r\npending\r\n:0\r\n$4\r\nidle\r\n:100\r\n$8\r\ninactive\r\n:-1\r\n",
		"XADD s 6-0 a 1":          "-" + errStreamOrder + "\r\n",
		"XREVRANGE s + - COUNT 1": "*1\r\n*2\r\n$3\r\n4-0\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n",
	} {
		if got := streamDo(t, m, line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	empty := NewStream(StreamState{})
	if !empty.Exists() || empty.Type() != TypeStream {
		t.Error("an empty stream does not exist")
	}
}
