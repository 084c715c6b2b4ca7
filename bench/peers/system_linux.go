package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// syncData is fdatasync: the data and what is needed to find them.
func syncData(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// reserveSpace gives f the blocks from off on, and the size with them.
func reserveSpace(f *os.File, off, size int64) error {
	return syscall.Fallocate(int(f.Fd()), 0, off, size)
}

// settle waits until the file systems have written what earlier measurements
// left behind, deletions above all.
func settle() { syscall.Sync() }

// ticksPerSecond is the unit of /proc/stat, the same on every Linux that Go
// runs on.
const ticksPerSecond = 100

// cpuTimes are the processor time that all took and that this process took with
// the children that it has waited for. ok: the system tells.
func cpuTimes() (all, own time.Duration, ok bool) {
	f := strings.Fields(firstLine("/proc/stat"))
	if len(f) < 9 || f[0] != "cpu" {
		return 0, 0, false
	}
	for i, field := range f[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, false
		}
		if i != 3 && i != 4 {
			all += time.Duration(n) * time.Second / ticksPerSecond
		}
	}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			return 0, 0, false
		}
		own += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return all, own, true
}
