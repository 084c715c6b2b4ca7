package redistest

import (
	"context"
	"errors"
)

// networkScenarios are those that lie between a process and its servers.
func networkScenarios() []Scenario {
	return []Scenario{
		{
			Name: "P1", Title: "partition: this process can't reach a primary that others use", Topology: TopologyStandalone,
			Refusal: RefusalHang, Reads: true, writer: 0,
			build: buildNetwork, check: checkOthersWrite,
			breaks: func(_ context.Context, s *Stage) error { return s.Network.Lose(s.Group.Node(0).Addr(), true) },
			mends:  func(_ context.Context, s *Stage) error { return s.Network.Lose(s.Group.Node(0).Addr(), false) },
		},
		{
			Name: "P1-refused", Title: "partition: a firewall refuses this process the primary", Topology: TopologyStandalone,
			Refusal: refusedDial, Reads: true, writer: 0,
			build: buildNetwork, check: checkOthersWrite,
			breaks: func(_ context.Context, s *Stage) error { return s.Network.Refuse(s.Group.Node(0).Addr(), true) },
			mends:  func(_ context.Context, s *Stage) error { return s.Network.Refuse(s.Group.Node(0).Addr(), false) },
		},
		{
			Name: "P2", Title: "one address that moves: the primary is killed, the address goes to its successor", Topology: TopologyStandalone,
			Refusal: refusedDial, Reads: true, Loses: true, writer: 1,
			build: buildVIP, breaks: killVIP, check: checkOrphans, mends: mendVIP,
		},
		{
			Name: "P2-cycle", Title: "one address that moves, after a replication cycle", Topology: TopologyStandalone,
			Refusal: refusedReadOnly, Reads: true, writer: 1,
			build: buildVIP, breaks: breakCycle, check: checkHotCycle, mends: mendVIP,
		},
	}
}

func buildNetwork(ctx context.Context, s *Stage, o StageOptions) error {
	if err := s.group(ctx, o); err != nil {
		return err
	}
	var err error
	s.Network, err = NewNetwork(s.Group.Addrs(), s.authority)
	return err
}

// checkOthersWrite: the primary takes the writes of others, and feeds its replicas.
func checkOthersWrite(ctx context.Context, s *Stage) error {
	if err := s.accepts(ctx, s.Group.Node(0).client); err != nil {
		return err
	}
	for _, n := range s.Group.nodes[1:] {
		state, err := n.status(ctx)
		if err := want(err, state.role == roleReplica && state.linkUp, state); err != nil {
			return err
		}
	}
	return nil
}

func buildVIP(ctx context.Context, s *Stage, o StageOptions) error {
	if err := s.group(ctx, o); err != nil {
		return err
	}
	var err error
	s.VIP, err = NewProxy(s.Group.Node(0).Addr())
	return err
}

// killVIP takes the machine away that has the address.
func killVIP(_ context.Context, s *Stage) error {
	return errors.Join(s.Group.Node(0).Kill(), s.VIP.Refuse(true))
}

// mendVIP promotes a replica and moves the address to it. What was connected to
// the old server by the address is cut: the address has left that machine.
func mendVIP(ctx context.Context, s *Stage) error {
	if err := s.Group.Promote(ctx, 1); err != nil {
		return err
	}
	s.VIP.SetTarget(s.Group.Node(1).Addr())
	s.VIP.Drop()
	return s.VIP.Refuse(false)
}
