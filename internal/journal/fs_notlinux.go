//go:build !linux

package journal

import (
	"errors"
	"os"
)

// syncData is File.Sync, which on macOS asks the drive itself (F_FULLFSYNC).
func syncData(f *os.File) error { return f.Sync() }

// allocate declines: what other systems offer does not set the size, and so
// spares a sync nothing.
func allocate(*os.File, int64, int64) error { return errors.ErrUnsupported }
