package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// replicationScenarios are those of a primary and its replicas that nobody
// watches: only an operator ends them.
func replicationScenarios() []Scenario {
	return []Scenario{
		{
			Name: "S1", Title: "replication cycle: every server is a replica", Topology: TopologyStandalone,
			Refusal: refusedReadOnly, Reads: true, writer: 1,
			build: buildGroup, breaks: breakCycle, check: checkHotCycle, mends: promote(1),
		},
		{
			Name: "S1-cold", Title: "replication cycle with all links down", Topology: TopologyStandalone,
			Refusal: refusedReadOnly, Reads: true, writer: 1,
			build: buildGroup, check: checkColdCycle, mends: promote(1),
			breaks: func(ctx context.Context, s *Stage) error { return s.Group.ColdCycle(ctx) },
		},
		{
			Name: "S1-uneven", Title: "replication cycle beside a replica that is behind", Topology: TopologyStandalone,
			Refusal: refusedReadOnly, Reads: true, writer: anyNode,
			build: buildGroup, breaks: breakUneven, check: checkUneven, mends: promoteFreshest,
		},
		{
			Name: "S3", Title: "the primary is killed, a replica is promoted by hand", Topology: TopologyStandalone,
			Refusal: refusedDial, Reads: true, Loses: true, writer: anyNode,
			build: buildGroup, breaks: killPrimary, check: checkOrphans, mends: promoteFreshest,
		},
		{
			Name: "S3-restart", Title: "the primary is killed and started again, empty, and empties its replicas", Topology: TopologyStandalone,
			Refusal: refusedDial, Reads: true, Loses: true, writer: 0,
			build: buildGroup, breaks: killPrimary, check: checkOrphans, mends: restartPrimary,
		},
		{
			Name: "S5", Title: "the primary hangs", Topology: TopologyStandalone,
			Refusal: RefusalHang, Reads: true, writer: 0,
			build: buildGroup, breaks: pausePrimary, check: checkHang, mends: resumePrimary,
		},
		{
			Name: "S7", Title: "too few good replicas", Topology: TopologyStandalone,
			Refusal: "NOREPLICAS", Reads: true, writer: 0,
			build: func(ctx context.Context, s *Stage, o StageOptions) error {
				return s.group(ctx, o, "--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")
			},
			breaks: pauseReplicas, check: checkNoGoodReplicas, mends: resumeReplicas,
		},
		{
			Name: "S9", Title: "the primary is killed, replicas refuse stale reads", Topology: TopologyStandalone,
			Refusal: refusedDial, Loses: true, writer: anyNode,
			build: func(ctx context.Context, s *Stage, o StageOptions) error {
				return s.group(ctx, o, "--replica-serve-stale-data", "no")
			},
			breaks: killPrimary, check: checkStaleRefused, mends: promoteFreshest,
		},
	}
}

// roleScenarios are those in which servers change their roles, or stand between
// two.
func roleScenarios() []Scenario {
	return []Scenario{
		{
			Name: "S12", Title: "a blocked client when the primary is demoted", Topology: TopologyStandalone,
			Refusal: refusedReadOnly, Reads: true, writer: 1,
			build: buildGroup, breaks: demoteUnderBlocked, check: checkUnblocked, mends: promote(1),
		},
		{
			Name: "SB", Title: "split brain: two primaries", Topology: TopologyStandalone,
			Refusal: RefusalNone, Reads: true, Loses: true, writer: 1,
			build: buildGroup, check: checkTwoPrimaries, mends: promote(1),
			breaks: func(ctx context.Context, s *Stage) error { return s.Group.PromoteOnly(ctx, 1) },
		},
		{
			Name: "WR", Title: "writable replica: a cycle in which writes are accepted and lost", Topology: TopologyStandalone,
			Refusal: RefusalNone, Reads: true, Loses: true, writer: 1,
			build: buildGroup, breaks: breakWritable, check: checkWritableReplica, mends: mendWritable,
		},
	}
}

// buildGroup starts a primary and its replicas, nothing else.
func buildGroup(ctx context.Context, s *Stage, o StageOptions) error { return s.group(ctx, o) }

// Parts of what writes are refused with.
const (
	refusedReadOnly = "READONLY"
	refusedDial     = "connection refused"
)

func breakCycle(ctx context.Context, s *Stage) error { return s.Group.Cycle(ctx) }

func killPrimary(_ context.Context, s *Stage) error { return s.Nodes()[0].Kill() }

func restartPrimary(ctx context.Context, s *Stage) error { return s.Nodes()[0].Restart(ctx) }

func pausePrimary(_ context.Context, s *Stage) error { return s.Nodes()[0].Pause() }

