package replay

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const (
	ok       = "+OK\r\n"
	readonly = "-READONLY You can't write against a read only replica.\r\n"
	noperm   = "-NOPERM this user has no permissions to run the 'set' command\r\n"
	unknown  = "-ERR unknown command 'NOSUCH', with args beginning with: 'secret'\r\n"
	abort    = "-EXECABORT Transaction discarded because of previous errors.\r\n"
)

// fenceIs is the answer to the trailing WATCH and GET.
func fenceIs(v string) string { return ok + fmt.Sprintf("$%d\r\n%s\r\n", len(v), v) }

// The batch has two entries, its fence is 7, and before it the fence was 5.
func judgeText(t *testing.T, text string) (verdict, error) {
	t.Helper()
	var o outcome
	if err := newReplies(strings.NewReader(text)).outcome(2, &o); err != nil {
		return verdict{}, err
	}
	return judge(&o, 7, fenceValue{found: true, value: 5}), nil
}

func TestJudge(t *testing.T) {
	t.Parallel()
	var pause *pauseError
	asPause := func(err error) bool { return errors.As(err, &pause) }
	is := func(target error) func(error) bool {
		return func(err error) bool { return errors.Is(err, target) }
	}
	none := func(err error) bool { return err == nil }
	all := ok + queued + queued + queued
	for name, c := range map[string]struct {
		text   string
		err    func(error) bool
		resend bool
		dead   []int
	}{
		"applied":                       {all + "*3\r\n:1\r\n+OK\r\n+OK\r\n" + fenceIs("7"), none, false, nil},
		"applied, bulk and nil replies": {all + "*3\r\n$1\r\n-\r\n$-1\r\n+OK\r\n" + fenceIs("7"), none, false, nil},
		"applied, one entry failed":     {all + "*3\r\n:1\r\n-WRONGTYPE x\r\n+OK\r\n" + fenceIs("7"), none, false, []int{1}},
		"applied, then the fence moved": {all + "*3\r\n-WRONGTYPE x\r\n:1\r\n+OK\r\n" + fenceIs("8"), is(errReread), false, []int{0}},
		"applied, then it vanished":     {all + "*3\r\n:1\r\n:1\r\n+OK\r\n" + ok + "$-1\r\n", is(errReread), false, nil},
		"applied but for the fence":     {all + "*3\r\n:1\r\n:1\r\n-NOPERM x\r\n" + fenceIs("5"), is(ErrRefused), false, nil},
		"not watched any more":          {all + "*3\r\n:1\r\n:1\r\n+OK\r\n" + noperm + "$1\r\n7\r\n", is(errReread), false, nil},
		"the watched fence had moved":   {all + "*-1\r\n" + fenceIs("6"), is(errReread), false, nil},
		"MULTI refused":                 {noperm + ":1\r\n:1\r\n+OK\r\n-ERR EXEC without MULTI\r\n" + fenceIs("7"), is(ErrRefused), false, nil},
		"an entry is not known":         {ok + queued + unknown + queued + abort + fenceIs("5"), none, true, []int{1}},
		"both entries are at fault":     {ok + noperm + unknown + queued + abort + fenceIs("5"), none, true, []int{0, 1}},
		"at fault, and the fence moved": {ok + queued + unknown + queued + abort + fenceIs("6"), is(errReread), false, nil},
		"the fence is refused":          {ok + queued + queued + noperm + abort + fenceIs("5"), is(ErrRefused), false, nil},
		"a replica":                     {ok + readonly + readonly + readonly + abort + fenceIs("5"), is(ErrNotPrimary), false, nil},
		"a replica, entry not known":    {ok + unknown + readonly + readonly + abort + fenceIs("5"), is(ErrNotPrimary), false, nil},
		"demoted before EXEC":           {all + "-EXECABORT Transaction discarded because of: READONLY You can't\r\n" + fenceIs("5"), is(ErrNotPrimary), false, nil},
		"out of memory":                 {ok + "-OOM x\r\n" + queued + "-OOM x\r\n" + abort + fenceIs("5"), asPause, false, nil},
		"out of memory, not known":      {ok + "-OOM x\r\n" + unknown + "-OOM x\r\n" + abort + fenceIs("5"), asPause, false, nil},
		"out of memory at EXEC":         {all + "-EXECABORT Transaction discarded because of: OOM command\r\n" + fenceIs("5"), asPause, false, nil},
		"replica weighs more than OOM":  {ok + "-OOM x\r\n" + queued + readonly + abort + fenceIs("5"), is(ErrNotPrimary), false, nil},
		"a busy script at EXEC":         {all + "-BUSY Redis is busy\r\n" + fenceIs("5"), asPause, false, nil},
		"EXEC refused":                  {all + noperm + fenceIs("5"), is(ErrRefused), false, nil},
		"aborted for no known reason":   {all + abort + fenceIs("5"), is(errReread), false, nil},
	} {
		v, err := judgeText(t, c.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var dead []int
		for _, f := range v.dead {
			dead = append(dead, f.index)
		}
		if !c.err(v.err) || v.resend != c.resend || !reflect.DeepEqual(dead, c.dead) {
			t.Errorf("%s: error %v, resend %v, dead %v; want resend %v, dead %v", name, v.err, v.resend, dead, c.resend, c.dead)
		}
		if v.err != nil && strings.Contains(v.err.Error(), "secret") {
			t.Errorf("%s: the error quotes an argument: %v", name, v.err)
		}
		for cut := range len(c.text) {
			if _, err := judgeText(t, c.text[:cut]); err == nil {
				t.Fatalf("%s: a verdict from the first %d of %d bytes", name, cut, len(c.text))
			}
		}
	}
}

func TestOutcomeRefusesAWrongCount(t *testing.T) {
	t.Parallel()
	for _, exec := range []string{"*2\r\n:1\r\n+OK\r\n", "*4\r\n:1\r\n:1\r\n:1\r\n+OK\r\n", "+OK\r\n", "*x\r\n"} {
		if v, err := judgeText(t, ok+queued+queued+queued+exec+fenceIs("7")); err == nil {
			t.Errorf("EXEC answered %q: verdict %+v, want an error", exec, v)
		}
	}
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"READONLY You can't write": "READONLY", "OOM": "OOM", "": "ERR", "secret value": "ERR",
		"Err x": "ERR", strings.Repeat("A", 40): "ERR",
	} {
		if got := codeOf(text); got != want {
			t.Errorf("codeOf(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestReasonString(t *testing.T) {
	t.Parallel()
	for reason, want := range map[Reason]string{
		0: "unknown", ReasonRejected: "rejected", ReasonMalformed: "malformed", ReasonInDoubt: "in doubt",
	} {
		if got := reason.String(); got != want {
			t.Errorf("reason %d is %q, want %q", reason, got, want)
		}
	}
}

func FuzzOutcome(f *testing.F) {
	f.Add(ok+queued+queued+queued+"*3\r\n:1\r\n-WRONGTYPE x\r\n+OK\r\n"+fenceIs("7"), 2)
	f.Add(ok+queued+queued+abort+fenceIs("5"), 1)
	f.Add(ok+queued+"*-1\r\n"+ok+"$-1\r\n", 0)
	f.Fuzz(func(t *testing.T, text string, n int) {
		if n < 0 || n > 1000 {
			return
		}
		var o outcome
		if newReplies(strings.NewReader(text)).outcome(n, &o) != nil {
			return
		}
		v := judge(&o, 7, fenceValue{found: true, value: 5})
		for _, dead := range v.dead {
			if dead.index < 0 || dead.index >= n {
				t.Fatalf("entry %d of %d is at fault", dead.index, n)
			}
		}
		if v.resend && (v.err != nil || len(v.dead) == 0) {
			t.Fatalf("sending the same batch again: %+v", v)
		}
		if v.err == nil && !v.resend && o.exec != execApplied {
			t.Fatalf("taken for applied: %+v", o)
		}
	})
}
