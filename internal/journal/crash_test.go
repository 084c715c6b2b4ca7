package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// soaking asks for the higher counts of a soak.
func soaking() bool { return os.Getenv("HOLDFAST_SOAK") != "" }

// answer is what the caller of an append was told.
type answer uint8

const (
	answerNone    answer = iota // the crash came first, or nobody can know
	answerKept                  // it is committed, or was seen after a restart
	answerRefused               // it is not there and never will be
)

// witness is what somebody outside has seen of a journal: what was promised to
// him must hold, whatever happens to the machine.
type witness struct {
	id      ClientID
	files   *crashFS
	rnd     *rand.Rand
	journal *Journal

	records map[uint64]string // what was appended, by sequence
	answers map[uint64]answer
	// shaky are those whose sync failed. A process that is killed then leaves them
	// to the next one, whose sync says yes and means nothing: they may go yet,
	// but their sequences must not be given out again.
	shaky   map[uint64]bool
	highest uint64 // no sequence up to it may be given out again
	trimmed uint64 // the highest that a Trim was asked for
	dead    map[uint64]bool
	settled map[uint64]bool // dead letters that were settled for certain
	acked   uint64          // synced
	lately  uint64          // acknowledged at all
	fates   map[uint64]bool
	lineage [2]int // the last that was saved for certain, and at all
	n       int
	fsync   Fsync
}

func newWitness(seed uint64) *witness {
	rnd := rand.New(rand.NewPCG(seed, 1))
	w := &witness{
		id: ClientID{1}, files: newCrashFS(rnd), rnd: rnd,
		records: map[uint64]string{}, answers: map[uint64]answer{}, dead: map[uint64]bool{}, fates: map[uint64]bool{},
		shaky: map[uint64]bool{}, settled: map[uint64]bool{},
	}
	// A client's directory gets its name when this is complete.
	first := slot{client: w.id}
	b := make([]byte, slotSpacing+slotSize)
	copy(b, first.encode())
	copy(b[slotSpacing:], first.encode())
	n := &node{states: [][]byte{b}}
	w.files.names[progressName], w.files.durable[progressName] = n, n
	return w
}

// clone is a second witness of the same, in a world where chance has it that way.
func (w *witness) clone(seed uint64) *witness {
	c := *w
	c.rnd = rand.New(rand.NewPCG(seed, 2))
	c.files = w.files.clone(c.rnd)
	c.records, c.answers, c.dead, c.fates = copyMap(w.records), copyMap(w.answers), copyMap(w.dead), copyMap(w.fates)
	c.shaky, c.settled = copyMap(w.shaky), copyMap(w.settled)
	return &c
}

