package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
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
	r := Record{At: acceptedAt, Body: bytes.Repeat([]byte("x"), size)}
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
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
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}

// BenchmarkRawGroupedSync is the bound for BenchmarkAppend/durable: a loop that
// writes and syncs the same bytes in groups of the same size.
func BenchmarkRawGroupedSync(b *testing.B) {
	for _, size := range []int{100, 1024} {
		for _, group := range []int{1, 8, 64, 1024} {
			b.Run(fmt.Sprintf("%dB/callers=%d", size, group), func(b *testing.B) {
				f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = f.Close() }()
				chunk := make([]byte, batchSize+group*(recordSize+size))
				off := int64(0)
				b.ResetTimer()
				for done := 0; done < b.N; done += group {
					if _, err := f.WriteAt(chunk, off); err != nil {
						b.Fatal(err)
					}
					if err := syncData(f); err != nil {
						b.Fatal(err)
					}
					if off += int64(len(chunk)); off > DefaultSegmentBytes {
						off = 0
						if err := f.Truncate(0); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
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
