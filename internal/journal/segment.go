package journal

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	suffixSegment = ".seg"
	suffixDead    = ".dead"
	suffixDamaged = ".damaged"
)

func fileName(seq uint64, suffix string) string { return fmt.Sprintf("%020d%s", seq, suffix) }

// parseFileName reads what fileName wrote.
func parseFileName(name, suffix string) (seq uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	return seq, err == nil && seq > 0
}

// markSpacing is how many bytes of a segment share one mark.
const markSpacing = 64 << 10

// mark is a place in a segment where a batch begins.
type mark struct {
	seq uint64 // the batch's first sequence
	off int64
	at  int64 // when that record was accepted, Unix milliseconds
}

// segment is one file of records. The fields of the first group never change,
// the others are guarded by Journal.mu.
type segment struct {
	name       string
	base, prev uint64
	salt       uint64

	end     int64  // the bytes before it are committed
	last    uint64 // the last committed sequence; prev when there is none
	marks   []mark // in order, the first batch's always
	known   uint64 // what is missing up to here has been counted as lost
	damaged bool   // records are missing: kept aside, not removed
}

// addBatch notes a batch committed at off.
func (s *segment) addBatch(off int64, first, last uint64, at int64, end int64) {
	if n := len(s.marks); n == 0 || off-s.marks[n-1].off >= markSpacing {
		s.marks = append(s.marks, mark{seq: first, off: off, at: at})
	}
	s.end, s.last = end, last
}

// find is the mark from which a scan reaches seq.
func (s *segment) find(seq uint64) mark {
	i := sort.Search(len(s.marks), func(i int) bool { return s.marks[i].seq > seq })
	if i == 0 {
		return mark{seq: 0, off: headerSize}
	}
	return s.marks[i-1]
}

// pending is what s holds above trimmed. Bytes are exact to a mark, entries
// but for what damage took, oldest is no later than the true one.
func (s *segment) pending(trimmed uint64) (entries, bytes int64, oldest time.Time) {
	if s.last <= trimmed || len(s.marks) == 0 {
		return 0, 0, time.Time{}
	}
	from := max(trimmed+1, s.marks[0].seq)
	m := s.find(from)
	return int64(s.last - from + 1), s.end - m.off, time.UnixMilli(m.at)
}
