//go:build unix

package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// shareWithOwner gives a file that root has just made to whom its directory belongs:
// the service goes on with what an operator's tool wrote. Others can't, and need not.
func shareWithOwner(f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	dir, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	own, err := f.Stat()
	if err != nil {
		return err
	}
	want, wanted := dir.Sys().(*syscall.Stat_t)
	have, had := own.Sys().(*syscall.Stat_t)
	if !wanted || !had || want.Uid == have.Uid && want.Gid == have.Gid {
		return nil
	}
	if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil {
		return fmt.Errorf("journal: a file can't be given to the owner of its directory, run as that user: %w", err)
	}
	return nil
}
