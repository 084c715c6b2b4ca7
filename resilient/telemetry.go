package resilient

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// instrumentation is the name under which the metrics are registered.
const instrumentation = "github.com/holdfast-cache/holdfast/resilient"

// metricKind is how a metric behaves over time.
type metricKind uint8

const (
	metricInvalid metricKind = iota
	metricGauge              // goes up and down
	metricCounter            // only rises
)

// metricDef describes one metric. docs/metrics.md is made of this table.
type metricDef struct {
	name, unit, help string
	kind             metricKind
	// value reads it. The state has its own way: one series for each state.
	value func(Stats) float64
}

const metricState = "holdfast.shard.state"

var metricDefs = []metricDef{
	{metricState, "{shard}", "1 for the state that the shard is in (attribute `state`), 0 for the others.", metricGauge, nil},
	{"holdfast.journal.entries", "{entry}", "Deferred writes that are not yet in the primary and its replicas.", metricGauge,
		func(s Stats) float64 { return float64(s.Entries) }},
	{"holdfast.journal.size", "By", "Size of those writes in the journal.", metricGauge,
		func(s Stats) float64 { return float64(s.Bytes) }},
	{"holdfast.journal.oldest_age", "s", "Age of the oldest of those writes; 0 without any.", metricGauge,
		func(s Stats) float64 { return s.OldestAge.Seconds() }},
	{"holdfast.overlay.keys", "{key}", "Keys with deferred writes.", metricGauge,
		func(s Stats) float64 { return float64(s.OverlayKeys) }},
	{"holdfast.overlay.size", "By", "Memory held for those keys.", metricGauge,
		func(s Stats) float64 { return float64(s.OverlayBytes) }},
	{"holdfast.writes.deferred", "{write}", "Writes accepted into the journal.", metricCounter,
		func(s Stats) float64 { return float64(s.Deferred) }},
	{"holdfast.commands.refused", "{command}", "Commands refused with a CommandError.", metricCounter,
		func(s Stats) float64 { return float64(s.Refused) }},
	{"holdfast.commands.in_doubt", "{command}", "Commands answered with ErrInDoubt.", metricCounter,
		func(s Stats) float64 { return float64(s.InDoubt) }},
	{"holdfast.writes.replayed", "{write}", "Deferred writes that a primary executed.", metricCounter,
		func(s Stats) float64 { return float64(s.Replayed) }},
	{"holdfast.writes.expired", "{write}", "Deferred writes whose key's deadline had passed when their turn came.", metricCounter,
		func(s Stats) float64 { return float64(s.Expired) }},
	{"holdfast.writes.dead_lettered", "{write}", "Deferred writes that a server rejected and that are kept aside.", metricCounter,
		func(s Stats) float64 { return float64(s.DeadLettered) }},
	{"holdfast.writes.unconfirmed", "{write}", "Replayed writes that fewer replicas confirmed than asked for.", metricCounter,
		func(s Stats) float64 { return float64(s.Unconfirmed) }},
}

// registerMetrics announces the metrics. They are read when a reader collects
// them; commands pay nothing for them.
func registerMetrics(c *Client, provider metric.MeterProvider) (metric.Registration, error) {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter(instrumentation)
	instruments := make([]metric.Float64Observable, len(metricDefs))
	all := make([]metric.Observable, len(metricDefs))
	for i, d := range metricDefs {
		var err error
		if d.kind == metricCounter {
			instruments[i], err = meter.Float64ObservableCounter(d.name, metric.WithUnit(d.unit), metric.WithDescription(d.help))
		} else {
			instruments[i], err = meter.Float64ObservableGauge(d.name, metric.WithUnit(d.unit), metric.WithDescription(d.help))
		}
		if err != nil {
			return nil, fmt.Errorf("resilient: metric %s: %w", d.name, err)
		}
		all[i] = instruments[i]
	}
	states := make([]metric.MeasurementOption, len(stateNames))
	for i, name := range stateNames {
		states[i] = metric.WithAttributeSet(attribute.NewSet(attribute.String("state", name)))
	}
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s, current := c.Stats(), c.State().State
		for i, d := range metricDefs {
			if d.value != nil {
				o.ObserveFloat64(instruments[i], d.value(s))
				continue
			}
			for state := range states {
				value := 0.0
				if State(state) == current {
					value = 1
				}
				o.ObserveFloat64(instruments[i], value, states[state])
			}
		}
		return nil
	}, all...)
}
