package journal

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// damaged is a closed journal of several segments and batches, to be damaged.
type damaged struct {
	dir, sub string
	names    []string          // segments
	clean    map[string][]byte // all files
	want     map[string]bool   // "sequence:body" of every record
	total    int               // of those above trimmed
	trimmed  uint64
}

func newDamaged(t *testing.T, batches, each int) *damaged {
	t.Helper()
	d := &damaged{dir: t.TempDir(), want: make(map[string]bool)}
	gate := make(chan struct{}, 1)
	j, _ := mustOpen(t, Options{Dir: d.dir, SegmentBytes: minSegmentBytes, fs: func(f filesystem) filesystem {
		return &faultFS{filesystem: f, onSync: func(string) error { gate <- struct{}{}; <-gate; return nil }}
	}})
	for b := range batches {
		// While the gate is shut everything queues behind the first record, so
		// that batches of several records come to be.
		gate <- struct{}{}
		var tickets []Ticket
		for i := range each {
			body := fmt.Sprintf("batch %d, record %d %s", b, i, strings.Repeat("x", i*7%50))
			ticket, err := j.Append(record(body))
			if err != nil {
				t.Fatal(err)
			}
			d.want[fmt.Sprintf("%d:%s", ticket.Seq(), body)] = true
			tickets = append(tickets, ticket)
		}
		<-gate
		for _, ticket := range tickets {
			if err := ticket.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.total = batches * each
	d.names = files(t, j, suffixSegment)
	mustClose(t, j)
	d.sub = filepath.Join(d.dir, j.ID().String())
	d.clean = snapshot(t, d.sub)
	return d
}

// restore undoes all damage.
func (d *damaged) restore(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(d.sub)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(d.sub, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	for path, b := range d.clean {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// check opens the damaged journal: it starts, yields only what was written, in
// order, and accounts for what is missing. It returns how much that is.
func (d *damaged) check(t *testing.T, what string) (missing int, rec *Recovery) {
	t.Helper()
	lazily := Options{Dir: d.dir, fs: func(f filesystem) filesystem { return lazyFS{f} }}
	j, rec, err := Open(lazily)
	if err != nil {
		t.Fatalf("%s: Open: %v", what, err)
	}
	defer mustClose(t, j)
	if rec.Fresh {
		t.Fatalf("%s: the journal was given up: %+v", what, rec)
	}
	found := contents(t, j, 1)
	previous := uint64(0)
	for _, entry := range found {
		if !d.want[entry] {
			t.Fatalf("%s: a record that nobody wrote: %q", what, entry)
		}
		if sequenceOf(entry) <= previous {
			t.Fatalf("%s: %q after %d", what, entry, previous)
		}
		previous = sequenceOf(entry)
	}
	if s := j.Stats(); s.Lost != rec.Lost {
		t.Fatalf("%s: reading lost more than Open: %+v, %+v", what, s, rec)
	}
	left := 0
	for _, entry := range found {
		if sequenceOf(entry) > d.trimmed {
			left++
		}
	}
	// The journal goes on, and a second Open sees the same.
	seq := mustAppend(t, j, "after")[0]
	again := contents(t, j, 1)
	if len(again) != len(found)+1 || again[len(found)] != fmt.Sprintf("%d:after", seq) || seq <= previous {
		t.Fatalf("%s: after an append: %d records, there were %d", what, len(again), len(found))
	}
	mustClose(t, j)
	k, _, err := Open(lazily)
	if err != nil {
		t.Fatalf("%s: second Open: %v", what, err)
	}
	defer mustClose(t, k)
	if third := contents(t, k, 1); strings.Join(third, "\n") != strings.Join(again, "\n") {
		t.Fatalf("%s: second Open: %d records, want %d", what, len(third), len(again))
	}
	return d.total - left, rec
}

// sequenceOf is the sequence of an entry of contents, 0 if it has none.
func sequenceOf(entry string) uint64 {
	digits, _, _ := strings.Cut(entry, ":")
	seq, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0
	}
	return seq
}

// more gives the journal one file of each kind: dead letters, a ledger, a lineage,
// trimmed segments.
func (d *damaged) more(t *testing.T) {
	t.Helper()
	j, _ := mustOpen(t, Options{Dir: d.dir, SegmentBytes: minSegmentBytes})
	r := j.NewReader(1)
	records, err := r.Next(ctx, d.total/3, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range records {
		d.trimmed = rec.Seq
		if rec.Seq%10 == 0 {
			if err := j.DeadLetter(ctx, rec, "ERR"); err != nil {
				t.Fatal(err)
			}
			if err := j.Record(Fate{From: rec.Seq, To: rec.Seq, Outcome: OutcomeDeadLettered}); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.total -= len(records)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.SaveLineage(ctx, Lineage{ReplIDs: []string{"a", "b"}, Primary: "somewhere:6379"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Acknowledge(Progress{Acked: d.trimmed}); err != nil {
		t.Fatal(err)
	}
	if err := j.Trim(ctx, d.trimmed); err != nil {
		t.Fatal(err)
	}
	d.names = files(t, j, suffixSegment)
	mustClose(t, j)
	d.clean = snapshot(t, d.sub)
}

// TestRandomDamage flips, zeroes and cuts at random places of all files.
func TestRandomDamage(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	d := newDamaged(t, 12, 12)
	d.more(t)
	if len(d.names) < 3 {
		t.Fatalf("segments: %v", d.names)
	}
	paths := slices.Sorted(maps.Keys(d.clean))
	struck, lost := make(map[string]int), 0
	for range 1000 {
		d.restore(t)
		path := paths[rnd.IntN(len(paths))]
		if rnd.IntN(2) == 0 { // mostly what holds the records
			path = filepath.Join(d.sub, d.names[rnd.IntN(len(d.names))])
		}
		name := filepath.Base(path)
		kind, b := spoil(rnd, d.clean[path])
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		struck[strings.TrimLeft(name, "0123456789.")]++
		what := fmt.Sprintf("seed %d: %s of %s", seed, kind, name)
		missing, rec := d.check(t, what)
		lost += missing
		segment, atEnd := slices.Contains(d.names, name), name == d.names[len(d.names)-1]
		switch {
		case !segment && (missing != 0 || rec.Lost != 0):
			t.Errorf("%s: %d missing, %d reported", what, missing, rec.Lost)
		case !atEnd && uint64(missing) != rec.Lost:
			t.Errorf("%s: %d missing, %d reported", what, missing, rec.Lost)
		case atEnd && uint64(missing) < rec.Lost:
			t.Errorf("%s: only %d missing, %d reported", what, missing, rec.Lost)
		case strings.HasPrefix(kind, "flip") && missing > 12:
			t.Errorf("%s: one bit cost %d records", what, missing)
		case missing > 0 && !atEnd && len(rec.Damaged) == 0:
			t.Errorf("%s: no file reported", what)
		}
	}
	t.Logf("seed %d: struck %v, which cost %d records, all reported", seed, struck, lost)
	for _, kind := range []string{"seg", "dead", "ledger", "kept", progressName, lineageName} {
		if struck[kind] == 0 {
			t.Errorf("no %s was struck: %v", kind, struck)
		}
	}
}

// spoil is b with some damage, and what that is.
func spoil(rnd *rand.Rand, b []byte) (kind string, spoilt []byte) {
	b = bytes.Clone(b)
	if len(b) == 0 {
		return "nothing", b
	}
	off := rnd.IntN(len(b))
	n := 1 + rnd.IntN(min(40, len(b)-off))
	switch rnd.IntN(3) {
	case 0:
		b[off] ^= 1 << rnd.IntN(8)
		return fmt.Sprintf("flip at %d", off), b
	case 1:
		clear(b[off : off+n])
		return fmt.Sprintf("%d zeros at %d", n, off), b
	default:
		return fmt.Sprintf("cut at %d", off), b[:off]
	}
}

// TestOneBadRecordCostsItself, when its length can be believed.
func TestOneBadRecordCostsItself(t *testing.T) {
	d := newDamaged(t, 12, 12)
	path := filepath.Join(d.sub, d.names[0])
	b := bytes.Clone(d.clean[path])
	at := bytes.Index(b, []byte("batch 1, record 4"))
	if at < 0 {
		t.Fatal("the record is not in the first segment")
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	missing, rec := d.check(t, "a bad byte")
	if missing != 1 || rec.Lost != 1 || len(rec.Damaged) != 1 || rec.Damaged[0] != d.names[0] {
		t.Fatalf("%d missing: %+v", missing, rec)
	}
	// Trimming keeps the damaged file aside and removes the others.
	j, _ := mustOpen(t, Options{Dir: d.dir})
	if err := j.Trim(ctx, 1<<40); err != nil {
		t.Fatal(err)
	}
	if left := files(t, j, suffixSegment); len(left) != 0 {
		t.Fatalf("files: %v", left)
	}
	if kept := files(t, j, suffixDamaged); len(kept) != 1 || kept[0] != d.names[0]+suffixDamaged {
		t.Fatalf("kept: %v", kept)
	}
}

func TestMissingSegmentIsReported(t *testing.T) {
	d := newDamaged(t, 12, 12)
	for i, name := range d.names[:len(d.names)-1] { // the last one's absence can't be seen
		d.restore(t)
		if err := os.Remove(filepath.Join(d.sub, name)); err != nil {
			t.Fatal(err)
		}
		if missing, rec := d.check(t, "without "+name); missing == 0 || uint64(missing) != rec.Lost {
			t.Errorf("segment %d: %d missing: %+v", i, missing, rec)
		}
	}
}

// TestTornTail cuts the last segment at every byte of its last batches: what
// comes before the cut batch is all there, and nothing counts as lost.
func TestTornTail(t *testing.T) {
	d := newDamaged(t, 2, 2)
	path := filepath.Join(d.sub, d.names[len(d.names)-1])
	whole := d.clean[path]
	for size := range whole {
		for _, fill := range []bool{false, true} {
			d.restore(t)
			b := bytes.Clone(whole[:size])
			if fill { // the size reached the disk, the data did not
				b = append(b, make([]byte, len(whole)-size)...)
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, rec := d.check(t, fmt.Sprintf("cut at %d, filled %v", size, fill)); rec.Lost != 0 {
				t.Fatalf("cut at %d, filled %v: %+v", size, fill, rec)
			}
		}
	}
}

// TestMisplacedRecords: records and batches that are valid elsewhere don't pass.
func TestMisplacedRecords(t *testing.T) {
	d := newDamaged(t, 12, 12)
	first, second := filepath.Join(d.sub, d.names[0]), filepath.Join(d.sub, d.names[1])
	t.Run("a whole segment under another's name", func(t *testing.T) {
		d.restore(t)
		if err := os.WriteFile(second, d.clean[first], 0o600); err != nil {
			t.Fatal(err)
		}
		if missing, _ := d.check(t, "copied segment"); missing == 0 {
			t.Fatal("a copy counted")
		}
	})
	t.Run("two records of one batch exchanged", func(t *testing.T) {
		d.restore(t)
		b := bytes.Clone(d.clean[first])
		// Where the writer began a new batch is not ours to say: take two records
		// that lie together. Header, meta and body of each do.
		place := func(i int) int {
			body := bytes.Index(b, fmt.Appendf(nil, "batch 1, record %d ", i))
			if body < 0 {
				t.Fatalf("record %d is not in the first segment", i)
			}
			return body - len("meta of ") - recordSize
		}
		i := 1
		for place(i)+int(recordLength(b[place(i):])) != place(i+1) {
			i++
		}
		from, mid := place(i), place(i+1)
		end := mid + int(recordLength(b[mid:]))
		exchanged := append(bytes.Clone(b[mid:end]), b[from:mid]...)
		copy(b[from:end], exchanged)
		if err := os.WriteFile(first, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if missing, rec := d.check(t, "exchanged records"); missing != 2 || rec.Lost != 2 {
			t.Fatalf("%d missing: %+v", missing, rec)
		}
	})
	t.Run("a batch repeated", func(t *testing.T) {
		d.restore(t)
		b := d.clean[first]
		h, ok := parseBatchHeader(b[headerSize:], le.Uint64(b[56:]))
		if !ok {
			t.Fatal("no batch where one was written")
		}
		end := headerSize + batchSize + int(h.length)
		b = append(bytes.Clone(b), b[headerSize:end]...)
		if err := os.WriteFile(first, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if missing, rec := d.check(t, "repeated batch"); missing != 0 || rec.Lost != 0 {
			t.Fatalf("%d missing: %+v", missing, rec)
		}
	})
}

// TestRotAfterOpenIsCounted: a Reader passes over it and says how much it was.
func TestRotAfterOpenIsCounted(t *testing.T) {
	d := newDamaged(t, 12, 12)
	j, _ := mustOpen(t, Options{Dir: d.dir})
	path := filepath.Join(d.sub, d.names[1])
	b := bytes.Clone(d.clean[path])
	clear(b[headerSize : headerSize+400])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := d.total - len(contents(t, j, 1))
	contents(t, j, 1) // a second time counts nothing
	if s := j.Stats(); missing == 0 || s.Lost != uint64(missing) {
		t.Fatalf("%d missing: %+v", missing, s)
	}
}

// TestDamagedDeadLetterIsReported: the letters behind it are there, and Open says
// that one is not, also the last one, though that may be a torn write.
func TestDamagedDeadLetterIsReported(t *testing.T) {
	d := newDamaged(t, 2, 3)
	j, _ := mustOpen(t, Options{Dir: d.dir})
	for _, seq := range []uint64{1, 2} {
		r := record(fmt.Sprintf("letter %d", seq))
		r.Seq = seq
		if err := j.DeadLetter(ctx, r, "ERR"); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(d.sub, files(t, j, suffixDead)[0])
	mustClose(t, j)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(3) {
		b := bytes.Clone(whole)
		if seq > 0 {
			b[bytes.LastIndex(b, fmt.Appendf(nil, "letter %d", seq))] ^= 1
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		j, rec := mustOpen(t, Options{Dir: d.dir})
		if j.IsDead(1) != (seq != 1) || j.IsDead(2) != (seq != 2) || len(rec.Skipped) != 0 != (seq > 0) || rec.Fresh {
			t.Fatalf("letter %d damaged: dead %v %v, %+v", seq, j.IsDead(1), j.IsDead(2), rec)
		}
		mustClose(t, j)
	}
}
