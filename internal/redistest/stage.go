package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// StageOptions are choices that any scenario leaves open. The zero value is
// servers without passwords.
type StageOptions struct {
	// Secure makes the servers and the Sentinels speak TLS alone and demand an ACL
	// user with a password. Stage.ClientOptions then has what clients need.
	Secure bool

	// LogTo is as in Options; the Sentinels' logs go there too.
	LogTo io.Writer
}

// What a secure stage demands.
const (
	stageUser     = "app"
	stagePassword = "pass word"
)

// Stage is a scenario with its servers running. Call Break, then, perhaps, Check,
// then Mend, then WaitWritable; the servers' own verbs are there for all else.
// Break, Check and Mend follow one another; the other methods may be called from
// other goroutines meanwhile.
type Stage struct {
	// Scenario is what is played.
	Scenario Scenario

	// Group is the primary, node 0, and its replicas. Nil for a Cluster.
	Group *Group
	// Sentinels watch Group. Nil in other topologies.
	Sentinels *Sentinels
	// Cluster has shard 0 as the one that breaks. Nil in other topologies.
	Cluster *Cluster
	// VIP is the address that clients know, where the scenario has one: a proxy in
	// front of the primary that Mend points elsewhere.
	VIP *Proxy
	// Network is all that the clients of ClientOptions reach servers by, where the
	// scenario has one.
	Network *Network

	authority *Authority
	user      string
	password  string
	door      *redis.Client // of the server that takes writes first, as an application reaches it
	tag       string        // hash tag of keys of the shard that breaks
	otherTag  string        // hash tag of keys of another shard

	life   context.Context // ends the goroutines of the stage
	end    context.CancelFunc
	work   sync.WaitGroup
	result chan error  // of the client that Break left waiting
	held   *redis.Conn // an open connection that a server without free ones is told to recover by

	closing sync.Once
	closed  error // written within closing
}

// SetupT is Scenario.Setup for a test, as StartT is Start.
func SetupT(tb testing.TB, sc Scenario, o StageOptions) *Stage {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s, err := sc.Setup(ctx, o)
	if err != nil {
		tb.Fatalf("redistest: no stage for the test: %v", err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			for _, n := range s.servers() {
				tb.Logf("%v, end of its log:\n%s", n, n.LogTail(logTail))
			}
		}
		if err := s.Close(); err != nil {
			tb.Errorf("redistest: closing the stage: %v", err)
		}
	})
	return s
}

