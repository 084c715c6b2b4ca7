package resilient_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// campaignWrite is what a process told of a write.
type campaignWrite struct {
	fate    string
	at      int64
	by      int // the process
	replies []string
}

// acknowledged reports whether the write was said to be made, now or later.
func (w campaignWrite) acknowledged() bool {
	return w.fate == campaignDeferred || w.fate == campaignEstimated || w.fate == campaignLive
}

// String tells what helps to find out how it came to be.
func (w campaignWrite) String() string {
	return fmt.Sprintf("%s by process %d at %s", w.fate, w.by, time.Unix(0, w.at).UTC().Format(campaignClock))
}

// campaignClock is how times are told: as the servers' logs do.
const campaignClock = "15:04:05.000"

// campaignHistory is all that was told of a writer's writes. Of numbers that are missing in
// it nothing was told: the process was killed.
type campaignHistory struct {
	w      campaignWriter
	shard  int
	last   int // the highest number
	writes map[int]campaignWrite
}

// campaignLedger is what was told of all writers. Safe for concurrent use.
type campaignLedger struct {
	mu     sync.Mutex // guards what follows
	of     map[int]*campaignHistory
	fates  map[string]int
	faults []string // errors that are none of the expected
}

func (l *campaignLedger) add(w campaignWriter, shard int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[w.ID] == nil {
		l.of[w.ID] = &campaignHistory{w: w, shard: shard, writes: make(map[int]campaignWrite)}
	}
}

// told enters a line of a process.
func (l *campaignLedger) told(by int, fields []string) error {
	if len(fields) < 5 {
		return fmt.Errorf("a line of %d fields", len(fields))
	}
	id, err := strconv.Atoi(fields[1])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(fields[2])
	if err != nil {
		return err
	}
	w := campaignWrite{fate: fields[3], by: by, replies: fields[5:]}
	if w.at, err = strconv.ParseInt(fields[4], 10, 64); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.of[id]
	h.writes[n], h.last = w, max(h.last, n)
	l.fates[w.fate]++
	if w.fate == campaignFailed {
		l.faults = append(l.faults, strings.Join(fields, " "))
	}
	return nil
}

// next is where a successor of a killed process goes on: after all that it may have begun,
// also when it was killed before it told of anything.
func (l *campaignLedger) next(id int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.of[id]
	h.last += campaignRun + 1
	return h.last
}

// campaignVerdict is what the comparison has found.
type campaignVerdict struct {
	missing, doubled, misordered, wrong int
	lost                                int // by Redis's own replication
	made                                int // though in doubt, or untold
	notes                               []string
}

func (v *campaignVerdict) note(format string, args ...any) {
	if len(v.notes) < 40 {
		v.notes = append(v.notes, fmt.Sprintf(format, args...))
	}
}

// campaignJudge compares the writes of one writer's span with what is in Redis.
type campaignJudge struct {
	*campaignVerdict
	losses []lossTime // of the history's shard
	h      *campaignHistory
	span   int
}

