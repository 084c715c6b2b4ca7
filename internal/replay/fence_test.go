package replay

import (
	"errors"
	"testing"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	here := node{replID: "A"}
	successor := func(second int64) node { return node{replID: "B", replID2: "A", second: second} }
	for name, c := range map[string]struct {
		p    position
		want resumption
		err  error
	}{
		"nothing was ever sent": {
			position{bounds: Bounds{0, 9}, sent: 9, node: here},
			resumption{},
			nil,
		},
		"the fence tells": {
			position{found: true, fence: 5, bounds: Bounds{2, 9}, sent: 7, prog: Progress{Acked: 5}, node: here},
			resumption{after: 5},
			nil,
		},
		"a lost reply: further than acknowledged": {
			position{found: true, fence: 7, bounds: Bounds{2, 9}, sent: 7, prog: Progress{Acked: 5}, node: here},
			resumption{after: 7},
			nil,
		},
		"a failover lost the tail": {
			position{found: true, fence: 3, bounds: Bounds{2, 9}, sent: 7, prog: Progress{Acked: 5, ReplID: "A"}, node: successor(4)},
			resumption{after: 3},
			nil,
		},
		"a failover lost what was trimmed": {
			position{found: true, fence: 3, bounds: Bounds{6, 9}, sent: 7, prog: Progress{Acked: 6}, node: here},
			resumption{after: 6, gapTo: 6},
			nil,
		},
		"all trimmed, all there": {
			position{found: true, fence: 9, bounds: Bounds{9, 9}, sent: 9, node: here},
			resumption{after: 9},
			nil,
		},
		"ahead of all that was sent": {
			position{found: true, fence: 8, bounds: Bounds{2, 9}, sent: 7, node: here},
			resumption{},
			ErrFenceAhead,
		},
		"expired once drained": {
			position{bounds: Bounds{6, 9}, sent: 6, prog: Progress{Acked: 6, ReplID: "A"}, node: here},
			resumption{after: 6},
			nil,
		},
		"vanished from the same history": {
			position{bounds: Bounds{2, 9}, sent: 7, prog: Progress{Acked: 5, ReplID: "A"}, node: here},
			resumption{after: 5, doubtTo: 7},
			nil,
		},
		"vanished, nothing in flight": {
			position{bounds: Bounds{2, 9}, sent: 5, prog: Progress{Acked: 5, ReplID: "A"}, node: here},
			resumption{after: 5, doubtTo: 5},
			nil,
		},
		"vanished from a successor that had it": {
			position{
				bounds: Bounds{2, 9}, sent: 7,
				prog: Progress{Acked: 5, ReplID: "A", Covered: 4, Offset: 100}, node: successor(101),
			},
			resumption{after: 4, doubtTo: 7},
			nil,
		},
		"a successor that took over before": {
			position{
				bounds: Bounds{2, 9}, sent: 7,
				prog: Progress{Acked: 5, ReplID: "A", Covered: 4, Offset: 100}, node: successor(100),
			},
			resumption{after: 2},
			nil,
		},
		"a successor, offset not known": {
			position{bounds: Bounds{2, 9}, sent: 7, prog: Progress{Acked: 5, ReplID: "A"}, node: successor(100)},
			resumption{after: 2},
			nil,
		},
		"another data set": {
			position{bounds: Bounds{2, 9}, sent: 7, prog: Progress{Acked: 5, ReplID: "Z"}, node: here},
			resumption{after: 2},
			nil,
		},
		"vanished, and little was sent since it was there": {
			position{bounds: Bounds{2, 90}, sent: 90, reach: 7, prog: Progress{Acked: 5, ReplID: "A"}, node: here},
			resumption{after: 5, doubtTo: 7},
			nil,
		},
	} {
		if c.p.reach == 0 {
			c.p.reach = c.p.sent
		}
		got, err := decide(c.p)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, err, c.want, c.err)
		}
	}
}