func resumePrimary(_ context.Context, s *Stage) error { return s.Nodes()[0].Resume() }

func pauseReplicas(_ context.Context, s *Stage) error {
	return errors.Join(s.Group.Node(1).Pause(), s.Group.Node(2).Pause())
}

func resumeReplicas(_ context.Context, s *Stage) error {
	return errors.Join(s.Group.Node(1).Resume(), s.Group.Node(2).Resume())
}

func promote(i int) func(context.Context, *Stage) error {
	return func(ctx context.Context, s *Stage) error { return s.Group.Promote(ctx, i) }
}

func promoteFreshest(ctx context.Context, s *Stage) error {
	n, err := s.Group.Freshest(ctx)
	if err != nil {
		return err
	}
	return s.Group.Promote(ctx, n.index)
}

// eachReplica looks at the INFO of the running servers, which must all say that
// they are replicas.
func (s *Stage) eachReplica(ctx context.Context, look func(n *Node, info map[string]string) error) error {
	for _, n := range s.Group.running() {
		info, err := n.info(ctx)
		if err != nil {
			return err
		}
		if info["role"] != roleReplica {
			return fmt.Errorf("%v is a %s", n, info["role"])
		}
		if err := look(n, info); err != nil {
			return fmt.Errorf("%v: %w", n, err)
		}
	}
	return nil
}

// link is an error unless the link is in the state, up or down.
func link(info map[string]string, state string) error {
	if info["master_link_status"] != state {
		return fmt.Errorf("its link is %s", info["master_link_status"])
	}
	return nil
}

// checkHotCycle: all are replicas, all links up, all offsets equal.
func checkHotCycle(ctx context.Context, s *Stage) error {
	offsets := make(map[string]bool)
	err := s.eachReplica(ctx, func(_ *Node, info map[string]string) error {
		offsets[info["slave_repl_offset"]] = true
		return link(info, "up")
	})
	if err == nil && len(offsets) != 1 {
		err = fmt.Errorf("the offsets are %v", offsets)
	}
	return err
}

// checkColdCycle: all are replicas, all links down.
func checkColdCycle(ctx context.Context, s *Stage) error {
	return s.eachReplica(ctx, func(_ *Node, info map[string]string) error { return link(info, "down") })
}

// breakUneven parts node 1 from its primary, which goes on without it before the
// other two end up in a cycle. Whoever promotes node 1 loses what it has missed.
func breakUneven(ctx context.Context, s *Stage) error {
	primary, behind, source := s.Group.Node(0), s.Group.Node(1), s.Group.Node(2)
	if err := behind.setRole(ctx, loopback, "1"); err != nil { // nobody is there
		return err
	}
	const missed = 20
	for range missed {
		if _, err := primary.Do(ctx, "INCR", MissedKey); err != nil {
			return err
		}
	}
	return s.Group.demote(ctx, primary, source, func(ctx context.Context) error {
		return poll(ctx, "the good replica to catch up", func() error {
			ahead, err := primary.status(ctx)
			if err != nil {
				return err
			}
			follower, err := source.status(ctx)
			if err != nil {
				return err
			}
			return follower.follows(ahead, primary.Addr(), source.Addr())
		})
	})
}

// MissedKey is the key of a counter, 20, that scenario S1-uneven leaves on the
// servers that are ahead, and not on the one that is behind.
const MissedKey = "redistest:missed"

// checkUneven: all are replicas, node 1 alone has no link and a lower offset.
func checkUneven(ctx context.Context, s *Stage) error {
	offsets := make([]int64, len(s.Group.nodes))
	err := s.eachReplica(ctx, func(n *Node, info map[string]string) (err error) {
		if offsets[n.index], err = strconv.ParseInt(info["slave_repl_offset"], 10, 64); err != nil {
			return err
		}
		if n.index == 1 {
			return link(info, "down")
		}
		return link(info, "up")
	})
	return want(err, offsets[0] == offsets[2] && offsets[1] < offsets[0], offsets)
}

// checkOrphans: the primary is gone, the others are replicas, which try to reach it.
func checkOrphans(ctx context.Context, s *Stage) error {
	if s.Group.Node(0).Running() {
		return errors.New("the primary runs")
	}
	return s.eachReplica(ctx, func(n *Node, info map[string]string) error {
		if err := link(info, "down"); err != nil {
			return err
		}
		return roleConnects(ctx, n)
	})
}

// roleConnects is nil if ROLE says that n, a replica, tries to reach its primary.
func roleConnects(ctx context.Context, n *Node) error {
	role, err := n.client.Do(ctx, "ROLE").Slice()
	if err != nil {
		return err
	}
	const state = 3 // after the role and the primary's host and port
	if len(role) <= state || !strings.HasPrefix(fmt.Sprint(role[state]), "connect") || role[state] == "connected" {
		return fmt.Errorf("ROLE says %v", role)
	}
	return nil
}

