package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// loadScenarios are those of a primary that stays the primary and takes no
// writes.
func loadScenarios() []Scenario {
	return []Scenario{
		{
			Name: "S8", Title: "the primary was restarted and loads its data", Topology: TopologyStandalone,
			Refusal: "LOADING", Reads: true, writer: 0,
			build: buildLarge, breaks: breakLoading, check: checkLoading, mends: mendLoading,
		},
		{
			Name: "S10-misconf", Title: "snapshots fail, the primary refuses writes", Topology: TopologyStandalone,
			Refusal: "MISCONF", Reads: true, writer: 0,
			build: buildGroup, breaks: breakSnapshots, check: checkRole, mends: mendSnapshots,
		},
		{
			Name: "S10-oom", Title: "the primary is out of memory", Topology: TopologyStandalone,
			Refusal: "OOM", Reads: true, writer: 0,
			build: buildGroup, breaks: setting("maxmemory", "1"), check: checkRole, mends: setting("maxmemory", "0"),
		},
		{
			Name: "S10-maxclients", Title: "the primary has no connection left", Topology: TopologyStandalone,
			// The server says "max number of clients reached" and closes; go-redis takes
			// that for an answer to HELLO, goes on, and finds the connection closed.
			Refusal: RefusalClosed, Reads: true, writer: 0,
			build: buildGroup, breaks: breakConnections, check: checkConnections, mends: mendConnections,
		},
		{
			Name: "S10-busy", Title: "a script does not end on the primary", Topology: TopologyStandalone,
			Refusal: "BUSY", Reads: true, writer: 0,
			build: buildGroup, breaks: breakBusy, check: checkBusy, mends: mendBusy,
		},
		{
			Name: "S13", Title: "writes are paused by CLIENT PAUSE", Topology: TopologyStandalone,
			Refusal: RefusalHang, Reads: true, writer: 0,
			build: buildGroup, breaks: breakPause, check: checkPause, mends: mendPause,
		},
	}
}

// Loading takes loadKeys*loadDelay, unless it is ended before.
const (
	loadKeys  = 4000
	loadDelay = 20 * time.Millisecond
)

// buildLarge gives the servers something to load. A server that loads looks at
// its connections once a kilobyte at the most, so each value is as long.
func buildLarge(ctx context.Context, s *Stage, o StageOptions) error {
	if err := s.group(ctx, o, "--rdbcompression", "no", "--loading-process-events-interval-bytes", "1024"); err != nil {
		return err
	}
	const fill = `for i = 1, tonumber(ARGV[1]) do redis.call('set', KEYS[1] .. i, string.rep('x', 1100)) end return 1`
	n := s.Group.Node(0)
	if err := n.client.Eval(ctx, fill, []string{"redistest:fill:"}, loadKeys).Err(); err != nil {
		return fmt.Errorf("no data to load: %w", err)
	}
	return s.Group.WaitSynced(ctx)
}

func breakLoading(ctx context.Context, s *Stage) error {
	return s.Group.Node(0).RestartLoading(ctx, loadDelay)
}

// RestartLoading restarts the server with the data that it has, which it loads at
// the pace of one key in perKey, and returns when it has begun. CONFIG SET
// key-load-delay 0 ends that.
func (n *Node) RestartLoading(ctx context.Context, perKey time.Duration) error {
	// A snapshot for a replica may just be about to be removed, ours with it.
	for _, command := range [][]any{{"CONFIG", "SET", "rdb-del-sync-files", "no"}, {"SAVE"}} {
		if _, err := n.Do(ctx, command...); err != nil {
			return fmt.Errorf("redistest: %v can't keep its data: %w", n, err)
		}
	}
	return n.restart(ctx, run{
		keepData: true, loading: true,
		args: []string{"--key-load-delay", fmt.Sprint(perKey.Microseconds())},
	})
}

// checkLoading: ROLE says master all the same.
func checkLoading(ctx context.Context, s *Stage) error {
	info, err := s.Group.Node(0).info(ctx)
	if err != nil {
		return err
	}
	if info["loading"] != "1" {
		return stop(errors.New("it has loaded its data already"))
	}
	return checkRole(ctx, s)
}

func mendLoading(ctx context.Context, s *Stage) error {
	if err := setting("key-load-delay", "0")(ctx, s); err != nil {
		return err
	}
	n := s.Group.Node(0)
	return poll(ctx, fmt.Sprintf("%v to have loaded its data", n), func() error {
		info, err := n.info(ctx)
		return want(err, info["loading"] == "0", "at "+info["loading_loaded_perc"]+" %")
	})
}

// setting changes a setting of the primary.
func setting(name, value string) func(context.Context, *Stage) error {
	return func(ctx context.Context, s *Stage) error {
		return s.Group.Node(0).client.ConfigSet(ctx, name, value).Err()
	}
}

