package journal

import (
	"errors"
	"fmt"
)

// The errors of this package; test for them with errors.Is. What the operating
// system said stays reachable behind them.
var (
	// ErrClosed says that the journal has been closed. The record was not written.
	ErrClosed = errors.New("journal: closed")

	// ErrFull says that a bound of Options, or the disk, leaves no room. The
	// record was not written and will not appear later.
	ErrFull = errors.New("journal: full")

	// ErrTooBig says that one record is above what the journal takes at all.
	// The record was not written.
	ErrTooBig = errors.New("journal: record too big")

	// ErrFailed says that the journal has stopped after a failed commit and
	// waits for Resume. The record was not written and will not appear later.
	ErrFailed = errors.New("journal: stopped after a failed commit")

	// ErrInDoubt says that nobody can know whether the record will be there
	// after a restart: its sync failed, or the caller stopped waiting for it.
	ErrInDoubt = errors.New("journal: the record may or may not have been kept")

	// ErrNewerFormat says that a file was written by a later version of this
	// package. It is left as it is.
	ErrNewerFormat = errors.New("journal: written in a newer format")

	// ErrOtherTarget says that a journal belongs to another target.
	ErrOtherTarget = errors.New("journal: belongs to another target")

	// ErrUnusable says that a journal directory lost what it needs to go on
	// under its client id. It is left as it is.
	ErrUnusable = errors.New("journal: directory cannot be used")

	// ErrInUse says that another open journal, of this process or another, holds
	// the directory.
	ErrInUse = errors.New("journal: in use")
)

// notWritten is the error for a record that certainly never reached the log
// because of cause.
func notWritten(cause error) error {
	if isFull(cause) {
		return fmt.Errorf("%w: no space left for the record, free some on the disk: %w", ErrFull, cause)
	}
	return fmt.Errorf("%w: the record was not written: %w", ErrFailed, cause)
}

// inDoubt is the error for a record whose fate is unknown because of cause.
func inDoubt(cause error) error {
	return fmt.Errorf("%w: %w", ErrInDoubt, cause)
}