// checkHang: the replicas notice nothing but that it has become quiet.
func checkHang(ctx context.Context, s *Stage) error {
	return s.eachReplica(ctx, func(_ *Node, info map[string]string) error {
		if quiet, err := strconv.Atoi(info["master_last_io_seconds_ago"]); err != nil || quiet < 1 {
			return fmt.Errorf("it heard the primary %s s ago", info["master_last_io_seconds_ago"])
		}
		return link(info, "up")
	})
}

// checkNoGoodReplicas: a primary that misses its replicas.
func checkNoGoodReplicas(ctx context.Context, s *Stage) error {
	info, err := s.Group.Node(0).info(ctx)
	return want(err, info["role"] == roleMaster && info["min_slaves_good_slaves"] == "0",
		info["role"]+" with "+info["min_slaves_good_slaves"]+" good replicas")
}

// checkStaleRefused: reads are refused, ROLE and INFO are not.
func checkStaleRefused(ctx context.Context, s *Stage) error {
	if err := checkOrphans(ctx, s); err != nil {
		return err
	}
	for _, n := range s.Group.running() {
		if _, err := n.Do(ctx, "GET", s.Key(0)); err == nil || !strings.HasPrefix(err.Error(), "MASTERDOWN") {
			return fmt.Errorf("a read of %v meets %s", n, answer(err))
		}
	}
	return nil
}

// demoteUnderBlocked makes the cycle while a client waits for an element of a
// list.
func demoteUnderBlocked(ctx context.Context, s *Stage) error {
	n := s.Group.Node(0)
	s.result = make(chan error, 1)
	s.work.Go(func() { // ends when the server drops it, or with the stage
		s.result <- n.client.BLPop(s.life, 0, s.Key(0)+":blocked").Err()
	})
	err := poll(ctx, "the client to be blocked", func() error {
		info, err := n.info(ctx)
		return want(err, info["blocked_clients"] == "1", info["blocked_clients"]+" blocked clients")
	})
	if err != nil {
		return err
	}
	return s.Group.Cycle(ctx)
}

// checkUnblocked: the client was told, and the cycle is there.
func checkUnblocked(ctx context.Context, s *Stage) error {
	select {
	case err := <-s.result:
		s.result <- err // for the next look
		if err == nil || !strings.HasPrefix(err.Error(), "UNBLOCKED") {
			return stop(fmt.Errorf("the blocked client heard %s", answer(err)))
		}
	default:
		return errors.New("the blocked client still waits")
	}
	return checkHotCycle(ctx, s)
}

// checkTwoPrimaries: both take writes, and the second descends from the first.
func checkTwoPrimaries(ctx context.Context, s *Stage) error {
	old, err := s.Group.Node(0).info(ctx)
	if err != nil {
		return err
	}
	successor, err := s.Group.Node(1).info(ctx)
	if err != nil {
		return err
	}
	if old["role"] != roleMaster || successor["role"] != roleMaster {
		return fmt.Errorf("they are %s and %s", old["role"], successor["role"])
	}
	if successor["master_replid2"] != old["master_replid"] || successor["second_repl_offset"] == "-1" {
		return errors.New("the new primary has another history than the old one")
	}
	return s.accepts(ctx, s.Group.Node(1).client)
}

// breakWritable makes a cycle whose old primary goes on accepting writes.
func breakWritable(ctx context.Context, s *Stage) error {
	if err := s.Group.Cycle(ctx); err != nil {
		return err
	}
	_, err := s.Group.Node(0).Do(ctx, "CONFIG", "SET", "replica-read-only", "no")
	return err
}

// checkWritableReplica: all are replicas, one of them writable.
func checkWritableReplica(ctx context.Context, s *Stage) error {
	return s.eachReplica(ctx, func(n *Node, info map[string]string) error {
		if mode := info["slave_read_only"]; (mode == "0") != (n.index == 0) {
			return fmt.Errorf("slave_read_only is %s", mode)
		}
		return nil
	})
}

// mendWritable promotes another server. The writable one starts anew: it would
// join at the common offset and keep what only it has.
func mendWritable(ctx context.Context, s *Stage) error {
	if err := s.Group.Node(0).Kill(); err != nil {
		return err
	}
	if err := s.Group.Promote(ctx, 1); err != nil {
		return err
	}
	if err := s.Group.Node(0).Restart(ctx); err != nil {
		return err
	}
	return s.Group.Node(0).replicate(ctx, s.Group.Node(1))
}
