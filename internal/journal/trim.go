package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Trim gives back the records up to seq: a Reader does not see them any more,
// and files that hold nothing else are removed. A seq above the last readable
// record stands for that. An error says that disk could not be given back; the
// records count as trimmed all the same, and a later Trim tries again.
func (j *Journal) Trim(ctx context.Context, seq uint64) error {
	return j.call(ctx, func() error { return j.trim(seq) })
}

func (j *Journal) trim(seq uint64) error {
	j.mu.Lock()
	if seq = min(seq, j.readable); seq > j.trimmed {
		j.trimmed = seq
		j.unsaved = true
		for s := range j.dead {
			if s <= seq {
				delete(j.dead, s)
			}
		}
	}
	seg := j.w.segment
	sealActive := seg != nil && seg.last >= seg.base && seg.last <= j.trimmed
	keep := 0
	for keep < len(j.segments) && j.segments[keep].last <= j.trimmed &&
		(sealActive || j.segments[keep] != seg) {
		keep++
	}
	j.w.doomed = append(j.w.doomed, j.segments[:keep]...)
	j.unsaved = j.unsaved || keep > 0
	j.segments = j.segments[keep:]
	j.recountLocked()
	j.mu.Unlock()

	if sealActive {
		j.seal()
	}
	if len(j.w.doomed) == 0 {
		return j.saveProgress(false)
	}
	// Without a segment the progress alone knows which sequences were used, so
	// it must be on the disk before the last one goes.
	if err := j.saveProgress(true); err != nil {
		return err
	}
	return j.removeDoomed()
}

// removeDoomed removes trimmed segments, the oldest first, so that a crash
// never leaves a hole.
func (j *Journal) removeDoomed() error {
	for len(j.w.doomed) > 0 {
		seg := j.w.doomed[0]
		j.mu.Lock()
		damaged := seg.damaged // a Reader may still be finding out
		j.mu.Unlock()
		var err error
		if damaged {
			err = j.fs.rename(seg.name, seg.name+suffixDamaged)
		} else {
			err = j.fs.remove(seg.name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("journal: a finished segment could not be removed: %w", err)
		}
		j.w.doomed = j.w.doomed[1:]
	}
	if err := j.fs.syncDir(); err != nil {
		return fmt.Errorf("journal: the directory could not be synced: %w", err)
	}
	return nil
}
