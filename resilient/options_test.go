package resilient_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

func TestNewClientReportsEveryFault(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := resilient.NewClient(
		&redis.UniversalOptions{
			Addrs: []string{"one", "127.0.0.1:"}, DB: -1, MasterName: "m", IsClusterMode: true, RouteByLatency: true,
			RouteRandomly: true, ReadOnly: true,
		},
		&resilient.Options{
			Nodes: []string{"no-port"}, Sentinels: []string{"nor-here"}, Dir: file, Fsync: 7, MaxJournalBytes: -1, MaxEntries: -1,
			MaxOverlayBytes: -2, MaxSeedBytes: -1, MaxSeedFields: -1, ProbeInterval: -1, ProbeTimeout: -1,
			ReplicaAcks: -2, ReplicaAckTimeout: -1, OverflowPolicy: 7, LedgerRetention: -2, MaxReplayAge: 24,
			ReplayRate: -2,
		})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"Addrs[0]", "Addrs[1]", "DB", "IsClusterMode", "RouteByLatency", "RouteRandomly", "ReadOnly", "Nodes[0]", "Sentinels[0]",
		"Sentinels without MasterName", "Dir", "Fsync", "MaxJournalBytes", "MaxEntries",
		"MaxOverlayBytes", "MaxSeedBytes", "MaxSeedFields", "ProbeInterval", "ProbeTimeout", "ReplicaAcks", "ReplicaAckTimeout",
		"OverflowPolicy", "LedgerRetention", "MaxReplayAge", "ReplayRate",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not reported in:\n%v", want, err)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.HasPrefix(line, "resilient: ") {
			t.Errorf("line %q", line)
		}
	}
	if _, err := resilient.NewClient(nil, nil); err == nil || !strings.Contains(err.Error(), "UniversalOptions is nil") {
		t.Errorf("without options: %v", err)
	}
}

func TestNewClientWithUnusableDir(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/holdfast", "/proc"} {
		_, err := resilient.NewClient(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:1"}}, &resilient.Options{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), "resilient: Options.Dir") {
			t.Errorf("%s: error %v", dir, err)
		}
	}
}

