package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Times of the Sentinels of a stage. What takes them three minutes by default
// takes seconds.
const (
	stageDownAfter  = time.Second
	stageFailover   = 4 * time.Second
	stageInfoPeriod = time.Second
)

// sentinelScenarios are those that Sentinels end by themselves, as soon as they can.
func sentinelScenarios() []Scenario {
	// Sentinels believe a primary that calls itself a replica only after two INFO
	// periods: asked more often they end it in seconds.
	eager := func(ctx context.Context, s *Stage, o StageOptions) error {
		return s.sentinels(ctx, o, SentinelsOptions{InfoPeriod: stageInfoPeriod})
	}
	return []Scenario{
		{
			Name: "S2", Title: "replication cycle under Sentinels, which end it", Topology: TopologySentinel,
			Refusal: refusedReadOnly, Reads: true, Heals: true, writer: anyNode,
			build: eager, breaks: breakCycle, check: checkNamesOld,
		},
		{
			Name: "S4", Title: "quorum lost, then the primary killed", Topology: TopologySentinel,
			Refusal: refusedDial, Reads: true, Loses: true, writer: anyNode,
			build: eager, check: checkNoQuorum,
			breaks: func(_ context.Context, s *Stage) error {
				return errors.Join(s.Sentinels.Kill(1, 2), s.Group.Node(0).Kill())
			},
			mends: func(ctx context.Context, s *Stage) error { return s.Sentinels.Restart(ctx, 1, 2) },
		},
		{
			Name: "S4-all", Title: "all Sentinels and the primary killed", Topology: TopologySentinel,
			Refusal: refusedDial, Reads: true, Loses: true, writer: anyNode,
			build: eager, check: checkOrphans,
			breaks: func(_ context.Context, s *Stage) error {
				return errors.Join(s.Sentinels.Kill(), s.Group.Node(0).Kill())
			},
			mends: func(ctx context.Context, s *Stage) error { return s.Sentinels.Restart(ctx) },
		},
		{
			Name: "S11", Title: "failover: the primary is killed, the Sentinels replace it", Topology: TopologySentinel,
			Refusal: refusedDial, Reads: true, Heals: true, Loses: true, writer: anyNode,
			build: eager, breaks: killPrimary, check: checkPrimaryDown,
		},
		{
			Name: "S11-planned", Title: "failover on demand, in which both are primaries for a while", Topology: TopologySentinel,
			Refusal: refusedReadOnly, Reads: true, Heals: true, Loses: true, writer: anyNode,
			build: eager, check: checkReplaced,
			breaks: func(ctx context.Context, s *Stage) error { return s.Sentinels.Failover(ctx) },
		},
	}
}

// sentinels starts a group and three Sentinels with short times.
func (s *Stage) sentinels(ctx context.Context, o StageOptions, so SentinelsOptions, args ...string) error {
	if err := s.group(ctx, o, args...); err != nil {
		return err
	}
	return s.watch(ctx, o, so)
}

// watch starts the Sentinels of a group that runs.
func (s *Stage) watch(ctx context.Context, o StageOptions, so SentinelsOptions) error {
	so.DownAfter, so.FailoverTimeout = stageDownAfter, stageFailover
	so.User, so.Password, so.LogTo = s.user, s.password, o.LogTo
	var err error
	s.Sentinels, err = StartSentinels(ctx, s.Group, so)
	return err
}

// eachReport looks at what the running Sentinels say.
func (s *Stage) eachReport(ctx context.Context, look func(r SentinelReport) error) error {
	for _, one := range s.Sentinels.running() {
		r, err := one.Report(ctx)
		if err == nil {
			err = look(r)
		}
		if err != nil {
			return fmt.Errorf("%v: %w", one.node, err)
		}
	}
	return nil
}

// checkNamesOld: a cycle, and the Sentinels name the server that was the primary.
func checkNamesOld(ctx context.Context, s *Stage) error {
	if err := checkHotCycle(ctx, s); err != nil {
		return err
	}
	return s.eachReport(ctx, func(r SentinelReport) error {
		return want(nil, r.Primary == s.Group.Node(0).Addr() && r.CKQuorum == nil, r)
	})
}

// checkNoQuorum: a Sentinel alone sees that the primary is down, and can do
// nothing.
func checkNoQuorum(ctx context.Context, s *Stage) error {
	if err := checkOrphans(ctx, s); err != nil {
		return err
	}
	return s.eachReport(ctx, func(r SentinelReport) error {
		return want(nil, r.Primary == s.Group.Node(0).Addr() && r.SDown() && !r.ODown() && r.CKQuorum != nil, r)
	})
}

// checkPrimaryDown: the old primary is gone. How far the Sentinels are with that,
// nobody knows.
func checkPrimaryDown(_ context.Context, s *Stage) error {
	return want(nil, !s.Group.Node(0).Running(), "running")
}

// checkReplaced: the old primary has become a replica of the new one.
func checkReplaced(ctx context.Context, s *Stage) error {
	named, ok := s.Sentinels.Primary(ctx)
	state, err := s.Group.Node(0).status(ctx)
	return want(err, ok && named != s.Group.Node(0) && state.source == named.Addr(), state.role)
}

// said is nil if a running Sentinel has logged the event.
func (s *Stage) said(event string) error {
	for _, one := range s.Sentinels.running() {
		const all = 1 << 20
		if strings.Contains(one.node.LogTail(all), event) {
			return nil
		}
	}
	return fmt.Errorf("no Sentinel says %s", event)
}
