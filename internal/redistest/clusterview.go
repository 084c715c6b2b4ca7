package redistest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// clusterView is what one server says about all of them.
type clusterView []clusterMember

// clusterMember is one server of a view.
type clusterMember struct {
	id     string
	addr   string
	flags  []string // myself, master, slave, fail?, fail, handshake, noaddr, …
	source string   // id of the primary that a replica copies
	epoch  int64    // the higher one wins where two claim a slot
	slots  [][2]int // first and last of each range
}

func (m clusterMember) is(flag string) bool { return slices.Contains(m.flags, flag) }

func (m clusterMember) owns(slot int) bool {
	return slices.ContainsFunc(m.slots, func(r [2]int) bool { return r[0] <= slot && slot <= r[1] })
}

func (n *Node) clusterView(ctx context.Context) (clusterView, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	text, err := n.client.ClusterNodes(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("redistest: %v does not tell of its Cluster: %w", n, err)
	}
	return parseClusterNodes(text)
}

// parseClusterNodes reads an answer to CLUSTER NODES, a server a line:
//
//	<id> <host:port@bus[,name]> <flags> <primary|-> <ping> <pong> <epoch> <link> <slots>…
//
// Slots are 5 or 5-10. Those on the move are named once more, [5->-<to>] or
// [5-<-<from>], which changes no owner.
func parseClusterNodes(text string) (clusterView, error) {
	var view clusterView
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			return nil, fmt.Errorf("redistest: CLUSTER NODES with a line of %d fields", len(fields))
		}
		addr, _, _ := strings.Cut(fields[1], "@")
		m := clusterMember{
			id: fields[0], addr: addr, flags: strings.Split(fields[2], ","), source: fields[3],
		}
		var err error
		if m.epoch, err = strconv.ParseInt(fields[6], 10, 64); err != nil {
			return nil, fmt.Errorf("redistest: CLUSTER NODES without a usable epoch: %w", err)
		}
		for _, slots := range fields[8:] {
			if strings.HasPrefix(slots, "[") {
				continue
			}
			if err := m.addSlots(slots); err != nil {
				return nil, fmt.Errorf("redistest: CLUSTER NODES with unusable slots: %w", err)
			}
		}
		view = append(view, m)
	}
	return view, nil
}

func (m *clusterMember) addSlots(text string) error {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		last = first
	}
	from, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	to, err := strconv.Atoi(last)
	m.slots = append(m.slots, [2]int{from, to})
	return err
}

// myself is the server that gave the view.
func (v clusterView) myself() (clusterMember, bool) {
	for _, m := range v {
		if m.is("myself") {
			return m, true
		}
	}
	return clusterMember{}, false
}

// owners is equal for views that agree on the primaries and their slots.
func (v clusterView) owners() string {
	var lines []string
	for _, m := range v {
		if len(m.slots) > 0 || m.is("slave") {
			lines = append(lines, fmt.Sprint(m.id, m.is("slave"), m.slots))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// clusterID is the name of the server in its Cluster.
func (n *Node) clusterID(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	id, err := n.client.ClusterMyID(ctx).Result()
	if err != nil {
		return "", fmt.Errorf("redistest: %v does not tell its id: %w", n, err)
	}
	return id, nil
}
