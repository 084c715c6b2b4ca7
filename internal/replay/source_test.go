package replay

import (
	"errors"
	"slices"
	"sync"
)

var errJournal = errors.New("the disk is gone")

// memSource is a journal in memory. It outlives its Replayers, as a directory
// outlives processes.
type memSource struct {
	mu          sync.Mutex // guards all fields
	entries     []Entry
	trimmed     uint64
	last        uint64
	prog        Progress
	dead        map[uint64]DeadLetter
	unconfirmed []uint64
	failTrim    bool
	failRead    bool
	failDead    bool
	owed        []DeadLetter // failed, and passed
	doubted     uint64       // the last entry of which it was told that it may have been applied
}

func newSource() *memSource { return &memSource{dead: map[uint64]DeadLetter{}} }

// add appends a command and returns its sequence.
func (m *memSource) add(args ...string) uint64 {
	return m.addRaw(command(args...), slices.Contains([]string{"SET", "DEL"}, args[0]))
}

func (m *memSource) addRaw(cmd []byte, repeatable bool) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	m.entries = append(m.entries, Entry{Seq: m.last, Cmd: cmd, Repeatable: repeatable})
	return m.last
}

func (m *memSource) Bounds() Bounds {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Bounds{Trimmed: m.trimmed, Last: m.last}
}

func (m *memSource) Read(dst []Entry, after uint64, maxEntries, maxBytes int) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failRead {
		return dst, errJournal
	}
	size := 0
	for _, e := range m.entries {
		if _, dead := m.dead[e.Seq]; dead || e.Seq <= after {
			continue
		}
		size += len(e.Cmd)
		more := len(dst) > 0 && dst[len(dst)-1].Seq == e.Seq // those of one sequence come at once
		if !more && (len(dst) >= maxEntries || len(dst) > 0 && size > maxBytes) {
			break
		}
		dst = append(dst, e)
	}
	return dst, nil
}

func (m *memSource) Progress() Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.prog
}

func (m *memSource) SaveProgress(p Progress) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prog = p
	return nil
}

// Doubt implements Doubter.
func (m *memSource) Doubt(_ uint16, upTo uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doubted = max(m.doubted, upTo)
}

var errUntold = errors.New("an entry is in doubt, and the source was not told")

func (m *memSource) DeadLetter(d DeadLetter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d.Reason == ReasonInDoubt && d.Seq > m.doubted {
		return errUntold
	}
	if m.failDead {
		if d.Passed {
			m.owed = append(m.owed, d)
		}
		return errJournal
	}
	m.dead[d.Seq] = d
	return nil
}

func (m *memSource) Trim(upTo uint64, confirmed bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failTrim {
		return errJournal
	}
	if !confirmed {
		m.unconfirmed = append(m.unconfirmed, upTo)
	}
	m.trimmed = max(m.trimmed, upTo)
	m.entries = slices.DeleteFunc(m.entries, func(e Entry) bool { return e.Seq <= upTo })
	return nil
}

func (m *memSource) fail(read, trim bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failRead, m.failTrim = read, trim
}

func (m *memSource) letters() map[uint64]DeadLetter {
	m.mu.Lock()
	defer m.mu.Unlock()
	letters := make(map[uint64]DeadLetter, len(m.dead))
	for seq, d := range m.dead {
		letters[seq] = d
	}
	return letters
}

// unconfirmedTrims is the ends of the trims that were not confirmed.
func (m *memSource) unconfirmedTrims() []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.unconfirmed)
}
