//go:build !linux

package journal

import "os"

// syncData is File.Sync, which on macOS asks the drive itself (F_FULLFSYNC).
func syncData(f *os.File) error { return f.Sync() }