func copyMap[K comparable, V any](m map[K]V) map[K]V {
	c := make(map[K]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// open starts the journal as a new process would; errCrashed when the machine
// goes down meanwhile.
func (w *witness) open() (*Recovery, error) {
	o := Options{Dir: "none", SegmentBytes: minSegmentBytes, Fsync: w.fsync}.withDefaults()
	if w.rnd.IntN(3) == 0 {
		o.Retention = -1
	}
	o.beside = func(f func()) { f() } // so that a crash comes to the same place each time
	if w.rnd.IntN(2) == 0 {
		o.readyAfter = headerSize + 1
	}
	j, rec := newJournal(o, w.id, w.files), new(Recovery)
	if err := j.recover(o, rec); err != nil {
		if w.files.hasCrashed() {
			return nil, errCrashed
		}
		return nil, err
	}
	w.journal = j
	w.files.tell("recovered up to %d, the next is %d, trimmed %d, %+v", j.last, j.next, j.trimmed, *rec)
	go j.run()
	return rec, nil
}

// live does n steps of what a client does, or until the crash.
func (w *witness) live(n int) error {
	for range n {
		if err := w.step(); err != nil {
			return err
		}
		if w.files.hasCrashed() {
			return nil
		}
	}
	return nil
}

func (w *witness) step() error {
	switch w.rnd.IntN(18) {
	case 0, 1:
		return w.trim()
	case 2:
		return w.kill()
	case 3:
		w.acknowledge()
	case 4:
		return w.fail()
	case 5:
		if err := w.journal.Close(); err != nil {
			return w.unlessCrashed(err)
		}
		return w.reopen()
	case 6:
		// What befell them is told in ranges, which nobody needs to know for sure.
		from := 1 + w.rnd.Uint64N(w.highest+1)
		to := from + w.rnd.Uint64N(3)
		for seq := from; seq <= to; seq++ {
			w.fates[seq] = true
		}
		return w.journal.Record(Fate{From: from, To: to, Outcome: OutcomeReplayed})
	case 7:
		w.lineage[1]++
		err := w.journal.SaveLineage(ctx, Lineage{ReplIDs: []string{strconv.Itoa(w.lineage[1])}})
		if err == nil {
			w.lineage[0] = w.lineage[1]
		}
		return w.unlessCrashed(err)
	case 8:
		return w.settle()
	default:
		return w.append(1 + w.rnd.IntN(4))
	}
	return nil
}

// unlessCrashed is err, but what fails because of the crash is no fault.
func (w *witness) unlessCrashed(err error) error {
	if w.files.hasCrashed() {
		return nil
	}
	return err
}

// append appends records that share their commits as chance has it.
func (w *witness) append(n int) error {
	var tickets []Ticket
	for range n {
		w.n++
		body := fmt.Sprintf("%d %s", w.n, strings.Repeat("x", w.rnd.IntN(700)))
		ticket, err := w.journal.Append(record(body))
		if err != nil {
			return w.unlessCrashed(err)
		}
		if seq := ticket.Seq(); seq <= w.highest && (w.answers[seq] == answerKept || w.records[seq] != "" && seq > w.trimmed) {
			return fmt.Errorf("sequence %d was given out again", seq)
		}
		w.records[ticket.Seq()], w.answers[ticket.Seq()] = body, answerNone
		tickets = append(tickets, ticket)
		w.files.tell("append %d, %d bytes", ticket.Seq(), len(body))
	}
	for _, ticket := range tickets {
		err := ticket.Wait(ctx)
		w.files.tell("%d: %v", ticket.Seq(), err)
		switch {
		case err == nil:
			w.answers[ticket.Seq()] = answerKept
			w.highest = max(w.highest, ticket.Seq())
		case errors.Is(err, ErrInDoubt):
			// The machine may have crashed since, which is another matter.
			if !errors.Is(err, errCrashed) {
				w.shaky[ticket.Seq()] = true
			}
		case errors.Is(err, ErrFull), errors.Is(err, ErrFailed):
			w.answers[ticket.Seq()] = answerRefused
		default:
			return err
		}
	}
	if w.journal.Failure() != nil {
		return w.unlessCrashed(fmt.Errorf("the journal failed: %w", w.journal.Failure().Err))
	}
	return nil
}

func (w *witness) trim() error {
	seq := w.rnd.Uint64N(w.highest + 1)
	w.trimmed = max(w.trimmed, seq)
	w.files.tell("trim %d", seq)
	return w.unlessCrashed(w.journal.Trim(ctx, seq))
}

// kill keeps a dead letter.
func (w *witness) kill() error {
	for seq := w.trimmed + 1; seq <= w.highest; seq++ {
		if w.answers[seq] == answerKept && w.rnd.IntN(4) == 0 {
			r := record(w.records[seq])
			r.Seq = seq
			err := w.journal.DeadLetter(ctx, r, "ERR")
			w.dead[seq] = w.dead[seq] || err == nil
			return w.unlessCrashed(err)
		}
	}
	return nil
}

// settle removes some of the dead letters whose records are trimmed.
func (w *witness) settle() error {
	var seqs []uint64
	trimmed := w.journal.Stats().Trimmed
	for seq := uint64(1); seq <= trimmed; seq++ {
		if w.dead[seq] && w.rnd.IntN(2) == 0 {
			seqs = append(seqs, seq)
			w.dead[seq] = false // until it returns nobody can know
		}
	}
	w.files.tell("settle %v of those up to %d", seqs, trimmed)
	err := w.journal.SettleDead(ctx, seqs...)
	for _, seq := range seqs {
		w.settled[seq] = err == nil
	}
	return w.unlessCrashed(err)
}

func (w *witness) acknowledge() {
	w.lately = w.highest
	if w.journal.Acknowledge(Progress{Acked: w.lately}) == nil && w.journal.Sync(ctx) == nil {
		w.acked = w.lately
	}
}

// fail lets the disk fail or fill up, and the journal go on after it.
func (w *witness) fail() error {
	switch w.rnd.IntN(3) {
	case 0:
		w.files.failOn("sync", suffixSegment, errDisk)
	case 1:
		w.files.failOn("write", suffixSegment, errNoSpace)
	case 2:
		w.files.failOn("create", suffixSegment, errNoSpace)
	}
	err := w.append(2)
	failed := w.journal.Failure()
	w.files.failOn("", "", nil)
	if failed == nil {
		return err
	}
	if err := w.journal.Resume(ctx, nil); err != nil {
		return w.unlessCrashed(err)
	}
	// That settles it: what nobody could know is not there.
	for seq := failed.First; seq <= failed.Last; seq++ {
		w.answers[seq] = answerRefused
		delete(w.shaky, seq)
	}
	return nil
}

// reopen opens the journal and compares what is in it with what was promised.
func (w *witness) reopen() error {
	rec, err := w.open()
	if err != nil {
		return w.unlessCrashed(err)
	}
	err = w.check(rec)
	if errors.Is(err, errCrashed) && w.files.hasCrashed() {
		return nil
	}
	return err
}

func (w *witness) check(rec *Recovery) error {
	if rec.Lost > uint64(len(w.shaky)) && w.fsync == FsyncAlways {
		return fmt.Errorf("a crash lost records: %+v", rec)
	}
	there, err := w.read()
	if err != nil {
		return err
	}
	for seq, answer := range w.answers {
		switch {
		case answer == answerKept && seq > w.trimmed && !there[seq] && !w.shaky[seq] && w.fsync == FsyncAlways:
			return fmt.Errorf("record %d was promised and is gone: %+v", seq, rec)
		case answer == answerKept && !there[seq] && w.fsync != FsyncAlways:
			// It was not synced, so nobody was shown it: its sequence is free.
			delete(w.answers, seq)
		case answer == answerRefused && there[seq]:
			return fmt.Errorf("record %d was refused and is there", seq)
		case answer != answerKept && there[seq]:
			w.answers[seq] = answerKept // it may have been replayed
			w.highest = max(w.highest, seq)
		case answer == answerNone && !there[seq]:
			w.answers[seq] = answerRefused // it can't come back
		}
	}
	if w.fsync != FsyncAlways {
		w.highest = w.trimmed
		for seq := range there {
			w.highest = max(w.highest, seq)
		}
	}
	return w.checkRest()
}

// read reads everything; it is in order and as it was appended.
func (w *witness) read() (map[uint64]bool, error) {
	there := make(map[uint64]bool)
	r := w.journal.NewReader(1)
	last := uint64(0)
	for {
		records, err := r.Next(ctx, 10, 1<<20)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		if len(records) == 0 {
			return there, r.Close()
		}
		for _, rec := range records {
			if rec.Seq <= last || w.records[rec.Seq] != string(rec.Body) {
				return nil, fmt.Errorf("record %d, after %d, is not what was appended", rec.Seq, last)
			}
			last = rec.Seq
			there[rec.Seq] = true
		}
	}
}

// checkRest compares dead letters, progress and ledger.
func (w *witness) checkRest() error {
	letters := make(map[uint64]bool)
	err := w.journal.DeadLetters(func(d DeadLetter) bool {
		letters[d.Seq] = w.records[d.Seq] == string(d.Body)
		return true
	})
	if err != nil {
		return err
	}
	if w.files.hasCrashed() {
		return errCrashed
	}
	for seq := range w.dead {
		if w.dead[seq] && (!letters[seq] || seq > w.journal.Stats().Trimmed && !w.journal.IsDead(seq)) {
			return fmt.Errorf("the dead letter %d is gone or another one", seq)
		}
	}
	for seq, certain := range w.settled {
		if certain && (letters[seq] || seq > w.journal.Stats().Trimmed) {
			return fmt.Errorf("the settled letter %d is back, or its record: trimmed %d", seq, w.journal.Stats().Trimmed)
		}
	}
	if got := w.journal.Progress().Acked; got < w.acked || got > w.lately {
		return fmt.Errorf("acknowledged up to %d, synced %d, at most %d", got, w.acked, w.lately)
	}
	saved := 0
	l, err := readLineage(w.files)
	if err != nil {
		return err
	}
	if len(l.ReplIDs) > 0 {
		if saved, err = strconv.Atoi(l.ReplIDs[0]); err != nil {
			return err
		}
	}
	if saved < w.lineage[0] || saved > w.lineage[1] {
		return fmt.Errorf("lineage %d, want one of %v", saved, w.lineage)
	}
	return w.journal.Fates(func(f Fate) bool {
		if f.Outcome != OutcomeReplayed || !w.fates[f.From] || !w.fates[f.To] {
			err = fmt.Errorf("a fate that nobody recorded: %+v", f)
		}
		return err == nil
	})
}

// TestCrashAtEveryPoint lets the machine crash at every operation on files that
// a client's life consists of, and at the operations of the recovery from that,
// and goes on from what may be on the disk then.
func TestCrashAtEveryPoint(t *testing.T) {
	for _, policy := range []Fsync{FsyncAlways, FsyncEverySec, FsyncNo} {
		t.Run(policy.String(), func(t *testing.T) { crashAtEveryPoint(t, policy) })
	}
}

func crashAtEveryPoint(t *testing.T, policy Fsync) {
	seed := uint64(time.Now().UnixNano())
	images, lives := 4, 1
	if soaking() {
		images, lives = 10, 10
	}
	points, total := map[string]int{}, 0
	for life := range lives {
		for k := 1; ; k++ {
			w := newWitness(seed + uint64(life))
			w.fsync = policy
			w.files.crashIn(k)
			if err := crashOnce(w, images, fmt.Sprintf("seed %d, operation %d", seed+uint64(life), k)); err != nil {
				t.Fatal(err)
			}
			if !w.files.hasCrashed() {
				for op, n := range w.files.points {
					points[op] += n
				}
				break
			}
			total += images
		}
	}
	t.Logf("seed %d: %d crashes at each of the points %v", seed, total, points)
	for _, op := range []string{"write", "sync", "create", "sync of the directory"} {
		if points[op] == 0 {
			t.Errorf("no crash at any %s", op)
		}
	}
}

// crashOnce lives until the crash, and then several lives after it.
func crashOnce(w *witness, images int, what string) error {
	err := w.reopen()
	if err == nil && !w.files.hasCrashed() {
		err = w.live(70)
	}
	w.leave()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", what, err, strings.Join(w.files.story, "\n"))
	}
	if !w.files.hasCrashed() {
		return nil
	}
	for image := range images {
		next := w.clone(w.rnd.Uint64())
		for generation := range 3 {
			// Every other time only the process dies first, and the machine soon after
			// the next one has begun: what that found was perhaps never synced.
			power, n := true, 40
			if image%2 == 1 && generation == 0 {
				power, n = false, 8
			}
			next.files.restart(power)
			next.files.crashIn(1 + next.rnd.IntN(n))
			err := next.reopen()
			if err == nil && !next.files.hasCrashed() {
				err = next.live(30)
			}
			next.files.crashIn(1) // if it has not crashed yet
			next.leave()
			if err != nil {
				return fmt.Errorf("%s, image %d, generation %d: %w\n%s", what, image, generation, err, strings.Join(next.files.story, "\n"))
			}
		}
		next.files.restart(true)
		err := next.reopen()
		next.leave()
		if err != nil {
			return fmt.Errorf("%s, image %d, at the end: %w\n%s", what, image, err, strings.Join(next.files.story, "\n"))
		}
	}
	return nil
}

// leave ends the process, if there is one: its goroutine must not stay.
func (w *witness) leave() {
	if w.journal != nil {
		_ = w.journal.Close() // it has crashed, or is done
		w.journal = nil
	}
}
