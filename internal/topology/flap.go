package topology

import "time"

// maxConfirmations bounds the rounds that a flapping primary needs. With the interval's pace it is
// about ten intervals until such a primary is used again.
const maxConfirmations = 16

// flap counts how often a primary was lost soon after its return.
type flap struct {
	returned time.Time // when the latest outage ended; zero before there was one
	out      bool      // an outage that rounds have confirmed has not ended
	times    int       // losses in a row soon after a return
}

// needed is how many good rounds in a row the primary needs. After a suspicion that no round has
// confirmed, flapping or not, it is no more than ever.
func (m *Machine) needed() int {
	if !m.flap.out {
		return m.cfg.Confirmations
	}
	return min(m.cfg.Confirmations<<m.flap.times, max(m.cfg.Confirmations, maxConfirmations))
}

// lose notes that a round, not only a signal, has found no primary where there was one: suspicions
// that prove false are no flapping.
func (m *Machine) lose() {
	f := &m.flap
	if f.out || m.last.IsZero() || m.cfg.FlapWindow < 0 {
		return
	}
	soon := m.at.Sub(f.returned) < m.cfg.FlapWindow
	if f.returned.IsZero() || !soon {
		f.times = 0
	} else if m.cfg.Confirmations<<f.times < maxConfirmations {
		f.times++
	}
	f.out = true
}

// settle notes the end of an outage.
func (m *Machine) settle(was State, at time.Time) {
	if m.flap.out && !was.Live() && m.state.Live() {
		m.flap.out, m.flap.returned = false, at
	}
}
