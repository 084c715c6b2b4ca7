package journal

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"testing"
)

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

// FuzzHeaders: no bytes make the decoders of headers, fates and lineages panic or
// accept what their writers could not have written. The checksums are made right,
// so that chance gets past them.
func FuzzHeaders(f *testing.F) {
	f.Add(segmentHeader{kind: kindRecords, client: ClientID{1}, base: 5, prev: 4, salt: 9}.encode())
	f.Add(slot{client: ClientID{1}, generation: 3, replID: "r", runID: "i"}.encode())
	f.Add(Lineage{ReplIDs: []string{"a", "b"}, Primary: "c:6379"}.encode())
	f.Add((&Fate{From: 3, To: 4, Outcome: OutcomeExpired, RunID: "r", ReplID: "i", Detail: "d"}).appendTo(nil))
	f.Add(make([]byte, slotSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, ok := parseLineage(b); ok && len(l.Primary) > maxLineageWord {
			t.Fatalf("accepted %+v", l)
		}
		if fate, ok := parseFate(Record{Body: b, At: acceptedAt}); ok {
			if again, ok := parseFate(Record{Body: fate.appendTo(nil), At: acceptedAt}); !ok || again != fate {
				t.Fatalf("%+v became %+v, %v", fate, again, ok)
			}
		}
		b = append(bytes.Clone(b), make([]byte, slotSize)...)[:max(len(b), slotSize)]
		for _, proper := range []bool{false, true} {
			if proper {
				copy(b, magic[:])
				le.PutUint16(b[8:], formatVersion)
				le.PutUint32(b[headerSize-4:], crc32.Checksum(b[:headerSize-4], castagnoli))
			}
			if h, err := parseSegmentHeader(b); err == nil && (h.salt == 0 || h.base == 0 || h.prev >= h.base) {
				t.Fatalf("accepted %+v", h)
			}
			if proper {
				copy(b, progressMagic[:])
				le.PutUint32(b[slotSize-4:], crc32.Checksum(b[:slotSize-4], castagnoli))
			}
			if s, err := parseSlot(b); err == nil && (len(s.replID) > maxIDBytes || len(s.runID) > maxIDBytes) {
				t.Fatalf("accepted %+v", s)
			}
			if proper {
				le.PutUint32(b[28:], crc32.Checksum(b[:28], castagnoli))
			}
			if h, ok := parseBatchHeader(b, le.Uint64(b)); ok && (h.count == 0 || h.first == 0 || int64(h.length) <= int64(h.count)*recordSize) {
				t.Fatalf("accepted %+v", h)
			}
		}
	})
}

// FuzzRecover: whatever the files of a journal hold, recovery neither panics nor
// stops, and a journal that is used goes on above all that it shows.
func FuzzRecover(f *testing.F) {
	const salt = 77
	id := ClientID{1}
	whole := func(kind uint16, seq uint64, r Record) []byte {
		b := segmentHeader{kind: kind, client: id, base: seq, prev: seq - 1, salt: salt}.encode()
		batch := appendRecord(make([]byte, batchSize), salt, seq, &r)
		batchHeader{length: uint32(len(batch) - batchSize), count: 1, first: seq}.put(batch, salt)
		return append(b, batch...)
	}
	letter := record("a")
	letter.Meta = append([]byte{3, 0}, "ERRmeta"...)
	fate := Record{At: acceptedAt, Body: (&Fate{From: 1, To: 4, Outcome: OutcomeReplayed}).appendTo(nil)}
	seg, dead, ledger := whole(kindRecords, 1, record("a")), whole(kindDead, 1, letter), whole(kindLedger, 1, fate)
	progress := append(append(slot{client: id, generation: 1}.encode(), make([]byte, slotSpacing-slotSize)...), slot{client: id}.encode()...)
	f.Add(seg, dead, ledger, progress, letter.Meta, uint64(1))
	f.Add(append(seg[:len(seg):len(seg)], make([]byte, 50)...), dead[:90], ledger[:100], progress[:slotSize], []byte{}, uint64(1))
	f.Add(seg[:headerSize+9], dead, ledger, []byte{}, []byte{9, 9}, uint64(1)<<63)
	f.Fuzz(func(t *testing.T, seg, dead, ledger, progress, meta []byte, seq uint64) {
		files := newMemFS()
		letter := record("x")
		letter.Meta = meta[:min(len(meta), MaxMetaBytes)]
		for name, b := range map[string][]byte{
			progressName: progress, fileName(1, suffixSegment): seg,
			fileName(1, suffixDead): dead, fileName(2, suffixDead): whole(kindDead, max(seq, 1), letter),
			fileName(1, suffixLedger): ledger,
			fileName(2, suffixLedger): whole(kindLedger, max(seq, 1), Record{Body: append([]byte{1}, meta[:min(len(meta), 60_000)]...)}),
			lineageName:               meta,
		} {
			file, err := files.create(name)
			if err == nil {
				_, err = file.WriteAt(b, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		j := newJournal(Options{Dir: "none", Fsync: FsyncNo}.withDefaults(), id, files)
		if err := j.recover(j.opts, new(Recovery)); err != nil {
			if !errors.Is(err, ErrUnusable) && !errors.Is(err, ErrNewerFormat) && !errors.Is(err, ErrOtherTarget) {
				t.Fatal(err)
			}
			return
		}
		go j.run()
		highest := uint64(0)
		r := j.NewReader(1)
		for {
			records, err := r.Next(ctx, 100, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(records) == 0 {
				break
			}
			highest = records[len(records)-1].Seq
		}
		_ = j.DeadLetters(func(DeadLetter) bool { return true }) // may tell of damage
		_ = j.Fates(func(Fate) bool { return true })
		ticket, err := j.Append(record("b"))
		if err == nil && ticket.Seq() <= highest {
			t.Fatalf("sequence %d after %d", ticket.Seq(), highest)
		}
		if err := errors.Join(r.Close(), j.Close()); err != nil {
			t.Fatal(err)
		}
	})
}
