package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// SentinelReport is what one Sentinel says about the group.
type SentinelReport struct {
	Primary  string // host:port that it names as the primary
	Flags    string // of the primary, such as "master,s_down,o_down"
	Role     string // that the primary reports of itself: "master" or "slave"
	Replicas int    // that it knows
	Usable   int    // of these: link up, reachable
	Others   int    // other Sentinels that it knows
	Quorum   int
	CKQuorum error // nil if a failover could be authorized, else the answer's error
}

// SDown reports whether the Sentinel itself finds the primary down.
func (r SentinelReport) SDown() bool { return r.flag("s_down") }

// ODown reports whether a quorum finds the primary down.
func (r SentinelReport) ODown() bool { return r.flag("o_down") }

func (r SentinelReport) flag(want string) bool {
	for flag := range strings.SplitSeq(r.Flags, ",") {
		if flag == want {
			return true
		}
	}
	return false
}

// Report asks the Sentinel what it knows. The error is that of a Sentinel that
// doesn't answer, or doesn't know the group.
func (s *Sentinel) Report(ctx context.Context) (SentinelReport, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	fields, err := s.client.Master(ctx, s.name).Result()
	if err != nil {
		return SentinelReport{}, fmt.Errorf("redistest: %v tells nothing of its primary: %w", s.node, err)
	}
	r := SentinelReport{Flags: fields["flags"], Role: fields["role-reported"]}
	for _, count := range []struct {
		to    *int
		field string
	}{{&r.Replicas, "num-slaves"}, {&r.Others, "num-other-sentinels"}, {&r.Quorum, "quorum"}} {
		if *count.to, err = strconv.Atoi(fields[count.field]); err != nil {
			return SentinelReport{}, fmt.Errorf("redistest: %v has no usable %s: %w", s.node, count.field, err)
		}
	}
	replicas, err := s.client.Replicas(ctx, s.name).Result()
	if err != nil {
		return SentinelReport{}, fmt.Errorf("redistest: %v tells nothing of the replicas: %w", s.node, err)
	}
	for _, replica := range replicas {
		// A replica that it has not asked yet is none that it would promote.
		if replica["master-link-status"] == "ok" && replica["flags"] == "slave" {
			r.Usable++
		}
	}
	addr, err := s.client.GetMasterAddrByName(ctx, s.name).Result()
	if err == nil && len(addr) != 2 {
		err = errors.New("not a host and a port")
	}
	if err != nil {
		return SentinelReport{}, fmt.Errorf("redistest: %v names no primary: %w", s.node, err)
	}
	r.Primary = net.JoinHostPort(addr[0], addr[1])
	r.CKQuorum = s.client.CkQuorum(ctx, s.name).Err()
	return r, nil
}

// Failover tells the Sentinel to replace the primary at once, whatever the other
// Sentinels say of it. It returns when the Sentinel has agreed, which it does only
// where it has a replica to promote: else its error begins with NOGOODSLAVE.
func (s *Sentinel) Failover(ctx context.Context) error {
	if err := s.client.Failover(ctx, s.name).Err(); err != nil {
		return fmt.Errorf("redistest: %v makes no failover: %w", s.node, err)
	}
	return nil
}

// WaitPrimary waits until the Sentinel names node i as the primary.
func (s *Sentinel) WaitPrimary(ctx context.Context, i int) error {
	want := s.group.nodes[i].Addr()
	return poll(ctx, fmt.Sprintf("%v to name %s", s.node, want), func() error {
		addr, err := s.client.GetMasterAddrByName(ctx, s.name).Result()
		if err == nil && strings.Join(addr, ":") != want {
			err = fmt.Errorf("it names %s", strings.Join(addr, ":"))
		}
		return err
	})
}

// running are the Sentinels that can be expected to answer.
func (s *Sentinels) running() []*Sentinel {
	var running []*Sentinel
	for _, one := range s.all {
		if one.node.Running() {
			running = append(running, one)
		}
	}
	return running
}

