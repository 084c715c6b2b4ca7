package engine

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/workload"
)

// hashField is one field as a test sees it.
type hashField struct {
	name, value string
	deadline    int64
}

// hashFields are the fields of a hash in their order, without those that have
// ended by now.
func hashFields(o *Object, now int64) []hashField {
	h, ok := o.data.(*hash)
	if !ok {
		return nil
	}
	var out []hashField
	for i := range h.slots {
		s := &h.slots[i]
		if at := s.deadline(); s.exists() && (at == 0 || at > now) {
			out = append(out, hashField{s.name(), s.value(), at})
		}
	}
	return out
}

func without(fields []hashField, now int64) []hashField {
	return slices.DeleteFunc(slices.Clone(fields), func(f hashField) bool { return f.deadline != 0 && f.deadline <= now })
}

// checkHash compares what a hash keeps count of with its slots.
func checkHash(t *testing.T, o *Object) {
	t.Helper()
	h, ok := o.data.(*hash)
	if !ok {
		if o.typ == TypeHash {
			t.Fatal("a hash without a container")
		}
		return
	}
	live, bytes, first := int32(0), int64(0), int64(0)
	for i := range h.slots {
		s := &h.slots[i]
		if s.kind == slotDead {
			continue
		}
		if at := h.find([]byte(s.name())); at != i {
			t.Fatalf("%q stands in slot %d and is found in %d", s.name(), i, at)
		}
		bytes += hashFieldOverhead + int64(len(s.data))
		if s.exists() {
			live++
		}
		if at := s.deadline(); at != 0 && (first == 0 || at < first) {
			first = at
		}
	}
	switch {
	case live != h.live || bytes != h.bytes:
		t.Fatalf("%d fields of %d bytes, counted as %d of %d", live, bytes, h.live, h.bytes)
	case first != 0 && (h.soonest == 0 || h.soonest > first):
		t.Fatalf("a field ends at %d, the hash thinks at %d", first, h.soonest)
	case h.length() == 0:
		t.Fatal("an empty hash stays in its object")
	case o.Size() != hashOverhead+bytes:
		t.Fatalf("size is %d, not %d", o.Size(), hashOverhead+bytes)
	}
}

// past is a state to which a test may go back.
type past struct {
	fields  map[string][]hashField
	changes []Change
}

// hashRun runs random commands on a few hashes, and can take them back.
type hashRun struct {
	t       *testing.T
	gen     *workload.Generator
	rnd     *rand.Rand
	objects map[string]*Object
	now     int64
	history []past
}

func newHashRun(t *testing.T, seed uint64) *hashRun {
	var family []workload.Family
	for _, f := range workload.All() {
		if f.Name == "hashes" {
			family = append(family, f)
		}
	}
	const now = 1_000_000_000_000
	return &hashRun{
		t: t, now: now, objects: make(map[string]*Object), rnd: rand.New(rand.NewPCG(seed, 1)),
		gen: workload.New(seed, workload.Options{Families: family, Server: 80002, Now: now, Keys: 2, Relative: true}),
	}
}

func (r *hashRun) object(key string) *Object {
	o := r.objects[key]
	if o == nil {
		o = &Object{}
		r.objects[key] = o
	}
	return o
}

// next is a random command, on fields that may end while the test runs.
func (r *hashRun) next() [][]byte {
	if r.rnd.IntN(8) > 0 {
		return r.gen.Next()
	}
	at := strconv.FormatInt(r.now+int64(r.rnd.IntN(60)), 10)
	return split("HPEXPIREAT " + r.gen.Key("h") + " " + at + " FIELDS 2 m" + strconv.Itoa(r.rnd.IntN(14)) + " " + strconv.Itoa(r.rnd.IntN(12)))
}

// call runs a command on the object of its first key.
func (r *hashRun) call(c *Call, o *Object, args [][]byte, proto int) {
	s := Setup{
		Command: Lookup(args), Args: args, Now: r.now, Proto: proto, Server: Server{Version: 80002},
		KeyArgs: []int{1}, Keys: []*Object{o},
	}
	c.Begin(s)
	c.Run()
}

