package replay

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// witness is a Source that is told of divergences.
type witness struct {
	*memSource
	seqs []uint64
}

func (w *witness) Diverged(seq uint64) { w.seqs = append(w.seqs, seq) }

// TestDivergence: exactly what was answered otherwise than promised is told of, and is
// applied all the same.
func TestDivergence(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	w := &witness{memSource: r.src}
	r.opt.Source = w
	var told []Divergence
	r.opt.Hooks.Diverged = func(d Divergence) { told = append(told, d) }
	r.do(0, "SET", "n", "5") // somebody else, who was not there when the promises were made
	r.do(0, "RPUSH", "list", "x")
	r.do(0, "SET", "text", "x")
	unit := func(reply uint64, lines ...string) uint64 {
		r.src.mu.Lock()
		defer r.src.mu.Unlock()
		r.src.last++
		for i, line := range lines {
			r.src.entries = append(r.src.entries, Entry{Seq: r.src.last, Cmd: []byte(line), Reply: reply, Uncounted: i > 0})
		}
		return r.src.last
	}
	incr := string(command("INCR", "m"))
	get := string(command("GETSET", "s", "1"))
	fail := string(command("INCR", "text"))
	var want []Divergence
	for _, e := range []struct {
		seq     uint64
		command string
	}{
		{r.src.free("incr n", ":1\r\n"), "INCR"}, // merged: the last of the two is told of
		{r.src.free("INCRBY n 2", ":3\r\n"), "INCRBY"},
		{r.src.free("SET k v", "+OK\r\n"), ""},
		{r.src.free("RPUSH list a", ":2\r\n"), ""},
		{r.src.free("LPUSH list b", ":2\r\n"), "LPUSH"},
		{r.src.free("SADD set a", ""), ""},      // nothing was promised
		{r.src.free("INCR text", ":1\r\n"), ""}, // a dead letter, and no more
		{unit(promise(":1\r\n", "$-1\r\n", ":2\r\n"), incr, get, incr), ""},
		{unit(promise(":3\r\n", "$1\r\n2\r\n", ":4\r\n"), incr, get, incr), "MULTI"},
		{unit(promise(":5\r\n", ":1\r\n"), incr, fail), ""},
		{r.src.free("GETSET s 2", "$1\r\n1\r\n"), ""},
		{r.src.free("GETSET s 3", "$1\r\n1\r\n"), "GETSET"},
		{r.src.free("HSET hash a 1", ":1\r\n"), ""},
		{r.src.free("HSET hash b 1", ":7\r\n"), ""}, // merged into a reply of which nobody was told
	} {
		if e.command != "" {
			want = append(want, Divergence{Seq: e.seq, Command: e.command})
		}
	}
	want = slices.Delete(want, 0, 1) // the first of the two that became one
	st := r.drain(0).Stats()
	if !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
	var seqs []uint64
	for _, d := range want {
		seqs = append(seqs, d.Seq)
	}
	if !slices.Equal(w.seqs, seqs) || st.Diverged != uint64(len(want)) || st.DeadLettered != 2 {
		t.Errorf("seqs %v, stats %+v", w.seqs, st)
	}
	r.want(0, "n", "8")
	r.want(0, "s", "3")
}

// TestDivergenceInManyBatches: what was queued ahead is held against its own promises.
func TestDivergenceInManyBatches(t *testing.T) {
	t.Parallel()
	for _, apart := range []bool{false, true} {
		r := newRig(t, 0)
		r.opt.BatchEntries, r.opt.NoCoalescing = 7, apart
		for i := range 500 {
			r.src.free("INCR n", fmt.Sprintf(":%d\r\n", i+1))
			r.src.free("APPEND log x", fmt.Sprintf(":%d\r\n", i+1))
		}
		if st := r.drain(0).Stats(); st.Diverged != 0 || st.Replayed != 1000 {
			t.Errorf("stats %+v", st)
		}
		r.want(0, "n", "500")
	}
}

// TestDivergenceWithoutTransactions: what is sent one by one is compared as well, and not
// merged.
func TestDivergenceWithoutTransactions(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.Plain = true
	r.do(0, "RPUSH", "list", "x")
	var told []Divergence
	r.opt.Hooks.Diverged = func(d Divergence) { told = append(told, d) }
	for i := range 50 {
		r.src.free("INCR n", fmt.Sprintf(":%d\r\n", i+1))
	}
	want := []Divergence{{r.src.free("RPUSH list a", ":1\r\n"), "RPUSH"}}
	st := r.drain(0).Stats()
	if !slices.Equal(told, want) || st.Diverged != 1 || st.Merged != 0 || st.Replayed != 51 {
		t.Errorf("told of %v, stats %+v", told, st)
	}
	r.want(0, "n", "50")
}

// TestAnswersInPieces: what is made of EXEC's answers does not depend on how many of them
// were here at a time, nor on which of the ways of reading took them.
func TestAnswersInPieces(t *testing.T) {
	t.Parallel()
	answers := []string{
		"+OK\r\n", ":1\r\n", ":12345\r\n", "$3\r\nabc\r\n", "$0\r\n\r\n", "$-1\r\n", "*2\r\n:1\r\n$1\r\nx\r\n", "-WRONGTYPE x\r\n",
	}
	rapid.Check(t, func(r *rapid.T) {
		var parts []part
		var text strings.Builder
		var failed, diverged []int
		for len(parts) < 40 {
			unit := rapid.SliceOfN(rapid.SampledFrom(answers), 1, 3).Draw(r, "unit")
			kind := rapid.SampledFrom([]string{"promised", "otherwise", "nothing"}).Draw(r, "kind")
			reply, faulty := promise(unit...), false
			switch kind {
			case "otherwise":
				reply++
			case "nothing":
				reply = 0
			}
			for i, answer := range unit {
				if answer[0] == '-' {
					faulty, failed = true, append(failed, len(parts))
				}
				text.WriteString(answer)
				parts = append(parts, part{reply: reply, more: reply != 0 && i+1 < len(unit)})
			}
			if kind == "otherwise" && !faulty {
				diverged = append(diverged, len(parts)-1)
			}
		}
		n := len(parts)
		all := fmt.Sprintf("*%d\r\n%s+OK\r\n", n+1, text.String())
		for name, in := range map[string]io.Reader{
			"at once":       strings.NewReader(all),
			"byte by byte":  iotest.OneByteReader(strings.NewReader(all)),
			"half by half":  iotest.HalfReader(strings.NewReader(all)),
			"with an error": iotest.DataErrReader(strings.NewReader(all)),
		} {
			var o outcome
			o.parts = parts
			if err := newReplies(in).exec(n, &o); err != nil && !errors.Is(err, io.EOF) {
				r.Fatalf("%s: %v", name, err)
			}
			var at []int
			for _, f := range o.failed {
				at = append(at, f.index)
			}
			if !slices.Equal(at, failed) || !slices.Equal(o.diverged, diverged) {
				r.Fatalf("%s: failed %v, want %v; diverged %v, want %v", name, at, failed, o.diverged, diverged)
			}
		}
	})
}
