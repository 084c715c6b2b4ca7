package overlay

import (
	"bytes"
	"context"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// FuzzCommand runs any sequence of commands: nothing may panic (a contained
// panic shows as ErrInternal), replies must decode, accounts must hold, and a
// rollback of everything must leave nothing.
func FuzzCommand(f *testing.F) {
	for _, script := range []string{
		"SET k v\nGET k\nAPPEND k w\nSTRLEN k",
		"HSET h a 1 b 2\nHINCRBY h a 5\nHDEL h a b\nHGETALL h",
		"SET k v PXAT 5\nPEXPIREAT k -9223372036854775808\nPERSIST k\nTTL k",
		"INCRBY n 9223372036854775807\nINCR n\nDECRBY n -9223372036854775808\nMGET n n m",
		"DEL a b a\nEXISTS a\n\nHMSET h\nSET k v KEEPTTL extra",
	} {
		f.Add([]byte(script))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newRig(t, Options{EstimateCounters: true})
		r.src.set("n", stringSeed("1"))
		r.src.set("h", hashSeed("a", "1"))
		for i, line := range bytes.Split(script, []byte("\n")) {
			args := bytes.Split(line, []byte(" "))
			res, err := r.run(context.Background(), i%2, args)
			if err != nil {
				if bytes.Contains([]byte(err.Error()), []byte("internal fault")) {
					t.Fatalf("%q: %v", args, err)
				}
				continue
			}
			rd := resp.NewReader(bytes.NewReader(res.Reply))
			if _, err := rd.ReadValue(); err != nil || rd.Buffered() != 0 {
				t.Fatalf("%q: reply %q does not decode: %v", args, res.Reply, err)
			}
		}
		r.checkBytes()
		r.o.Rollback(1)
		if got := r.o.Stats(); got != (Stats{}) {
			t.Fatalf("after taking back everything: %+v", got)
		}
	})
}
