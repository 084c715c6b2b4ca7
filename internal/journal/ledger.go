package journal

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// The ledger is the account of how deferred writes ended: files
// <number>.ledger of kind 3, framed as the records are. The entries of a file
// count from 1. An entry's Body:
//
//	 0  1  outcome
//	 1  1  flags: 1 mended
//	 2  8  from, the first sequence
//	10  8  to, the last sequence
//	18     fields, each: tag (1), length (2), bytes; unknown tags are passed over
//
// Tags: 1 run id, 2 replication id, 3 detail. The framing's time is the fate's.
//
// It is written before the mark that makes it the last word, Progress and
// trimmed, and synced with it. What a crash takes of its end costs detail, never
// truth: that is the fence in Redis.
const (
	kindLedger   = 3
	suffixLedger = ".ledger"

	fateFixed  = 18
	fateField  = 3
	fateMended = 1 << 0

	tagRunID  = 1
	tagReplID = 2
	tagDetail = 3

	maxDetailBytes = 1 << 10
)

const (
	// A ledger file of this size, or of an eighth of the retention's age, is
	// followed by another: the ledger is pruned by the file.
	maxLedgerFile = 1 << 20
	// All ledger files together; beyond it the oldest go before their time.
	maxLedgerBytes = 64 << 20
	// Fates that wait for a disk which takes none; beyond it the oldest go.
	maxQueuedFates = 1 << 16
	// So many fates are written without waiting for further work of the writer.
	manyFates = 1 << 10
	// After a failure the ledger is left alone for this long.
	ledgerPause = time.Second
)

// Outcome is how a deferred write ended. The zero value is invalid. The values
// are part of the format: none is ever changed or used again.
type Outcome uint8

// The outcomes.
const (
	// OutcomeReplayed: a primary executed it and, where replicas were asked for,
	// they confirmed it.
	OutcomeReplayed Outcome = 1
	// OutcomeUnconfirmed: a primary executed it, but too few replicas confirmed it
	// in time.
	OutcomeUnconfirmed Outcome = 2
	// OutcomeSuperseded: it was left out, as a later write made it void.
	OutcomeSuperseded Outcome = 3
	// OutcomeExpired: its key's deadline had passed before it could be replayed.
	OutcomeExpired Outcome = 4
	// OutcomeConflicted: it was set aside as a dead letter, as the server's value had
	// changed.
	OutcomeConflicted Outcome = 5
	// OutcomeDeadLettered: it was set aside as a dead letter.
	OutcomeDeadLettered Outcome = 6
	// OutcomeDiscarded: an operator ended it.
	OutcomeDiscarded Outcome = 7
	// OutcomeDiverged: a primary executed it, and answered otherwise than its caller
	// had been answered. Detail says where too few replicas confirmed it in time.
	OutcomeDiverged Outcome = 8
)

var outcomeNames = [...]string{
	"", "replayed", "unconfirmed", "superseded", "expired", "conflicted", "dead-lettered", "discarded", "diverged",
}