// TestNewClientWithoutServers: a service must start while Redis is away.
func TestNewClientWithoutServers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c, err := resilient.NewClient(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:1"}},
		&resilient.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if s := c.State(); s.State != resilient.StateUnreachable {
		t.Errorf("state %v", s)
	}
	if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Errorf("SET: %v", err)
	}
	if v, err := c.Get(ctx, "k").Result(); v != "v" || err != nil {
		t.Errorf("GET = %q, %v", v, err)
	}
	if err := c.Get(ctx, "other").Err(); err == nil || errors.Is(err, redis.Nil) {
		t.Errorf("GET of another key: %v, want the network's error", err)
	}
	err = c.Close()
	if !errors.Is(err, resilient.ErrBacklogLost) || !strings.Contains(err.Error(), "1 of them") {
		t.Errorf("Close with a backlog in memory: %v", err)
	}
	if again := c.Close(); !errors.Is(again, resilient.ErrBacklogLost) {
		t.Errorf("second Close: %v", again)
	}
	if err := c.Get(ctx, "k").Err(); !errors.Is(err, resilient.ErrClosed) || !errors.Is(err, redis.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestJournalOfANewerFormat: it is left byte for byte, reported, and the client
// starts.
func TestJournalOfANewerFormat(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	u := &redis.UniversalOptions{Addrs: []string{"127.0.0.1:1"}}
	quiet := slog.New(slog.DiscardHandler)
	first, err := resilient.NewClient(u, &resilient.Options{Dir: dir, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "*", "*.seg"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	raw, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	// The version of the format, and the header's checksum over it.
	raw[8], raw[9] = 0xff, 0x7f
	binary.LittleEndian.PutUint32(raw[76:], crc32.Checksum(raw[:76], crc32.MakeTable(crc32.Castagnoli)))
	if err := os.WriteFile(segments[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c, err := resilient.NewClient(u, &resilient.Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatalf("the service did not start: %v", err)
	}
	problems := c.Stats().JournalProblems
	if err := c.Set(ctx, "other", "v", 0).Err(); err != nil {
		t.Errorf("a write after that start: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], "newer") || !strings.Contains(log.String(), "newer") {
		t.Errorf("problems %q, log %q", problems, log.String())
	}
	if now, err := os.ReadFile(segments[0]); err != nil || !bytes.Equal(now, raw) {
		t.Errorf("the newer journal was changed (%v)", err)
	}
}

// TestTwoProcessesOnOneDirectory: each has a journal of its own, and the one
// that is left takes over nothing that is still in use.
func TestTwoClientsOnOneDirectory(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	a := open(t, g, &resilient.Options{Dir: dir})
	b := open(t, g, &resilient.Options{Dir: dir})
	if err := g.Cycle(ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Set(ctx, "a", 1, 0).Err(), b.Set(ctx, "b", 2, 0).Err()); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	heir := open(t, g, &resilient.Options{Dir: dir})
	if v, err := heir.Get(ctx, "a").Result(); v != "1" || err != nil {
		t.Errorf("the heir reads %q, %v", v, err)
	}
	if s := heir.Stats(); s.Entries != 1 {
		t.Errorf("the heir has %d entries, want those of the closed client alone", s.Entries)
	}
	stranger := open(t, g, &resilient.Options{Dir: dir, Group: "another"})
	if s := stranger.Stats(); s.Entries != 0 {
		t.Errorf("a client of another group took over %d entries", s.Entries)
	}
	if err := g.Promote(ctx, 1); err != nil {
		t.Fatal(err)
	}
	flushed, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := errors.Join(heir.Flush(flushed), b.Flush(flushed)); err != nil {
		t.Fatal(err)
	}
	if got := g.Node(1).Client().MGet(ctx, "a", "b").Val(); !reflect.DeepEqual(got, []any{"1", "2"}) {
		t.Errorf("in Redis: %v", got)
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	u, err := resilient.ParseURL("rediss://user:secret@example.org:6390/3?protocol=2&client_name=n&max_retries=7&pool_size=9" +
		"&min_retry_backoff=1s&max_retry_backoff=2s&dial_timeout=3s&read_timeout=4s&write_timeout=5s&pool_fifo=true" +
		"&pool_timeout=6s&min_idle_conns=1&max_idle_conns=2&max_active_conns=3&conn_max_idle_time=7s&conn_max_lifetime=8s" +
		"&max_concurrent_dials=4&pipeline_pool_size=5&pipeline_read_buffer_size=6000&pipeline_write_buffer_size=7000")
	if err != nil {
		t.Fatal(err)
	}
	want, err := redis.ParseURL("rediss://user:secret@example.org:6390/3?protocol=2&client_name=n&max_retries=7&pool_size=9" +
		"&min_retry_backoff=1s&max_retry_backoff=2s&dial_timeout=3s&read_timeout=4s&write_timeout=5s&pool_fifo=true" +
		"&pool_timeout=6s&min_idle_conns=1&max_idle_conns=2&max_active_conns=3&conn_max_idle_time=7s&conn_max_lifetime=8s" +
		"&max_concurrent_dials=4&pipeline_pool_size=5&pipeline_read_buffer_size=6000&pipeline_write_buffer_size=7000")
	if err != nil {
		t.Fatal(err)
	}
	// Everything that go-redis reads from a URL must survive the way through
	// the universal options.
	got := reflect.ValueOf(u.Simple()).Elem()
	for i, w := 0, reflect.ValueOf(want).Elem(); i < w.NumField(); i++ {
		f := w.Type().Field(i)
		if !f.IsExported() || f.Name == "Network" || f.Type.Kind() == reflect.Func || w.Field(i).IsZero() {
			continue
		}
		if !reflect.DeepEqual(got.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s = %v, want %v", f.Name, got.Field(i), w.Field(i))
		}
	}
	for _, bad := range []string{"redis://user:secret@host:port/", "unix:///run/redis.sock", "http://secret@x", "redis://:secret@h:1/x"} {
		if _, err := resilient.ParseURL(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("ParseURL(%q): %v", bad, err)
		}
	}
}

func TestSafeToRetry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"missing key", redis.Nil, false},
		{"in doubt", &resilient.CommandError{Err: resilient.ErrInDoubt}, false},
		{"refused", &resilient.CommandError{Err: resilient.ErrNoPrimary}, true},
		{"pool timeout", redis.ErrPoolTimeout, true},
		{"timeout", os.ErrDeadlineExceeded, false},
		{"context", context.Canceled, false},
		{"unknown", errors.New("boom"), false},
	} {
		if got := resilient.SafeToRetry(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
