package replay

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// trouble is a state of the server in which it declines writes, and the way back.
type trouble struct {
	args       []string // of the server
	code       string   // that the replay is paused with; "": it ends with ErrNotPrimary
	begin, end func(r *rig)
}

func troubles() map[string]trouble {
	loud := func(r *rig, args ...any) { r.do(0, args...) }
	return map[string]trouble{
		"out of memory": {
			code:  "OOM",
			begin: func(r *rig) { loud(r, "CONFIG", "SET", "maxmemory", "1") },
			end:   func(r *rig) { loud(r, "CONFIG", "SET", "maxmemory", "0") },
		},
		"too few replicas": {
			code:  "NOREPLICAS",
			begin: func(r *rig) { loud(r, "CONFIG", "SET", "min-replicas-to-write", "1") },
			end:   func(r *rig) { loud(r, "CONFIG", "SET", "min-replicas-to-write", "0") },
		},
		"a disk that fails": {
			args: []string{"--enable-protected-configs", "yes"},
			code: "MISCONF",
			begin: func(r *rig) {
				dir := filepath.Join(r.t.TempDir(), "gone")
				r.must(os.Mkdir(dir, 0o700))
				loud(r, "CONFIG", "SET", "dir", dir)
				loud(r, "CONFIG", "SET", "save", "3600 100000")
				r.must(os.Remove(dir))
				loud(r, "SET", "dirty", "1") // or there is nothing to save
				loud(r, "BGSAVE")
				r.waitInfo("persistence", "rdb_last_bgsave_status", "err")
			},
			end: func(r *rig) { loud(r, "CONFIG", "SET", "save", "") },
		},
		"a script that runs": {
			code: "BUSY",
			begin: func(r *rig) {
				loud(r, "CONFIG", "SET", "busy-reply-threshold", "1")
				o := Options{}.withDefaults()
				c, err := o.dial(context.Background(), r.g.Node(0).Addr())
				r.must(err)
				r.t.Cleanup(c.close)
				r.must(c.send(command("EVAL", "while true do end", "0")))
				redistest.Eventually(r.t, patience, "the script", func() bool {
					_, err := r.g.Node(0).Do(context.Background(), "PING")
					return err != nil && codeOf(err.Error()) == "BUSY"
				})
			},
			end: func(r *rig) { loud(r, "SCRIPT", "KILL") },
		},
		"a data set that is loaded": {
			code: "LOADING",
			begin: func(r *rig) {
				loud(r, "CONFIG", "SET", "rdbcompression", "no") // it looks around after so many bytes
				loud(r, "CONFIG", "SET", "loading-process-events-interval-bytes", "1024")
				for i := range 20 {
					loud(r, "SET", fmt.Sprint("ballast:", i), string(bytes.Repeat([]byte("x"), 4096)))
				}
				loud(r, "CONFIG", "SET", "key-load-delay", "150000")
				go func() { _, _ = r.g.Node(0).Do(context.Background(), "DEBUG", "RELOAD") }() // answered at its end
				redistest.Eventually(r.t, patience, "the loading", func() bool {
					_, err := r.g.Node(0).Do(context.Background(), "GET", "n")
					return err != nil && codeOf(err.Error()) == "LOADING"
				})
			},
			end: func(r *rig) {
				redistest.Eventually(r.t, patience, "the end of the loading", func() bool {
					_, err := r.g.Node(0).Do(context.Background(), "GET", "n")
					return err == nil
				})
			},
		},
		"a demotion": {
			begin: func(r *rig) { loud(r, "REPLICAOF", "127.0.0.1", "1") },
			end:   func(r *rig) { loud(r, "REPLICAOF", "NO", "ONE") },
		},
	}
}

// waitInfo waits for a line of INFO.
func (r *rig) waitInfo(section, name, value string) {
	r.t.Helper()
	redistest.Eventually(r.t, patience, name+" to be "+value, func() bool {
		return parseInfo(fmt.Sprint(r.do(0, "INFO", section)))[name] == value
	})
}

// The server declines writes from the middle of a drain on, for its own state's sake.
// The replay waits, or ends and is begun anew; nothing becomes a dead letter, and
// nothing is missing, doubled or out of order.
func TestPassingStatesInMidDrain(t *testing.T) {
	t.Parallel()
	for name, trouble := range troubles() {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, plain %v", name, plain), func(t *testing.T) {
				t.Parallel()
				r := newRigWith(t, redistest.Options{Args: trouble.args})
				r.opt.BatchEntries, r.opt.Plain = 5, plain
				const n = 60
				for i := range n {
					r.src.add("INCR", "n")
					r.src.add("APPEND", "log", strconv.Itoa(i)+",")
				}
				begun := make(chan struct{})
				var batches atomic.Int64
				l := &link{decide: func(int, []byte) fate {
					if batches.Add(1) == 8 {
						trouble.begin(r)
						close(begun)
					}
					return forward
				}}
				r.opt.Dial = l.dial
				rp := r.replayer()
				_, ended := r.run(rp, 0)
				<-begun
				if trouble.code != "" {
					redistest.Eventually(t, patience, "the pause", func() bool { return rp.Stats().Paused == trouble.code })
				} else {
					wantError(t, ended, ErrNotPrimary)
				}
				trouble.end(r)
				if trouble.code == "" {
					_, ended = r.run(rp, 0)
				}
				r.waitDrained(ended)
				r.want(0, "n", strconv.Itoa(n))
				r.want(0, "log", order(n))
				if letters := r.src.letters(); len(letters) > 0 {
					t.Errorf("dead letters %+v", letters)
				}
				if st := rp.Stats(); st.Replayed != 2*n || st.Paused != "" {
					t.Errorf("stats %+v", st)
				}
			})
		}
	}
}

// A batch arrives in part and then the connection is gone; or its reply is cut in the
// middle. The server executes a transaction wholly or not at all, and the fence tells.
func TestCutInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sent, answered bool }{
		"of the batch": {}, "of the reply": {sent: true}, "of the reply's last line": {sent: true, answered: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 0)
			r.opt.BatchEntries = 4
			p, err := redistest.NewProxy(r.g.Node(0).Addr())
			r.must(err)
			t.Cleanup(func() { _ = p.Close() })
			r.via = p.Addr()
			for i := range 10 {
				r.src.add("INCR", "n")
				r.src.add("APPEND", "log", strconv.Itoa(i)+",")
			}
			match := redistest.Once(redistest.Contains("APPEND"))
			switch {
			case c.answered:
				exec := redistest.Contains("EXEC")
				var execs atomic.Int64 // the first is a question about rights
				p.CutMidReply(func(request []byte) bool { return exec(request) && execs.Add(1) == 3 })
			case c.sent:
				p.CutMidReply(match)
			default:
				p.CutBeforeSend(match)
			}
			rp := r.drain(0)
			r.want(0, "n", "10")
			r.want(0, "log", order(10))
			if st := rp.Stats(); st.Replayed != 20 || st.DeadLettered != 0 || st.Sessions != 2 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}
