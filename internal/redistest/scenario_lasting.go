package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// lastingScenarios are those in which Sentinels run and the primary stays away:
// for most of a minute, or until an operator helps.
func lastingScenarios() []Scenario {
	plain := func(ctx context.Context, s *Stage, o StageOptions) error {
		return s.sentinels(ctx, o, SentinelsOptions{})
	}
	return []Scenario{
		{
			Name: "L1", Title: "the primary is made a replica by hand, the Sentinels are slow to see it", Topology: TopologySentinel,
			Refusal: refusedReadOnly, Reads: true, writer: anyNode,
			build: plain, breaks: breakCycle, check: checkNamesOld, mends: orderFailover,
		},
		{
			Name: "L2", Title: "quorum lost, then a replication cycle", Topology: TopologySentinel,
			Refusal: refusedReadOnly, Reads: true, writer: anyNode,
			build: plain, breaks: breakQuorumAndCycle, check: checkCycleWithoutQuorum, mends: mendQuorum,
		},
		{
			Name: "L3", Title: "no replica may be promoted (replica-priority 0), the primary is killed", Topology: TopologySentinel,
			Refusal: refusedDial, Reads: true, Loses: true, writer: anyNode,
			build: func(ctx context.Context, s *Stage, o StageOptions) error {
				return s.sentinels(ctx, o, SentinelsOptions{}, "--replica-priority", "0")
			},
			breaks: killPrimary, check: checkNoGoodReplica, mends: mendPriority,
		},
		{
			Name: "L4", Title: "the replicas' links were down for long when the primary is killed", Topology: TopologySentinel,
			Refusal: refusedDial, Reads: true, Loses: true, writer: anyNode,
			build: plain, breaks: breakLongLinks, check: checkNoGoodReplica, mends: mendLongLinks,
		},
		{
			Name: "L5", Title: "replication cycle with links down, then SENTINEL RESET", Topology: TopologySentinel,
			Refusal: refusedReadOnly, Reads: true, writer: 0,
			build: plain, breaks: breakColdAndReset, check: checkForgotten, mends: promote(0),
		},
		{
			Name: "L6", Title: "the replicas refuse the Sentinels' orders (ACL), the primary is killed", Topology: TopologySentinel,
			Refusal: refusedDial, Reads: true, Loses: true, writer: anyNode,
			build: buildRights, breaks: breakRights, check: checkRights, mends: mendRights,
		},
	}
}

// orderFailover tells a Sentinel to act.
func orderFailover(ctx context.Context, s *Stage) error { return s.Sentinels.Failover(ctx) }

func breakQuorumAndCycle(ctx context.Context, s *Stage) error {
	if err := s.Sentinels.Kill(1, 2); err != nil {
		return err
	}
	return s.Group.Cycle(ctx)
}

func checkCycleWithoutQuorum(ctx context.Context, s *Stage) error {
	if err := checkHotCycle(ctx, s); err != nil {
		return err
	}
	return s.eachReport(ctx, func(r SentinelReport) error {
		return want(nil, r.Primary == s.Group.Node(0).Addr() && r.CKQuorum != nil, r)
	})
}

// mendQuorum orders the last Sentinel to act, for which it needs no other, and
// then brings the others back.
func mendQuorum(ctx context.Context, s *Stage) error {
	if err := s.Sentinels.Failover(ctx); err != nil {
		return err
	}
	return s.Sentinels.Restart(ctx, 1, 2)
}

// checkNoGoodReplica: the Sentinels agree that the primary is down, have tried to
// replace it, and found none that they would promote.
func checkNoGoodReplica(ctx context.Context, s *Stage) error {
	if err := checkOrphans(ctx, s); err != nil {
		return err
	}
	if err := s.said("-failover-abort-no-good-slave"); err != nil {
		return err
	}
	return s.eachReport(ctx, func(r SentinelReport) error {
		return want(nil, r.Primary == s.Group.Node(0).Addr() && r.SDown() && r.CKQuorum == nil, r)
	})
}

func mendPriority(ctx context.Context, s *Stage) error {
	for _, n := range s.Group.running() {
		if err := n.client.ConfigSet(ctx, "replica-priority", "100").Err(); err != nil {
			return err
		}
	}
	return s.Sentinels.Failover(ctx) // as soon as they have seen that
}

