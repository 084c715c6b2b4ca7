package journal

import (
	"context"
	"errors"
	"io"
	"io/fs"
)

// Reader reads the committed records in order, from a sequence on. It follows
// the journal as that grows and passes over what is trimmed. A Reader is not
// safe for concurrent use; several of one journal are.
type Reader struct {
	j    *Journal
	pos  uint64 // the next sequence to return
	seg  *segment
	file file
	sc   *scanner

	records []Record
	arena   []byte
}

// NewReader returns a Reader whose first record is the first one from seq on
// that is not trimmed. Close it.
func (j *Journal) NewReader(seq uint64) *Reader { return &Reader{j: j, pos: seq} }

// Seek makes seq the next sequence, forwards or back.
func (r *Reader) Seek(seq uint64) error {
	r.pos = seq
	return r.leave()
}

// Close gives up the Reader's file.
func (r *Reader) Close() error { return r.leave() }

// Next returns the next records, at most limit of them and, beyond the first,
// at most size bytes of bodies; they stay valid until the following call. No
// records and no error means that there are no more now. What has been appended
// is synced first where it is not, so that no record is ever sent whose
// sequence a crash could give to another; ctx bounds that. Damage found after
// Open is passed over and counted in Stats.Lost.
func (r *Reader) Next(ctx context.Context, limit, size int) ([]Record, error) {
	r.records, r.arena = r.records[:0], r.arena[:0]
	used, synced := 0, false
	for len(r.records) < max(limit, 1) {
		v, err := r.locate()
		if err != nil {
			return nil, err
		}
		if v.seg == nil {
			if len(r.records) > 0 || synced || !v.behind {
				break
			}
			if err := r.j.Sync(ctx); err != nil {
				return nil, err
			}
			synced = true
			continue
		}
		if again, err := r.enter(v); again || err != nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		done, err := r.read(v, max(limit, 1), size, &used)
		if err != nil {
			return nil, err
		}
		if done {
			break
		}
	}
	return r.records, nil
}

// view is what the journal says about the Reader's position.
type view struct {
	seg    *segment // holds the next record; nil: there is none to read
	from   mark
	end    int64
	first  uint64 // the first and
	last   uint64 // the last sequence to read from seg
	behind bool   // there are records that a sync would make readable
}

func (r *Reader) locate() (view, error) {
	j := r.j
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closing {
		return view{}, ErrClosed
	}
	r.pos = max(r.pos, j.trimmed+1)
	if r.pos <= j.readable {
		for _, seg := range j.segments {
			if seg.last >= r.pos && len(seg.marks) > 0 {
				return view{
					seg: seg, from: seg.find(r.pos), end: seg.end,
					first: seg.marks[0].seq, last: min(seg.last, j.readable),
				}, nil
			}
		}
	}
	return view{behind: r.pos < j.next && j.failure == nil}, nil
}

// enter opens v's segment, unless it is open. again: it was trimmed meanwhile.
func (r *Reader) enter(v view) (again bool, err error) {
	if r.seg == v.seg {
		r.sc.end = v.end
		return false, nil
	}
	if err := r.leave(); err != nil {
		return false, err
	}
	f, err := r.j.fs.open(v.seg.name)
	if errors.Is(err, fs.ErrNotExist) && r.trimmed(v.last) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	r.seg, r.file = v.seg, f
	r.sc = newScanner(f, v.seg.salt, v.from.off, v.end, 0)
	return false, nil
}

func (r *Reader) trimmed(seq uint64) bool {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	return seq <= r.j.trimmed
}

// read takes records from v's segment. done: the limits are reached.
func (r *Reader) read(v view, limit, size int, used *int) (done bool, err error) {
	for r.pos <= v.last {
		rec, err := r.sc.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if err != nil || rec.Seq > v.last {
			r.missed(v.first, v.last+1)
			r.pos = v.last + 1
			return false, r.leave()
		}
		if rec.Seq < r.pos {
			continue
		}
		r.missed(v.first, rec.Seq)
		if *used += len(rec.Body); *used > size && len(r.records) > 0 {
			r.sc.unread(rec) // for the next call
			return true, nil
		}
		r.keep(rec)
		r.pos = rec.Seq + 1
		if len(r.records) >= limit {
			return true, nil
		}
	}
	return false, nil
}

// keep copies rec out of the scanner's buffer.
func (r *Reader) keep(rec Record) {
	start := len(r.arena)
	r.arena = append(append(r.arena, rec.Meta...), rec.Body...)
	meta := start + len(rec.Meta)
	rec.Meta, rec.Body = r.arena[start:meta:meta], r.arena[meta:len(r.arena):len(r.arena)]
	r.records = append(r.records, rec)
}

// missed notes that the records of the segment, which begins with first, from
// the Reader's position up to before are not there. Each counts once.
func (r *Reader) missed(first, before uint64) {
	if r.pos >= before {
		return
	}
	j := r.j
	j.mu.Lock()
	defer j.mu.Unlock()
	from := max(r.pos, first, r.seg.known+1)
	if from >= before {
		return
	}
	j.counts.lost += before - from
	r.seg.known = before - 1
	r.seg.damaged = true
}

func (r *Reader) leave() error {
	f := r.file
	r.seg, r.file, r.sc = nil, nil, nil
	if f == nil {
		return nil
	}
	return f.close()
}
