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
	name, unit string
	kind       metricKind
	help       string
	// value reads it. The state has its own way: one series for each state.
	value func(Stats) float64
}

const metricState = "holdfast.shard.state"

var metricDefs = []metricDef{
	{
		metricState, "{shard}", metricGauge, "1 for the state that the shard is in (attribute `state`), 0 for the others.",
		nil,
	},
	{
		"holdfast.journal.entries", "{entry}", metricGauge, "Deferred writes that are not yet in the primary and its replicas.",
		func(s Stats) float64 { return float64(s.Entries) },
	},
	{
		"holdfast.journal.size", "By", metricGauge, "Size of those writes in the journal.",
		func(s Stats) float64 { return float64(s.Bytes) },
	},
	{
		"holdfast.journal.oldest_age", "s", metricGauge, "Age of the oldest of those writes; 0 without any.",
		func(s Stats) float64 { return s.OldestAge.Seconds() },
	},
	{
		"holdfast.overlay.keys", "{key}", metricGauge, "Keys with deferred writes.",
		func(s Stats) float64 { return float64(s.OverlayKeys) },
	},
	{
		"holdfast.overlay.size", "By", metricGauge, "Memory held for those keys.",
		func(s Stats) float64 { return float64(s.OverlayBytes) },
	},
	{
		"holdfast.writes.deferred", "{write}", metricCounter, "Writes accepted into the journal.",
		func(s Stats) float64 { return float64(s.Deferred) },
	},
	{
		"holdfast.commands.refused", "{command}", metricCounter, "Commands refused with a CommandError.",
		func(s Stats) float64 { return float64(s.Refused) },
	},
	{
		"holdfast.commands.in_doubt", "{command}", metricCounter, "Commands answered with ErrInDoubt.",
		func(s Stats) float64 { return float64(s.InDoubt) },
	},
	{
		"holdfast.writes.replayed", "{write}", metricCounter, "Deferred writes that a primary executed.",
		func(s Stats) float64 { return float64(s.Replayed) },
	},
	{
		"holdfast.writes.merged", "{write}", metricCounter, "Of the replayed: executed as part of another one's command.",
		func(s Stats) float64 { return float64(s.Merged) },
	},
	{
		"holdfast.writes.diverged", "{write}", metricCounter, "Of the replayed: answered otherwise than their callers had been.",
		func(s Stats) float64 { return float64(s.Diverged) },
	},
	{
		"holdfast.replay.pace", "{entry}/s", metricGauge, "What the replays may send at present; 0 without a replay, or without a pace.",
		func(s Stats) float64 { return s.ReplayPace },
	},
	{
		"holdfast.writes.expired", "{write}", metricCounter, "Deferred writes whose key's deadline had passed when their turn came.",
		func(s Stats) float64 { return float64(s.Expired) },
	},
	{
		"holdfast.writes.dead_lettered", "{write}", metricCounter, "Deferred writes that a server rejected and that are kept aside.",
		func(s Stats) float64 { return float64(s.DeadLettered) },
	},
	{
		"holdfast.writes.conflicted", "{write}", metricCounter, "Of the dead-lettered: left out as somebody else had written their keys.",
		func(s Stats) float64 { return float64(s.Conflicted) },
	},
	{
		"holdfast.writes.unconfirmed", "{write}", metricCounter, "Replayed writes that fewer replicas confirmed than asked for.",
		func(s Stats) float64 { return float64(s.Unconfirmed) },
	},
	{
		"holdfast.journals.adopted", "{journal}", metricCounter, "Journals of dead processes that were replayed.",
		func(s Stats) float64 { return float64(s.Adopted) },
	},
	{
		"holdfast.journals.parked", "{journal}", metricGauge, "Journals of earlier processes that wait for a decision.",
		func(s Stats) float64 { return float64(s.Parked) },
	},
	{
		"holdfast.journal.retained", "By", metricGauge, "Size of replayed writes that are kept for the ledger.",
		func(s Stats) float64 { return float64(s.RetainedBytes) },
	},
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
