package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	total    int
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
		var seq uint64
		if _, err := fmt.Sscanf(entry, "%d:", &seq); err != nil || seq <= previous {
			t.Fatalf("%s: %q after %d", what, entry, previous)
		}
		previous = seq
	}
	if s := j.Stats(); s.Lost != rec.Lost {
		t.Fatalf("%s: reading lost more than Open: %+v, %+v", what, s, rec)
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
	return d.total - len(found), rec
}

// TestRandomDamage flips, zeroes and cuts at random places.
func TestRandomDamage(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	d := newDamaged(t, 12, 12)
	if len(d.names) < 3 {
		t.Fatalf("segments: %v", d.names)
	}
	for range 150 {
		d.restore(t)
		which := rnd.IntN(len(d.names))
		path := filepath.Join(d.sub, d.names[which])
		b := bytes.Clone(d.clean[path])
		off := rnd.IntN(len(b))
		n := 1 + rnd.IntN(min(40, len(b)-off))
		kind := []string{"flip", "zero", "cut"}[rnd.IntN(3)]
		switch kind {
		case "flip":
			b[off] ^= 1 << rnd.IntN(8)
		case "zero":
			clear(b[off : off+n])
		case "cut":
			b = b[:off]
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		what := fmt.Sprintf("%s at %d of %s", kind, off, d.names[which])
		missing, rec := d.check(t, what)
		atEnd := which == len(d.names)-1
		switch {
		case !atEnd && uint64(missing) != rec.Lost:
			t.Errorf("%s: %d missing, %d reported", what, missing, rec.Lost)
		case atEnd && uint64(missing) < rec.Lost:
			t.Errorf("%s: only %d missing, %d reported", what, missing, rec.Lost)
		case kind == "flip" && missing > 12:
			t.Errorf("%s: one bit cost %d records", what, missing)
		case missing > 0 && !atEnd && len(rec.Damaged) == 0:
			t.Errorf("%s: no file reported", what)
		}
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

// FuzzScan: no bytes make the scanner panic, loop, or yield a record that its
// checksum does not vouch for.
func FuzzScan(f *testing.F) {
	const salt = 0x0102030405060708
	batch := func(first uint64, bodies ...string) []byte {
		b := make([]byte, batchSize)
		for i, body := range bodies {
			r := record(body)
			b = appendRecord(b, salt, first+uint64(i), &r)
		}
		batchHeader{length: uint32(len(b) - batchSize), count: uint32(len(bodies)), first: first}.put(b, salt)
		return b
	}
	two := append(batch(1, "a", "b"), batch(3, "c")...)
	f.Add(two, uint16(0), byte(0))
	f.Add(two, uint16(40), byte(255))
	f.Add(make([]byte, 200), uint16(3), byte(1))
	f.Add(append(batch(7, "x"), batch(2, "y")...), uint16(9), byte(4))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, flip byte) {
		b = bytes.Clone(b)
		if len(b) > 0 {
			b[int(at)%len(b)] ^= flip
		}
		sc := newScanner(bytes.NewReader(b), salt, 0, int64(len(b)), 1)
		last := uint64(0)
		for {
			r, err := sc.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Seq <= last {
				t.Fatalf("record %d after %d", r.Seq, last)
			}
			last = r.Seq
			if !bytes.Contains(b, r.Body) || len(r.Body) == 0 {
				t.Fatalf("record %d has a body that is not there", r.Seq)
			}
		}
		if sc.off != int64(len(b)) || sc.torn < 0 || sc.skipped < 0 {
			t.Fatalf("ended at %d of %d, %d torn, %d skipped", sc.off, len(b), sc.torn, sc.skipped)
		}
	})
}

// FuzzHeaders: no bytes make the header decoders panic.
func FuzzHeaders(f *testing.F) {
	f.Add(segmentHeader{kind: kindRecords, client: ClientID{1}, base: 5, prev: 4, salt: 9}.encode())
	f.Add(slot{client: ClientID{1}, generation: 3, replID: "r", runID: "i"}.encode())
	f.Add(make([]byte, slotSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < slotSize {
			b = append(bytes.Clone(b), make([]byte, slotSize-len(b))...)
		}
		if h, err := parseSegmentHeader(b); err == nil && (h.salt == 0 || h.base == 0 || h.prev >= h.base) {
			t.Fatalf("accepted %+v", h)
		}
		if s, err := parseSlot(b); err == nil && (len(s.replID) > maxIDBytes || len(s.runID) > maxIDBytes) {
			t.Fatalf("accepted %+v", s)
		}
	})
}