// Reports returns what each Sentinel says that answers, in the order of their
// numbers.
func (s *Sentinels) Reports(ctx context.Context) []SentinelReport {
	var reports []SentinelReport
	for _, one := range s.running() {
		if r, err := one.Report(ctx); err == nil {
			reports = append(reports, r)
		}
	}
	return reports
}

// Primary returns the node that a majority of all Sentinels, running or not,
// names as the primary, if there is one.
func (s *Sentinels) Primary(ctx context.Context) (*Node, bool) {
	votes := make(map[string]int)
	for _, r := range s.Reports(ctx) {
		votes[r.Primary]++
	}
	for _, n := range s.group.nodes {
		if votes[n.Addr()] > len(s.all)/2 {
			return n, true
		}
	}
	return nil, false
}

// WaitPrimary waits until a majority of the Sentinels names node i as the
// primary.
func (s *Sentinels) WaitPrimary(ctx context.Context, i int) error {
	want := s.group.nodes[i]
	return pollSlowly(ctx, fmt.Sprintf("most Sentinels to name %v", want), func() error {
		if n, ok := s.Primary(ctx); n != want {
			return fmt.Errorf("they name %v (%t)", n, ok)
		}
		return nil
	})
}

// WaitKnown waits until each running Sentinel knows all replicas of the group,
// with their links up, and all other Sentinels.
func (s *Sentinels) WaitKnown(ctx context.Context) error {
	for _, one := range s.running() {
		err := pollSlowly(ctx, fmt.Sprintf("%v to know the group", one.node), func() error {
			r, err := one.Report(ctx)
			if err != nil {
				return err
			}
			if r.Usable != len(s.group.nodes)-1 || r.Others != len(s.all)-1 {
				return fmt.Errorf("it knows %d usable replicas and %d other Sentinels", r.Usable, r.Others)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Kill ends Sentinels by SIGKILL: those with the numbers, or all if there are none.
func (s *Sentinels) Kill(which ...int) error { return s.each(which, (*Node).Kill) }

// Pause stops Sentinels by SIGSTOP, those with the numbers or all.
func (s *Sentinels) Pause(which ...int) error { return s.each(which, (*Node).Pause) }

// Resume ends a Pause, of those with the numbers or of all.
func (s *Sentinels) Resume(which ...int) error { return s.each(which, (*Node).Resume) }

// Restart starts Sentinels again, those with the numbers or all. They remember
// what they knew.
func (s *Sentinels) Restart(ctx context.Context, which ...int) error {
	var errs []error
	for _, one := range s.pick(which) {
		errs = append(errs, one.Restart(ctx))
	}
	return errors.Join(errs...)
}

// Reset makes each running Sentinel forget the replicas and the other Sentinels,
// as SENTINEL RESET does. It finds them again where the server that it takes for
// the primary tells of them.
func (s *Sentinels) Reset(ctx context.Context) error {
	for _, one := range s.running() {
		if err := one.reset(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sentinel) reset(ctx context.Context) error {
	if err := s.client.Reset(ctx, s.name).Err(); err != nil {
		return fmt.Errorf("redistest: %v can't be reset: %w", s.node, err)
	}
	return nil
}

// Failover tells the first running Sentinel to replace the primary, and asks
// again while it refuses: it may first have to see that a replica has become
// usable, or to finish with what it is doing.
func (s *Sentinels) Failover(ctx context.Context) error {
	return pollSlowly(ctx, "a Sentinel to agree to a failover", func() error {
		running := s.running()
		if len(running) == 0 {
			return errors.New("no Sentinel runs")
		}
		return running[0].Failover(ctx)
	})
}

func (s *Sentinels) pick(which []int) []*Sentinel {
	if len(which) == 0 {
		return s.all
	}
	var picked []*Sentinel
	for _, i := range which {
		picked = append(picked, s.all[i])
	}
	return picked
}

func (s *Sentinels) each(which []int, verb func(*Node) error) error {
	var errs []error
	for _, one := range s.pick(which) {
		errs = append(errs, verb(one.node))
	}
	return errors.Join(errs...)
}
