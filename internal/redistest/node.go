package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// attemptTimeout bounds one look at a server; waiting consists of many.
const attemptTimeout = time.Second

// errPortTaken says that a starting server lost its port to another program.
var errPortTaken = errors.New("the port is taken by another program")

// Node is one redis-server. It stays the same through kills and restarts. It is
// safe for concurrent use; Kill, Pause, Resume and Restart follow one another.
type Node struct {
	index  int
	kind   string // "node" or "sentinel", for messages
	server string // path of redis-server
	dir    string
	opts   Options
	log    *nodeLog

	// watch returns the settings of a Sentinel; nil for a server with data.
	watch func() []string

	// Set before Start returns, constant from then on.
	port   int
	client *redis.Client

	verb chan struct{} // one slot, held by the lifecycle verb that is at work

	mu     sync.Mutex
	proc   *process // guarded by mu; nil before the first start
	paused bool     // guarded by mu
	closed bool     // guarded by mu: the group is closed, nothing starts any more
}

func newNode(index int, server, dir string, o Options, sink *lineSink) (*Node, error) {
	n := &Node{index: index, kind: "node", server: server, dir: dir, opts: o, verb: make(chan struct{}, 1)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("redistest: no directory for node %d: %w", index, err)
	}
	var err error
	n.log, err = openLog(filepath.Join(dir, "redis.log"), fmt.Sprintf("node %d | ", index), sink)
	return n, err
}

// Addr is the server's host:port.
func (n *Node) Addr() string { return address(n.port) }

// String is for messages, such as "node 1 (127.0.0.1:12345)".
func (n *Node) String() string { return fmt.Sprintf("%s %d (%s)", n.kind, n.index, n.Addr()) }

// Pid is the process id of redis-server itself, or of its last run if it is
// down.
func (n *Node) Pid() int { return n.process().pid }

// Client is a plain client of the server that tries each command once
// (MaxRetries -1), heeds the deadlines of contexts, and stays usable when the
// server is restarted. It is closed with the group: don't close it.
func (n *Node) Client() *redis.Client { return n.client }

// Do sends one command, once, through Client.
func (n *Node) Do(ctx context.Context, args ...any) (any, error) {
	return n.client.Do(ctx, args...).Result()
}

// Running reports whether the server can be expected to answer: its process
// exists and was not paused.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc != nil && !n.paused && !n.proc.gone()
}

// LogTail returns up to limit bytes from the end of the server's log, all runs
// together.
func (n *Node) LogTail(limit int64) string { return n.log.tail(0, limit) }

// Kill ends the server by SIGKILL and returns when the process is gone. A
// server that is down already is fine.
func (n *Node) Kill() error {
	n.verb <- struct{}{}
	defer n.release()
	n.process().kill()
	n.setPaused(false)
	return nil
}

// Pause stops the server by SIGSTOP: its port accepts connections, nothing
// answers. It returns when the process has stopped.
func (n *Node) Pause() error {
	n.verb <- struct{}{}
	defer n.release()
	p := n.process()
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("redistest: can't pause %v: %w", n, err)
	}
	n.setPaused(true)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return poll(ctx, fmt.Sprintf("%v to stop", n), p.stopped)
}

// Resume ends a Pause. A server that isn't paused is fine.
func (n *Node) Resume() error {
	n.verb <- struct{}{}
	defer n.release()
	if err := n.process().signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("redistest: can't resume %v: %w", n, err)
	}
	n.setPaused(false)
	return nil
}

// Restart starts the server again on its port and in its directory, after a
// Kill if it is still there, and returns when it answers. It comes back in the
// role that this package last gave it, and without data of its own.
func (n *Node) Restart(ctx context.Context) error { return n.restart(ctx, run{}) }

// run says how a server is started. The zero value is the usual way.
type run struct {
	keepData bool         // a snapshot in the server's directory is loaded
	loading  bool         // the start is over while the server still loads it
	args     []string     // further settings, which win over all others
	prepare  func() error // called before the start, while nothing runs
}

func (n *Node) restart(ctx context.Context, r run) error {
	select {
	case n.verb <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("redistest: can't restart %v: %w", n, ctx.Err())
	}
	defer n.release()
	n.process().kill()
	n.setPaused(false)
	if r.prepare != nil {
		if err := r.prepare(); err != nil {
			return err
		}
	}
	// The port is ours, but for a moment a program that is looking for a free
	// one may sit on it.
	return poll(ctx, fmt.Sprintf("%v to restart", n), func() error {
		err := n.start(ctx, r)
		if err != nil && !errors.Is(err, errPortTaken) && ctx.Err() == nil {
			return stop(err)
		}
		return err
	})
}

// launch starts the node for the first time, on a free port.
func (n *Node) launch(ctx context.Context) error { return n.launchOn(ctx, reservePort) }

