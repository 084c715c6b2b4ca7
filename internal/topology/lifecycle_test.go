package topology

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestMonitorLifecycle(t *testing.T) {
	t.Run("before start", func(t *testing.T) {
		m := NewMonitor(Options{})
		if v := m.View(); v.State != StateUnknown || v.Live {
			t.Errorf("%+v", v)
		}
		m.Close()
		m.Close()
		m.Start(t.Context())
		m.Signal(Signal{Kind: SignalHung})
		select {
		case <-m.Changed():
		default:
			t.Error("Changed of a closed monitor blocks")
		}
	})
	t.Run("without probe or seeds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, seeds := range [][]string{nil, {"a:1"}} {
				m := NewMonitor(Options{Seeds: seeds, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
				m.Start(t.Context())
				m.Start(t.Context())
				if v := m.View(); v.State != StateUnreachable {
					t.Errorf("seeds %v: %+v", seeds, v)
				}
				m.Close()
			}
		})
	})
	t.Run("first round dropped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := group()
			m := NewMonitor(Options{Seeds: []string{"a:1"}, Probe: f.probe})
			defer m.Close()
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			m.Start(ctx)
			if v := m.View(); v.State != StateUnknown {
				t.Errorf("decided by a round that was cut short: %+v", v)
			}
			waitState(t, m, StateHealthy)
		})
	})
	t.Run("close in mid-round", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := group()
			f.before = func(ctx context.Context, _ string) { <-ctx.Done() }
			m := NewMonitor(Options{Seeds: []string{"a:1"}, Probe: f.probe})
			started := make(chan struct{})
			go func() { m.Start(t.Context()); close(started) }()
			synctest.Wait()
			begin := time.Now()
			m.Close()
			<-started
			if d := time.Since(begin); d != 0 {
				t.Errorf("Close took %s", d)
			}
		})
	})
}

// TestMonitorConcurrently is for the race detector: everything at once, then an end.
func TestMonitorConcurrently(t *testing.T) {
	f := group()
	m := startMonitor(t, f, Options{Interval: 20 * time.Millisecond, OnChange: func(Change) {}, OnReplay: func(ReplayOrder) {}})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 200 {
				m.Signal(Signal{Kind: SignalKind(1 + (i+j)%6), Addr: "a:1"})
				m.Backlog(j%3 == 0)
				v := m.View()
				m.ReplayReady(uint64(j), v.Primary.RunID)
				m.ReplayStopped(uint64(j), StopReason(j%4))
				m.Drained(uint64(j))
				if v.Live != v.State.Live() {
					t.Error("a view contradicts itself")
				}
			}
		})
	}
	for range 5 {
		if err := m.WaitRound(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	m.Close()
}

func BenchmarkView(b *testing.B) {
	f := group()
	m := NewMonitor(Options{Seeds: []string{"a:1"}, Probe: f.probe})
	m.Start(b.Context())
	defer m.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !m.View().Live {
				b.Error("not live")
			}
		}
	})
}
