package overlay

import (
	"bytes"
	"context"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/engine"
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
		"RPUSH l a b\nLINSERT l BEFORE b c\nLTRIM l 1 -1\nRENAME l m\nLRANGE m 0 -1\nSORT m BY w* GET #",
		"SADD s 1 2\nSUNIONSTORE d s big\nSISMEMBER big 1\nSADD big 2\nSMEMBERS d",
		"ZADD z 1 a 2 b\nZINCRBY z 1 a\nZRANGESTORE y z 0 -1\nZRANGE y 0 -1 WITHSCORES\nGEOADD g 1 1 m",
		"XADD x 1-1 f v\nXRANGE x - +\nXTRIM x MAXLEN 0\nXINFO STREAM x\nPFADD p a b\nPFCOUNT p\nBITOP NOT q n",
	} {
		f.Add([]byte(script))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newRig(t, Options{EstimateCounters: true})
		r.src.set("n", stringSeed("1"))
		r.src.set("h", hashSeed("a", "1"))
		r.src.set("big", fakeKey{
			value:   func() engine.Object { return engine.NewPartialSet(5000) },
			members: map[string]engine.Fact{"1": {Present: true}},
		})
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