// String is the outcome in a word, of one that a newer version knows its number.
func (o Outcome) String() string {
	if o > 0 && int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// ParseOutcome reads what String wrote.
func ParseOutcome(s string) (Outcome, bool) {
	for o, name := range outcomeNames {
		if name == s && o > 0 {
			return Outcome(o), true
		}
	}
	return 0, false
}

// Fate is an entry of the ledger: how the writes From to To, both included,
// ended.
type Fate struct {
	From, To uint64
	Outcome  Outcome
	// Mended says that the fate is of a dead letter that was taken up again.
	Mended bool
	// At is when it happened, kept to the millisecond. Record fills in a zero.
	At time.Time
	// RunID and ReplID name the primary's process and data set, where one took
	// part, up to 55 bytes each.
	RunID, ReplID string
	// Detail is a word more for people, without keys and values; at most 1024
	// bytes of it are kept.
	Detail string
}

// Plain reports whether f says of a range what is usual. Whatever is unusual
// overrides it, in whichever order the two were recorded.
func (f *Fate) Plain() bool {
	return !f.Mended && (f.Outcome == OutcomeReplayed || f.Outcome == OutcomeUnconfirmed)
}

// ends reports whether f says of writes that they are not to be executed any more.
func (f *Fate) ends() bool {
	return f.Outcome == OutcomeDiscarded || f.Outcome == OutcomeDeadLettered || f.Outcome == OutcomeConflicted
}

// continues reports whether f says of the writes right behind to what before
// says of those up to there.
func (f *Fate) continues(before *Fate) bool {
	return f.From == before.To+1 && f.Outcome == before.Outcome && f.Mended == before.Mended &&
		f.RunID == before.RunID && f.ReplID == before.ReplID && f.Detail == before.Detail
}

func (f *Fate) check() error {
	switch {
	case f.Outcome == 0:
		return errors.New("journal: a fate needs an outcome")
	case f.From == 0 || f.To < f.From || f.To == 1<<64-1:
		return fmt.Errorf("journal: a fate of the records %d to %d: name a range", f.From, f.To)
	case len(f.RunID) > maxIDBytes || len(f.ReplID) > maxIDBytes:
		return fmt.Errorf("journal: a fate's id is longer than %d bytes: pass what INFO gave", maxIDBytes)
	}
	return nil
}

// appendTo appends the Body of the entry for f.
func (f *Fate) appendTo(dst []byte) []byte {
	flags := byte(0)
	if f.Mended {
		flags |= fateMended
	}
	dst = append(dst, byte(f.Outcome), flags)
	dst = le.AppendUint64(dst, f.From)
	dst = le.AppendUint64(dst, f.To)
	for _, field := range [...]struct {
		tag  byte
		text string
	}{{tagRunID, f.RunID}, {tagReplID, f.ReplID}, {tagDetail, f.Detail}} {
		if field.text != "" {
			dst = le.AppendUint16(append(dst, field.tag), uint16(len(field.text)))
			dst = append(dst, field.text...)
		}
	}
	return dst
}

// parseFate reads an entry of the ledger. false: it is none, or one that this
// version can say nothing about.
func parseFate(r Record) (f Fate, ok bool) {
	b := r.Body
	if len(b) < fateFixed {
		return Fate{}, false
	}
	f = Fate{
		Outcome: Outcome(b[0]), Mended: b[1]&fateMended != 0,
		From: le.Uint64(b[2:]), To: le.Uint64(b[10:]), At: r.At,
	}
	for b = b[fateFixed:]; len(b) > 0; {
		if len(b) < fateField || len(b)-fateField < int(le.Uint16(b[1:])) {
			return Fate{}, false
		}
		tag, n := b[0], int(le.Uint16(b[1:]))
		text := string(b[fateField : fateField+n])
		switch tag {
		case tagRunID:
			f.RunID = text
		case tagReplID:
			f.ReplID = text
		case tagDetail:
			f.Detail = text
		}
		b = b[fateField+n:]
	}
	return f, f.check() == nil
}

// clip cuts s to limit bytes, not inside a character.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// keeps reports whether the journal keeps a ledger and finished segments at all.
func (j *Journal) keeps() bool { return !j.volatile && j.opts.Retention > 0 }

// Record enters f into the ledger. It does not wait: f is written with the next
// work of the writer and synced with the progress, by a Trim that gives a file
// back, Sync or Close. A ledger that can't be written keeps nothing else from
// being done; Stats tells. Without Dir or Retention there is no ledger, and
// Record does nothing. An error says that f is no fate.
func (j *Journal) Record(f Fate) error {
	if err := f.check(); err != nil {
		return err
	}
	if !j.keeps() {
		return nil
	}
	if f.At.IsZero() {
		f.At = time.Now()
	}
	f.Detail = clip(f.Detail, maxDetailBytes)
	j.mu.Lock()
	if n := len(j.fates); n > 0 && f.continues(&j.fates[n-1]) {
		j.fates[n-1].To, j.fates[n-1].At = f.To, f.At
		j.mu.Unlock()
		return nil
	}
	if len(j.fates) >= maxQueuedFates {
		j.counts.ledgerLost++
		j.fates = j.fates[1:]
	}
	j.fates = append(j.fates, f)
	many := len(j.fates) >= manyFates
	j.mu.Unlock()
	if many {
		j.signal()
	}
	return nil
}

// ledger is the writer goroutine's part of the ledger.
type ledger struct {
	file    file   // of this process; nil: none is open
	end     int64  // its committed bytes
	seq     uint64 // the last entry in it
	created time.Time
	newest  time.Time // of the last entry
	ends    uint64    // the highest sequence that it says is ended
	dirty   bool      // file holds bytes that were not synced
	retry   time.Time // not before this, after a failure

	next  uint64       // the number of the next file
	files []ledgerFile // the others, ascending
}

// ledgerFile is one that is not written any more.
type ledgerFile struct {
	name   string
	bytes  int64
	newest time.Time // nothing in it is newer
	ends   uint64    // the highest sequence, not trimmed when it was read, that it says is ended
}

// saveLedger writes the queued fates, and syncs them if sync is set. What fails
// stays queued, is counted, and is tried again a little later. Called by the
// writer goroutine.
func (j *Journal) saveLedger(sync bool) {
	l := &j.w.ledger
	if !j.keeps() || time.Now().Before(l.retry) {
		return
	}
	j.mu.Lock()
	fates := j.fates
	j.fates = nil
	j.mu.Unlock()
	err := j.writeFates(fates)
	if isFull(err) && j.releaseRetained(maxLedgerFile) > 0 {
		err = j.writeFates(fates)
	}
	if err == nil && sync && l.dirty {
		err = l.file.sync()
		l.dirty = err != nil
	}
	if err == nil {
		j.mu.Lock()
		j.ledgerErr = nil
		j.mu.Unlock()
		return
	}
	// What was written may or may not be there: the next attempt takes a fresh
	// file, and an entry that is there twice says nothing else than once.
	l.retry = time.Now().Add(ledgerPause)
	err = errors.Join(err, j.leaveLedger())
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ledgerErr = fmt.Errorf("journal: the ledger could not be written: %w", err)
	j.fates = append(fates, j.fates...)
	if over := len(j.fates) - maxQueuedFates; over > 0 {
		j.counts.ledgerLost += uint64(over)
		j.fates = j.fates[over:]
	}
}

// lastFates gives up the fates that wait still when the journal closes, and says so.
func (j *Journal) lastFates() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := len(j.fates)
	if n == 0 || !j.keeps() {
		return nil
	}
	j.counts.ledgerLost += uint64(n)
	j.fates = nil
	return fmt.Errorf("journal: %d entries of the ledger are lost: %w", n, j.ledgerErr)
}

