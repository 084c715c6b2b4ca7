package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// The names of what bounds the peers. In the first two one goroutine writes and
// syncs groups, with no callers to take records from and to wake; the third has
// them.
const (
	rawName         = "raw"
	rawReservedName = "raw-reserved"
	rawGroupName    = "raw-group"
)

// work is one cell of the comparison: so many callers append records of a size.
type work struct {
	size, callers int
}

var works = []work{
	{size: 100, callers: 1},
	{size: 100, callers: 8},
	{size: 100, callers: 64},
	{size: 100, callers: 1024},
	{size: 1024, callers: 1},
	{size: 1024, callers: 8},
	{size: 1024, callers: 64},
	{size: 1024, callers: 1024},
}

// rate is what one measurement found.
type rate struct {
	appends int64
	took    time.Duration
	mallocs uint64
}

// line is the measurement as a Go benchmark prints it.
func (r rate) line(w work, peer string) string {
	per := func(x float64) float64 { return x / float64(r.appends) }
	return fmt.Sprintf("BenchmarkAppend/size=%d/callers=%d/peer=%s %d %.1f ns/op %.0f appends/s %.2f allocs/op",
		w.size, w.callers, peer, r.appends, per(float64(r.took.Nanoseconds())),
		float64(r.appends)/r.took.Seconds(), per(float64(r.mallocs)))
}

// candidates are the names of all that is measured by appends.
func candidates() []string {
	names := []string{rawName, rawReservedName}
	for _, p := range appenders {
		names = append(names, p.name)
	}
	return names
}

// measureAppends runs one peer on w in a directory below parent, which is gone
// when it returns.
func measureAppends(parent, name string, w work, warmup, window time.Duration) (_ rate, err error) {
	dir, err := os.MkdirTemp(parent, name)
	if err != nil {
		return rate{}, err
	}
	defer func() {
		err = errors.Join(err, os.RemoveAll(dir))
		settle()
	}()
	settle()
	runtime.GC()
	if name == rawName || name == rawReservedName {
		return measureRaw(dir, w, name == rawReservedName, warmup, window)
	}
	p, err := peerNamed(appenders, name)
	if err != nil {
		return rate{}, err
	}
	s, err := p.open(dir, w.callers)
	if err != nil {
		return rate{}, err
	}
	r, err := measureStore(s, w, warmup, window)
	return r, errors.Join(err, s.close())
}

// counter counts one caller's appends, on a cache line of its own.
type counter struct {
	n atomic.Int64
	_ [56]byte
}

func total(counters []counter) (sum int64) {
	for i := range counters {
		sum += counters[i].n.Load()
	}
	return sum
}

// measureStore lets w.callers append until the time is over. What happens in
// the warm-up does not count: files are made and buffers grow in it.
func measureStore(s store, w work, warmup, window time.Duration) (rate, error) {
	counters := make([]counter, w.callers)
	errs := make([]error, w.callers)
	var over atomic.Bool
	var wg sync.WaitGroup
	for i := range w.callers {
		wg.Go(func() {
			record := make([]byte, w.size)
			for j := range record {
				record[j] = byte(i + j)
			}
			for !over.Load() {
				if errs[i] = s.append(record); errs[i] != nil {
					return
				}
				counters[i].n.Add(1)
			}
		})
	}
	r := observe(func() int64 { return total(counters) }, warmup, window)
	over.Store(true)
	wg.Wait()
	return r, errors.Join(errs...)
}

// measureRaw is measureStore for the loop.
func measureRaw(dir string, w work, reserve bool, warmup, window time.Duration) (rate, error) {
	loop, err := newRawFile(dir, reserve)
	if err != nil {
		return rate{}, err
	}
	group := make([]byte, batchHeaderBytes+w.callers*(recordHeaderBytes+w.size))
	for i := range group {
		group[i] = byte(i)
	}
	var done atomic.Int64
	var over atomic.Bool
	var stepErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		for !over.Load() {
			if stepErr = loop.commit(group); stepErr != nil {
				return
			}
			done.Add(int64(w.callers))
		}
	})
	r := observe(done.Load, warmup, window)
	over.Store(true)
	wg.Wait()
	return r, errors.Join(stepErr, loop.file.Close())
}

// observe reads count before and after the window.
func observe(count func() int64, warmup, window time.Duration) rate {
	var before, after runtime.MemStats
	<-time.After(warmup)
	runtime.ReadMemStats(&before)
	start, n := time.Now(), count()
	<-time.After(window)
	n, took := count()-n, time.Since(start)
	runtime.ReadMemStats(&after)
	return rate{appends: n, took: took, mallocs: after.Mallocs - before.Mallocs}
}
