package overlay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/engine"
	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/holdfast-cache/holdfast/internal/workload"
)

// oracle is a raw connection to a real server: it gives the bytes of replies.
type oracle struct {
	t    *testing.T
	conn net.Conn
	rd   *resp.Reader
	raw  bytes.Buffer
}

func dialOracle(t *testing.T, addr string, proto, db int) *oracle {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	or := &oracle{t: t, conn: conn}
	// One request at a time: what the reader takes is exactly one reply.
	or.rd = resp.NewReader(io.TeeReader(conn, &or.raw))
	or.do([]byte("HELLO"), []byte(strconv.Itoa(proto)))
	or.do([]byte("SELECT"), []byte(strconv.Itoa(db)))
	return or
}

func (or *oracle) do(args ...[]byte) (resp.Value, []byte) {
	or.t.Helper()
	or.raw.Reset()
	if _, err := or.conn.Write(resp.AppendCommand(nil, args...)); err != nil {
		or.t.Fatal(err)
	}
	v, err := or.rd.ReadValue()
	if err != nil {
		or.t.Fatal(err)
	}
	return v, bytes.Clone(or.raw.Bytes())
}

// differ is a sequence of random commands through the overlay and on a server.
type differ struct {
	t       *testing.T
	r       *rig
	server  *oracle // database 1: executes everything
	base    *oracle // database 0: frozen; seeds come from it
	proto   int
	version engine.Server
	names   map[string]bool // of all keys that were named
}

// Database 0 is the frozen base that seeds come from, database 1 its copy on
// which a real server executes the same commands. Every reply must agree; then
// the journal is sent to database 0, which must become equal to database 1. Small
// limits make half of the values partial.
func TestRepliesEqualRedis(t *testing.T) {
	t.Parallel()
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprintf("resp%d", proto), func(t *testing.T) {
			t.Parallel()
			g := redistest.StartT(t, redistest.Options{})
			seed := uint64(time.Now().UnixNano())
			if s := os.Getenv("HOLDFAST_SEED"); s != "" {
				seed, _ = strconv.ParseUint(s, 10, 64)
			}
			t.Logf("HOLDFAST_SEED=%d", seed)
			rounds := 12
			if s := os.Getenv("HOLDFAST_ROUNDS"); s != "" {
				rounds, _ = strconv.Atoi(s)
			}
			for round := range rounds {
				differentialRound(t, g, proto, seed+uint64(round))
			}
		})
	}
}

func differentialRound(t *testing.T, g *redistest.Group, proto int, seed uint64) {
	d := &differ{
		t: t, proto: proto, names: make(map[string]bool),
		base: dialOracle(t, g.Node(0).Addr(), proto, 0), server: dialOracle(t, g.Node(0).Addr(), proto, 1),
	}
	defer d.base.conn.Close()
	defer d.server.conn.Close()
	d.base.do([]byte("FLUSHALL"))
	d.version = d.base.version()
	level := d.version.Version
	if d.version.Valkey {
		level = 70200
	}
	gen := workload.New(seed, workload.Options{Families: families(), Server: level, ExplicitIDs: true, Deferrable: true})
	for range 150 { // half of the keys exist at the server
		d.both(gen.Next())
	}
	limit := 0
	if seed%2 == 0 {
		limit = 4
	}
	seeder, err := NewSeeder(SeederOptions{Client: g.Node(0).Client(), MaxElements: limit})
	if err != nil {
		t.Fatal(err)
	}
	d.r = newRig(t, Options{Source: seeder, MaxBytes: -1})
	d.r.o.SetServer(d.version)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 250 {
		if rng.IntN(8) == 0 {
			d.unit(gen, 1+rng.IntN(4))
		} else {
			d.step(gen.Next())
		}
	}
	d.r.checkBytes()
	d.recovered(seeder)
	for _, rec := range d.r.j.records {
		d.base.do(rec.args...)
	}
	d.sameDatabases()
}

// recovered enters the journal into another overlay, as after a restart, and
// compares what that makes of each key with the server's.
func (d *differ) recovered(seeder *Seeder) {
	d.t.Helper()
	again := newRig(d.t, Options{Source: seeder, MaxBytes: -1})
	again.o.SetServer(d.version)
	for _, rec := range d.r.j.records {
		again.recover(rec.seq, rec.args, time.Now().UnixMilli(), 0)
	}
	if left, err := again.o.Resolve(context.Background()); left != 0 || err != nil {
		d.t.Fatalf("Resolve() = %d, %v", left, err)
	}
	again.checkBytes()
	for i := range again.o.shards {
		for e := again.o.shards[i].first; e != nil; e = e.next {
			d.sameAsServer(e)
		}
	}
}

// sameAsServer compares a key with the server's by a copy in database 2.
func (d *differ) sameAsServer(e *entry) {
	d.t.Helper()
	e.obj.Expire(time.Now().UnixMilli())
	restore, ok := e.obj.AppendRestore(nil, e.name)
	if e.is(flagLost) || !ok {
		return
	}
	d.base.do([]byte("SELECT"), []byte("2"))
	for rest := restore; len(rest) > 0; {
		args, n, err := resp.ParseCommand(rest, nil)
		if err != nil {
			d.t.Fatal(err)
		}
		d.base.do(args...)
		rest = rest[n:]
	}
	_, got := d.base.do([]byte("DEBUG"), []byte("DIGEST-VALUE"), []byte(e.name))
	d.base.do([]byte("SELECT"), []byte("0"))
	d.server.do([]byte("TYPE"), []byte(e.name))
	_, want := d.server.do([]byte("DEBUG"), []byte("DIGEST-VALUE"), []byte(e.name))
	if !bytes.Equal(got, want) {
		d.t.Fatalf("%q after a recovery: digest %q, want %q; restored by %q\nits writes: %q",
			e.name, got, want, restore, d.writesOf(e.name))
	}
}

