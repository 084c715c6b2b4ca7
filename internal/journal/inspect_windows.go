package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockHeld reports whether somebody holds the lock that lockFile takes.
func lockHeld(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	held := errors.Is(err, windows.ERROR_LOCK_VIOLATION)
	if held {
		err = nil
	}
	return held, errors.Join(err, f.Close())
}
