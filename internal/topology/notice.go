package topology

import (
	"fmt"
	"log/slog"
)

// notice is one thing to tell: a change or a replay order.
type notice struct {
	change *Change
	order  *ReplayOrder
}

// noticeLocked queues a notice. The queue has no bound of its own: its pace is that of changes,
// which rounds make at most every minGap, and signals only between two rounds.
func (m *Monitor) noticeLocked(n notice) {
	m.notices = append(m.notices, n)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// noticeLoop tells notices in their order until the monitor is closed.
func (m *Monitor) noticeLoop() {
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.wake:
		}
		m.mu.Lock()
		pending := m.notices
		m.notices = nil
		m.mu.Unlock()
		for _, n := range pending {
			if m.ctx.Err() != nil {
				return
			}
			m.tell(n)
		}
	}
}

func (m *Monitor) tell(n notice) {
	defer func() {
		if r := recover(); r != nil {
			m.logPanic("OnChange or OnReplay", r)
		}
	}()
	switch {
	case n.change != nil && m.opts.OnChange != nil:
		m.opts.OnChange(*n.change)
	case n.order != nil && m.opts.OnReplay != nil:
		m.opts.OnReplay(*n.order)
	}
}

// logPanic logs the type of a panic's value only: the value itself is the user's and may hold data.
func (m *Monitor) logPanic(where string, r any) { logPanic(m.opts.Logger, where, r) }

func logPanic(log *slog.Logger, where string, r any) {
	log.Error("topology: a callback panicked; it was contained",
		slog.String("callback", where), slog.String("panic", fmt.Sprintf("%T", r)))
}
