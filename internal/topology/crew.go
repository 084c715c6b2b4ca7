package topology

import (
	"context"
	"fmt"
	"time"
)

// crew asks many servers at once. It belongs to one goroutine at a time.
type crew[T any] struct {
	probe func(ctx context.Context, addr string) T
	// failed makes the report of a server that could not be asked.
	failed func(addr string, o Outcome, err error) T
	// late are probes that had not returned when their wave ended. Their servers are not asked again
	// before they do, or a probe that hangs would pile up.
	late    map[string]bool
	results chan handed[T] // from the probes, late ones too
}

type handed[T any] struct {
	addr   string
	report T
}

func newCrew[T any](probe func(context.Context, string) T, failed func(string, Outcome, error) T) *crew[T] {
	return &crew[T]{
		probe: probe, failed: failed, late: map[string]bool{},
		// Each address has at most one probe under way, so that probes need not wait to hand in.
		results: make(chan handed[T], rosterLimit),
	}
}

// wave probes some servers at once and returns a report for each.
func (k *crew[T]) wave(ctx context.Context, m *Monitor, addrs []string) map[string]T {
	ctx, cancel := context.WithTimeout(ctx, m.opts.Timeout)
	defer cancel()
	k.drainLate()
	waiting := map[string]bool{}
	for _, addr := range addrs {
		if !k.late[addr] {
			waiting[addr] = true
			m.wg.Go(func() {
				select {
				case k.results <- handed[T]{addr, k.ask(ctx, m, addr)}:
				case <-m.ctx.Done():
				}
			})
		}
	}
	// A probe that ends with its context knows best how far it came, so it gets a little longer.
	limit := time.NewTimer(m.opts.Timeout + m.opts.Timeout/4)
	defer limit.Stop()
	got := map[string]T{}
	for expired := false; len(waiting) > 0 && !expired; {
		select {
		case h := <-k.results:
			if k.late[h.addr] {
				delete(k.late, h.addr)
				continue
			}
			delete(waiting, h.addr)
			got[h.addr] = h.report
		case <-limit.C:
			expired = true
		case <-m.ctx.Done():
			expired = true // the round will be dropped
		}
	}
	for _, addr := range addrs {
		if _, ok := got[addr]; !ok {
			got[addr] = k.failed(addr, OutcomeTimeout, fmt.Errorf("topology: the probe has not returned within %s, so the node counts as not answering", m.opts.Timeout))
		}
		if waiting[addr] {
			k.late[addr] = true
		}
	}
	return got
}

// drainLate takes what probes of earlier rounds have handed in since: too old to tell anything, but
// their servers may be asked again.
func (k *crew[T]) drainLate() {
	for {
		select {
		case h := <-k.results:
			delete(k.late, h.addr)
		default:
			return
		}
	}
}

// ask calls the probe and holds it to its contract.
func (k *crew[T]) ask(ctx context.Context, m *Monitor, addr string) (report T) {
	defer func() {
		if r := recover(); r != nil {
			m.logPanic("Probe", r)
			report = k.failed(addr, OutcomeBroken, fmt.Errorf("topology: the probe panicked (%T)", r))
		}
	}()
	return k.probe(ctx, addr)
}
