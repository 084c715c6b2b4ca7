package replay

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// conn is a raw connection. It belongs to one goroutine.
type conn struct {
	net.Conn
	replies
	timeout time.Duration
	unbind  func() bool
	out     []byte
}

// dial opens a connection that closes when ctx ends, logs in and chooses the
// database. Its errors wrap ErrUnreachable or ErrRefused.
func (o *Options) dial(ctx context.Context, addr string) (*conn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	nc, err := o.Dial(dialCtx, addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	c := &conn{
		Conn: nc, replies: newReplies(nc), timeout: o.Timeout,
		unbind: context.AfterFunc(ctx, func() { _ = nc.Close() }),
	}
	if err := c.login(dialCtx, o); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *conn) close() {
	c.unbind()
	_ = c.Close()
}

func (c *conn) login(ctx context.Context, o *Options) error {
	var cmds [][]string
	if o.Credentials != nil {
		user, password, err := o.Credentials(ctx)
		if err != nil {
			return fmt.Errorf("%w: no credentials: %w", ErrRefused, err)
		}
		switch {
		case password == "":
		case user == "":
			cmds = append(cmds, []string{"AUTH", password})
		default:
			cmds = append(cmds, []string{"AUTH", user, password})
		}
	}
	if o.DB > 0 {
		cmds = append(cmds, []string{"SELECT", strconv.Itoa(o.DB)})
	}
	answers, err := c.query(cmds...)
	if err != nil {
		return err
	}
	for i, v := range answers {
		if v.IsError() {
			return answerError(cmds[i][0], v)
		}
	}
	return nil
}

// answerError makes an error of a refused command of ours.
func answerError(what string, v resp.Value) error {
	text := errorText(v)
	switch code := codeOf(text); kindOf(code) {
	case codeNotPrimary:
		return fmt.Errorf("%w: it answers %s", ErrNotPrimary, code)
	case codePassing:
		return &pauseError{code}
	case codeOther:
	}
	return refused(what, text)
}

// send writes b and starts the time within which its replies must be there.
func (c *conn) send(b []byte) error {
	if err := c.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	_, err := c.Write(b)
	return err
}

// query sends commands in one write and reads a reply for each. Error replies are
// values; the error is of the connection and wraps ErrUnreachable.
func (c *conn) query(cmds ...[]string) ([]resp.Value, error) {
	c.out = c.out[:0]
	for _, cmd := range cmds {
		c.out = resp.AppendCommandStrings(c.out, cmd...)
	}
	if err := c.send(c.out); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	answers := make([]resp.Value, 0, len(cmds))
	for range cmds {
		v, err := c.rd.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		answers = append(answers, v)
	}
	return answers, nil
}

// The sections of INFO that tell a node's identity, a call each, because before
// version 7 a call knows one section only.
var infoCmds = [][]string{{"INFO", "server"}, {"INFO", "replication"}}

// nodeOf reads the answers to infoCmds.
func nodeOf(answers []resp.Value) (node, error) {
	var text strings.Builder
	for _, v := range answers {
		if v.IsError() {
			return node{}, answerError("INFO", v)
		}
		text.Write(v.Str)
		text.WriteByte('\n')
	}
	info := parseInfo(text.String())
	n := node{
		primary: info["role"] == "master",
		runID:   info["run_id"],
		replID:  info["master_replid"],
		replID2: info["master_replid2"],
	}
	if info["repl_backlog_active"] == "1" {
		n.backlog, _ = strconv.Atoi(info["repl_backlog_size"])
	}
	n.pxat = knowsPXAT(info["redis_version"])
	n.second, _ = strconv.ParseInt(info["second_repl_offset"], 10, 64)
	field := "slave_repl_offset"
	if n.primary {
		field = "master_repl_offset"
	}
	offset, err := strconv.ParseInt(info[field], 10, 64)
	if err != nil || n.runID == "" || n.replID == "" {
		return node{}, fmt.Errorf("%w: INFO does not tell its run id, replication id and offset", ErrRefused)
	}
	n.offset = offset
	return n, nil
}

// parseInfo splits INFO's "name:value" lines.
func parseInfo(text string) map[string]string {
	info := make(map[string]string, 64)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}
