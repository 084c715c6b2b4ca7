package engine

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/holdfast-cache/holdfast/internal/workload"
)

// Commands of a run in both protocols together: in every run of the tests, and in
// a soak.
const (
	gateCommands = 200_000
	soakCommands = 5_000_000
)

// A data set grows with the commands that run on it, and with it the cost of each
// SORT or LCS. It is compared as a whole and begun anew after so many.
const gateRound = 20_000

// The engine is the server's equal over all families at once, on keys that they
// share. What may differ, workload's list of differences says, each with its
// reason; none is of a value or a state.
func TestEveryFamilyAsTheServer(t *testing.T) {
	n := gateCommands
	if os.Getenv("HOLDFAST_SOAK") != "" {
		n = soakCommands
	}
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			if s := os.Getenv("HOLDFAST_SEED"); s != "" {
				seed, _ = strconv.ParseUint(s, 10, 64)
			}
			o := startOracle(t, proto)
			for done := 0; done < n/2; done += gateRound {
				o.t.Logf("HOLDFAST_SEED=%d", seed)
				g := workload.New(seed, workload.Options{Server: o.model.server.level()})
				for range gateRound / 100 {
					o.batch(g, 100)
				}
				o.sameState()
				o.server(split("FLUSHALL"))
				o.model.objects = make(map[string]*Object)
				seed++
			}
			t.Logf("%d commands, %d with an error, %d refused by the engine", o.count, o.errors, o.refused)
			if o.refused > o.count/200 {
				t.Errorf("the engine refuses %d of %d commands", o.refused, o.count)
			}
		})
	}
}

// batch runs n commands in both places, on the server in one round trip. What the
// engine doesn't answer, neither does the server.
func (o *oracle) batch(g *workload.Generator, n int) {
	o.t.Helper()
	var request []byte
	var args [][][]byte
	var replies [][]byte
	for len(args) < n {
		next := g.Next()
		o.note(next)
		reply, ok := o.model.do(next, o.proto)
		if !ok {
			o.refused++
			continue
		}
		if reply[0] == '-' {
			o.errors++
		}
		args, replies = append(args, next), append(replies, reply)
		request = resp.AppendCommand(request, next...)
	}
	if _, err := o.conn.Write(request); err != nil {
		o.t.Fatal(err)
	}
	for i := range args {
		want, err := o.rd.next()
		if err != nil {
			o.t.Fatal(err)
		}
		if err := workload.Compare(args[i], want, replies[i]); err != nil {
			o.fatalf("%q over RESP%d: %v", args[i], o.proto, err)
		}
	}
}
