package resilient_test

import (
	"context"
	"testing"
	"errors"
	"time"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

type bomb struct{}

func (bomb) MarshalBinary() ([]byte, error) { panic("boom") }

func TestScratchBomb(t *testing.T) {
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	check(t, g.Cycle(ctx))
	check(t, c.Set(ctx, "a", "v", 0).Err())
	func() {
		defer func() { fmt.Println("recovered", recover()) }()
		c.Set(ctx, "b", bomb{}, 0)
	}()
	s := time.Now()
	err := c.Set(ctx, "a", "w", 0).Err()
	fmt.Println("after bomb", err, time.Since(s))
}

func TestScratchOrder(t *testing.T) {
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	c := open(t, g, nil)
	cmds, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ConfigSet(ctx, "min-replicas-to-write", "5")
		p.Set(ctx, "k", "first", 0)
		p.ConfigSet(ctx, "min-replicas-to-write", "0")
		p.Set(ctx, "k", "second", 0)
		return nil
	})
	for _, c := range cmds { fmt.Println(c) }
	fmt.Println(err)
	flush(t, c)
	fmt.Println(g.Node(0).Client().Get(ctx, "k"), c.Stats().Deferred)
}

func TestScratchCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	bg := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	for _, dir := range []string{"", t.TempDir()} {
		c := open(t, g, &resilient.Options{Dir: dir})
		check(t, g.Cycle(bg))
		check(t, c.Set(bg, "a", "v", 0).Err())
		cancel()
		for range 5 {
			fmt.Println(c.Set(ctx, "a", "cancelled", 0).Err(), c.Incr(ctx, "never").Err(), c.Get(ctx, "a").Err(), c.LPush(ctx, "l", 1).Err())
		}
		_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error { p.Set(ctx, "a", "pipe", 0); return nil })
		fmt.Println(err)
		fmt.Println(c.Get(bg, "a"), c.Stats().Deferred, c.Stats().Entries)
	}
}

func TestScratchTxScript(t *testing.T) {
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{})
	c := open(t, g, nil)
	const script = `redis.call('INCR', KEYS[1]) return redis.error_reply("READONLY You can't write against a read only replica.")`
	cmds, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Incr(ctx, "n")
		p.Eval(ctx, script, []string{"m"})
		return nil
	})
	for _, c := range cmds { fmt.Println(c) }
	fmt.Println(err, "safe:", resilient.SafeToRetry(err), errors.Is(err, resilient.ErrNoPrimary))
	fmt.Println(g.Node(0).Client().MGet(ctx, "n", "m"))
	cmds, err = c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Incr(ctx, "n")
		p.Eval(ctx, script, []string{"m"})
		p.Get(ctx, "m")
		return nil
	})
	for _, c := range cmds { fmt.Println(c) }
	fmt.Println(err, "safe:", resilient.SafeToRetry(err), errors.Is(err, resilient.ErrNoPrimary))
	fmt.Println(g.Node(0).Client().MGet(ctx, "n", "m"))
	err = c.Watch(ctx, func(tx *redis.Tx) error {
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, "n")
			p.Eval(ctx, script, []string{"m"})
			return nil
		})
		return err
	}, "n")
	fmt.Println(err, "safe:", resilient.SafeToRetry(err), errors.Is(err, resilient.ErrNoPrimary))
	fmt.Println(g.Node(0).Client().MGet(ctx, "n", "m"))
}
