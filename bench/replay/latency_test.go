package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

func TestTrials(t *testing.T) {
	p := latencyPlan{flushers: "1,32", paces: "off,default,700"}
	trials, err := p.trials()
	if err != nil || len(trials) != 6 || trials[5] != (trial{32, "700"}) {
		t.Errorf("trials %v, %v", trials, err)
	}
	for _, p := range []latencyPlan{{flushers: "0", paces: "off"}, {flushers: "x", paces: "off"}, {flushers: "1", paces: "slow"}, {flushers: "1", paces: "-2"}} {
		if _, err := p.trials(); err == nil {
			t.Errorf("%+v: no error", p)
		}
	}
}

func TestQuantile(t *testing.T) {
	var v []time.Duration
	if got := quantile(v, 0.99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for i := range 100 {
		v = append(v, time.Duration(i)*time.Microsecond)
	}
	for q, want := range map[float64]float64{0.5: 50, 0.99: 99, 1: 99} {
		if got := quantile(v, q); got != want {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
}

func TestLatencyTable(t *testing.T) {
	const line = " 5 200 p50-us 900 p99-us 3000 max-us 100 idle-p50-us 300 idle-p99-us 1000 idle-max-us 3.00 p99-ratio 10.00 drain-s 100000 entries/s\n"
	var idle, busy []time.Duration // of three commands each
	for _, us := range []time.Duration{100, 100, 300} {
		idle = append(idle, us*time.Microsecond)
	}
	for _, us := range []time.Duration{200, 200, 900} {
		busy = append(busy, us*time.Microsecond)
	}
	all, err := parse(strings.NewReader("# noise\n" +
		"BenchmarkLatency/flushers=8/pace=default/op=GET" + line + "BenchmarkLatency/flushers=8/pace=default/op=SET" + line +
		trialLines(1_000_000, trial{8, "off"}, [len(ops)][]time.Duration{idle, idle}, [len(ops)][]time.Duration{busy, busy}, 10*time.Second, 0) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := `| journals at once, pace | GET p50, p99 | of the idle p99 | SET p50, p99 | of the idle p99 | entries, thousand/s | a million takes |
| --- | --- | --- | --- | --- | --- | --- |
| 8, off | 0.20, 0.90 ms | 3.0 (3.0–3.0) | 0.20, 0.90 ms | 3.0 (3.0–3.0) | 100 | 10.0 s |
| 8, default | 0.20, 0.90 ms | 3.0 (3.0–3.0) | 0.20, 0.90 ms | 3.0 (3.0–3.0) | 100 | 10.0 s |
| idle | 0.10, 0.30 ms | 1 | 0.10, 0.30 ms | 1 | | |
`
	if got := latencyTable(all); got != want {
		t.Errorf("the table is\n%s\nwant\n%s", got, want)
	}
}

func TestOthersBesideADrain(t *testing.T) {
	g := redistest.StartT(t, redistest.Options{})
	ctx := context.Background()
	l, err := loadNamed("mix")
	if err != nil {
		t.Fatal(err)
	}
	drain, err := readyToDrain(ctx, &job{load: l, n: 2000, addr: g.Node(0).Addr()}, 0)
	if err != nil {
		t.Fatal(err)
	}
	o, err := startOthers(g.Node(0).Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := drain(); err != nil {
		t.Error(err)
	}
	redistest.Eventually(t, 10*time.Second, "both ops to be measured", func() bool {
		times := o.take()
		return len(times[0]) > 0 && len(times[1]) > 0
	})
	if err := o.stop(); err != nil {
		t.Error(err)
	}
	if times := o.take(); len(times[0]) > 0 && times[0][0] <= 0 {
		t.Errorf("a GET took %v", times[0][0])
	}
	if _, err := loadNamed("nothing"); err == nil {
		t.Error("there is a load of that name")
	}
}