// breakLongLinks keeps links down for longer than the ten times down-after that
// Sentinels put up with.
func breakLongLinks(ctx context.Context, s *Stage) error {
	if err := s.Group.CutLinks(ctx); err != nil {
		return err
	}
	if err := s.Group.waitLinksDown(ctx, 10*stageDownAfter+2*time.Second); err != nil {
		return err
	}
	// They ask a replica of a primary that is well every ten seconds: only a report
	// after the links were down for long is old enough.
	err := pollSlowly(ctx, "the Sentinels to see how long the links are down", func() error {
		for _, one := range s.Sentinels.running() {
			replicas, err := one.client.Replicas(ctx, one.name).Result()
			if err != nil {
				return err
			}
			for _, replica := range replicas {
				down, err := time.ParseDuration(replica["master-link-down-time"] + "ms")
				if err := want(err, down > 10*stageDownAfter, down); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.Group.Node(0).Kill()
}

// mendLongLinks promotes the freshest replica by hand. The Sentinels don't adopt
// it until they try again, or are told to: it is then the only one they would
// promote, and they point the other one to it, whose password is put right.
func mendLongLinks(ctx context.Context, s *Stage) error {
	n, err := s.Group.Freshest(ctx)
	if err != nil {
		return err
	}
	if err := s.Group.PromoteOnly(ctx, n.index); err != nil {
		return err
	}
	if err := s.Sentinels.Failover(ctx); err != nil {
		return err
	}
	return s.Group.MendLinks(ctx)
}

// breakColdAndReset keeps the Sentinels from acting before they have forgotten the replicas:
// on a busy machine they would be quicker than the order to forget, and promote one. They
// are stopped while the cycle is made, and go on one by one: alone none is a quorum, and
// those that are ahead of it have forgotten the replicas and each other.
func breakColdAndReset(ctx context.Context, s *Stage) error {
	if err := s.Sentinels.Pause(); err != nil {
		return err
	}
	err := s.Group.ColdCycle(ctx)
	for _, one := range s.Sentinels.all {
		err = errors.Join(err, one.node.Resume())
		if err == nil {
			err = one.reset(ctx)
		}
	}
	return err
}

// checkForgotten: all are replicas without links, and no Sentinel knows a replica
// of the server it names.
func checkForgotten(ctx context.Context, s *Stage) error {
	if err := checkColdCycle(ctx, s); err != nil {
		return err
	}
	err := s.eachReport(ctx, func(r SentinelReport) error {
		return want(nil, r.Primary == s.Group.Node(0).Addr() && r.Replicas == 0, r)
	})
	if err != nil {
		return err
	}
	if err := s.Sentinels.Sentinel(0).Failover(ctx); err == nil || !strings.Contains(err.Error(), "NOGOODSLAVE") {
		return fmt.Errorf("a failover meets %s", answer(err))
	}
	return nil
}

// rightsUser is the ACL user by which the Sentinels of L6 log in.
const rightsUser = "watcher"

func buildRights(ctx context.Context, s *Stage, o StageOptions) error {
	if err := s.group(ctx, o); err != nil {
		return err
	}
	if err := s.rights(ctx, "on", ">"+stagePassword, "~*", "&*", "+@all"); err != nil {
		return err
	}
	return s.watch(ctx, o, SentinelsOptions{ServerUser: rightsUser, ServerPassword: stagePassword})
}

// rights changes what the Sentinels may do at all servers.
func (s *Stage) rights(ctx context.Context, rules ...string) error {
	for _, n := range s.Group.running() {
		if err := n.client.ACLSetUser(ctx, rightsUser, rules...).Err(); err != nil {
			return fmt.Errorf("can't change the rights of the Sentinels at %v: %w", n, err)
		}
	}
	return nil
}

func breakRights(ctx context.Context, s *Stage) error {
	if err := s.rights(ctx, "-slaveof", "-replicaof"); err != nil {
		return err
	}
	return s.Group.Node(0).Kill()
}

// checkRights: a replica was chosen, and has not become the primary.
func checkRights(ctx context.Context, s *Stage) error {
	if err := checkOrphans(ctx, s); err != nil {
		return err
	}
	if err := s.said("-failover-abort-slave-timeout"); err != nil {
		return err
	}
	return s.eachReport(ctx, func(r SentinelReport) error {
		if r.Primary != s.Group.Node(0).Addr() || !r.SDown() {
			return errors.New("it has replaced the primary")
		}
		return nil
	})
}

func mendRights(ctx context.Context, s *Stage) error {
	if err := s.rights(ctx, "+slaveof", "+replicaof"); err != nil {
		return err
	}
	return s.Sentinels.Failover(ctx)
}
