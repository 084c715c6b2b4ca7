package replay

import (
	"fmt"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// A batch must not be executed before the replies of the one before it are here, but it
// may be on the server by then: its MULTI and its entries are sent while the batch in
// flight is executed, and queued there. Queued they have no effect. What has one is the
// EXEC, which follows, with the fence, when the replies have come and are good. If the
// connection ends, the server forgets what is queued; if the batch in flight turns out
// not to be applied, the session ends, or DISCARD takes back what is queued.
//
// So the server is never idle for the time that replies and the next batch are on
// their way, nor, as the batch behind that one is read and encoded beforehand, for the
// time that reading the journal takes.

// aheadFor is how old a batch that is queued may become. Which form an entry has, by its
// deadlines, is found out when it is read, and is good for a second from then on: that
// is the margin of the journal's forms. Of an older batch it is found out again.
const aheadFor = 100 * time.Millisecond

// mayQueue reports whether a batch may be queued behind the one in flight. It may not
// where something has to happen between the two: waiting for the pace, or comparing
// keys, which is not possible within a transaction.
func (r *Replayer) mayQueue() bool {
	return r.pacing.off && r.pacing.held.over() && r.conflicts == nil
}

// over reports whether nothing is held back any more.
func (h *attachment) over() bool {
	if h == nil {
		return true
	}
	select {
	case <-h.open:
		return true
	default:
		return false
	}
}

// queueNext has the server queue the batch behind the one in flight, if there is one and
// it may be, and makes the one behind that ready: this is the time to read the journal in,
// while the server is at work.
func (r *Replayer) queueNext(s *session) error {
	if s.queued || !r.mayQueue() {
		return nil
	}
	if !s.isReady && !r.makeReady(s, s.batch.last) {
		return nil
	}
	s.next, s.ready = s.ready, s.next
	s.queued, s.isReady, s.queuedAt = true, false, s.readyAt
	// Reading comes first, and takes less time than executing. The server sends its
	// answers when it has worked off what it has read at a time, some 16 KiB: small
	// entries that came right behind the EXEC would be queued before its answers are on
	// their way, and then the server would wait for the next EXEC.
	r.makeReady(s, s.next.last)
	if err := s.c.send(s.next.buf); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return nil
}

// makeReady reads and encodes the batch behind a sequence, if there is one. What keeps
// it from being read comes again when its turn has come.
func (r *Replayer) makeReady(s *session, after uint64) bool {
	// The journal's bytes are valid until the next Read.
	s.batch.settle()
	if s.queued {
		s.next.settle()
	}
	s.readyAt = time.Now()
	found, err := r.fill(&s.ready, after, false)
	s.isReady = found && err == nil
	if s.isReady {
		s.ready.encodeHead()
	}
	return s.isReady
}

// takeQueued makes the batch that is queued the one to deliver. false: there is none, or
// it was so old that it has been taken back.
func (r *Replayer) takeQueued(s *session) (bool, error) {
	if !s.queued {
		return false, nil
	}
	if time.Since(s.queuedAt) > r.aheadFor {
		return false, s.withdraw(r.fence)
	}
	s.batch, s.next = s.next, s.batch
	s.queued, s.headSent = false, true
	return true, nil
}

// withdraw takes back the batch that is queued, and watches the fence again, as DISCARD
// ends that too.
func (s *session) withdraw(fence string) error {
	s.queued, s.isReady = false, false
	s.c.out = resp.AppendCommandStrings(s.c.out[:0], "DISCARD")
	s.c.out = resp.AppendCommandStrings(s.c.out, "WATCH", fence)
	s.c.out = resp.AppendCommandStrings(s.c.out, "GET", fence)
	if err := s.c.send(s.c.out); err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	multi, err := s.c.status()
	// Which of the entries could not be queued is found out when they are sent again.
	for i := 0; i < len(s.next.parts) && err == nil; i++ {
		_, err = s.c.status()
	}
	discard, watch := "", ""
	if err == nil {
		discard, err = s.c.status()
	}
	if err == nil {
		watch, err = s.c.status()
	}
	var after fenceValue
	if err == nil {
		after, err = s.c.fence()
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	case multi != "":
		return refused("MULTI", multi)
	case discard != "" || watch != "" || after != s.fence:
		return errReread
	}
	return nil
}
