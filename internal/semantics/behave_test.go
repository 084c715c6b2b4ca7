package semantics

import (
	"strings"
	"testing"
)

// rows are written by hand, of each kind of command at least one.
const rows = `
SET k v                    | forwarded, repeatable | deferred, exact | key pending: queues behind it; else forwarded
SET k v NX                 | forwarded, once | refused: two callers could win | waits for the whole drain, then forwarded
SET k v SOMETHING          | forwarded, once | refused: it may write | waits for the whole drain, then forwarded
EXPIRE k 10 GT             | forwarded, once | deferred, exact | key pending: queues behind it; else forwarded
INCR k                     | forwarded, once | deferred, exact; refused while no server tells the base | key pending: queues behind it; else forwarded
XADD k * f v               | forwarded, once | deferred, estimated | key pending: queues behind it; else forwarded
XADD k 1-1 f v             | forwarded, once | deferred, exact | key pending: queues behind it; else forwarded
GET k                      | forwarded | key pending: overlay; else replica | key pending: overlay; else forwarded
GETEX k                    | forwarded, once | key pending: overlay; else replica, as GET | key pending: overlay; else forwarded
GETEX k EX 10              | forwarded, once | deferred, exact | key pending: queues behind it; else forwarded
SORT k                     | forwarded, once | key pending: overlay; else replica, as SORT_RO | key pending: overlay; else forwarded
SORT k GET w*              | forwarded, once | any key pending: overlay; else replica, as SORT_RO | any key pending: overlay; else forwarded
XINFO STREAM k             | forwarded, once | key pending: overlay; else replica | key pending: overlay; else forwarded
DUMP k                     | forwarded | key pending: refused; else replica | key pending: refused; else forwarded
OBJECT ENCODING k          | forwarded, once | key pending: refused; else replica | key pending: refused; else forwarded
EVAL_RO script 0           | forwarded | replica | forwarded
SCAN 0                     | forwarded | replica and overlay, merged | primary and overlay, merged
FT.SEARCH i q              | forwarded | any key pending: refused; else replica | any key pending: refused; else forwarded
PING                       | forwarded | any server that answers | forwarded
CLIENT ID                  | forwarded, once | any server that answers | forwarded
CLIENT REPLY OFF           | not supported | not supported | not supported
HIMPORT PREPARE fields f    | not supported | not supported | not supported
WATCH k                    | not supported | not supported | not supported
EVAL script 0              | forwarded, once | refused: a script may do anything | waits for the whole drain, then forwarded
PUBLISH c m                | forwarded, once | refused: it would reach the subscribers of one replica | forwarded
FLUSHALL                   | forwarded, once | refused: it concerns the server | waits for the whole drain, then forwarded
CONFIG SET a b             | forwarded, once | refused: it concerns the server | forwarded
RESTORE k 0 v              | forwarded, once | refused: it concerns the server | waits for its key, then forwarded
JSON.SET k p v             | forwarded, once | refused: the overlay does not execute it | waits for its key, then forwarded
`

func TestBehave(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(strings.TrimSpace(rows)) {
		parts := strings.Split(strings.TrimSpace(line), " | ")
		f, err := parseForm("any " + parts[0])
		if err != nil || len(parts) != 4 {
			t.Fatalf("%s: %v", line, err)
		}
		b := f.Behave()
		got := []string{b.Healthy.String(), b.WithoutPrimary(), b.Replaying.String()}
		for i, want := range parts[1:] {
			if got[i] != want {
				t.Errorf("%s: %q, want %q", f, got[i], want)
			}
		}
	}
}

// No form is without an answer, and what is refused says why.
func TestBehaveIsComplete(t *testing.T) {
	t.Parallel()
	for _, f := range forms(t) {
		b := f.Behave()
		row := b.Healthy.String() + b.WithoutPrimary() + b.Replaying.String()
		if strings.Contains(row, "invalid") || (b.NoPrimary == NoPrimaryRefused) != (b.Why != "") {
			t.Errorf("%s: %+v", f, b)
		}
	}
}
