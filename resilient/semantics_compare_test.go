package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/workload"
	"github.com/holdfast-cache/holdfast/resilient"
)

// shapes are the commands whose replies differ between two servers in the same state,
// with the reasons. Their types must be equal.
var shapes = map[string]string{
	"randomkey":       "it is drawn at random",
	"spop":            "it is drawn at random",
	"object|idletime": "it is counted by each server",
	"memory|usage":    "it depends on how the value came to be",
	"scan":            "a part of the keys, in no order",
	"xinfo|consumers": "idle times",
	"xpending":        "idle times",
	"vinfo":           "a vector's place in its graph is drawn at random",
	"vlinks":          "a vector's place in its graph is drawn at random",
	"vrandmember":     "it is drawn at random",
}

// compare says how the reply of ours differs from that of the healthy server where it
// must not.
func (r *row) compare(want, got reply) error {
	var refusal *resilient.CommandError
	if errors.As(got.err, &refusal) || got.err != nil && !errors.As(got.err, new(redis.Error)) {
		return errors.New("it is no server's reply")
	}
	if class := r.Class(); class == command.ClassPassthrough || class == command.ClassAdmin {
		return nil // each server speaks of itself
	}
	if fmt.Sprint(want.err) != fmt.Sprint(got.err) {
		return errors.New("the errors differ")
	}
	if _, only := shapes[r.Name()]; only && !r.whole() || r.madeUp() {
		if a, b := fmt.Sprintf("%T", want.value), fmt.Sprintf("%T", got.value); a != b {
			return fmt.Errorf("the types differ: %s, %s", a, b)
		}
		return nil
	}
	return workload.CompareValues(r.bytes(), want.value, got.value)
}

// sameSize compares what DBSIZE counts. A key that has expired counts until its server
// removes it, which each does in its own time, and a replica only when its primary says
// so: of those that the reply can be based on, none counts more than it holds yet. Where
// nothing has expired, as in any run that does not last for as long as the deadlines of
// the rows, that leaves one number.
func (w *trial) sameSize(ctx context.Context, want, got reply) error {
	n, isCount := got.value.(int64)
	if want.err != nil || got.err != nil || !isCount {
		return errors.New("one of them is no count")
	}
	least, _ := w.sizes(ctx, w.plain)
	most := want.value.(int64)
	var expired int64
	for _, node := range w.g.Nodes() {
		exist, counted := w.sizes(ctx, node.Client())
		expired = max(expired, counted-exist)
	}
	if most += expired; n < least || n > most {
		return fmt.Errorf("%d keys, want %d to %d", n, least, most)
	}
	return nil
}

// sizes are how many keys of a server exist, and how many it counts.
func (w *trial) sizes(ctx context.Context, c *redis.Client) (exist, counted int64) {
	w.t.Helper()
	var names *redis.StringSliceCmd
	var size *redis.IntCmd
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		names, size = p.Keys(ctx, "*"), p.DBSize(ctx)
		return nil
	})
	check(w.t, err)
	return int64(len(names.Val())), size.Val()
}

// whole reports whether a SCAN gets all there is.
func (r *row) whole() bool { return strings.Contains(r.String(), "SCAN 0 MATCH") }

// madeUp reports whether the reply is an id that the server makes up.
func (r *row) madeUp() bool {
	return r.Name() == "xadd" && r.do.Estimated && strings.Contains(r.String(), " * ")
}

// random reports whether the row leaves its keys in a state that two runs don't share.
func (r *row) random() bool {
	switch r.Name() {
	case "spop":
		return true
	case "pfcount": // a primary keeps the count in the value, where no command shows it
		return true
	}
	return r.do.Estimated
}