// launchOn is launch on the first usable port that reserve offers.
func (n *Node) launchOn(ctx context.Context, reserve func() (int, error)) error {
	const tries = 20
	var err error
	for range tries {
		var port int
		if port, err = reserve(); err != nil {
			return err
		}
		n.port = port
		n.client = n.newClient()
		if err = n.writeConfig(); err == nil {
			err = n.start(ctx, run{})
		}
		if !errors.Is(err, errPortTaken) {
			return err
		}
		n.client.Close()
		n.client = nil
		releasePort(port)
	}
	return err
}

func (n *Node) newClient() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr:       n.Addr(),
		Username:   n.opts.User,
		Password:   n.opts.Password,
		TLSConfig:  n.opts.TLS.clientConfig(),
		MaxRetries: -1,
		// One dial an attempt as well. The pool answers from memory, without
		// dialing, after as many failed dials as it has places: keep that far.
		DialerRetries:         1,
		DialTimeout:           2 * time.Second,
		PoolSize:              200,
		ContextTimeoutEnabled: true,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	})
}

// start runs the server and returns when it answers. On an error nothing runs.
func (n *Node) start(ctx context.Context, r run) error {
	// A snapshot made for a replica is removed by the server itself, but not at once.
	// In the way of snapshots there may also be a directory: see Node.failSnapshots.
	if !r.keepData {
		if err := os.RemoveAll(filepath.Join(n.dir, snapshotName)); err != nil {
			return fmt.Errorf("redistest: can't start %v without data: %w", n, err)
		}
	}
	from := n.log.size()
	argv := slices.Concat([]string{n.server, configName}, n.opts.Args, r.args)
	if n.watch != nil {
		argv = append(argv, "--sentinel")
	}
	p, err := startProcess(n.dir, argv, n.log.writer())
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.proc = p
	closed := n.closed
	n.mu.Unlock()
	if closed {
		p.kill()
		return fmt.Errorf("redistest: can't start %v: its group is closed", n)
	}
	if err = n.awaitReady(ctx, p, r.loading); err == nil {
		return nil
	}
	p.kill()
	tail := n.log.tail(from, logTail)
	if strings.Contains(tail, "Address already in use") {
		err = errPortTaken
	}
	return fmt.Errorf("redistest: can't start %v: %w; end of its log:\n%s", n, err, tail)
}

// awaitReady returns when p answers, or with an error as soon as it has ended.
func (n *Node) awaitReady(ctx context.Context, p *process, loading bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with this call, which cancels ctx
		select {
		case <-p.done:
			cancel(errGone)
		case <-ctx.Done():
		}
	}()
	return poll(ctx, fmt.Sprintf("%v to answer", n), func() error {
		if err := n.ready(ctx, p, loading); err != nil {
			return err
		}
		// After very many failed dials the client's pool takes its time to notice.
		_, err := n.info(ctx)
		return err
	})
}

// ready is nil when the server that answers at the node's address is p and has
// loaded its data, or is loading it if that is wanted. Another program may listen there, with p about to end: it
// may be a server itself, or may never answer. So a connection that the end of
// ctx closes at once is used instead of the client.
func (n *Node) ready(ctx context.Context, p *process, loading bool) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	conn, err := n.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	var request []byte
	switch {
	case n.opts.User != "":
		request = resp.AppendCommandStrings(request, "AUTH", n.opts.User, n.opts.Password)
	case n.opts.Password != "":
		request = resp.AppendCommandStrings(request, "AUTH", n.opts.Password)
	}
	request = resp.AppendCommandStrings(request, "INFO")
	if _, err := conn.Write(request); err != nil {
		return err
	}
	replies := resp.NewReader(conn)
	reply, err := replies.ReadValue()
	if err == nil && n.opts.Password != "" && !reply.IsError() {
		reply, err = replies.ReadValue()
	}
	if err != nil {
		return err
	}
	if reply.IsError() {
		return errors.New(reply.Text())
	}
	info := parseInfo(reply.Text())
	if pid := info["process_id"]; pid != strconv.Itoa(p.pid) {
		return fmt.Errorf("process %s answers, not %d", pid, p.pid)
	}
	switch busy := info["loading"] == "1"; { // a Sentinel doesn't speak of it
	case busy && !loading:
		return errors.New("it is loading its data")
	case loading && !busy:
		return errors.New("it is not loading")
	}
	return nil
}

// dial opens a connection beside the client.
func (n *Node) dial(ctx context.Context) (net.Conn, error) {
	if config := n.opts.TLS.clientConfig(); config != nil {
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", n.Addr())
	}
	return new(net.Dialer).DialContext(ctx, "tcp", n.Addr())
}

// close ends the node for good. It is called once.
func (n *Node) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.verb <- struct{}{}
	defer n.release()
	if p := n.process(); p != nil { // nil if the first start failed
		p.kill()
	}
	if n.client != nil { // nil if it never had a port
		n.client.Close()
		releasePort(n.port)
	}
	n.log.close()
}

func (n *Node) release() { <-n.verb }

// process is the current or last run.
func (n *Node) process() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc
}

func (n *Node) setPaused(v bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused = v
}
