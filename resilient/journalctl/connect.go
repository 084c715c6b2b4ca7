package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// target is the server of the command line, with flags as redis-cli has them.
type target struct {
	addr, user, pass        string
	secure, insecure        bool
	sni, cacert, cert, keys string
	timeout                 time.Duration
}

func (f *flags) target() *target {
	t := new(target)
	f.StringVar(&t.addr, "to", "", "the primary's `host:port`")
	f.StringVar(&t.user, "user", "", "ACL user name; the password comes from --pass or REDISCLI_AUTH")
	f.StringVar(&t.pass, "pass", "", "password; the environment's REDISCLI_AUTH keeps it out of the list of processes")
	f.BoolVar(&t.secure, "tls", false, "connect by TLS")
	f.StringVar(&t.sni, "sni", "", "server name for TLS; default: the host of --to")
	f.StringVar(&t.cacert, "cacert", "", "`file` with the certificates to trust; default: the system's")
	f.StringVar(&t.cert, "cert", "", "`file` with the client's certificate")
	f.StringVar(&t.keys, "key", "", "`file` with the client's private key")
	f.BoolVar(&t.insecure, "insecure", false, "don't verify the server's certificate")
	f.DurationVar(&t.timeout, "timeout", 5*time.Second, "bound of a connection's set-up and of each batch")
	return t
}

// check completes the target by the environment.
func (t *target) check(env func(string) string) error {
	if t.addr == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(t.addr); err != nil {
		return usagef("--to %q: give host:port", t.addr)
	}
	if t.pass == "" {
		t.pass = env("REDISCLI_AUTH")
	}
	switch {
	case t.user != "" && t.pass == "":
		return usagef("--user needs a password: --pass or REDISCLI_AUTH")
	case !t.secure && (t.sni != "" || t.cacert != "" || t.cert != "" || t.keys != "" || t.insecure):
		return usagef("flags of TLS need --tls")
	case (t.cert == "") != (t.keys == ""):
		return usagef("--cert and --key need each other")
	case t.timeout <= 0:
		return usagef("--timeout %v: give a positive duration", t.timeout)
	}
	return nil
}

// dial opens a connection; it does not log in.
func (t *target) dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	if !t.secure {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if t.sni != "" {
		host = t.sni
	}
	c := &tls.Config{ServerName: host, InsecureSkipVerify: t.insecure, MinVersion: tls.VersionTLS12}
	if t.cacert != "" {
		pem, err := os.ReadFile(t.cacert)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", t.cacert)
		}
	}
	if t.cert != "" {
		pair, err := tls.LoadX509KeyPair(t.cert, t.keys)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", addr)
}

// server is a connection for questions. It belongs to one goroutine.
type server struct {
	net.Conn
	replies *resp.Reader
	timeout time.Duration
	unbind  func() bool
}

// open connects, logs in and chooses the database. The connection closes when ctx
// ends.
func (t *target) open(ctx context.Context, db int) (*server, error) {
	conn, err := t.dial(ctx, t.addr)
	if err != nil {
		return nil, err
	}
	s := &server{
		Conn: conn, replies: resp.NewReader(conn), timeout: t.timeout,
		unbind: context.AfterFunc(ctx, func() { conn.Close() }),
	}
	var login [][]string
	switch {
	case t.pass != "" && t.user != "":
		login = append(login, []string{"AUTH", t.user, t.pass})
	case t.pass != "":
		login = append(login, []string{"AUTH", t.pass})
	}
	if db > 0 {
		login = append(login, []string{"SELECT", strconv.Itoa(db)})
	}
	for _, cmd := range login {
		v, err := s.ask(cmd...)
		if err == nil && v.IsError() {
			err = fmt.Errorf("the server refuses %s: %s", cmd[0], codeOf(v))
		}
		if err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *server) close() {
	s.unbind()
	s.Conn.Close()
}

// ask sends one command. An error reply is a value.
func (s *server) ask(cmd ...string) (resp.Value, error) {
	values, err := s.send(resp.AppendCommandStrings(nil, cmd...), 1)
	if err != nil {
		return resp.Value{}, err
	}
	return values[0], nil
}

// send sends encoded commands and reads n replies.
func (s *server) send(b []byte, n int) ([]resp.Value, error) {
	if err := s.SetDeadline(time.Now().Add(s.timeout)); err != nil {
		return nil, err
	}
	if _, err := s.Write(b); err != nil {
		return nil, err
	}
	values := make([]resp.Value, 0, n)
	for range n {
		v, err := s.replies.ReadValue()
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// codeOf is the code of an error reply; what follows it may quote keys.
func codeOf(v resp.Value) string {
	code, _, _ := strings.Cut(v.Text(), " ")
	return code
}

// node is what a server says of itself.
type node struct {
	primary                bool
	runID, replID, replID2 string
	replicas               []string      // addresses
	ahead                  time.Duration // of its clock before ours
}

func (s *server) node(now func() time.Time) (node, error) {
	n := node{}
	info := make(map[string]string)
	for _, section := range []string{"server", "replication"} {
		v, err := s.ask("INFO", section)
		if err == nil && v.IsError() {
			err = fmt.Errorf("the server refuses INFO: %s", codeOf(v))
		}
		if err != nil {
			return n, err
		}
		for line := range strings.Lines(v.Text()) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				info[name] = value
			}
		}
	}
	n.primary = info["role"] == "master"
	n.runID, n.replID, n.replID2 = info["run_id"], info["master_replid"], info["master_replid2"]
	for i := 0; ; i++ {
		replica, ok := info["slave"+strconv.Itoa(i)]
		if !ok {
			break
		}
		fields := make(map[string]string)
		for field := range strings.SplitSeq(replica, ",") {
			name, value, _ := strings.Cut(field, "=")
			fields[name] = value
		}
		if fields["ip"] != "" && fields["port"] != "0" {
			n.replicas = append(n.replicas, net.JoinHostPort(fields["ip"], fields["port"]))
		}
	}
	before := now()
	v, err := s.ask("TIME")
	if err != nil {
		return n, err
	}
	if len(v.Elems) != 2 {
		return n, errors.New("the server does not tell its time")
	}
	sec, err1 := strconv.ParseInt(v.Elems[0].Text(), 10, 64)
	micro, err2 := strconv.ParseInt(v.Elems[1].Text(), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return n, fmt.Errorf("the server's time: %w", err)
	}
	after := now()
	n.ahead = time.UnixMicro(sec*1e6 + micro).Sub(before.Add(after.Sub(before) / 2))
	return n, nil
}
