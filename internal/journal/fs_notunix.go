//go:build !unix

package journal

import (
	"errors"
	"os"
	"syscall"
)

// syncDir does nothing: a directory can't be synced here, its entries are
// written with the file system's own log.
func syncDir(string) error { return nil }

// Windows: ERROR_HANDLE_DISK_FULL and ERROR_DISK_FULL.
const (
	errHandleDiskFull = syscall.Errno(39)
	errDiskFull       = syscall.Errno(112)
)

// isFull reports whether err says that the disk is used up.
func isFull(err error) bool {
	return errors.Is(err, errHandleDiskFull) || errors.Is(err, errDiskFull)
}

// shareWithOwner does nothing: here a file's access is its directory's.
func shareWithOwner(*os.File) error { return nil }
