//go:build !linux

package main

import (
	"errors"
	"os"
	"time"
)

func syncData(f *os.File) error { return f.Sync() }

func reserveSpace(*os.File, int64, int64) error { return errors.ErrUnsupported }

func settle() {}

func cpuTimes() (all, own time.Duration, ok bool) { return 0, 0, false }
