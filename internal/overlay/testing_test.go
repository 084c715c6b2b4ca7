package overlay

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

var errSourceDown = errors.New("connection refused")

// fakeKey is a key of a fakeSource.
type fakeKey struct {
	value    func() engine.Object // made anew for each seed: a seed belongs to who asked
	expireAt int64
	fence    uint64
	members  map[string]engine.Fact // of a partial value
}

// at returns the key with a deadline.
func (k fakeKey) at(ms int64) fakeKey {
	k.expireAt = ms
	return k
}

func (k fakeKey) seed() Seed {
	s := Seed{Fence: k.fence}
	if k.value != nil {
		s.Value = k.value()
		s.Value.SetExpireAt(k.expireAt)
	}
	return s
}

// fakeSource answers seeds from a map of key names.
type fakeSource struct {
	mu     sync.Mutex // guards the rest
	keys   map[string]fakeKey
	err    error
	asked  int // requests for seeds
	learnt int // requests for members
	gate   func(context.Context) error
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
		out[i] = f.keys[k.Name].seed()
		if depth == DepthMeta {
			at := out[i].Value.ExpireAt()
			out[i].Value = engine.NewOpaque(out[i].Value.TypeName())
			out[i].Value.SetExpireAt(at)
		}
	}
	return out, nil
}

func (f *fakeSource) Members(_ context.Context, key Key, typ engine.Type, members [][]byte) ([]engine.Fact, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.learnt++
	if f.err != nil {
		return nil, f.err
	}
	k, ok := f.keys[key.Name]
	if s := k.seed(); !ok || s.Value.Type() != typ {
		return nil, errOtherValue
	}
	var facts []engine.Fact
	for _, m := range members {
		fact := k.members[string(m)]
		fact.Member = m
		facts = append(facts, fact)
	}
	return facts, nil
}

func (f *fakeSource) set(name string, k fakeKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys == nil {
		f.keys = make(map[string]fakeKey)
	}
	f.keys[name] = k
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

func stringSeed(s string) fakeKey {
	return fakeKey{value: func() engine.Object { return engine.NewString([]byte(s)) }}
}

func hashSeed(pairs ...string) fakeKey {
	return fakeKey{value: func() engine.Object { return engine.NewHash(bytesOf(pairs)) }}
}

func listSeed(elems ...string) fakeKey {
	return fakeKey{value: func() engine.Object { return engine.NewList(bytesOf(elems)) }}
}

func setSeed(members ...string) fakeKey {
	return fakeKey{value: func() engine.Object { return engine.NewSet(bytesOf(members)) }}
}

func opaqueSeed(typ string) fakeKey {
	return fakeKey{value: func() engine.Object { return engine.NewOpaque(typ) }}
}

// bigHash is a hash of so many fields, of which only the pairs matter.
func bigHash(count int64, pairs ...string) fakeKey {
	k := fakeKey{
		value:   func() engine.Object { return engine.NewPartialHash(count) },
		members: make(map[string]engine.Fact),
	}
	for i := 0; i < len(pairs); i += 2 {
		k.members[pairs[i]] = engine.Fact{Present: true, Value: []byte(pairs[i+1])}
	}
	return k
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
	req := Request{
		DB: db, Commands: []Command{commandOf(args)},
		Commit: func(*Effect) (uint64, error) { return r.j.commit(args) },
	}
	if cmd := engine.Lookup(args); cmd != nil && cmd.Write {
		return r.o.Write(ctx, req)
	}
	return r.o.Read(ctx, req)
}

// unit runs lines as one unit.
func (r *rig) unit(lines ...string) (Result, Effect, error) {
	r.tb.Helper()
	var effect Effect
	req := Request{}
	for _, line := range lines {
		req.Commands = append(req.Commands, commandOf(split(line)))
	}
	req.Commit = func(f *Effect) (uint64, error) {
		effect = *f
		return r.j.commit(split("MULTI"))
	}
	res, err := r.o.Write(context.Background(), req)
	return res, effect, err
}

// recover enters a write of an earlier run.
func (r *rig) recover(seq uint64, args [][]byte, at, lapses int64) {
	r.tb.Helper()
	if err := r.o.Recover(seq, 0, commandOf(args), at, lapses); err != nil {
		r.tb.Fatalf("recovering %q: %v", args, err)
	}
}

// commandOf finds the keys of a command.
func commandOf(args [][]byte) Command {
	c := Command{Args: args}
	if len(args) == 0 {
		return c
	}
	name := strings.ToLower(string(args[0]))
	c.Counter = strings.Contains(name, "incr") || strings.Contains(name, "decr")
	spec := command.Lookup(name)
	if keys, err := spec.AppendKeys(nil, len(args), func(i int) string { return string(args[i]) }); err == nil {
		c.Keys = keys
	}
	return c
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

func show(reply []byte) string {
	return strings.TrimSpace(strings.ReplaceAll(string(reply), "\r\n", " "))
}

// number is the integer of a reply.
func (r *rig) number(res Result) int64 {
	r.tb.Helper()
	v, err := resp.NewReader(bytes.NewReader(res.Reply)).ReadValue()
	if err != nil || v.Kind != resp.KindInt {
		r.tb.Fatalf("reply %q is no integer: %v", res.Reply, err)
	}
	return v.Int
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
			if e.next != nil && e.next.lane == e.lane && e.next.lastSeq < e.lastSeq {
				r.tb.Errorf("shard %d: order by sequence broken: %d before %d", i, e.lastSeq, e.next.lastSeq)
			}
		}
		s.checkRuns(r.tb)
		if listed != s.keys.len() {
			r.tb.Errorf("shard %d: %d keys listed, %d held", i, listed, s.keys.len())
		}
		for e := s.first; e != nil; e = e.next {
			keys++
			bytes += e.charged
			if !e.is(flagKnown) {
				unresolved++
			}
			if e.charged != e.size() && !e.obj.Partial() && e.obj.ExpireAt() == 0 {
				r.tb.Errorf("a %s is charged %d bytes and has %d", e.obj.Type(), e.charged, e.size())
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
