package topology

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// SentinelProber asks Sentinels what they know of one group, on connections of its own, one a
// Sentinel. It is safe for concurrent use.
type SentinelProber struct {
	prober *Prober
	name   string
}

// NewSentinelProber returns a prober for the group of that name. It connects as base does: dialer, TLS
// and the Sentinels' own credentials are taken from it; the rest is as with [NewProber]. base may be nil.
func NewSentinelProber(base *redis.Options, name string) *SentinelProber {
	return &SentinelProber{prober: NewProber(base), name: name}
}

// SentinelOptions are the options for NewSentinelProber of a failover client: its dialer and TLS
// settings with the credentials that it has for Sentinels.
func SentinelOptions(o *redis.FailoverOptions) *redis.Options {
	return &redis.Options{
		Dialer: o.Dialer, TLSConfig: o.TLSConfig,
		Username: o.SentinelUsername, Password: o.SentinelPassword,
	}
}

// Probe asks one Sentinel, in one write, for its id, the primary's address, MASTER, REPLICAS, SENTINELS
// and CKQUORUM. It never returns an error, as [Prober.Probe].
func (p *SentinelProber) Probe(ctx context.Context, addr string) SentinelReport {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	var r SentinelReport
	outcome, err := p.prober.visit(ctx, addr, func(ctx context.Context, c *redis.Client) (err error) {
		r, err = p.ask(ctx, c, addr)
		return err
	})
	if err != nil {
		return SentinelReport{Addr: addr, Outcome: outcome, Err: err}
	}
	return r
}

// Close closes the connections. Probes after it fail.
func (p *SentinelProber) Close() error { return p.prober.Close() }

func (p *SentinelProber) ask(ctx context.Context, c *redis.Client, addr string) (SentinelReport, error) {
	pipe := c.Pipeline()
	ask := func(words ...any) *redis.Cmd { return pipe.Do(ctx, append([]any{"sentinel"}, words...)...) }
	id := ask("myid") // since 6.2
	primary := ask("get-master-addr-by-name", p.name)
	master := ask("master", p.name)
	replicas := ask("replicas", p.name)
	sentinels := ask("sentinels", p.name)
	quorum := ask("ckquorum", p.name)
	if _, err := pipe.Exec(ctx); err != nil && !isReply(err) {
		return SentinelReport{}, err
	}
	r := SentinelReport{Addr: addr, Outcome: OutcomeAnswered, LastPing: -1}
	r.ID, _ = id.Text()
	if err := primary.Err(); err != nil && !errors.Is(err, redis.Nil) {
		// A server in normal mode, or a user without the right: no Sentinel for us.
		return SentinelReport{}, err
	}
	if words, err := primary.StringSlice(); err == nil && len(words) == 2 {
		r.Primary, r.Watches = hostPort(words[0], words[1]), true
	}
	if !r.Watches {
		r.Err = fmt.Errorf("topology: the Sentinel knows no group of the name %q; check MasterName", p.name)
		return r, nil
	}
	r.readMaster(fieldsOf(master.Val()))
	for _, item := range listOf(replicas.Val()) {
		if c := replicaOf(fieldsOf(item)); c.Addr != "" && len(r.Replicas) < rosterLimit {
			r.Replicas = append(r.Replicas, c)
		}
	}
	for _, item := range listOf(sentinels.Val()) {
		f := fieldsOf(item)
		if at := hostPort(f["ip"], f["port"]); at != "" && len(r.Sentinels) < rosterLimit {
			r.Sentinels = append(r.Sentinels, at)
		}
	}
	if err := quorum.Err(); err != nil && strings.HasPrefix(err.Error(), "NOQUORUM") {
		r.NoQuorum = err.Error()
	}
	return r, nil
}

// readMaster takes the fields of SENTINEL MASTER.
func (r *SentinelReport) readMaster(f map[string]string) {
	if hostPort(f["ip"], f["port"]) == r.Primary {
		r.PrimaryRunID = f["runid"]
	} // else the Sentinel hands out the node that it is promoting, which MASTER does not tell yet
	flags := "," + f["flags"] + ","
	has := func(flag string) bool { return strings.Contains(flags, ","+flag+",") }
	r.SDown, r.ODown, r.Failing = has("s_down"), has("o_down"), has("failover_in_progress")
	r.DownFor = milliseconds(f["s-down-time"], 0)
	r.DownAfter = milliseconds(f["down-after-milliseconds"], 0)
	r.LastPing = milliseconds(f["last-ok-ping-reply"], -1)
	r.Others = int(number(f["num-other-sentinels"], 0))
	r.Quorum = int(number(f["quorum"], 0))
}

// replicaOf takes the fields of one of SENTINEL REPLICAS.
func replicaOf(f map[string]string) SentinelReplica {
	flags := f["flags"]
	return SentinelReplica{
		Addr: hostPort(f["ip"], f["port"]), RunID: f["runid"],
		Down:        strings.Contains(flags, "s_down") || strings.Contains(flags, "disconnected"),
		Priority:    int(number(f["slave-priority"], defaultPriority)),
		Offset:      number(f["slave-repl-offset"], 0),
		LinkDownFor: milliseconds(f["master-link-down-time"], 0),
		Asked:       milliseconds(f["info-refresh"], 0),
		Pinged:      milliseconds(f["last-ok-ping-reply"], 0),
	}
}

func milliseconds(text string, def int64) time.Duration {
	n := number(text, def)
	if n < 0 || n > int64(time.Duration(1<<62)/time.Millisecond) {
		return time.Duration(def)
	}
	return time.Duration(n) * time.Millisecond
}

func listOf(reply any) []any {
	items, _ := reply.([]any)
	return items
}

// fieldsOf reads a flat list of names and values.
func fieldsOf(reply any) map[string]string {
	items := listOf(reply)
	f := make(map[string]string, len(items)/2)
	for i := 0; i+1 < len(items); i += 2 {
		key, _ := items[i].(string)
		f[key], _ = items[i+1].(string)
	}
	return f
}