// checkRole: ROLE still says master.
func checkRole(ctx context.Context, s *Stage) error {
	return isMaster(s.Group.Node(0).client.Do(ctx, "ROLE").Slice())
}

func isMaster(role []any, err error) error {
	return want(err, len(role) > 0 && role[0] == roleMaster, role)
}

// breakSnapshots puts a directory in the way of the snapshot file.
func breakSnapshots(ctx context.Context, s *Stage) error {
	n := s.Group.Node(0)
	file := filepath.Join(n.dir, snapshotName)
	err := os.RemoveAll(file) // that of a replica may be left
	if err == nil {
		err = os.MkdirAll(filepath.Join(file, "in the way"), 0o700)
	}
	if err != nil {
		return fmt.Errorf("can't get in the way of snapshots: %w", err)
	}
	if err := setting("save", "3600 1")(ctx, s); err != nil {
		return err
	}
	return n.snapshot(ctx, "err")
}

func mendSnapshots(ctx context.Context, s *Stage) error {
	n := s.Group.Node(0)
	if err := os.RemoveAll(filepath.Join(n.dir, snapshotName)); err != nil {
		return fmt.Errorf("can't get out of the way of snapshots: %w", err)
	}
	if err := n.snapshot(ctx, "ok"); err != nil {
		return err
	}
	return setting("save", "")(ctx, s)
}

// snapshot makes snapshots until one ends as wanted.
func (n *Node) snapshot(ctx context.Context, wanted string) error {
	return poll(ctx, "a snapshot to end: "+wanted, func() error {
		info, err := n.info(ctx)
		switch {
		case err != nil:
			return err
		case info["rdb_bgsave_in_progress"] == "1":
			return errors.New("one is being made")
		case info["rdb_last_bgsave_status"] == wanted:
			return nil
		}
		if _, err := n.Do(ctx, "BGSAVE"); err != nil {
			return err
		}
		return errors.New("the last one ended otherwise")
	})
}

// breakConnections lowers the limit below what is in use, over a connection that
// stays open for the way back, and ends all others.
func breakConnections(ctx context.Context, s *Stage) error {
	s.held = s.Group.Node(0).client.Conn()
	for _, command := range [][]any{{"CONFIG", "SET", "maxclients", 1}, {"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}} {
		if err := s.held.Do(ctx, command...).Err(); err != nil {
			return err
		}
	}
	return nil
}

// checkConnections: new connections are turned away, the open one is served.
func checkConnections(ctx context.Context, s *Stage) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	// Without TLS in any case: a server that would begin with that closes before.
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Group.Node(0).Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	text, err := bufio.NewReader(conn).ReadString('\n')
	if told := strings.Contains(text, "max number of clients"); !told && (s.authority == nil || !errors.Is(err, io.EOF)) {
		return fmt.Errorf("a new connection hears %q (%s)", text, answer(err))
	}
	return isMaster(s.held.Do(ctx, "ROLE").Slice())
}

func mendConnections(ctx context.Context, s *Stage) error {
	return s.held.ConfigSet(ctx, "maxclients", "10000").Err()
}

// breakBusy leaves a script running. Its caller gives up; the script does not.
func breakBusy(ctx context.Context, s *Stage) error {
	if err := setting("lua-time-limit", "50")(ctx, s); err != nil {
		return err
	}
	brief, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	err := s.Group.Node(0).client.Eval(brief, "while true do end", nil).Err()
	if !hung(err) {
		return fmt.Errorf("the script ended: %s", answer(err))
	}
	return nil
}

// checkBusy: not even ROLE is answered.
func checkBusy(ctx context.Context, s *Stage) error {
	_, err := s.Group.Node(0).Do(ctx, "ROLE")
	if err == nil || !strings.HasPrefix(err.Error(), "BUSY") {
		return fmt.Errorf("ROLE meets %s", answer(err))
	}
	return nil
}

func mendBusy(ctx context.Context, s *Stage) error {
	return s.Group.Node(0).client.ScriptKill(ctx).Err()
}

func breakPause(ctx context.Context, s *Stage) error {
	_, err := s.Group.Node(0).Do(ctx, "CLIENT", "PAUSE", (10 * time.Minute).Milliseconds(), "WRITE")
	return err
}

// checkPause: reads are answered, ROLE says nothing of it.
func checkPause(ctx context.Context, s *Stage) error {
	if err := s.Group.Node(0).client.Exists(ctx, s.Key(0)).Err(); err != nil {
		return err
	}
	return checkRole(ctx, s)
}

func mendPause(ctx context.Context, s *Stage) error {
	_, err := s.Group.Node(0).Do(ctx, "CLIENT", "UNPAUSE")
	return err
}