func (r *hashRun) step() {
	r.t.Helper()
	args := r.next()
	if len(args) < 2 {
		return
	}
	o := r.object(string(args[1]))
	o.Expire(r.now)
	before := past{fields: make(map[string][]hashField)}
	for key, o := range r.objects {
		before.fields[key] = hashFields(o, r.now)
	}
	var c Call
	r.call(&c, o, args, 2+r.rnd.IntN(2))
	switch {
	case c.Err() != nil:
		r.t.Fatalf("%q: %v", args, c.Err())
	case c.Failed() && c.Dirty():
		r.t.Fatalf("%q gives an error and changes something", args)
	case !c.Dirty() && !slices.Equal(before.fields[string(args[1])], hashFields(o, r.now)):
		r.t.Fatalf("%q changes something and does not say so", args)
	}
	before.changes = slices.Clone(c.Changes())
	c.Settle()
	checkHash(r.t, o)
	r.history = append(r.history, before)
}

// back takes back the last n commands, newest first.
func (r *hashRun) back(n int) {
	r.t.Helper()
	for range min(n, len(r.history)) {
		last := r.history[len(r.history)-1]
		r.history = r.history[:len(r.history)-1]
		for i := len(last.changes) - 1; i >= 0; i-- {
			last.changes[i].Revert()
		}
		for key, o := range r.objects {
			o.Expire(r.now)
			checkHash(r.t, o)
			want, got := without(last.fields[key], r.now), hashFields(o, r.now)
			if !slices.Equal(want, got) {
				r.t.Fatalf("%s was\n%v\nand taken back is\n%v", key, want, got)
			}
		}
	}
}

func TestHashChangesAreTakenBack(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		r := newHashRun(t, seed)
		for i := range 2000 {
			r.step()
			if r.rnd.IntN(4) == 0 {
				r.now += int64(r.rnd.IntN(12))
			}
			if r.rnd.IntN(40) == 0 {
				r.back(1 + r.rnd.IntN(60))
			}
			if i%200 == 199 {
				r.history = nil // as when the journal has been replayed
			}
		}
		r.back(len(r.history))
	}
}

// A hash with many fields is compacted, and comes back in its order all the same.
func TestBigHashTakenBack(t *testing.T) {
	t.Parallel()
	const n = 3000
	var pairs [][]byte
	for i := range n {
		pairs = append(pairs, []byte("field:"+strconv.Itoa(i)), []byte("v"))
	}
	r := newHashRun(t, 1)
	o := r.object("h")
	*o = NewHash(pairs)
	r.history = append(r.history, past{fields: map[string][]hashField{"h": hashFields(o, r.now)}})
	size := o.Size()
	var list []past
	for _, i := range r.rnd.Perm(n) {
		before := past{fields: map[string][]hashField{"h": nil}}
		if i%100 == 0 {
			before.fields["h"] = hashFields(o, r.now)
		}
		command := "HDEL h field:" + strconv.Itoa(i)
		if i%10 == 0 {
			command = "HSET h field:" + strconv.Itoa(i) + " w new:" + strconv.Itoa(i) + " x"
		}
		var c Call
		r.call(&c, o, split(command), 2)
		before.changes = slices.Clone(c.Changes())
		c.Settle()
		list = append(list, before)
	}
	checkHash(t, o)
	if h := o.data.(*hash); len(h.slots) > 2*int(h.live)+1 {
		t.Fatalf("%d slots for %d fields: not compacted", len(h.slots), h.live)
	}
	for _, p := range slices.Backward(list) {
		for i := range p.changes {
			p.changes[i].Revert()
		}
		if want := p.fields["h"]; want != nil && !slices.Equal(want, hashFields(o, r.now)) {
			t.Fatal("the hash is not as it was")
		}
	}
	checkHash(t, o)
	if o.Size() != size {
		t.Fatalf("size is %d, was %d", o.Size(), size)
	}
}

