package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// serverEnvs name the server to ask when it is not the redis-server on the PATH,
// the first that is set.
var serverEnvs = []string{"HOLDFAST_SERVER", "HOLDFAST_REDIS_SERVER"}

// patience bounds the whole conversation with the server.
const patience = 20 * time.Second

func defaultServer() string {
	for _, name := range serverEnvs {
		if path := os.Getenv(name); path != "" {
			return path
		}
	}
	return "redis-server"
}

// facts are what a server says about itself and its commands.
type facts struct {
	// server is "redis" or "valkey", or the name of a module.
	server string
	// version is empty where the facts are kept by hand.
	version  string
	commands []fact // sorted by name
}

// fact is one command or subcommand.
type fact struct {
	name string
	// arity is 0 where a container stands only for its subcommands.
	arity int
	// since is empty where the server does not say.
	since string
	flags []string // sorted
	keys  []keyRule
	// partial says that the server stated rules which it calls incomplete or
	// unknown. They are not among keys.
	partial bool
	subs    []fact // sorted by name
}

// keyRule is one key specification of the server. See keySpec in the package.
type keyRule struct {
	keyword        string
	from           int
	numbered       bool
	last, limit    int
	numkeys, first int
	step           int
}

// ask starts the server, asks it and stops it.
func ask(path string) (_ *facts, err error) {
	dir, err := os.MkdirTemp("", "commandgen")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	socket := filepath.Join(dir, "redis.sock")
	var output bytes.Buffer
	server := exec.CommandContext(ctx, path,
		"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no")
	server.Stdout, server.Stderr = &output, &output
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("cannot start redis-server: %w", err)
	}
	exited := make(chan struct{})
	go func() { // ends with the process
		_ = server.Wait() // killed below: always an error
		close(exited)
	}()
	defer func() {
		cancel() // kills the server
		<-exited
	}()

	conn, err := dial(ctx, socket, exited)
	if err != nil {
		cancel()
		<-exited
		return nil, fmt.Errorf("redis-server does not answer: %w; it said: %s", err, output.String())
	}
	defer func() { _ = conn.Close() }() // nothing is in flight any more
	return newConversation(conn).facts()
}

// dial connects as soon as the server listens.
func dial(ctx context.Context, socket string, exited <-chan struct{}) (net.Conn, error) {
	for {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "unix", socket)
		if err == nil {
			deadline, _ := ctx.Deadline()
			return conn, conn.SetDeadline(deadline)
		}
		select {
		case <-exited:
			return nil, errors.New("it ended at once")
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// conversation is a connection to a server. Only one goroutine may use it.
type conversation struct {
	conn net.Conn
	rd   *resp.Reader
}

func newConversation(conn net.Conn) *conversation {
	return &conversation{conn: conn, rd: resp.NewReader(conn)}
}

func (c *conversation) call(args ...string) (resp.Value, error) {
	if _, err := c.conn.Write(resp.AppendCommandStrings(nil, args...)); err != nil {
		return resp.Value{}, err
	}
	v, err := c.rd.ReadValue()
	if err == nil && v.IsError() {
		err = fmt.Errorf("redis-server refuses %s: %s", args[0], v.Text())
	}
	return v, err
}

func (c *conversation) facts() (*facts, error) {
	info, err := c.call("INFO", "server")
	if err != nil {
		return nil, err
	}
	f := &facts{}
	for line := range strings.Lines(info.Text()) {
		// Valkey states the version of Redis that it is compatible with, too.
		switch name, version, _ := strings.Cut(strings.TrimSpace(line), ":"); {
		case name == "valkey_version":
			f.server, f.version = serverValkey, version
		case name == "redis_version" && f.server == "":
			f.server, f.version = serverRedis, version
		}
	}
	if f.version == "" {
		return nil, errors.New("INFO states neither redis_version nor valkey_version")
	}
	docs, err := c.call("COMMAND", "DOCS")
	if err != nil {
		return nil, err
	}
	since := make(map[string]string)
	if err := readSince(docs, since); err != nil {
		return nil, err
	}
	commands, err := c.call("COMMAND")
	if err != nil {
		return nil, err
	}
	f.commands, err = readCommands(commands, since)
	return f, err
}
