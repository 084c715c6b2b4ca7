package replay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestMissingRightsAreSaid(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string][]any{
		"fence key":   {"resetkeys", "~n"},
		"fence write": {"resetkeys", "~n", "%R~*"},
		"multi":       {"-multi"},
		"watch":       {"-watch"},
		"info":        {"-info"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 0)
			r.do(0, append([]any{"ACL", "SETUSER", "app", "on", ">geheim", "allkeys", "+@all"}, rule...)...)
			r.opt.Credentials = func(context.Context) (string, string, error) { return "app", "geheim", nil }
			r.src.add("INCR", "n")
			_, ended := r.run(r.replayer(), 0)
			wantError(t, ended, ErrRefused)
			if n := r.do(0, "EXISTS", "n"); n != int64(0) {
				t.Error("the entry was applied without its fence")
			}
			if len(r.src.letters()) > 0 {
				t.Errorf("dead letters %+v for a fault that is not theirs", r.src.letters())
			}
		})
	}
}

func TestLogsInAndChoosesTheDatabase(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.do(0, "CONFIG", "SET", "requirepass", "geheim")
	r.opt.DB = 3
	r.opt.Credentials = func(context.Context) (string, string, error) { return "", "geheim", nil }
	r.src.add("INCR", "n")
	r.drain(0)
	if v := fmt.Sprint(r.do(0, "EVAL", "redis.call('SELECT', 3) return redis.call('GET', 'n')", 0)); v != "1" {
		t.Errorf("n = %s in database 3, want 1", v)
	}
	r.opt.Credentials = func(context.Context) (string, string, error) { return "", "wrong-geheim", nil }
	_, ended := r.run(r.replayer(), 0)
	err := <-ended
	if !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "geheim") {
		t.Errorf("wrong password: %v", err)
	}
}

func TestFenceOfAnotherStopsReplay(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.src.add("INCR", "n")
	r.do(0, "SET", FenceKey("test"), "7")
	_, ended := r.run(r.replayer(), 0)
	wantError(t, ended, ErrFenceAhead)
	r.do(0, "SET", FenceKey("test"), "seven")
	_, ended = r.run(r.replayer(), 0)
	wantError(t, ended, ErrRefused)
	if n := r.do(0, "EXISTS", "n"); n != int64(0) {
		t.Error("an entry was sent")
	}
}
