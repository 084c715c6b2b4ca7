package tmpfs

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// ownEnv marks the process that may mount what it likes.
const ownEnv = "HOLDFAST_TEST_MOUNTS"

// source is what a list of mounts calls ours.
const source = "holdfast"

// Isolated runs the calling test, which has no parent, once more in a process whose
// mounts, open files and limits are nobody else's, and reports how that went; there it
// returns true, and elsewhere false, upon which the test is to return. Where neither
// root nor a user namespace may mount, the test fails: a full disk can't be had
// otherwise.
func Isolated(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownEnv) != "" {
		return true
	}
	out, err := again(t, 0)
	if errors.Is(err, syscall.EPERM) {
		out, err = again(t, syscall.CLONE_NEWUSER)
	}
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Fatal("this test mounts a small file system: run it as root, or where user namespaces are allowed")
	case err != nil:
		t.Fatalf("the test in its own mounts: %v\n%s", err, out)
	case !strings.Contains(out, "--- PASS: "+t.Name()):
		t.Fatalf("the test did not run in its own mounts\n%s", out)
	}
	return false
}

// again runs the test in a mount namespace and those that flags name.
func again(t *testing.T, flags uintptr) (out string, err error) {
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), ownEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | flags}
	if flags != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// Mount mounts a tmpfs bounded by options, such as "size=128k" or "nr_inodes=5", which
// goes with the test. Call it where Isolated is true.
func Mount(t *testing.T, options string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatalf("private mounts: %v", err)
	}
	mount(t, dir, 0, options)
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// Remount gives what Mount mounted other flags, such as syscall.MS_RDONLY, and other
// options; of those that it does not name the old ones stay.
func Remount(t *testing.T, dir string, flags uintptr, options string) {
	t.Helper()
	mount(t, dir, syscall.MS_REMOUNT|flags, options)
}

func mount(t *testing.T, dir string, flags uintptr, options string) {
	t.Helper()
	if err := syscall.Mount(source, dir, "tmpfs", flags, options); err != nil {
		t.Fatalf("mount %s: %v", options, err)
	}
}