// judge compares everything.
func (l *campaignLedger) judge(ctx context.Context, world *campaignWorld) (*campaignVerdict, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	world.mu.Lock()
	defer world.mu.Unlock()
	reader, losses := world.reader(ctx), world.losses()
	v := new(campaignVerdict)
	for _, h := range l.of {
		for span := range h.last/campaignSpan + 1 {
			j := campaignJudge{v, losses[h.shard], h, span}
			if err := j.compare(ctx, reader); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func (j *campaignJudge) compare(ctx context.Context, c redis.UniversalClient) error {
	at := j.span * campaignSpan
	p := c.Pipeline()
	list := p.LRange(ctx, j.h.w.key("list", at), 0, -1)
	units := p.LRange(ctx, j.h.w.key("unit-list", at), 0, -1)
	stream := p.XRange(ctx, j.h.w.key("stream", at), "-", "+")
	text := p.Get(ctx, j.h.w.key("text", at))
	counter := p.Get(ctx, j.h.w.key("counter", at))
	unitCounter := p.Get(ctx, j.h.w.key("unit-counter", at))
	hash := p.HGet(ctx, j.h.w.key("hash", at), "n")
	unitHash := p.HGet(ctx, j.h.w.key("unit-hash", at), "n")
	for _, cmd := range must2(p.Exec(ctx)) {
		if err := cmd.Err(); err != nil && err != redis.Nil { //nolint:errorlint // the bare sentinel is a reply
			return fmt.Errorf("can't read what the servers have of writer %d: %w", j.h.w.ID, err)
		}
	}
	j.series(campaignPush, list.Val(), 0)
	j.series(campaignMulti, units.Val(), 1)
	var entries []string
	for _, m := range stream.Val() {
		entries = append(entries, fmt.Sprint(m.Values["n"]))
	}
	j.series(campaignStream, entries, -1) // the ids that were promised are estimates
	j.text(text.Val())
	j.total(campaignIncr, counter.Val(), 0)
	j.total(campaignHash, hash.Val(), 0)
	if a, b := unitCounter.Val(), unitHash.Val(); a != b || a != strconv.Itoa(len(units.Val())) && a+strconv.Itoa(len(units.Val())) != "0" {
		j.wrong++
		j.note("writer %d: the parts of its transactions are %s, %s and %d", j.h.w.ID, a, b, len(units.Val()))
	}
	return nil
}

// must2 is the commands of a pipeline; each of them has its own error.
func must2(cmds []redis.Cmder, _ error) []redis.Cmder { return cmds }

// bounds are the numbers of the span.
func (j *campaignJudge) bounds() (from, to int) {
	return j.span * campaignSpan, min((j.span+1)*campaignSpan, j.h.last+campaignRun+1)
}

// series compares the numbers that a list or a stream holds, in their order. The reply of
// a write that is told at the position at (-1: none is) was the length of the list.
func (j *campaignJudge) series(kind campaignKind, have []string, at int) {
	where, previous, lost := make(map[int]int, len(have)), -1, false
	for i, text := range have {
		n, err := strconv.Atoi(text)
		if err != nil || campaignKindOf(j.h.w.ID, n) != kind {
			j.wrong++
			j.note("writer %d, kind %d: %q at %d was never written", j.h.w.ID, kind, text, i)
			continue
		}
		if before, ok := where[n]; ok {
			j.doubled++
			j.note("writer %d, kind %d: %d stands at %d and %d of %d", j.h.w.ID, kind, n, before, i, len(have))
			continue
		}
		where[n] = i
		w, told := j.h.writes[n]
		switch {
		case !told, w.fate == campaignDoubt:
			j.made++
			continue
		case w.fate == campaignRefused:
			j.wrong++
			j.note("writer %d, kind %d: %d was refused and made: %v", j.h.w.ID, kind, n, w.replies)
			continue
		}
		if n < previous {
			j.misordered++
			j.note("writer %d, kind %d: %d (%v) comes after %d (%v), at %d of %d", j.h.w.ID, kind, n, w, previous, j.h.writes[previous], i, len(have))
		}
		previous = max(previous, n)
	}
	from, to := j.bounds()
	for n := from; n < to; n++ {
		w := j.h.writes[n]
		if campaignKindOf(j.h.w.ID, n) != kind || !w.acknowledged() {
			continue
		}
		i, ok := where[n]
		if !ok {
			lost = j.gone(kind, n, w) || lost
			continue
		}
		if at >= 0 && !lost && w.fate != campaignEstimated && w.replies[at] != strconv.Itoa(i+1) {
			j.wrong++
			j.note("writer %d, kind %d: %d (%v) is at %d, and was told %v", j.h.w.ID, kind, n, w, i+1, w.replies)
		}
	}
}

// gone enters a write that was acknowledged and is not there, and reports whether Redis
// lost it.
func (j *campaignJudge) gone(kind campaignKind, n int, w campaignWrite) bool {
	if w.fate == campaignLive && j.mayBeLost(w.at) {
		j.lost++
		return true
	}
	j.missing++
	j.note("writer %d, kind %d: %d (%v) is missing", j.h.w.ID, kind, n, w)
	return false
}

// mayBeLost reports whether Redis itself may have lost what it acknowledged at that time.
func (j *campaignJudge) mayBeLost(at int64) bool {
	return slices.ContainsFunc(j.losses, func(l lossTime) bool { return l.from <= at && at <= l.to })
}

// text compares the string, which has the number of the last write.
func (j *campaignJudge) text(have string) {
	n, err := strconv.Atoi(have)
	if err != nil {
		n = -1
	}
	from, to := j.bounds()
	for next := max(from, n+1); next < to; next++ {
		w := j.h.writes[next]
		if campaignKindOf(j.h.w.ID, next) != campaignSet || !w.acknowledged() {
			continue
		}
		j.gone(campaignSet, next, w)
	}
	if w, told := j.h.writes[n]; n >= 0 && told && w.fate == campaignRefused {
		j.wrong++
		j.note("writer %d: the string %d was refused and made", j.h.w.ID, n)
	}
}

// total compares a counter with what its writer was told. Where Redis may have lost
// increments of its own, or where it is not known whether one was made, the next reply
// may tell of fewer, or more.
func (j *campaignJudge) total(kind campaignKind, have string, at int) {
	from, to := j.bounds()
	value, loose, soft := 0, 0, 0 // as told last; may have been made since; may have been lost so far
	compare := func(what string, got, step int) {
		if d := got - value - step; d > loose {
			j.doubled += d - loose
			j.note("writer %d, kind %d: %s is %d after %d and at most %d more", j.h.w.ID, kind, what, got, value, loose+step)
		} else if d < -soft {
			j.missing += -soft - d
			j.note("writer %d, kind %d: %s is %d after %d, of which %d may be lost", j.h.w.ID, kind, what, got, value, soft)
		}
	}
	for n := from; n < to; n++ {
		if campaignKindOf(j.h.w.ID, n) != kind {
			continue
		}
		switch w, told := j.h.writes[n]; {
		case !told, w.fate == campaignDoubt:
			loose++
		case w.acknowledged(): // counters are not estimated, they are refused
			got, _ := strconv.Atoi(w.replies[at]) // 0 is far from right
			compare(fmt.Sprintf("%d (%v)", n, w), got, 1)
			value, loose = got, 0
			if w.fate == campaignLive && j.mayBeLost(w.at) {
				soft++
			}
		}
	}
	got, _ := strconv.Atoi(have)
	compare("the value in Redis", got, 0)
}
