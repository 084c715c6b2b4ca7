package journal

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestModel runs random operations against a journal and a plain list.
func TestModel(t *testing.T) {
	parent := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(parent, "model")
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{o: Options{
			Dir:          dir,
			Fsync:        rapid.SampledFrom([]Fsync{FsyncAlways, FsyncEverySec, FsyncNo}).Draw(rt, "fsync"),
			SegmentBytes: minSegmentBytes,
		}, dead: make(map[uint64]bool)}
		m.o.fs = func(f filesystem) filesystem {
			m.faults = &faultFS{filesystem: lazyFS{f}}
			return m.faults
		}
		m.open(rt)
		defer func() { _ = m.j.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"append": m.append, "trim": m.trim, "reopen": m.reopen, "fail": m.fail, "dead": m.kill, "": m.check,
		})
	})
}

// model is a journal and what must be in it.
type model struct {
	o       Options
	j       *Journal
	faults  *faultFS
	id      ClientID
	entries []string // "sequence:body" of what is committed and not trimmed
	last    uint64   // the last sequence given out
	trimmed uint64
	dead    map[uint64]bool
}

func (m *model) open(t *rapid.T) {
	j, rec, err := Open(m.o)
	if err != nil {
		t.Fatal(err)
	}
	m.j = j
	if m.id == (ClientID{}) {
		m.id = j.ID()
	}
	if j.ID() != m.id || rec.Entries != int64(len(m.entries)) && rec.Entries > int64(m.last-m.trimmed) || rec.Lost != 0 || len(rec.Damaged) != 0 {
		t.Fatalf("recovery: %+v, want %d entries", rec, len(m.entries))
	}
}

func (m *model) append(t *rapid.T) {
	for range rapid.IntRange(1, 5).Draw(t, "records") {
		body := strings.Repeat("x", rapid.IntRange(1, 2000).Draw(t, "length"))
		ticket, err := m.j.Append(record(body))
		if err == nil {
			err = ticket.Wait(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		if ticket.Seq() <= m.last {
			t.Fatalf("sequence %d after %d", ticket.Seq(), m.last)
		}
		m.last = ticket.Seq()
		m.entries = append(m.entries, fmt.Sprintf("%d:%s", m.last, body))
	}
}

func (m *model) trim(t *rapid.T) {
	seq := rapid.Uint64Range(0, m.last).Draw(t, "up to")
	if err := m.j.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.j.Trim(ctx, seq); err != nil {
		t.Fatal(err)
	}
	m.trimmed = max(m.trimmed, seq)
	for len(m.entries) > 0 && m.seq(0) <= m.trimmed {
		m.entries = m.entries[1:]
	}
}

func (m *model) seq(i int) (seq uint64) {
	_, _ = fmt.Sscanf(m.entries[i], "%d:", &seq)
	return seq
}

func (m *model) reopen(t *rapid.T) {
	if err := m.j.Close(); err != nil {
		t.Fatal(err)
	}
	m.open(t)
}

// fail lets one append fail in one of its ways and resumes.
func (m *model) fail(t *rapid.T) {
	kind := rapid.SampledFrom([]string{"write", "sync", "truncate"}).Draw(t, "kind")
	part := rapid.IntRange(0, 100).Draw(t, "percent written")
	m.faults.set(func(f *faultFS) {
		if kind != "sync" || m.o.Fsync != FsyncAlways {
			f.onWrite = func(_ string, b []byte) (int, error) { return len(b) * part / 100, errDisk }
		} else {
			f.onSync = always(errDisk)
		}
		if kind == "truncate" {
			f.onTruncate = always(errDisk)
		}
	})
	ticket, err := m.j.Append(record("a record that fails"))
	if err == nil {
		err = ticket.Wait(ctx)
	}
	if !errors.Is(err, errDisk) {
		t.Fatalf("append: %v", err)
	}
	m.last = max(m.last, ticket.Seq())
	m.faults.set(func(f *faultFS) { f.onWrite, f.onSync, f.onTruncate = nil, nil, nil })
	if err := m.j.Resume(ctx, nil); err != nil {
		t.Fatal(err)
	}
}

func (m *model) kill(t *rapid.T) {
	if len(m.entries) == 0 {
		return
	}
	seq := m.seq(rapid.IntRange(0, len(m.entries)-1).Draw(t, "which"))
	r := record("dead")
	r.Seq = seq
	if err := m.j.DeadLetter(ctx, r, "ERR"); err != nil {
		t.Fatal(err)
	}
	m.dead[seq] = true
}

func (m *model) check(t *rapid.T) {
	r := m.j.NewReader(0)
	var got []string
	limit := rapid.IntRange(1, 20).Draw(t, "limit")
	size := rapid.IntRange(1, 5000).Draw(t, "size")
	for {
		records, err := r.Next(ctx, limit, size)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			break
		}
		for _, rec := range records {
			got = append(got, fmt.Sprintf("%d:%s", rec.Seq, rec.Body))
			if m.j.IsDead(rec.Seq) != m.dead[rec.Seq] {
				t.Fatalf("record %d: dead is %v", rec.Seq, m.j.IsDead(rec.Seq))
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, " ") != strings.Join(m.entries, " ") {
		t.Fatalf("%d entries, want %d", len(got), len(m.entries))
	}
	s := m.j.Stats()
	if s.Dead != uint64(len(m.dead)) || s.Lost != 0 || s.Entries < int64(len(m.entries)) {
		t.Fatalf("stats %+v, want %d entries and %d dead", s, len(m.entries), len(m.dead))
	}
	if len(m.entries) == 0 && (s.Entries != 0 || s.Bytes != 0) {
		t.Fatalf("stats of an empty journal: %+v", s)
	}
}