// writeFates writes one batch.
func (j *Journal) writeFates(fates []Fate) error {
	l := &j.w.ledger
	for len(fates) > 0 {
		if err := j.enterLedger(); err != nil {
			return err
		}
		some := fates[:min(len(fates), manyFates)]
		buf, body := make([]byte, batchSize), []byte(nil)
		for i := range some {
			if some[i].ends() {
				l.ends = max(l.ends, some[i].To)
			}
			body = some[i].appendTo(body[:0])
			r := Record{At: some[i].At, Body: body}
			buf = appendRecord(buf, j.salt, l.seq+uint64(i)+1, &r)
		}
		batchHeader{
			length: uint32(len(buf) - batchSize), count: uint32(len(some)), first: l.seq + 1,
		}.put(buf, j.salt)
		l.dirty = true
		if _, err := l.file.WriteAt(buf, l.end); err != nil {
			return err
		}
		l.end += int64(len(buf))
		l.seq += uint64(len(some))
		l.newest = some[len(some)-1].At
		fates = fates[len(some):]
	}
	return nil
}

// enterLedger sees to it that there is a file to write to.
func (j *Journal) enterLedger() error {
	l := &j.w.ledger
	now := time.Now()
	if l.file != nil && (l.end >= maxLedgerFile || now.Sub(l.created) > j.opts.Retention/8+time.Minute) {
		if l.dirty {
			if err := l.file.sync(); err != nil {
				return err
			}
		}
		if err := j.leaveLedger(); err != nil {
			return err
		}
	}
	if l.file != nil {
		return nil
	}
	number := max(l.next, 1)
	l.next = number + 1
	f, err := j.newFile(fileName(number, suffixLedger), segmentHeader{
		kind: kindLedger, client: j.id, base: number, prev: number - 1, salt: j.salt, created: now,
	})
	if err != nil {
		return err
	}
	l.file, l.end, l.seq, l.created, l.newest, l.ends = f, headerSize, 0, now, now, 0
	return nil
}

// leaveLedger ends the writing of the file, if there is one.
func (j *Journal) leaveLedger() error {
	l := &j.w.ledger
	if l.file == nil {
		return nil
	}
	err := l.file.close()
	l.files = append(l.files, ledgerFile{name: fileName(l.next-1, suffixLedger), bytes: l.end, newest: l.newest, ends: l.ends})
	l.file, l.dirty = nil, false
	return err
}

// pruneLedger removes the files whose time is over, and the oldest beyond the
// bound. One that says of a record which is still there that it is ended stays: a
// later process passes over the record by it.
func (j *Journal) pruneLedger(now time.Time) {
	l := &j.w.ledger
	j.mu.Lock()
	trimmed := j.trimmed
	j.mu.Unlock()
	if l.file != nil && l.newest.Add(j.opts.Retention).Before(now) && !l.dirty {
		_ = j.leaveLedger() // all of it is synced, and about to go
	}
	total := l.end
	for _, f := range l.files {
		total += f.bytes
	}
	for len(l.files) > 0 {
		f := l.files[0]
		if f.ends > trimmed {
			return
		}
		if j.opts.Retention > 0 && !f.newest.Add(j.opts.Retention).Before(now) && total <= maxLedgerBytes {
			return
		}
		if !j.discardFile(f.name) {
			return
		}
		total -= f.bytes
		l.files = l.files[1:]
	}
}
