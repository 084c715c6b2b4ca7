package journal

import (
	"errors"
	"os"
	"syscall"
)

// syncData uses fdatasync, which writes the metadata that reading the data back
// needs (such as the size) and spares the rest (such as the times).
func syncData(f *os.File) error {
	return control(f, "fdatasync", syscall.Fdatasync)
}

// allocate reserves the n bytes at off, which a file system may decline
// (EOPNOTSUPP), and makes the file that long: a sync of what is written there
// has no new size to record.
func allocate(f *os.File, off, n int64) error {
	return control(f, "fallocate", func(fd int) error { return syscall.Fallocate(fd, 0, off, n) })
}

// control runs call on f's descriptor, again as long as a signal interrupts it.
func control(f *os.File, op string, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) {
		for {
			callErr = call(int(fd))
			if !errors.Is(callErr, syscall.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if callErr != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: callErr}
	}
	return nil
}
