package replay

import (
	"context"
	"time"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// Conflicts says what becomes of entries whose keys somebody else has written. A key
// is compared once, before the first of its entries is applied: what it holds in the
// primary with what it held when that entry was accepted. From the comparison until
// the entry's batch is executed the key is watched.
//
// Of a key that is left to the server all entries become dead letters with
// ReasonConflicted, until one comes that is a First again. An entry of several keys is
// left out as a whole when one of them is; of its other keys only that entry.
type Conflicts struct {
	// Overwrite is asked for each key that is not what it was, with its lock of the
	// replay: what it takes, the replay takes. It must return, and not panic. nil, or
	// false: the key is left to the server.
	Overwrite func(context.Context, Conflict) bool
	// Left calls yield with the keys of the journal's dead letters with ReasonConflicted
	// that were the reason. It is called once, before the first comparison. nil: there
	// are none of earlier Replayers.
	Left func(yield func(key []byte)) error
	// Now is the server's clock. Default time.Now.
	Now func() time.Time
}

// Conflict is a key that is not what it was when its first write was accepted.
type Conflict struct {
	Seq  uint64    // of that write
	At   time.Time // when it was accepted
	Key  []byte
	Base basis.Basis
	// Commands are the names of the write's commands, as they were sent.
	Commands []string
	// Server is what TYPE answers of the key by now; "unknown" where it may not be asked.
	Server string
	// Value is what the server holds, if that is a string and Overwrite is to be asked;
	// of a long one the first 64 KiB.
	Value []byte
	// Kept says, for the hook, what came of it: the key was left to the server.
	Kept bool
}

// valueBytes bounds Conflict.Value.
const valueBytes = 64 << 10

// How often a batch that somebody else's writes keep from being applied is compared
// and sent anew before it is halved, or, where it can't be, given up.
const maxContested = 6

// Claim is what an entry says of one key that it names.
type Claim struct {
	Key []byte
	// First: no entry before this one, of those that had not been trimmed when it was
	// accepted, names the key. Base is then what the key held; the zero basis where
	// nobody could tell, which only a key that does not exist matches.
	First bool
	Base  basis.Basis
	// Carried, with First: Base is that of an entry which became a dead letter before.
	Carried bool
	At      time.Time // when the entry with that base was accepted
}

// conflicts is a Replayer's part that keeps others' writes. It belongs to the
// goroutine of Run.
type conflicts struct {
	Conflicts
	loaded bool
	left   map[string]struct{} // keys that are left to the server
	owed   map[string]*debt    // keys whose first entry was left out for another key's sake

	// Of the batch that is being sent:
	watching bool // keys of it are watched
	tries    int  // how often it was kept from being applied
	aged     int  // how often it was read again
	answers  map[string]answer
	asked    bool    // Overwrite was asked since the batch was read
	again    bool    // the batch is read again, to be sent with the same answers
	rest     []Entry // its second half, which comes next
	restLast uint64  // the fence's value behind that; 0: there is none
}

// debt is a base that has not been compared before an entry that was applied.
type debt struct {
	claim Claim
	used  uint64 // the fence of the batch with the entry that took it up; 0: none did
}

// answer is what Overwrite said of a key that held this.
type answer struct {
	server    basis.Basis
	overwrite bool
}

func newConflicts(o *Conflicts) *conflicts {
	if o == nil {
		return nil
	}
	c := &conflicts{
		Conflicts: *o,
		left:      make(map[string]struct{}), owed: make(map[string]*debt), answers: make(map[string]answer),
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// compared is a key of a batch that has to be as it was.
type compared struct {
	Claim
	entry  int // the first of the batch that names it
	state  basis.Basis
	server string
}

// uncontested takes the entries out of the batch that conflict, and watches the keys
// of the others that were compared. fence is the key of the batch's fence, which
// must be as known. moved: the lane's slot is not here, and nothing was done; text is
// what the server said. Without Options.Conflicts it does nothing.
func (r *Replayer) uncontested(ctx context.Context, s *session, fence string, known fenceValue) (moved laneState, text string, err error) {
	c := r.conflicts
	if c == nil {
		return laneHere, "", nil
	}
	if err := c.load(); err != nil {
		return laneHere, "", err
	}
	keys := c.toCompare(s)
	c.watching = false
	given := c.tries >= maxContested // nothing is watched, so nothing keeps it from being applied
	if len(keys) > 0 {
		at, text, err := r.look(s, keys, fence, known, !given)
		if err != nil || at != laneHere {
			return at, text, err
		}
		c.watching = !given
	}
	clean, err := r.settle(ctx, s, keys, given)
	if err != nil {
		return laneHere, "", err
	}
	return laneHere, "", r.leaveOut(&s.batch, clean)
}

// uncontestedLane is uncontested for a batch of a lane, whose fence is watched. The lane
// is put where the server says it is.
func (r *Replayer) uncontestedLane(ctx context.Context, s *session, lane uint16) error {
	if r.conflicts == nil {
		return nil
	}
	l := &s.lanes
	view := l.known[lane]
	moved, text, err := r.uncontested(ctx, s, view.key, view.fence)
	if err != nil || moved == laneHere && len(s.batch.entries) > 0 {
		return err
	}
	if moved != laneHere {
		l.put(lane, moved, text)
	}
	// Nothing is sent that would end the watching.
	r.conflicts.watching, l.armed = false, false
	_, err = s.c.query([]string{"UNWATCH"})
	return err
}

// load reads which keys an earlier Replayer left to the server.
func (c *conflicts) load() error {
	if c.loaded || c.Left == nil {
		return nil
	}
	if err := c.Left(func(key []byte) { c.left[string(key)] = struct{}{} }); err != nil {
		return sourceError("list its dead letters", err)
	}
	c.loaded = true
	return nil
}

// toCompare are the keys of the batch whose bases are known and not compared yet.
func (c *conflicts) toCompare(s *session) (keys []*compared) {
	var index map[string]struct{}
	for i := range s.batch.entries {
		e := &s.batch.entries[i]
		for _, claim := range e.Claims {
			if _, left := c.left[string(claim.Key)]; left && (!claim.First || claim.Carried) {
				continue
			}
			if !claim.First {
				d := c.owed[string(claim.Key)]
				if d == nil || d.used != 0 && d.used <= s.appliedIn(e.Lane) {
					continue
				}
				claim = d.claim
			}
			if _, known := index[string(claim.Key)]; known {
				continue
			}
			if index == nil {
				index = make(map[string]struct{})
			}
			index[string(claim.Key)] = struct{}{}
			keys = append(keys, &compared{Claim: claim, entry: i})
		}
	}
	return keys
}

// appliedIn is the last entry of a lane that is in the primary.
func (s *session) appliedIn(lane uint16) uint64 {
	if view := s.lanes.known[lane]; view != nil {
		return view.after
	}
	return s.after
}

// settle decides over the keys that were compared. clean says of each of them whether
// its entries may be applied.
func (r *Replayer) settle(ctx context.Context, s *session, keys []*compared, given bool) (clean map[string]bool, err error) {
	c := r.conflicts
	clean = make(map[string]bool, len(keys))
	at := c.Now().Add(margin).UnixMilli()
	for _, k := range keys {
		name := string(k.Key)
		fits := k.Base.Matches(k.state, at)
		said, asked := c.answers[name]
		switch {
		case asked && said.server == k.state:
			clean[name] = said.overwrite
			continue
		case fits && !given:
			clean[name] = true
			continue
		case fits:
			// It is written without a pause, so that it can't be told what it holds when
			// the batch is executed.
			k.server = k.state.Kind.String()
		}
		found := c.describe(s, k)
		clean[name] = false
		if c.Overwrite != nil {
			if found.Value, err = s.text(k); err != nil {
				return nil, err
			}
			c.asked = true
			clean[name] = c.Overwrite(ctx, found)
			c.answers[name] = answer{k.state, clean[name]}
			if err := ctx.Err(); err != nil {
				return nil, err // an answer that had to hurry is none
			}
		}
		if found.Kept = !clean[name]; r.opt.Hooks.Conflict != nil {
			r.opt.Hooks.Conflict(found)
		}
	}
	return clean, nil
}

// margin is how much later than by the server's clock a deadline counts as passed.
const margin = time.Second

// describe makes the account of a key.
func (c *conflicts) describe(s *session, k *compared) Conflict {
	f := Conflict{Key: k.Key, Base: k.Base, At: k.At, Server: k.server}
	first := &s.batch.entries[k.entry]
	f.Seq = first.Seq
	for _, e := range s.batch.entries[k.entry:] {
		if e.Seq != first.Seq {
			break
		}
		if args, _, err := resp.ParseCommand(e.Cmd, nil); err == nil && len(args) > 0 {
			f.Commands = append(f.Commands, string(args[0]))
		}
	}
	return f
}

// leaveOut makes dead letters of the batch's entries that name a key which is left to
// the server.
func (r *Replayer) leaveOut(b *batch, clean map[string]bool) error {
	c := r.conflicts
	var faults []fault
	var letters []DeadLetter
	for i := 0; i < len(b.entries); {
		e := &b.entries[i]
		var reasons []int
		for n := range e.Claims {
			if c.isLeft(e.Claims[n].Key, clean) {
				reasons = append(reasons, n)
			}
		}
		first := i
		i = b.behind(i)
		if len(reasons) == 0 {
			c.use(e.Claims, b.last)
			continue
		}
		letters = append(letters, DeadLetter{Seq: e.Seq, Reason: ReasonConflicted, Keys: reasons})
		c.owe(e.Claims, clean)
		for ; first < i; first++ {
			faults = append(faults, fault{index: first})
		}
	}
	if len(faults) > 0 {
		if err := r.deadLetters(letters); err != nil {
			return err
		}
		b.drop(faults)
	}
	for name, ok := range clean {
		if ok {
			delete(c.left, name) // of a former drain
		} else {
			c.left[name] = struct{}{}
		}
	}
	return nil
}

// deadLetters is deadLetter for several.
func (r *Replayer) deadLetters(all []DeadLetter) error {
	burier, ok := r.opt.Source.(Burier)
	if !ok {
		for _, d := range all {
			if err := r.deadLetter(d); err != nil {
				return err
			}
		}
		return nil
	}
	if err := burier.DeadLetters(all); err != nil {
		return sourceError("keep dead letters", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.DeadLettered += uint64(len(all))
	r.stats.Conflicted += uint64(len(all))
	return nil
}

// isLeft reports whether a key is left to the server.
func (c *conflicts) isLeft(key []byte, clean map[string]bool) bool {
	if ok, decided := clean[string(key)]; decided {
		return !ok
	}
	_, left := c.left[string(key)]
	return left
}

// use notes that the bases which an entry's keys are still owed go with a batch.
func (c *conflicts) use(claims []Claim, last uint64) {
	if len(c.owed) == 0 {
		return
	}
	for i := range claims {
		if d := c.owed[string(claims[i].Key)]; d != nil && (d.used == 0 || d.used > last) {
			d.used = last
		}
	}
}

// rejected notes that the server declined entries of a batch: the others on their keys
// have their bases to be compared with.
func (c *conflicts) rejected(b *batch, dead []fault) {
	if c == nil || len(dead) == 0 {
		return
	}
	for _, f := range dead {
		e := &b.entries[f.index]
		if next := f.index + 1; next < len(b.entries) && b.entries[next].Seq == e.Seq {
			b.entries[next].Claims = e.Claims // what is left of the write
			continue
		}
		for _, claim := range e.Claims {
			if claim.First {
				c.lend(claim)
			}
		}
	}
	for i := range b.entries {
		if len(dead) > 0 && dead[0].index == i {
			dead = dead[1:]
			continue
		}
		c.use(b.entries[i].Claims, b.last)
	}
}

// lend keeps a base for the next entry that names the key.
func (c *conflicts) lend(claim Claim) {
	claim.Key = append([]byte(nil), claim.Key...) // the entry's bytes go
	c.owed[string(claim.Key)] = &debt{claim: claim}
}

// owe keeps the bases of an entry that is left out for those of its keys that are not:
// the next entry of each is compared with it.
func (c *conflicts) owe(claims []Claim, clean map[string]bool) {
	for _, claim := range claims {
		if claim.First && clean[string(claim.Key)] {
			c.lend(claim)
		}
	}
}

// trimmed forgets what no entry can ask for any more.
func (c *conflicts) trimmed(upTo uint64) {
	if c == nil {
		return
	}
	for key, d := range c.owed {
		if d.used != 0 && d.used <= upTo {
			delete(c.owed, key)
		}
	}
}
