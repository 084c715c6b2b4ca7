package engine

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/workload"
)

var radixFigures = regexp.MustCompile(`radix-tree-(keys|nodes)\r\n:\d+`)

// runStrict is run that also compares what Compare lets pass in XINFO STREAM: the
// streams here have grown in both places.
func (o *oracle) runStrict(args [][]byte) {
	o.t.Helper()
	o.count++
	o.trace = append(o.trace, fmt.Sprintf("%.300q", args))
	if len(o.trace) > 60 {
		o.trace = o.trace[1:]
	}
	got, ok := o.model.do(args, o.proto)
	if !ok {
		o.fatalf("the engine does not answer %q", args)
	}
	want := o.server(args)
	if err := workload.Compare(args, want, got); err != nil {
		at := 0
		for at < min(len(want), len(got)) && want[at] == got[at] {
			at++
		}
		from := max(0, at-100)
		o.fatalf("command %d %.200q over RESP%d: at %d: want %q, got %q", o.count, args, o.proto, at,
			want[from:min(at+60, len(want))], got[from:min(at+60, len(got))])
	}
	if w, g := radixFigures.FindAll(want, -1), radixFigures.FindAll(got, -1); !bytes.Equal(bytes.Join(w, nil), bytes.Join(g, nil)) {
		o.fatalf("command %d %q: want %q, got %q", o.count, args, w, g)
	}
}

func streamGenerator(seed uint64, server int) *workload.Generator {
	var families []workload.Family
	for _, f := range workload.All() {
		if f.Name == "streams" {
			families = append(families, f)
		}
	}
	return workload.New(seed, workload.Options{Families: families, Server: server})
}

func TestStreamsAsTheServer(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			t.Parallel()
			seed, n := streamSeed(t, 4000)
			o := startOracle(t, proto)
			g := streamGenerator(seed, o.model.server.level())
			for range n {
				o.runStrict(g.Next())
			}
			o.sameState()
			o.sameGroups()
		})
	}
}

// streamSeed is a new seed, or that of the environment, and the number of commands.
func streamSeed(t *testing.T, n int) (uint64, int) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HOLDFAST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("HOLDFAST_SEED=%d", seed)
	if m, err := strconv.Atoi(os.Getenv("HOLDFAST_COMMANDS")); err == nil {
		n = m
	}
	return seed, n
}

// sameGroups compares what XINFO and XPENDING tell of every stream with a copy
// made of what the engine would restore: ids, counters, groups, pending entries.
func (o *oracle) sameGroups() {
	o.t.Helper()
	for name, obj := range o.model.objects {
		if obj.Type() != TypeStream {
			continue
		}
		info := [][]byte{[]byte("XINFO"), []byte("STREAM"), []byte(name), []byte("FULL"), []byte("COUNT"), []byte("0")}
		want := o.server(info)
		restore, ok := obj.AppendRestore(nil, name)
		if !ok {
			o.fatalf("%q cannot be restored", name)
		}
		o.server(split("SELECT 1"))
		o.replay(restore)
		got := o.server(info)
		o.server(split("SELECT 0"))
		if err := workload.Compare(info, unseen(want), unseen(got)); err != nil {
			o.fatalf("%q restored by %.3000q: %v", name, restore, err)
		}
	}
}

// unseen takes out when consumers were seen or active: it cannot be rebuilt.
func unseen(info []byte) []byte {
	return regexp.MustCompile(`(seen|active)-time\r\n:-?\d+`).ReplaceAll(info, []byte("$1-time\r\n:0"))
}