// families are all but HyperLogLogs: there PFCOUNT changes the value, and PFADD
// changes a damaged one although it answers an error. Neither is in the journal.
func families() (chosen []workload.Family) {
	for _, f := range workload.All() {
		if f.Name != "hll" {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

// both executes a write in both databases.
func (d *differ) both(args [][]byte) {
	d.note(args)
	// SORT leaves elements of equal weight in any order.
	if cmd := engine.Lookup(args); cmd != nil && cmd.Write && cmd.Name != "sort" && fixed(args) {
		d.base.do(args...)
		d.server.do(args...)
	}
}

func (d *differ) note(args [][]byte) {
	for _, k := range commandOf(args).Keys {
		d.names[string(args[k])] = true
	}
}

// fixed reports whether a command does the same wherever and whenever it is
// executed.
func fixed(args [][]byte) bool {
	switch strings.ToLower(string(args[0])) {
	case "copy": // to another database
		return false
	}
	for _, arg := range args[1:] {
		if bytes.Equal(arg, []byte("*")) {
			return false
		}
	}
	return true
}

func (d *differ) request(lines ...[][]byte) Request {
	req := Request{Proto: d.proto}
	for _, args := range lines {
		d.note(args)
		req.Commands = append(req.Commands, commandOf(args))
	}
	return req
}

// refused reports whether the overlay may decline the command.
func (d *differ) refused(err error) bool {
	return errors.Is(err, ErrNotHeld) || errors.Is(err, ErrNotServed) || errors.Is(err, ErrKeyTooBig) ||
		errors.Is(err, ErrPromised)
}

func (d *differ) step(args [][]byte) {
	d.t.Helper()
	cmd := engine.Lookup(args)
	if cmd == nil || !fixed(args) {
		return
	}
	req := d.request(args)
	var res Result
	var err error
	if cmd.Write {
		req.Commit = func(*Effect) (uint64, error) { return d.r.j.commit(args) }
		res, err = d.r.o.Write(context.Background(), req)
	} else {
		res, err = d.r.o.Read(context.Background(), req)
	}
	if d.refused(err) {
		return // the server does not execute it either
	}
	if err != nil {
		d.t.Fatalf("%q: %v", args, err)
	}
	_, raw := d.server.do(args...)
	if err := workload.Compare(args, raw, res.Reply); err != nil || !res.Exact {
		d.t.Fatalf("%q: exact %v, %v", args, res.Exact, err)
	}
}

// unit executes some commands as one, and on the server in a transaction.
func (d *differ) unit(gen *workload.Generator, n int) {
	d.t.Helper()
	var lines [][][]byte
	for len(lines) < n {
		args := gen.Next()
		if cmd := engine.Lookup(args); cmd != nil && fixed(args) && (len(args) == cmd.Arity || len(args) >= -cmd.Arity && cmd.Arity < 0) {
			lines = append(lines, args)
		}
	}
	req := d.request(lines...)
	req.Commit = func(f *Effect) (seq uint64, err error) {
		for i, args := range lines {
			if engine.Lookup(args).Write && (f.Failed == nil || !f.Failed[i]) {
				seq, err = d.r.j.commit(args)
			}
		}
		return seq, err
	}
	res, err := d.r.o.Write(context.Background(), req)
	if d.refused(err) {
		return
	}
	if err != nil {
		d.t.Fatalf("unit %q: %v", lines, err)
	}
	from := 0
	for i, args := range lines {
		end := len(res.Reply)
		if res.Ends != nil {
			end = res.Ends[i]
		}
		_, raw := d.server.do(args...)
		if err := workload.Compare(args, raw, res.Reply[from:end]); err != nil || !res.Exact {
			d.t.Fatalf("unit %q: %q: exact %v, %v", lines, args, res.Exact, err)
		}
		from = end
	}
}

// sameDatabases compares all keys of the two databases.
func (d *differ) sameDatabases() {
	d.t.Helper()
	for name := range d.names {
		// TYPE comes first: it drops a key whose deadline has passed, DEBUG shows it.
		for _, line := range []string{"TYPE", "PEXPIRETIME", "DEBUG DIGEST-VALUE"} {
			args := append(split(line), []byte(name))
			_, got := d.base.do(args...)
			_, want := d.server.do(args...)
			if !bytes.Equal(got, want) {
				d.t.Fatalf("%s %q after the replay: %q, want %q\nits writes: %q", line, name, got, want, d.writesOf(name))
			}
		}
	}
}

// writesOf lists the journaled writes that name a key.
func (d *differ) writesOf(name string) (writes [][][]byte) {
	for _, rec := range d.r.j.records {
		for _, arg := range rec.args[1:] {
			if string(arg) == name {
				writes = append(writes, rec.args)
				break
			}
		}
	}
	return writes
}

func (or *oracle) version() engine.Server {
	or.t.Helper()
	v, _ := or.do([]byte("INFO"), []byte("server"))
	var s engine.Server
	for line := range strings.Lines(v.Text()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "redis_version" || name == "valkey_version" {
			var major, minor, patch int
			_, _ = fmt.Sscanf(value, "%d.%d.%d", &major, &minor, &patch)
			s.Version, s.Valkey = major*10000+minor*100+patch, name == "valkey_version"
		}
	}
	return s
}