func (s *Stage) setup(ctx context.Context, o StageOptions) error {
	if o.Secure {
		var err error
		if s.authority, err = NewAuthority(); err != nil {
			return err
		}
		s.user, s.password = stageUser, stagePassword
	}
	if err := s.Scenario.build(ctx, s, o); err != nil {
		return err
	}
	if err := s.findTags(ctx); err != nil {
		return err
	}
	u := s.ClientOptions()
	addr := s.Nodes()[0].Addr()
	if s.VIP != nil {
		addr = s.VIP.Addr()
	}
	s.door = redis.NewClient(&redis.Options{
		Addr: addr, Username: u.Username, Password: u.Password, TLSConfig: u.TLSConfig, Dialer: u.Dialer,
		MaxRetries: -1, DialerRetries: 1, DialTimeout: dialTimeout, ContextTimeoutEnabled: true, DisableIdentity: true,
		PoolSize:                 doorPool,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	return s.accepts(ctx, s.door)
}

// doorPool is more than the dials that fail while a scenario is looked at: after
// as many as it has places, a pool answers from memory, without dialing.
const doorPool = 20000

// group starts a primary with two replicas.
func (s *Stage) group(ctx context.Context, o StageOptions, args ...string) error {
	var err error
	s.Group, err = Start(ctx, Options{
		Replicas: 2, Args: args, User: s.user, Password: s.password, TLS: s.authority, LogTo: o.LogTo,
	})
	return err
}

// findTags looks for hash tags of the broken shard and of another one.
func (s *Stage) findTags(ctx context.Context) error {
	if s.Cluster == nil {
		return nil
	}
	for i := 0; s.tag == "" || s.otherTag == ""; i++ {
		tag := fmt.Sprintf("{%d}:", i)
		slot, err := s.Cluster.Slot(ctx, tag)
		if err != nil {
			return err
		}
		switch _, last := s.Cluster.SlotRange(0); {
		case slot <= last && s.tag == "":
			s.tag = tag
		case slot > last && s.otherTag == "":
			s.otherTag = tag
		}
	}
	return nil
}

// Nodes returns the servers with data; node 0 is the primary that breaks.
func (s *Stage) Nodes() []*Node {
	if s.Cluster != nil {
		return s.Cluster.Nodes()
	}
	return s.Group.Nodes()
}

// Addrs returns the addresses of Nodes: what an application may be told besides
// ClientOptions, so that it finds a primary elsewhere.
func (s *Stage) Addrs() []string {
	if s.Cluster != nil {
		return s.Cluster.Addrs()
	}
	return s.Group.Addrs()
}

// servers are the Nodes and the Sentinels, as far as they were started.
func (s *Stage) servers() []*Node {
	var all []*Node
	if s.Group != nil {
		all = append(all, s.Group.nodes...)
	}
	if s.Sentinels != nil {
		all = append(all, s.Sentinels.fleet.nodes...)
	}
	if s.Cluster != nil {
		all = append(all, s.Cluster.group.nodes...)
	}
	return all
}

// Key is the i-th key that the scenario concerns: of the shard that breaks.
func (s *Stage) Key(i int) string { return fmt.Sprintf("%skey:%d", s.tag, i) }

// OtherKey is the i-th key of another shard, and false where there is none.
func (s *Stage) OtherKey(i int) (string, bool) {
	return fmt.Sprintf("%skey:%d", s.otherTag, i), s.otherTag != ""
}

// ClientOptions are what an application would be configured with, timeouts and
// retries left at their defaults: one address, the VIP if there is one, or the
// Sentinels, or the servers of the Cluster. Each call returns new ones.
func (s *Stage) ClientOptions() *redis.UniversalOptions {
	u := &redis.UniversalOptions{
		Username:  s.user,
		Password:  s.password,
		TLSConfig: s.authority.clientConfig(),
	}
	switch {
	case s.Cluster != nil:
		u.Addrs = s.Cluster.Addrs()
		u.IsClusterMode = true
	case s.Sentinels != nil:
		u.Addrs = s.Sentinels.Addrs()
		u.MasterName = s.Sentinels.Name()
		u.SentinelUsername, u.SentinelPassword = s.user, s.password
	case s.VIP != nil:
		u.Addrs = []string{s.VIP.Addr()}
	default:
		u.Addrs = []string{s.Group.Node(0).Addr()}
	}
	if s.Network != nil {
		u.Dialer = s.Network.Dial
	}
	return u
}

// Break makes the scenario happen, and returns when it has begun. Servers and
// Sentinels may need seconds more to see it: Check waits for that.
func (s *Stage) Break(ctx context.Context) error {
	return s.told("can't be broken", s.Scenario.breaks(ctx, s))
}

// Check waits until the scenario is what it says: the servers show its view, and
// a write at the first primary meets the scenario's Refusal. A scenario that
// Heals shows it for seconds only, so check it at once after Break, or not.
func (s *Stage) Check(ctx context.Context) error {
	return s.told("is not what it says", pollSlowly(ctx, "the view of the servers", func() error {
		if err := s.refused(ctx); err != nil {
			return err
		}
		return s.Scenario.check(ctx, s)
	}))
}

// Mend ends the scenario as an operator would, or the world by itself, and
// returns when that is done; WaitWritable waits until it shows. It does nothing
// where Heals is true.
func (s *Stage) Mend(ctx context.Context) error {
	if s.Scenario.mends == nil {
		return nil
	}
	return s.told("can't be mended", s.Scenario.mends(ctx, s))
}

// WaitWritable waits until exactly one of the servers that hold Key is a primary
// that accepts writes, one that most Sentinels name where there are Sentinels,
// and returns it. It changes no data.
func (s *Stage) WaitWritable(ctx context.Context) (*Node, error) {
	var writer *Node
	err := pollSlowly(ctx, "one primary that takes writes", func() (err error) {
		writer, err = s.writable(ctx)
		if at := s.Scenario.writer; err == nil && at != anyNode && writer != s.Nodes()[at] {
			err = fmt.Errorf("it is %v, not %v", writer, s.Nodes()[at])
		}
		return err
	})
	return writer, s.told("does not end", err)
}

// Writable is the one server that is such a primary now, if there is one.
func (s *Stage) Writable(ctx context.Context) (*Node, bool) {
	n, err := s.writable(ctx)
	return n, err == nil
}

func (s *Stage) writable(ctx context.Context) (*Node, error) {
	nodes := s.Nodes()
	if s.Cluster != nil {
		nodes = s.Cluster.Shard(0)
	}
	var writer *Node
	for _, n := range nodes {
		if !n.Running() {
			continue
		}
		state, err := n.status(ctx)
		if err != nil {
			return nil, err
		}
		if state.role != roleMaster {
			continue
		}
		if writer != nil {
			return nil, fmt.Errorf("%v and %v are primaries", writer, n)
		}
		if err := s.accepts(ctx, n.client); err != nil {
			return nil, fmt.Errorf("%v: %w", n, err)
		}
		writer = n
	}
	switch {
	case writer == nil:
		return nil, errors.New("no server is a primary")
	case s.Sentinels != nil:
		if named, ok := s.Sentinels.Primary(ctx); named != writer {
			return nil, fmt.Errorf("%v is the primary, most Sentinels name %v (%t)", writer, named, ok)
		}
	case s.VIP != nil || s.Network != nil:
		if err := s.accepts(ctx, s.door); err != nil {
			return nil, fmt.Errorf("%v is the primary, but not by the way of the clients: %w", writer, err)
		}
	}
	return writer, nil
}

// lookTimeout is how long a server is given to answer before it hangs. A pause
// of the machine that looks like a hang is of no consequence: who waits for an
// answer looks again, and who waits for a hang looks at more than that.
const lookTimeout = 500 * time.Millisecond

// accepts is nil if the server takes writes: it is sent one that changes nothing,
// since its key does not exist, but needs all that a write needs.
func (s *Stage) accepts(ctx context.Context, c redis.Cmdable) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	err := c.SetArgs(ctx, s.tag+"redistest:absent", "x", redis.SetArgs{Mode: "XX"}).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// refused is nil if a write at the first primary meets the scenario's Refusal.
func (s *Stage) refused(ctx context.Context) error {
	err := s.accepts(ctx, s.door)
	var met bool
	switch want := s.Scenario.Refusal; want {
	case RefusalNone:
		met = err == nil
	case RefusalHang:
		met = hung(err)
	case RefusalClosed:
		met = errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
	default:
		met = err != nil && strings.Contains(err.Error(), want)
	}
	if !met {
		return fmt.Errorf("a write meets %s, not %q", answer(err), s.Scenario.Refusal)
	}
	return nil
}

// hung reports whether the error is that of a command without an answer. The
// connection may notice the deadline of a context before the context does.
func hung(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout()
}

func (s *Stage) told(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redistest: scenario %s %s: %w", s.Scenario.Name, what, err)
}

// Close ends all servers and proxies, and returns when they are gone. Further
// calls do nothing and return what the first did.
func (s *Stage) Close() error {
	s.closing.Do(func() {
		s.end()
		var errs []error
		if s.held != nil {
			s.held.Close()
		}
		if s.door != nil {
			s.door.Close()
		}
		if s.VIP != nil {
			errs = append(errs, s.VIP.Close())
		}
		if s.Network != nil {
			errs = append(errs, s.Network.Close())
		}
		if s.Sentinels != nil {
			errs = append(errs, s.Sentinels.Close())
		}
		if s.Group != nil {
			errs = append(errs, s.Group.Close())
		}
		if s.Cluster != nil {
			errs = append(errs, s.Cluster.Close())
		}
		s.work.Wait()
		s.closed = errors.Join(errs...)
	})
	return s.closed
}
