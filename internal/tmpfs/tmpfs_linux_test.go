package tmpfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDiskIsAsSmallAsSaid(t *testing.T) {
	if !Isolated(t) {
		return
	}
	dir := Mount(t, "size=64k")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, make([]byte, 256<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("256 KiB on a disk of 64: %v", err)
	}
	Remount(t, dir, 0, "size=1m")
	if err := os.WriteFile(file, make([]byte, 256<<10), 0o600); err != nil {
		t.Errorf("256 KiB on a disk of 1 MiB: %v", err)
	}
	Remount(t, dir, syscall.MS_RDONLY, "")
	if err := os.Remove(file); !errors.Is(err, syscall.EROFS) {
		t.Errorf("on a disk that is read-only: %v", err)
	}
}

// What is mounted there, nobody sees here.
func TestMountsAreItsOwn(t *testing.T) {
	mounts := func() int {
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(b), " - tmpfs "+source+" ")
	}
	before := mounts()
	if Isolated(t) {
		Mount(t, "size=64k")
		if after := mounts(); after != before+1 {
			t.Errorf("%d mounts, before %d", after, before)
		}
		return
	}
	if after := mounts(); after != before {
		t.Errorf("%d mounts, before %d", after, before)
	}
}
