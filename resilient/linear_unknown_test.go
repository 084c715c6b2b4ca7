package resilient_test

import (
	"context"
	"errors"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// TestTransactionOfReadsWithoutABase: what a key holds of which no server tells is not
// answered from this process's own writes, in a transaction of reads no more than by a read.
// One that also writes is deferred, with replies that are called estimates.
func TestTransactionOfReadsWithoutABase(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	addr := g.Node(0).Addr()
	c, way := openOver(t, g, &resilient.Options{})
	check(t, c.RPush(ctx, "l", "before").Err())
	check(t, c.Set(ctx, "s", "v", 0).Err())
	check(t, way.Refuse(addr, true))
	check(t, c.Set(ctx, "s", "w", 0).Err())
	tracked, receipt := resilient.WithReceipt(ctx)
	if n, err := c.RPush(tracked, "l", "in").Result(); n != 1 || err != nil || receipt.Exact() {
		t.Fatalf("RPUSH = %d, %v, exact %v; want an estimate", n, err, receipt.Exact())
	}

	p := c.TxPipeline()
	s, l := p.Get(ctx, "s"), p.LRange(ctx, "l", 0, -1)
	_, err := p.Exec(ctx)
	for _, err := range []error{err, s.Err(), l.Err()} {
		if !errors.Is(err, resilient.ErrBaseUnknown) || !resilient.SafeToRetry(err) {
			t.Errorf("a transaction of reads: %v, %v; want ErrBaseUnknown", l, err)
		}
	}
	p = c.TxPipeline()
	s = p.Get(ctx, "s")
	tracked, receipt = resilient.WithReceipt(ctx)
	if _, err := p.Exec(tracked); err != nil || s.Val() != "w" || !receipt.Exact() {
		t.Errorf("a transaction that reads what is known: %v, %v", s, err)
	}
	p = c.TxPipeline()
	p.Set(ctx, "s", "x", 0)
	l = p.LRange(ctx, "l", 0, -1)
	tracked, receipt = resilient.WithReceipt(ctx)
	if _, err := p.Exec(tracked); err != nil || receipt.Exact() {
		t.Errorf("a transaction that reads and writes: %v, %v, exact %v; want an estimate", l, err, receipt.Exact())
	}
	check(t, way.Refuse(addr, false))
	flush(t, c)
	if all, err := c.LRange(ctx, "l", 0, -1).Result(); len(all) != 2 || err != nil {
		t.Errorf("at the end LRANGE = %q, %v", all, err)
	}
}
