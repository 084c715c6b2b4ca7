package resilient

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
)

// directCases are commands of the types that direct knows, and of some that it
// doesn't, each with replies of every kind.
func directCases(ctx context.Context) map[string]func() redis.Cmder {
	return map[string]func() redis.Cmder{
		"status": func() redis.Cmder { return redis.NewStatusCmd(ctx, "set", "k", "v") },
		"int":    func() redis.Cmder { return redis.NewIntCmd(ctx, "incr", "k") },
		"bool":   func() redis.Cmder { return redis.NewBoolCmd(ctx, "expire", "k", 1) },
		"string": func() redis.Cmder { return redis.NewStringCmd(ctx, "get", "k") },
		"float":  func() redis.Cmder { return redis.NewFloatCmd(ctx, "incrbyfloat", "k", 1) },
		"any":    func() redis.Cmder { return redis.NewCmd(ctx, "get", "k") },
		"slice":  func() redis.Cmder { return redis.NewSliceCmd(ctx, "mget", "k") },
	}
}

var directReplies = []string{
	"+OK\r\n", "+QUEUED\r\n", "+\r\n", ":0\r\n", ":1\r\n", ":-42\r\n", ":9223372036854775807\r\n", "$-1\r\n", "_\r\n",
	"$0\r\n\r\n", "$5\r\nhello\r\n", "$2\r\n\r\n\r\n", "$3\r\n1.5\r\n", "*-1\r\n", "*0\r\n", "*1\r\n$1\r\na\r\n",
	"-ERR no\r\n", "-WRONGTYPE no\r\n", ",1.5\r\n", "#t\r\n",
}

// What the direct way gives must be what go-redis's own reader gives.
func TestDirectReplyIsAsRead(t *testing.T) {
	s := newSide(3)
	t.Cleanup(s.close)
	ctx := context.Background()
	taken := 0
	for name, newCmd := range directCases(ctx) {
		for _, reply := range directReplies {
			want, got := newCmd(), newCmd()
			done, gotErr := direct(got, []byte(reply))
			if !done {
				continue
			}
			wantErr := s.read(ctx, want, []byte(reply))
			taken++
			if fmt.Sprint(wantErr) != fmt.Sprint(gotErr) || errors.Is(wantErr, redis.Nil) != errors.Is(gotErr, redis.Nil) ||
				want.String() != got.String() || fmt.Sprint(want.Err()) != fmt.Sprint(got.Err()) {
				t.Errorf("%s, %q: read gives %v, %v; direct gives %v, %v", name, reply, want, wantErr, got, gotErr)
			}
		}
	}
	if taken < 15 {
		t.Errorf("only %d pairs took the direct way", taken)
	}
}

// go-redis panics on some replies that its command does not expect, as a rule's
// may be. That must not reach the application.
func TestReplyOfTheWrongShapeIsAnError(t *testing.T) {
	s := newSide(3)
	t.Cleanup(s.close)
	ctx := context.Background()
	for name, newCmd := range directCases(ctx) {
		for _, reply := range directReplies {
			cmd := newCmd()
			if err := s.deliver(ctx, cmd, []byte(reply)); err != nil && cmd.Err() == nil {
				t.Errorf("%s, %q: %v is not the command's error", name, reply, err)
			}
		}
	}
	cmd := redis.NewStringCmd(ctx, "get", "k")
	if err := s.read(ctx, cmd, []byte("$1\r\nv\r\n")); err != nil || cmd.Val() != "v" {
		t.Errorf("afterwards: %q, %v", cmd.Val(), err)
	}
}

func BenchmarkDeliver(b *testing.B) {
	s := newSide(3)
	b.Cleanup(s.close)
	ctx := context.Background()
	for _, c := range []struct {
		name  string
		cmd   func() redis.Cmder
		reply string
	}{
		{"status", func() redis.Cmder { return redis.NewStatusCmd(ctx, "set", "k", "v") }, "+OK\r\n"},
		{"int", func() redis.Cmder { return redis.NewIntCmd(ctx, "incr", "k") }, ":42\r\n"},
		{"string", func() redis.Cmder { return redis.NewStringCmd(ctx, "get", "k") }, "$16\r\n0123456789abcdef\r\n"},
	} {
		b.Run(c.name+"/direct", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = s.deliver(ctx, c.cmd(), []byte(c.reply))
			}
		})
		b.Run(c.name+"/read", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = s.read(ctx, c.cmd(), []byte(c.reply))
			}
		})
	}
}
