package resilient

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Listener receives a client's events. Every field may be nil. The functions
// are called one after the other, outside all locks, from a goroutine of the
// client: a slow one delays later events and nothing else, and a panic in one
// is contained and logged.
type Listener struct {
	// StateChanged is called after the shard's state or its cause changed.
	StateChanged func(StateInfo)
	// RightsChanged is called when the client's Redis user is found to lack rights that
	// the replay needs, which switches deferral off, and when that has changed.
	RightsChanged func(RightsInfo)
	// ReplayBegin is called when a verified primary begins to take deferred
	// writes.
	ReplayBegin func(ReplayBeginInfo)
	// ReplayProgress is called while a replay goes on, once a second at most.
	ReplayProgress func(ReplayProgressInfo)
	// ConflictFound is called, with Options.Conflicts or ResolveConflict, for each key that
	// somebody else has written: before its deferred writes are replayed, or left out.
	ConflictFound func(ConflictInfo)
	// ReplayEnd is called when the backlog is empty, or the replay stopped
	// before that.
	ReplayEnd func(ReplayEndInfo)
	// JournalAdopted is called when the journal of a dead process is taken over,
	// beside the client's own, and its replay begins; again when an outage has
	// interrupted that, by whichever process then goes on with it.
	JournalAdopted func(JournalAdoptedInfo)
	// JournalDrained is called when an adopted journal has been replayed.
	JournalDrained func(JournalDrainedInfo)
	// JournalParked is called when the journal of an earlier process is found that is
	// not replayed by itself: see Client.Parked.
	JournalParked func(JournalParkedInfo)
	// JournalProblem is called for each fault that is found in the journal directory.
	JournalProblem func(JournalProblemInfo)
}

// StateInfo tells of a change of state.
type StateInfo struct {
	From, To ShardState
}

// String is one line for logs.
func (i StateInfo) String() string {
	return fmt.Sprintf("state %s -> %s", i.From.State, i.To)
}

// RightsInfo tells of the rights of the client's Redis user.
type RightsInfo struct {
	// Missing are those that the replay needs and the user lacks, such as "MULTI"; none
	// when all are there, so that deferral is on again.
	Missing []string
	// Shard is the one at whose servers it is so; empty where there is only one.
	Shard string
}

// String is one line for logs.
func (i RightsInfo) String() string {
	of := ""
	if i.Shard != "" {
		of = " for shard " + i.Shard
	}
	if len(i.Missing) == 0 {
		return "deferral is on again" + of + ": the user has the rights that the replay needs"
	}
	return "deferral is off" + of + ": the user lacks the rights to " + strings.Join(i.Missing, ", ") + "; grant them"
}

// ReplayBeginInfo tells of a replay that begins.
type ReplayBeginInfo struct {
	Primary string // the address replayed to
	Entries int    // the backlog at this moment
	Bytes   int64
}

// String is one line for logs.
func (i ReplayBeginInfo) String() string {
	return fmt.Sprintf("replay begins: %d entries, %d bytes, to %s", i.Entries, i.Bytes, i.Primary)
}

// ReplayEndInfo tells of a replay that ended.
type ReplayEndInfo struct {
	Primary      string
	Replayed     uint64 // entries executed in this replay
	DeadLettered uint64 // entries that the server rejected in this replay
	Diverged     uint64 // entries that it answered otherwise than their callers had been
	Remaining    int    // entries still in the journal; 0 after a full drain
	Took         time.Duration
	Err          error // why it stopped early; nil after a full drain
}

// String is one line for logs.
func (i ReplayEndInfo) String() string {
	if i.Err != nil {
		return fmt.Sprintf("replay to %s stopped: %d replayed, %d dead-lettered%s, %d remain: %v",
			i.Primary, i.Replayed, i.DeadLettered, otherwise(i.Diverged), i.Remaining, i.Err)
	}
	return fmt.Sprintf("replay to %s done: %d replayed, %d dead-lettered%s", i.Primary, i.Replayed, i.DeadLettered, otherwise(i.Diverged))
}

// otherwise says how many writes diverged, if any.
func otherwise(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d answered otherwise", n)
}

// JournalAdoptedInfo tells of the journal of a dead process whose replay begins.
type JournalAdoptedInfo struct {
	ID             string // the name of its directory
	Entries        int
	Oldest, Newest time.Time // when the first and the last of its writes were accepted
}

