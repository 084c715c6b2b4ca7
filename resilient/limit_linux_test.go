package resilient_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

func init() { roles["limited"], roles["roomless"] = limitedWriter, roomlessWriter }

// roomlessWriter starts on a disk that has no room for as much as a directory. It
// tells that it runs and defers nothing, and goes on when the limit is lifted.
func roomlessWriter() error {
	k, err := taskOfEnvironment()
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ) // the write's error is enough
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 100, Max: limit.Max}); err != nil {
		return err
	}
	c, err := k.open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Set(ctx, k.log(0), "x", 0).Err(); !errors.Is(err, resilient.ErrJournalFailed) || !resilient.SafeToRetry(err) {
		return fmt.Errorf("without room: %w", err)
	}
	if s := c.Stats(); len(s.JournalProblems) != 1 || s.Entries != 0 {
		return fmt.Errorf("without room: %+v", s)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for err = errors.New("not yet"); err != nil && ctx.Err() == nil; {
		err = c.Set(ctx, k.log(0), token(0, 1), 0).Err()
	}
	fmt.Println(1, err)
	if err := c.Close(); err != nil { // what was accepted is on disk
		return err
	}
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// TestStartWithoutRoom: a full disk keeps no service from starting.
func TestStartWithoutRoom(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	check(t, g.Cycle(ctx))
	k := crashTask{Addrs: g.Addrs(), Dir: t.TempDir(), Prefix: "roomless:"}
	cmd, in, out := k.start(t, "roomless")
	if !out.Scan() || out.Text() != "1 <nil>" {
		t.Fatalf("the writer said %q: %v", out.Text(), out.Err())
	}
	_, err := in.Write([]byte("end\n"))
	check(t, err)
	check(t, cmd.Wait())
	check(t, g.Promote(ctx, 1))
	c, err := k.open()
	check(t, err)
	defer func() { check(t, c.Close()) }()
	flush(t, c)
	if v := g.Node(1).Client().Get(ctx, k.log(0)).Val(); v != token(0, 1) {
		t.Errorf("in Redis: %q", v)
	}
}

// limitedWriter writes in an outage until its disk refuses, which a limit on
// the size of files stands for, and goes on when the limit is lifted. It tells
// how many writes were accepted, and flushes when it is told to.
func limitedWriter() error {
	k, err := taskOfEnvironment()
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ) // the write's error is enough
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	small := syscall.Rlimit{Cur: 64 << 10, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		return err
	}
	c, err := k.open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	accepted := 0
	for ; accepted < 100_000; accepted++ {
		if err = c.Append(ctx, k.log(0), token(0, accepted+1)).Err(); err != nil {
			break
		}
	}
	var refused *resilient.CommandError
	if !errors.As(err, &refused) || !resilient.SafeToRetry(err) {
		return fmt.Errorf("the disk's refusal arrived as %w", err)
	}
	if n, err := c.StrLen(ctx, k.log(0)).Result(); err != nil || n != int64(accepted*tokenSize) {
		return fmt.Errorf("after %d accepted writes and a refused one the log has %d bytes, %w", accepted, n, err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for ctx.Err() == nil && err != nil {
		if err = c.Append(ctx, k.log(0), token(0, accepted+1)).Err(); err == nil {
			accepted++
		}
	}
	fmt.Println(accepted)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	return errors.Join(c.Flush(ctx), c.Close())
}

// TestDiskThatRefuses: a write that the disk does not take is refused and can't
// be read back; what was accepted before and after is in Redis, once.
func TestDiskThatRefuses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := redistest.StartT(t, redistest.Options{Replicas: 1})
	check(t, g.Cycle(ctx))
	k := crashTask{Addrs: g.Addrs(), Dir: t.TempDir(), Prefix: "limit:"}
	cmd, in, out := k.start(t, "limited")
	if !out.Scan() {
		t.Fatalf("the writer said nothing: %v, %v", out.Err(), cmd.Wait())
	}
	var accepted int
	if _, err := fmt.Sscan(out.Text(), &accepted); err != nil || accepted < 2 {
		t.Fatalf("the writer said %q", out.Text())
	}
	check(t, g.Promote(ctx, 1))
	_, err := in.Write([]byte("flush\n"))
	check(t, err)
	check(t, cmd.Wait())
	want := ""
	for n := range accepted {
		want += token(0, n+1)
	}
	got, err := g.Node(1).Client().Get(ctx, k.log(0)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%d bytes are in Redis after %d accepted writes of %d", len(got), accepted, tokenSize)
	}
}
