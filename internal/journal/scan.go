package journal

import (
	"bytes"
	"errors"
	"io"
)

// scanner walks the records of one file. It finds its way again behind damage:
// a bad record costs itself where its length can still be believed, else the
// rest of its batch; a bad batch header costs what lies before the next good
// one. It never yields a record whose checksum fails.
//
// A scanner is not safe for concurrent use.
type scanner struct {
	src      io.ReaderAt
	salt     uint64
	off, end int64 // next unread byte; where the readable bytes end
	loose    bool  // sequences need not ascend, as in a file of dead letters

	batch int64  // offset of the current batch's header
	stop  int64  // offset where the current batch ends
	seq   uint64 // sequence of the current batch's next record
	left  uint32 // records left in the current batch

	expect  uint64 // the sequence after the last one seen; 0: any
	floor   uint64 // what is missing below it is not lost: it was trimmed
	lost    uint64 // sequences missing before ones that are there
	settled uint64 // those of them that come before the current batch
	skipped int64  // bytes passed over because they were bad
	torn    int64  // bytes at the end that are no batch

	buf    []byte // bytes of src from bufOff on
	bufOff int64
}

const scanBuffer = 256 << 10

// newScanner scans src from off to end; expect is the first sequence there, 0
// when unknown.
func newScanner(src io.ReaderAt, salt uint64, off, end int64, expect uint64) *scanner {
	return &scanner{src: src, salt: salt, off: off, end: end, expect: expect}
}

// next is the next whole record, which aliases the scanner's buffer until the
// following call. At the end it is io.EOF; after that, raising end goes on.
// Other errors are those of src.
func (s *scanner) next() (Record, error) {
	for {
		if s.left == 0 {
			if err := s.openBatch(); err != nil {
				return Record{}, err
			}
		}
		r, ok, err := s.record(s.off, s.seq)
		if err != nil {
			return Record{}, err
		}
		if !ok {
			if err := s.skipRecords(); err != nil {
				return Record{}, err
			}
			continue
		}
		s.off += int64(r.encodedSize())
		s.seq++
		s.left--
		s.seen(r.Seq)
		return r, nil
	}
}

// unread makes r, which next has just returned, the next record again.
func (s *scanner) unread(r Record) {
	s.off -= int64(r.encodedSize())
	s.seq--
	s.left++
	s.expect = r.Seq
}

// seen notes that everything below seq that has not been seen is lost.
func (s *scanner) seen(seq uint64) {
	s.miss(seq)
	s.expect = seq + 1
}

// miss notes that what was expected before seq is not there.
func (s *scanner) miss(seq uint64) {
	if from := max(s.expect, s.floor); s.expect != 0 && seq > from && !s.loose {
		s.lost += seq - from
	}
}

// openBatch moves to the next batch.
func (s *scanner) openBatch() error {
	if s.stop > s.off { // a batch whose records ended early
		s.skipped += s.stop - s.off
		s.off = s.stop
	}
	if s.off >= s.end {
		return io.EOF
	}
	h, ok, err := s.header(s.off)
	if err != nil {
		return err
	}
	if !ok {
		at, found, err := s.search()
		if err != nil {
			return err
		}
		if !found {
			if s.torn, err = s.tail(); err != nil {
				return err
			}
			s.off = s.end
			return io.EOF
		}
		s.skipped += at - s.off
		s.off = at
		if h, _, err = s.header(at); err != nil {
			return err
		}
	}
	s.batch = s.off
	s.off += batchSize
	s.stop = min(s.off+int64(h.length), s.end)
	s.seq, s.left = h.first, h.count
	if h.first > s.expect && s.expect != 0 && !s.loose {
		s.miss(h.first)
		s.expect = h.first
	}
	s.settled = s.lost
	return nil
}

// header decodes the batch header at off. A repetition of an earlier batch does
// not count.
func (s *scanner) header(off int64) (h batchHeader, ok bool, err error) {
	if s.end-off < batchSize {
		return h, false, nil
	}
	b, err := s.peek(off, batchSize)
	if err != nil {
		return h, false, err
	}
	h, ok = parseBatchHeader(b, s.salt)
	return h, ok && (s.loose || h.first >= s.expect), nil
}

// record decodes the record at off of the current batch.
func (s *scanner) record(off int64, seq uint64) (r Record, ok bool, err error) {
	n, err := s.length(off)
	if n == 0 || err != nil {
		return r, false, err
	}
	b, err := s.peek(off, n)
	if err != nil {
		return r, false, err
	}
	r, ok = parseRecord(b, s.salt, seq)
	return r, ok, nil
}

// length is the length that the record at off claims, 0 when that is no length
// that fits the batch.
func (s *scanner) length(off int64) (int64, error) {
	if s.stop-off < recordSize {
		return 0, nil
	}
	b, err := s.peek(off, recordSize)
	if err != nil {
		return 0, err
	}
	if n := recordLength(b); n <= s.stop-off {
		return n, nil
	}
	return 0, nil
}

// skipRecords passes the bad record at off: on to the first record behind it
// that proves itself by its checksum, following the lengths, else to the end of
// the batch.
func (s *scanner) skipRecords() error {
	off := s.off
	for k := uint32(1); k < s.left; k++ {
		n, err := s.length(off)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		off += n
		_, ok, err := s.record(off, s.seq+uint64(k))
		if err != nil {
			return err
		}
		if ok {
			s.skipped += off - s.off
			s.off, s.seq, s.left = off, s.seq+uint64(k), s.left-k
			return nil
		}
	}
	s.skipped += s.stop - s.off
	s.off, s.left = s.stop, 0
	return nil
}

// search finds the next good batch header behind off.
func (s *scanner) search() (at int64, found bool, err error) {
	var salt [8]byte
	le.PutUint64(salt[:], s.salt)
	for from := s.off + 1; s.end-from >= batchSize; {
		b, err := s.peek(from, min(scanBuffer, s.end-from))
		if err != nil {
			return 0, false, err
		}
		i := bytes.Index(b, salt[:])
		if i < 0 {
			from += int64(len(b)) - int64(len(salt)) + 1
			continue
		}
		from += int64(i)
		if _, ok, err := s.header(from); ok || err != nil {
			return from, ok, err
		}
		from++
	}
	return 0, false, nil
}

// tail counts the bytes from off to the last one that is not zero: zeros at the
// end are place that was allocated ahead, or a size that reached the disk before
// its data did.
func (s *scanner) tail() (n int64, err error) {
	for from := s.off; from < s.end; {
		b, err := s.peek(from, min(scanBuffer, s.end-from))
		if err != nil {
			return 0, err
		}
		from += int64(len(b))
		if rest := bytes.TrimRight(b, "\x00"); len(rest) > 0 {
			n = from - int64(len(b)-len(rest)) - s.off
		}
	}
	return n, nil
}

// peek is the n bytes at off, which lie before end, until the next call.
func (s *scanner) peek(off, n int64) ([]byte, error) {
	if at := off - s.bufOff; at >= 0 && at+n <= int64(len(s.buf)) {
		return s.buf[at : at+n], nil
	}
	want := min(max(n, scanBuffer), s.end-off)
	if int64(cap(s.buf)) < want {
		s.buf = make([]byte, want)
	}
	s.buf, s.bufOff = s.buf[:want], off
	got, err := s.src.ReadAt(s.buf, off)
	if int64(got) < n {
		s.buf = s.buf[:0]
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	s.buf = s.buf[:got]
	return s.buf[:n], nil
}
