package topology

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// costOf counts what a node has been through: connections of clients now, and reads of requests so far.
func costOf(t *testing.T, n *redistest.Node) (conns, reads int) {
	t.Helper()
	list, err := n.Do(t.Context(), "client", "list", "type", "normal")
	must(t, err)
	text, _ := list.(string)
	info, err := n.Do(t.Context(), "info", "stats")
	must(t, err)
	stats, _ := info.(string)
	return strings.Count(text, "\n"), int(number(infoFields(stats)["total_reads_processed"], -1))
}

// A probe costs one connection a node and at most one request a second while healthy, counted by the
// servers themselves, at the default interval, whose jitter makes it one in 0.9 s at most.
func TestProbesCostOneConnectionAndOneRequestASecond(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	s := redistest.StartSentinelT(t, g, redistest.SentinelOptions{})
	primary := g.Node(0)
	p, sp := NewProber(&redis.Options{}), NewSentinelProber(nil, s.Name())
	conns, _ := costOf(t, primary)
	m := NewMonitor(Options{
		Config: Config{MasterName: s.Name()}, Sentinels: []string{s.Addr()},
		Probe: p.Probe, ProbeSentinel: sp.Probe, Timeout: patience,
	})
	defer func() {
		m.Close()
		must(t, p.Close())
		must(t, sp.Close())
	}()
	m.Start(t.Context())
	if v := m.View(); !v.Live || len(v.Nodes) != 2 {
		t.Fatalf("%+v", v)
	}
	asked := func() int {
		info, err := primary.Do(t.Context(), "info", "commandstats")
		must(t, err)
		text, _ := info.(string)
		calls, _, _ := strings.Cut(strings.TrimPrefix(infoFields(text)["cmdstat_role"], "calls="), ",")
		return int(number(calls, 0))
	}
	first, begin := asked(), time.Now()
	redistest.Eventually(t, patience, "some rounds", func() bool { return asked() >= first+4 })
	rounds, took := asked()-first, time.Since(begin)
	if most := took.Seconds()/0.9 + 1; float64(rounds) > most {
		t.Errorf("%d requests in %s, at most %.1f", rounds, took, most)
	}
	now, _ := costOf(t, primary)
	if now != conns+1 {
		t.Errorf("%d connections, %d before the monitor", now, conns)
	}
	t.Logf("%d requests in %s on %d connection", rounds, took.Round(time.Millisecond), now-conns)
}

// All of a probe goes in one write: a server that is asked reads once.
func TestAProbeIsOneRequest(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{})
	p := NewProber(nil)
	defer p.Close()
	probe := func(times int) {
		for range times {
			if n := p.Probe(t.Context(), g.Node(0).Addr()); !n.Answered() {
				t.Fatalf("%+v", n)
			}
		}
	}
	probe(1) // the handshake
	_, before := costOf(t, g.Node(0))
	_, idle := costOf(t, g.Node(0))
	probe(10)
	_, after := costOf(t, g.Node(0))
	if reads := after - idle - (idle - before); reads != 10 {
		t.Errorf("%d reads for 10 probes", reads)
	}
}
