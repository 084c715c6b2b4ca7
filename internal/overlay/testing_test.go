package overlay

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

var errSourceDown = errors.New("connection refused")

// fakeSource answers seeds from a map of key names.
type fakeSource struct {
	mu    sync.Mutex // guards the rest
	seeds map[string]Seed
	err   error
	asked int // requests
	gate  func(context.Context) error
}

func (f *fakeSource) Seed(ctx context.Context, keys []Key, depth Depth) ([]Seed, error) {
	f.mu.Lock()
	f.asked++
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		if err := gate(ctx); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	out := make([]Seed, len(keys))
	for i, k := range keys {
		out[i] = f.seeds[k.Name]
		if depth == DepthMeta && out[i].Kind != KindNone {
			out[i].Kind = KindOpaque
		}
	}
	return out, nil
}

func (f *fakeSource) set(name string, s Seed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seeds == nil {
		f.seeds = make(map[string]Seed)
	}
	f.seeds[name] = s
}

func (f *fakeSource) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fakeSource) hold(gate func(context.Context) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = gate
}

func (f *fakeSource) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func stringSeed(s string) Seed { return Seed{Kind: KindString, Type: "string", Str: []byte(s)} }

func hashSeed(pairs ...string) Seed {
	s := Seed{Kind: KindHash, Type: "hash"}
	for _, p := range pairs {
		s.Fields = append(s.Fields, []byte(p))
	}
	return s
}

// record is one journaled write.
type record struct {
	seq  uint64
	args [][]byte
}

// journal is a memory journal: it numbers the writes of a rig.
type journal struct {
	mu      sync.Mutex // guards the rest
	seq     uint64
	records []record
	err     error
}

func (j *journal) commit(args [][]byte) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return 0, j.err
	}
	j.seq++
	copied := make([][]byte, len(args))
	for i := range args {
		copied[i] = append([]byte(nil), args[i]...)
	}
	j.records = append(j.records, record{j.seq, copied})
	return j.seq, nil
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.records)
}

// rig is an overlay with a fake source and a journal.
type rig struct {
	tb  testing.TB
	o   *Overlay
	src *fakeSource
	j   *journal
}

func newRig(tb testing.TB, opts Options) *rig {
	tb.Helper()
	r := &rig{tb: tb, src: &fakeSource{}, j: &journal{}}
	if opts.Source == nil {
		opts.Source = r.src
	}
	o, err := New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	r.o = o
	return r
}

func split(line string) [][]byte {
	var args [][]byte
	for _, word := range strings.Fields(line) {
		args = append(args, []byte(word))
	}
	return args
}

// try runs a line, a read or a write.
func (r *rig) try(line string) (Result, error) {
	r.tb.Helper()
	return r.run(context.Background(), 0, split(line))
}

func (r *rig) run(ctx context.Context, db int, args [][]byte) (Result, error) {
	req := Request{DB: db, Args: args, Commit: func(Effect) (uint64, error) { return r.j.commit(args) }}
	if _, write := Serves(args[0]); write {
		return r.o.Write(ctx, req)
	}
	return r.o.Read(ctx, req)
}

// do runs a line that must succeed.
func (r *rig) do(line string) Result {
	r.tb.Helper()
	res, err := r.try(line)
	if err != nil {
		r.tb.Fatalf("%s: %v", line, err)
	}
	return res
}

// want runs a line and compares the RESP2 encoding of its reply, CRLF as a
// space.
func (r *rig) want(line, reply string) Result {
	r.tb.Helper()
	res := r.do(line)
	if got := show(res.Reply); got != reply {
		r.tb.Errorf("%s: reply %q, want %q", line, got, reply)
	}
	return res
}

func show(v resp.Value) string {
	return strings.TrimSpace(strings.ReplaceAll(string(AppendReply(nil, v, 2)), "\r\n", " "))
}

// checkBytes compares the running count of bytes with a count from scratch.
func (r *rig) checkBytes() {
	r.tb.Helper()
	var bytes, keys, unresolved int64
	for i := range r.o.shards {
		s := &r.o.shards[i]
		s.mu.Lock()
		listed := 0
		for e := s.first; e != nil; e = e.next {
			listed++
			if e.next != nil && e.next.lastSeq < e.lastSeq {
				r.tb.Errorf("shard %d: order by sequence broken: %d before %d", i, e.lastSeq, e.next.lastSeq)
			}
		}
		if listed != len(s.keys) {
			r.tb.Errorf("shard %d: %d keys listed, %d held", i, listed, len(s.keys))
		}
		for _, e := range s.keys {
			keys++
			bytes += e.charged
			if !e.known {
				unresolved++
			}
			if e.touched != 0 {
				r.tb.Errorf("an entry is still marked as in a call")
			}
		}
		for _, u := range s.undo[s.head:] {
			bytes += u.cost
		}
		if len(s.flights) != 0 {
			r.tb.Errorf("shard %d: %d flights left", i, len(s.flights))
		}
		s.mu.Unlock()
	}
	if got := r.o.Stats(); got != (Stats{Keys: keys, Bytes: bytes, Unresolved: unresolved}) {
		r.tb.Errorf("Stats() = %+v, counted %d keys, %d bytes, %d unresolved", got, keys, bytes, unresolved)
	}
}

// fixedClock returns a settable clock.
type fixedClock struct {
	mu sync.Mutex // guards t
	t  time.Time
}

func (c *fixedClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *fixedClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}