func TestHashGrows(t *testing.T) {
	t.Parallel()
	r := newHashRun(t, 1)
	o := r.object("h")
	var c Call
	for i := range 5000 {
		r.call(&c, o, split("HSET h f"+strconv.Itoa(i)+" "+strconv.Itoa(i)), 2)
		c.Settle()
	}
	checkHash(t, o)
	for i := range 5000 {
		r.call(&c, o, split("HINCRBY h f"+strconv.Itoa(i)+" 1"), 2)
		if want := ":" + strconv.Itoa(i+1) + "\r\n"; string(c.Reply()) != want {
			t.Fatalf("field %d counts to %q", i, c.Reply())
		}
		c.Settle()
	}
	checkHash(t, o)
}

// learnFrom runs a command on a partial object, telling it what it asks for.
func (r *hashRun) learnFrom(base map[string]hashField, o *Object, args [][]byte, proto int) *Call {
	r.t.Helper()
	c := new(Call)
	for range 3 {
		r.call(c, o, args, proto)
		if c.Err() != nil || len(c.Misses()) == 0 {
			return c
		}
		c.Revert()
		var facts []Fact
		for _, m := range c.Misses() {
			f, ok := base[string(m.Member)]
			facts = append(facts, Fact{Member: m.Member, Present: ok, Value: []byte(f.value), ExpireAt: f.deadline})
		}
		o.Learn(facts)
	}
	r.t.Fatalf("%q asks again for what it was told", args)
	return nil
}

// A partial hash answers as its whole twin does, or that it is too big.
func TestPartialHash(t *testing.T) {
	t.Parallel()
	var refused, answered int
	for seed := range uint64(40) {
		r := newHashRun(t, seed)
		var pairs [][]byte
		base := make(map[string]hashField)
		for range 30 {
			name, value := r.gen.Member(), r.gen.Value()
			if _, ok := base[name]; !ok {
				base[name] = hashField{name: name, value: value}
				pairs = append(pairs, []byte(name), []byte(value))
			}
		}
		whole, partial := NewHash(pairs), NewPartialHash(int64(len(base)))
		type step struct{ whole, partial []Change }
		var steps []step
		for range 150 {
			args := r.next()
			if len(args) < 2 {
				continue
			}
			proto := 2 + r.rnd.IntN(2)
			part := r.learnFrom(base, &partial, args, proto)
			if part.Err() != nil {
				refused++
				name := strings.ToLower(string(args[0]))
				if !slices.Contains([]string{"hgetall", "hkeys", "hvals", "hscan", "hrandfield"}, name) {
					t.Fatalf("%q: %v", args, part.Err())
				}
				part.Revert()
				continue
			}
			answered++
			var full Call
			r.call(&full, &whole, args, proto)
			if want, got := string(full.Reply()), string(part.Reply()); want != got || full.Depends() != part.Depends() {
				t.Fatalf("%q: the whole hash answers %q, its partial twin %q", args, want, got)
			}
			steps = append(steps, step{slices.Clone(full.Changes()), slices.Clone(part.Changes())})
			full.Settle()
			part.Settle()
			if r.rnd.IntN(10) == 0 {
				for range r.rnd.IntN(min(len(steps), 6) + 1) {
					s := steps[len(steps)-1]
					steps = steps[:len(steps)-1]
					for i := range s.whole {
						s.whole[i].Revert()
						s.partial[i].Revert()
					}
				}
			}
			whole.Expire(r.now)
			partial.Expire(r.now)
			checkHash(t, &partial)
			if whole.Exists() != partial.Exists() {
				t.Fatalf("after %q the whole hash exists: %v, its partial twin: %v", args, whole.Exists(), partial.Exists())
			}
			if h, ok := partial.data.(*hash); ok && h.length() != whole.data.(*hash).length() {
				t.Fatalf("after %q the whole hash has %d fields, its partial twin %d", args, whole.data.(*hash).length(), h.length())
			}
			r.now += int64(r.rnd.IntN(8))
		}
		if b, ok := partial.AppendRestore(nil, "h"); ok != !partial.Partial() || (!ok && len(b) > 0) {
			t.Fatal("a partial hash cannot be restored")
		}
	}
	if refused == 0 || answered < 1000 {
		t.Fatalf("%d answered, %d refused: too few to tell", answered, refused)
	}
}