// String is one line for logs.
func (i JournalAdoptedInfo) String() string {
	return fmt.Sprintf("journal %s adopted: %d entries from %s to %s", i.ID, i.Entries,
		i.Oldest.UTC().Format(time.RFC3339), i.Newest.UTC().Format(time.RFC3339))
}

// JournalDrainedInfo tells of an adopted journal that has been replayed.
type JournalDrainedInfo struct {
	ID           string
	Replayed     uint64 // entries executed
	DeadLettered uint64 // entries that the server rejected
	Diverged     uint64 // entries that it answered otherwise than their callers had been; 0 over a Cluster or a Ring
	Took         time.Duration
}

// String is one line for logs.
func (i JournalDrainedInfo) String() string {
	return fmt.Sprintf("journal %s drained: %d replayed, %d dead-lettered%s", i.ID, i.Replayed, i.DeadLettered, otherwise(i.Diverged))
}

// JournalParkedInfo tells of a journal that waits for a decision.
type JournalParkedInfo struct {
	Journal ParkedJournal
}

// String is one line for logs.
func (i JournalParkedInfo) String() string { return i.Journal.String() }

// JournalProblemInfo tells of a fault in the journal directory.
type JournalProblemInfo struct {
	Problem string // a sentence, without keys and values
}

// String is one line for logs.
func (i JournalProblemInfo) String() string { return i.Problem }

// events tells the listener, in order, from one goroutine of its own.
type events struct {
	listener Listener
	log      *slog.Logger

	mu     sync.Mutex // guards queue and closed
	queue  []func()
	closed bool
	wake   chan struct{} // of capacity 1
	done   chan struct{} // closed when the goroutine has ended
}

func newEvents(l Listener, log *slog.Logger) *events {
	e := &events{listener: l, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go e.loop()
	return e
}

func (e *events) stateChanged(i StateInfo) {
	level := slog.LevelInfo
	if i.To.State == StateNoPrimary || i.To.State == StateUnreachable {
		level = slog.LevelWarn
	}
	e.log.Log(context.Background(), level, i.String(), slog.String("diagnosis", i.To.Diagnosis))
	post(e, e.listener.StateChanged, i)
}

func (e *events) rightsChanged(i RightsInfo) {
	level := slog.LevelInfo
	if len(i.Missing) > 0 {
		level = slog.LevelError
	}
	e.log.Log(context.Background(), level, i.String())
	post(e, e.listener.RightsChanged, i)
}

func (e *events) replayBegin(i ReplayBeginInfo) {
	e.log.Info(i.String())
	post(e, e.listener.ReplayBegin, i)
}

// conflictFound logs nothing: what is left out is logged as a dead letter.
func (e *events) conflictFound(i ConflictInfo) { post(e, e.listener.ConflictFound, i) }

func (e *events) replayEnd(i ReplayEndInfo) {
	e.log.Info(i.String())
	post(e, e.listener.ReplayEnd, i)
}

func (e *events) journalAdopted(i JournalAdoptedInfo) {
	e.log.Info(i.String())
	post(e, e.listener.JournalAdopted, i)
}

func (e *events) journalDrained(i JournalDrainedInfo) {
	e.log.Info(i.String())
	post(e, e.listener.JournalDrained, i)
}

func (e *events) journalParked(i JournalParkedInfo) {
	e.log.Warn(i.String() + "; confirm it with Client.ReplayParked or journalctl, or discard it")
	post(e, e.listener.JournalParked, i)
}

func (e *events) journalProblem(i JournalProblemInfo) {
	e.log.Error(i.String())
	post(e, e.listener.JournalProblem, i)
}

func post[T any](e *events, f func(T), info T) {
	if f == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.queue = append(e.queue, func() { f(info) })
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *events) loop() {
	defer close(e.done)
	for range e.wake {
		e.mu.Lock()
		queue, closed := e.queue, e.closed
		e.queue = nil
		e.mu.Unlock()
		for _, f := range queue {
			e.tell(f)
		}
		if closed {
			return
		}
	}
}

func (e *events) tell(f func()) {
	defer func() {
		if p := recover(); p != nil {
			// The value is the application's and may quote data.
			e.log.Error("a listener panicked; it was contained", slog.String("panic", fmt.Sprintf("%T", p)))
		}
	}()
	f()
}

// close tells what is queued and ends the goroutine, without waiting for a
// listener that is still busy: it may be the one that closes the client.
func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.closed = true
	select {
	case e.wake <- struct{}{}:
	default:
	}
}
