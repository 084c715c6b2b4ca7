package overlay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/internal/resp"
	"github.com/redis/go-redis/v9"
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

// randomRead is a read on one of the keys of randomWrite, sometimes malformed.
func randomRead(rng *rand.Rand) [][]byte {
	key := fmt.Sprintf("k%d", rng.IntN(4))
	field := fmt.Sprintf("f%d", rng.IntN(20))
	lines := []string{
		"GET " + key, "MGET k0 k1 k2 k3 " + key, "STRLEN " + key, "EXISTS " + key + " k1 k1", "TYPE " + key,
		"HGET " + key + " " + field, "HMGET " + key + " f0 f1 " + field, "HGETALL " + key, "HLEN " + key,
		"HEXISTS " + key + " " + field, "GET", "HGET " + key, "HGETALL " + key + " x",
		"TTL missing", "PTTL missing", "TTL " + key, "PTTL " + key,
	}
	return split(lines[rng.IntN(len(lines))])
}

// Database 0 is the frozen base that seeds come from, database 1 its copy on
// which a real server executes the same commands. Every reply must agree byte
// for byte; then the journal is sent to database 0, which must become equal to
// database 1.
func TestRepliesEqualRedis(t *testing.T) {
	t.Parallel()
	g := redistest.StartT(t, redistest.Options{})
	client := g.Node(0).Client()
	for _, proto := range []int{2, 3} {
		for round := range 40 {
			rng := rand.New(rand.NewPCG(uint64(proto), uint64(round)))
			if !differentialRound(t, g.Node(0).Addr(), client, proto, rng) {
				t.Fatalf("RESP%d, round %d failed", proto, round)
			}
		}
	}
}

func differentialRound(t *testing.T, addr string, client *redis.Client, proto int, rng *rand.Rand) bool {
	base := dialOracle(t, addr, proto, 0)
	server := dialOracle(t, addr, proto, 1)
	defer base.conn.Close()
	defer server.conn.Close()
	base.do([]byte("FLUSHALL"))
	setUpBase(t, base, rng)
	seeder, err := NewSeeder(SeederOptions{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Options{Source: seeder})

	for step := range 150 {
		args := randomWrite(rng)
		if rng.IntN(2) == 0 {
			args = randomRead(rng)
		}
		got, err := r.run(context.Background(), 0, args)
		want, raw := server.do(args...)
		if errors.Is(err, ErrNotHeld) {
			continue
		}
		if err != nil {
			t.Errorf("step %d: %q: %v", step, args, err)
			return false
		}
		if !sameReply(args, got.Reply, want, raw, proto) || !got.Exact {
			t.Errorf("step %d: %q: reply %q, exact %v; Redis says %q", step, args, AppendReply(nil, got.Reply, proto), got.Exact, raw)
			return false
		}
	}
	r.checkBytes()
	ok := sameState(t, r, server)
	for _, rec := range r.j.records {
		base.do(rec.args...)
	}
	return ok && sameState(t, r, base) && !t.Failed()
}

// setUpBase writes random keys of several types to the base and its copy.
func setUpBase(t *testing.T, base *oracle, rng *rand.Rand) {
	t.Helper()
	for i := range 4 {
		key := fmt.Sprintf("k%d", i)
		line := []string{
			"", "SET " + key + " 10", "SET " + key + " text", "HSET " + key + " f0 1 f1 x f2 9223372036854775807",
			"RPUSH " + key + " a b", "SET " + key + " 9223372036854775800", "SET " + key + " 5 PXAT 99999999999990",
		}[rng.IntN(7)]
		if line == "" {
			continue
		}
		base.do(split(line)...)
		if rng.IntN(3) == 0 {
			base.do(split("PEXPIREAT " + key + " 99999999999000")...)
		}
		if v, _ := base.do(split("COPY " + key + " " + key + " DB 1")...); v.Int != 1 {
			t.Fatalf("COPY: %+v", v)
		}
	}
}

// sameReply compares bytes, but for time that passes between the two answers.
func sameReply(args [][]byte, got, want resp.Value, raw []byte, proto int) bool {
	name := string(bytes.ToLower(args[0]))
	if (name == "ttl" || name == "pttl") && want.Kind == resp.KindInt && want.Int > 0 {
		diff := got.Int - want.Int
		return got.Kind == resp.KindInt && -60_000 < diff && diff < 60_000
	}
	return bytes.Equal(AppendReply(nil, got, proto), raw)
}

// sameState compares every key of the overlay with a server's.
func sameState(t *testing.T, r *rig, server *oracle) bool {
	ok := true
	for i := range r.o.shards {
		for k, e := range r.o.shards[i].keys {
			e.val.expire(time.Now().UnixMilli())
			name := []byte(k.Name)
			deadline, _ := server.do([]byte("PEXPIRETIME"), name)
			if max(deadline.Int, 0) != e.val.expireAt {
				t.Errorf("%s: deadline %d, Redis has %d", name, e.val.expireAt, deadline.Int)
				ok = false
			}
			typ, _ := server.do([]byte("TYPE"), name)
			read := [][]byte{[]byte("GET"), name}
			if e.val.kind == KindHash {
				read[0] = []byte("HGETALL")
			}
			if e.val.kind == KindOpaque {
				if typ.Text() != e.val.typ {
					t.Errorf("%s: type %s, Redis has %s", name, e.val.typ, typ.Text())
					ok = false
				}
				continue
			}
			want, _ := server.do(read...)
			got, err := r.run(context.Background(), 0, read)
			if err != nil || show(got.Reply) != show(want) || typ.Text() != e.val.kind.String() {
				t.Errorf("%s: %s %q, %v; Redis has %s %q", name, e.val.kind, show(got.Reply), err, typ.Text(), show(want))
				ok = false
			}
		}
	}
	return ok
}
