package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkAppend is an append until it is committed, by so many callers.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range []string{"durable", "memory"} {
		for _, size := range []int{100, 1024} {
			for _, callers := range []int{1, 8, 64, 1024} {
				b.Run(fmt.Sprintf("%s/%dB/callers=%d", mode, size, callers), func(b *testing.B) {
					o := Options{MaxBytes: -1, MaxEntries: -1}
					if mode == "durable" {
						o.Dir = b.TempDir()
					}
					benchmarkAppend(b, o, size, callers)
				})
			}
		}
	}
}

func benchmarkAppend(b *testing.B, o Options, size, callers int) {
	j, _ := mustOpen(b, o)
	b.ReportAllocs()
	b.ResetTimer()
	appendAll(b, j, size, callers, b.N)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

// appendAll lets the callers append n records together, each waiting for its own.
func appendAll(b *testing.B, j *Journal, size, callers, n int) {
	r := Record{At: acceptedAt, Body: bytes.Repeat([]byte("x"), size)}
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				ticket, err := j.Append(r)
				if err == nil {
					err = ticket.Wait(ctx)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// rawLoop is the bound for a journal: it writes and syncs the same bytes in groups
// of the same size, and does nothing else.
type rawLoop struct {
	f     *os.File
	chunk []byte
	group int
	off   int64
}

func newRawLoop(b *testing.B, size, group int) *rawLoop {
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	return &rawLoop{f: f, chunk: bytes.Repeat([]byte("x"), batchSize+group*(recordSize+size)), group: group}
}

func (l *rawLoop) run(b *testing.B, n int) {
	for done := 0; done < n; done += l.group {
		if _, err := l.f.WriteAt(l.chunk, l.off); err != nil {
			b.Fatal(err)
		}
		if err := syncData(l.f); err != nil {
			b.Fatal(err)
		}
		if l.off += int64(len(l.chunk)); l.off > DefaultSegmentBytes {
			l.off = 0
			if err := l.f.Truncate(0); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkRawGroupedSync is the bound for BenchmarkAppend/durable.
func BenchmarkRawGroupedSync(b *testing.B) {
	for _, size := range []int{100, 1024} {
		for _, group := range []int{1, 8, 64, 1024} {
			b.Run(fmt.Sprintf("%dB/callers=%d", size, group), func(b *testing.B) {
				raw := newRawLoop(b, size, group)
				b.ResetTimer()
				raw.run(b, b.N)
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
}

// BenchmarkAgainstRaw runs both in turns, so that what else the disk has to do
// befalls both, and reports their medians and the ratio of these. An iteration is
// a turn of each.
func BenchmarkAgainstRaw(b *testing.B) {
	for _, size := range []int{100, 1024} {
		for _, callers := range []int{1, 8, 64, 1024} {
			b.Run(fmt.Sprintf("%dB/callers=%d", size, callers), func(b *testing.B) {
				j, _ := mustOpen(b, Options{Dir: b.TempDir(), MaxBytes: -1, MaxEntries: -1})
				raw := newRawLoop(b, size, callers)
				n := 60 * callers // short turns: a disk has its moods
				var ours, theirs []float64
				var before, after runtime.MemStats
				mallocs, turns := uint64(0), uint64(0)
				for b.Loop() {
					start := time.Now()
					raw.run(b, n)
					theirs = append(theirs, time.Since(start).Seconds())
					runtime.ReadMemStats(&before)
					start = time.Now()
					appendAll(b, j, size, callers, n)
					ours = append(ours, time.Since(start).Seconds())
					runtime.ReadMemStats(&after)
					mallocs += after.Mallocs - before.Mallocs
					turns++
					if err := j.Trim(ctx, 1<<60); err != nil {
						b.Fatal(err)
					}
				}
				slices.Sort(ours)
				slices.Sort(theirs)
				our, their := float64(n)/ours[len(ours)/2], float64(n)/theirs[len(theirs)/2]
				b.ReportMetric(our, "appends/s")
				b.ReportMetric(their, "raw/s")
				b.ReportMetric(our/their, "of-raw")
				b.ReportMetric(float64(mallocs)/float64(turns)/float64(n), "allocs/append")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

const benchmarkRecords = 1_000_000

// filled is the directory of a closed journal of a million records.
func filled(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	j, _ := mustOpen(b, Options{Dir: dir, Fsync: FsyncNo})
	r := Record{At: acceptedAt, Body: bytes.Repeat([]byte("x"), 100)}
	for range benchmarkRecords {
		if _, err := j.Append(r); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, j)
	return dir
}

// BenchmarkOpen is the recovery of a million records of 100 bytes.
func BenchmarkOpen(b *testing.B) {
	dir := filled(b)
	for b.Loop() {
		j, rec := mustOpen(b, Options{Dir: dir})
		if rec.Entries != benchmarkRecords {
			b.Fatalf("recovery: %+v", rec)
		}
		mustClose(b, j)
	}
}

// BenchmarkRead reads a million records of 100 bytes in batches of 500.
func BenchmarkRead(b *testing.B) {
	j, _ := mustOpen(b, Options{Dir: filled(b)})
	b.SetBytes(benchmarkRecords * 100)
	for b.Loop() {
		r := j.NewReader(1)
		n := 0
		for {
			records, err := r.Next(ctx, 500, 64<<10)
			if err != nil {
				b.Fatal(err)
			}
			if len(records) == 0 {
				break
			}
			n += len(records)
		}
		if n != benchmarkRecords {
			b.Fatalf("%d records", n)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
