package overlay

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/engine"
)

// bases runs a unit and returns what it tells of its keys, by name.
func (r *rig) bases(lines ...string) map[string]basis.Basis {
	r.tb.Helper()
	all := make(map[string]basis.Basis)
	req := Request{}
	for _, line := range lines {
		req.Commands = append(req.Commands, commandOf(split(line)))
	}
	req.Commit = func(f *Effect) (uint64, error) {
		for _, b := range f.Bases {
			all[string(b.Name)] = b.Basis
		}
		return r.j.commit(split(lines[0]))
	}
	if _, err := r.o.Write(context.Background(), req); err != nil {
		r.tb.Fatalf("%q: %v", lines, err)
	}
	return all
}

func str(s string) basis.Basis { return basis.OfString([]byte(s)) }

func wantBases(tb testing.TB, what string, got, want map[string]basis.Basis) {
	tb.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		tb.Errorf("%s: bases %v, want %v", what, got, want)
	}
}

type known = map[string]basis.Basis

func TestTheFirstWriteToAKeyTellsItsBase(t *testing.T) {
	r := newRig(t, Options{Bases: true})
	r.src.set("s", stringSeed("v"))
	r.src.set("h", hashSeed("a", "1"))
	r.src.set("other", stringSeed("o"))
	var h basis.Content
	h.Field([]byte("a"), []byte("1"))

	wantBases(t, "blind", r.bases("SET s w"), known{"s": str("v")})
	wantBases(t, "a second write", r.bases("SET s x"), nil)
	wantBases(t, "of what it builds on", r.bases("APPEND s y"), nil)
	wantBases(t, "nothing there", r.bases("SET none w"), known{"none": basis.None()})
	wantBases(t, "a unit", r.bases("SET s z", "HSET h b 2", "DEL h", "INCR n"), known{"h": h.Basis(basis.KindHash), "n": basis.None()})
	wantBases(t, "several keys, one of them read", r.bases("COPY other s REPLACE"), known{"other": str("o")})
	wantBases(t, "a deletion of nothing", r.bases("DEL absent"), known{"absent": basis.None()})
	wantBases(t, "nothing changed", r.bases("HDEL void f"), nil)

	r.o.Trim(r.j.seq)
	r.src.set("s", stringSeed("by then"))
	wantBases(t, "after it has left", r.bases("SET s w"), known{"s": str("by then")})
	r.checkBytes()
}

func TestBasesOfWhatIsNotWhollyKnown(t *testing.T) {
	clock := &fixedClock{t: time.UnixMilli(1000)}
	r := newRig(t, Options{Bases: true, Now: clock.now})
	r.src.set("big", bigHash(9))
	r.src.set("long", opaqueSeed("string"))
	r.src.set("module", opaqueSeed("ReJSON-RL"))
	r.src.set("timed", stringSeed("v").at(5000))
	r.src.set("over", stringSeed("v").at(1000))
	r.src.set("stream", fakeKey{value: func() engine.Object {
		return engine.NewPartialStream(7, engine.StreamID{Ms: 5, Seq: 1}, engine.StreamID{}, 7)
	}})
	timed := str("v")
	timed.Until = 5000
	wantBases(t, "big", r.bases("HSET big f v"), known{"big": basis.OfLength(basis.KindHash, 9)})
	wantBases(t, "long", r.bases("SET long w"), known{"long": {}})
	wantBases(t, "module", r.bases("SET module w"), known{"module": {}})
	wantBases(t, "timed", r.bases("SET timed w"), known{"timed": timed})
	wantBases(t, "expired", r.bases("SET over w"), known{"over": basis.None()})
	wantBases(t, "stream", r.bases("XADD stream * f v"), known{"stream": basis.OfStream(7, 5, 1)})

	r.src.fail(errSourceDown)
	wantBases(t, "nobody tells", r.bases("SET unheard w"), known{"unheard": {}})
	wantBases(t, "nobody told", r.bases("SET unheard x"), nil)
}

func TestNoBaseIsAskedForUnlessWanted(t *testing.T) {
	r := newRig(t, Options{})
	wantBases(t, "a plain overlay", r.bases("SET k v"), nil)
	if n := r.src.requests(); n != 0 {
		t.Errorf("%d seeds were asked for", n)
	}
}

func TestARolledBackWriteTellsItsBaseAgain(t *testing.T) {
	r := newRig(t, Options{Bases: true})
	r.src.set("k", stringSeed("v"))
	r.do("SET k w")
	r.o.Rollback(1)
	wantBases(t, "after the rollback", r.bases("SET k w"), known{"k": str("v")})
}

func TestUnseenWritesTellTheirBases(t *testing.T) {
	r := newRig(t, Options{Bases: true})
	r.src.set("k", stringSeed("v"))
	var got []KeyBasis
	_, err := r.o.Write(context.Background(), Request{
		Commands: []Command{{Args: split("EVAL x 1 k"), Keys: []int{3}, Unseen: true}},
		Commit: func(f *Effect) (uint64, error) {
			got = slices.Clone(f.Bases)
			return 1, nil
		},
	})
	if err != nil || len(got) != 1 || string(got[0].Name) != "k" || got[0].Basis != str("v") {
		t.Errorf("bases %v, %v", got, err)
	}
}
