//go:build unix

package journal

import (
	"errors"
	"os"
	"syscall"
)

// syncDir makes the entries of the directory last.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

// isFull reports whether err says that the disk or a quota is used up.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
