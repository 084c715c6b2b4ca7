//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package journal

import (
	"errors"
	"fmt"
	"os"
)

// lockFile refuses: without a lock two processes could write one journal.
func lockFile(path string) (*os.File, error) {
	return nil, fmt.Errorf("journal: no file locks on this platform, leave Dir empty: %w", errors.ErrUnsupported)
}
