package journal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
)

// Progress is what the owner wants to remember of a replay. It is a hint for
// the next process; the truth is the fence in Redis.
type Progress struct {
	// Acked is the last sequence that a primary is known to have executed.
	Acked uint64
	// ReplID and RunID name that primary's data set and process, up to 55 bytes.
	ReplID, RunID string
}

// Progress file: two slots of 256 bytes at 0 and 4096, written in turn and in
// place, so that a torn write leaves the other one and a full disk doesn't
// matter. The valid one with the higher generation counts.
//
//	  0  8  magic "HOLDPROG"
//	  8  2  format version, 1
//	 16 16  client id
//	 32 16  start of the SHA-256 of the target; zero: none
//	 48  8  generation
//	 56  8  acked
//	 64  8  trimmed
//	 72  8  the highest sequence given out
//	 88 56  replication id: length, bytes
//	144 56  run id: length, bytes
//	252  4  checksum of bytes 0 to 251
const (
	progressName = "progress"
	slotSize     = 256
	slotSpacing  = 4096
	maxIDBytes   = 55
)

var progressMagic = [8]byte{'H', 'O', 'L', 'D', 'P', 'R', 'O', 'G'}

// slot is the content of one slot.
type slot struct {
	client                           ClientID
	target                           [16]byte
	generation, acked, trimmed, last uint64
	replID, runID                    string
}

func (s slot) encode() []byte {
	b := make([]byte, slotSize)
	copy(b, progressMagic[:])
	le.PutUint16(b[8:], formatVersion)
	copy(b[16:], s.client[:])
	copy(b[32:], s.target[:])
	le.PutUint64(b[48:], s.generation)
	le.PutUint64(b[56:], s.acked)
	le.PutUint64(b[64:], s.trimmed)
	le.PutUint64(b[72:], s.last)
	b[88] = byte(copy(b[89:144], s.replID))
	b[144] = byte(copy(b[145:200], s.runID))
	le.PutUint32(b[252:], crc32.Checksum(b[:252], castagnoli))
	return b
}

// parseSlot decodes b[:slotSize]. The error is errBadHeader or wraps
// ErrNewerFormat.
func parseSlot(b []byte) (slot, error) {
	if [8]byte(b) != progressMagic || le.Uint32(b[252:]) != crc32.Checksum(b[:252], castagnoli) {
		return slot{}, errBadHeader
	}
	if v := le.Uint16(b[8:]); v > formatVersion {
		return slot{}, fmt.Errorf("%w: version %d, this release reads up to %d", ErrNewerFormat, v, formatVersion)
	}
	if b[88] > maxIDBytes || b[144] > maxIDBytes {
		return slot{}, errBadHeader
	}
	return slot{
		client: ClientID(b[16:32]), target: [16]byte(b[32:48]),
		generation: le.Uint64(b[48:]), acked: le.Uint64(b[56:]),
		trimmed: le.Uint64(b[64:]), last: le.Uint64(b[72:]),
		replID: string(b[89 : 89+b[88]]), runID: string(b[145 : 145+b[144]]),
	}, nil
}

// readProgress reads the newer slot of f that is valid and client's. The error is errBadHeader,
// wraps ErrNewerFormat or is f's.
func readProgress(f file, client ClientID) (slot, error) {
	var best slot
	err := errBadHeader
	for i := range int64(2) {
		b := make([]byte, slotSize)
		if _, readErr := f.ReadAt(b, i*slotSpacing); readErr != nil {
			continue // a damaged file may be short; the other slot decides
		}
		s, slotErr := parseSlot(b)
		switch {
		case errors.Is(slotErr, ErrNewerFormat):
			return slot{}, slotErr
		case slotErr == nil && s.client == client && (err != nil || s.generation > best.generation):
			best, err = s, nil
		}
	}
	return best, err
}

// targetHash is what a progress file keeps of Options.Target.
func targetHash(target string) (h [16]byte) {
	if target == "" {
		return h
	}
	sum := sha256.Sum256([]byte(target))
	return [16]byte(sum[:16])
}

// Progress is the progress that was last acknowledged, by an earlier process
// too.
func (j *Journal) Progress() Progress {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.progress
}

// Acknowledge remembers p. It does not wait: p is written soon, and synced with
// the next Sync, with the next Trim that gives disk back, or by Close.
func (j *Journal) Acknowledge(p Progress) error {
	if len(p.ReplID) > maxIDBytes || len(p.RunID) > maxIDBytes {
		return fmt.Errorf("journal: progress: an id is longer than %d bytes: pass what INFO gave", maxIDBytes)
	}
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return ErrClosed
	}
	changed := j.progress != p
	j.progress = p
	j.unsaved = j.unsaved || changed
	j.mu.Unlock()
	if changed {
		j.signal()
	}
	return nil
}

// saveProgress writes the progress if it has changed, and syncs it if sync is
// set. Called by the writer goroutine.
func (j *Journal) saveProgress(sync bool) error {
	j.saveLedger(sync)
	j.mu.Lock()
	unsaved := j.unsaved
	s := slot{
		client: j.id, target: j.w.target, acked: j.progress.Acked, trimmed: j.trimmed,
		last: j.next - 1, replID: j.progress.ReplID, runID: j.progress.RunID,
	}
	j.unsaved = false
	j.mu.Unlock()
	if j.w.progress == nil {
		return nil
	}
	if unsaved {
		s.generation = j.w.generation + 1
		if j.w.progressDirty {
			// Without a sync between them, a crash could tear the writes of both
			// slots: the other one must stay as it is.
			s.generation++
		}
		if _, err := j.w.progress.WriteAt(s.encode(), int64(s.generation%2)*slotSpacing); err != nil {
			j.markUnsaved()
			return fmt.Errorf("journal: the progress could not be written: %w", err)
		}
		j.w.generation = s.generation
		j.w.progressDirty = true
	}
	if sync && j.w.progressDirty {
		if err := j.w.progress.sync(); err != nil {
			j.markUnsaved() // this slot is in doubt; the next attempt writes it again
			return fmt.Errorf("journal: the progress could not be synced: %w", err)
		}
		j.w.progressDirty = false
	}
	return nil
}

func (j *Journal) markUnsaved() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unsaved = true
}
