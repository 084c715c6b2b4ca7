package replay

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// agingSource is a journal of which an entry has another form each time it is read.
type agingSource struct {
	*memSource
	seq uint64

	mu    sync.Mutex // guards reads
	reads int
}

func (s *agingSource) Read(dst []Entry, after uint64, maxEntries, maxBytes int) ([]Entry, error) {
	dst, err := s.memSource.Read(dst, after, maxEntries, maxBytes)
	if i := slices.IndexFunc(dst, func(e Entry) bool { return e.Seq == s.seq }); i >= 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reads++
		dst[i].Cmd = command("SET", "form", strconv.Itoa(s.reads))
	}
	return dst, err
}

// drainAged replays with batches that are old as soon as they have been read.
func (r *rig) drainAged() *Replayer {
	r.t.Helper()
	rp := r.replayer()
	rp.aheadFor = -1
	stop, ended := r.run(rp, 0)
	r.waitDrained(ended)
	_ = stop()
	return rp
}

// TestOldQueuedBatchIsReadAnew: its entries' deadlines may have passed.
func TestOldQueuedBatchIsReadAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.opt.BatchEntries = 2
	for range 3 {
		r.src.add("INCR", "n")
	}
	src := &agingSource{memSource: r.src, seq: r.src.add("SET", "form", "0")}
	r.src.add("INCR", "n")
	r.opt.Source = src
	rp := r.drainAged()
	r.want(0, "n", "4")
	r.want(0, "form", "2")
	if st := rp.Stats(); src.reads != 2 || st.Sessions != 1 || st.Replayed != 5 || st.Batches != 3 {
		t.Errorf("read %d times, want 2; stats %+v", src.reads, st)
	}
}

// askOnce has each key be asked about once: what is called "{k}kept" is left to the server.
func askOnce(t *testing.T, o *Options) {
	asked := make(map[string]bool)
	o.Conflicts = &Conflicts{Overwrite: func(_ context.Context, c Conflict) bool {
		if asked[string(c.Key)] {
			t.Errorf("asked again of %s", c.Key)
		}
		asked[string(c.Key)] = true
		return string(c.Key) != "{k}kept"
	}}
}

// TestBatchThatWasAskedAboutIsReadAnew: while somebody thinks about a conflict, deadlines
// of the batch's entries may pass.
func TestBatchThatWasAskedAboutIsReadAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	askOnce(t, &r.opt)
	for _, key := range []string{"form", "{k}taken", "{k}kept"} {
		r.do(0, "SET", key, "foreign")
	}
	src := &agingSource{memSource: r.src}
	src.seq = r.src.add("SET", "form", "0")
	r.src.claim(first("form", basis.None()))
	for _, key := range []string{"{k}taken", "{k}kept", "{k}fresh"} {
		r.src.add("APPEND", key, ",ours")
		r.src.claim(first(key, basis.None()))
	}
	r.opt.Source = src
	rp := r.drainAged()
	r.want(0, "form", "2")
	r.want(0, "{k}taken", "foreign,ours")
	r.want(0, "{k}kept", "foreign")
	r.want(0, "{k}fresh", ",ours")
	if st := rp.Stats(); src.reads != 2 || st.Sessions != 1 || st.Replayed != 3 || st.Conflicted != 1 {
		t.Errorf("read %d times, want 2; stats %+v", src.reads, st)
	}
}

// TestSlowAnswersOfAHotKey: that somebody writes one key while there are answers to wait for
// is no conflict of the others.
func TestSlowAnswersOfAHotKey(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	asked := 0
	r.opt.Conflicts = &Conflicts{Overwrite: func(_ context.Context, c Conflict) bool {
		if string(c.Key) != "hot" {
			t.Errorf("asked of %s", c.Key)
		}
		asked++
		r.do(0, "INCR", "hot")
		return true
	}}
	r.do(0, "SET", "hot", "1")
	r.src.add("SET", "hot", "ours")
	r.src.claim(first("hot", str("before")))
	for i := range 5 {
		key := "calm" + strconv.Itoa(i)
		r.src.add("SET", key, "v")
		r.src.claim(first(key, basis.None()))
	}
	rp := r.drainAged()
	r.want(0, "hot", "ours")
	r.want(0, "calm4", "v")
	if st := rp.Stats(); st.Conflicted != 0 || asked <= maxContested {
		t.Errorf("asked %d times; stats %+v", asked, st)
	}
}

// agingLanes is a journal of lanes whose SET entries say when they were read.
type agingLanes struct {
	*laneSource
	reads int
	asked []int // of each question about a conflict, how often they had been read by then
}

func (s *agingLanes) Entries(dst []Entry, applied func(lane uint16) (uint64, bool)) ([]Entry, error) {
	s.reads++
	start := len(dst)
	dst, err := s.laneSource.Entries(dst, applied)
	for i := range dst[start:] {
		e := &dst[start+i]
		e.Cmd = command("SET", "{k"+strconv.FormatUint(e.Seq, 10)+"}form", strconv.Itoa(s.reads))
	}
	return dst, err
}

// agedLanes replays entries of so many lanes, parted anew as often as can be, and returns
// the last one's form.
func agedLanes(t *testing.T, r *clusterRig, lanes int) (last int, src *agingLanes, rp *Replayer) {
	t.Helper()
	primary := r.c.Node(0)
	var key string
	for i := range lanes {
		key = "{k" + strconv.Itoa(i+1) + "}form"
		r.journal.add("SET", key, "0")
		if r.opt.Conflicts != nil {
			r.do(primary, "SET", key, "foreign")
			r.journal.claim(first(key, basis.None()))
		}
	}
	src = &agingLanes{laneSource: newLaneSource(r.journal, everyLane)}
	o := r.opt
	if o.Conflicts != nil {
		o.Conflicts = &Conflicts{Overwrite: func(context.Context, Conflict) bool {
			src.asked = append(src.asked, src.reads)
			return true
		}}
	}
	o.Source = src
	rp, err := New(o)
	r.must(err)
	rp.partedFor = -1
	stop, ended := r.run(rp, primary)
	r.waitDrained(src.laneSource, ended)
	_ = stop()
	last, err = strconv.Atoi(fmt.Sprint(r.do(primary, "GET", key)))
	r.must(err)
	return last, src, rp
}

// TestOldWindowIsPartedAnew: its entries' deadlines may have passed while those before them
// were sent.
func TestOldWindowIsPartedAnew(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1})
	last, _, rp := agedLanes(t, r, 50)
	if st := rp.Stats(); last < 2 || st.Sessions != 1 || st.Replayed != 50 {
		t.Errorf("the last entry was sent as of reading %d; stats %+v", last, st)
	}
}

// TestWindowThatWasAskedAboutIsPartedAnew: as with one server.
func TestWindowThatWasAskedAboutIsPartedAnew(t *testing.T) {
	t.Parallel()
	r := newClusterRig(t, redistest.ClusterOptions{Primaries: 1})
	r.opt.Conflicts = &Conflicts{}
	last, src, rp := agedLanes(t, r, 1)
	if st := rp.Stats(); len(src.asked) != 1 || last <= src.asked[0] || st.Sessions != 1 || st.Replayed != 1 || st.Conflicted != 0 {
		t.Errorf("asked at the readings %v, sent as of reading %d; stats %+v", src.asked, last, st)
	}
}
