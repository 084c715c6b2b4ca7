package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// pipeline is the number of commands in one pipeline of the clients.
const pipeline = 500

// job is a load on its way into a server.
type job struct {
	load
	n       int
	batch   int // entries of the replay's batches; 0: its default
	addr    string
	dir     string // for what needs a disk
	encoded []byte // all commands
}

// prepared is a job ready to begin.
type prepared struct {
	run  func(ctx context.Context) error // is measured
	done func() error                    // is not
}

// way is one of doing a job.
type way struct {
	name    string // in the measurements
	label   string // in the table
	prepare func(ctx context.Context, j *job) (prepared, error)
	paced   bool // takes as long as it likes, so that few rounds have it
}

// rawName is the way that all are compared with.
const rawName = "raw"

var ways = []way{
	{name: rawName, label: "raw stream", prepare: prepareRaw},
	{name: "holdfast", label: "**Holdfast** without a pace, journal in memory", prepare: func(ctx context.Context, j *job) (prepared, error) {
		return prepareReplay(ctx, j, "", unpaced)
	}},
	{name: "holdfast-disk", label: "**Holdfast** without a pace, journal on disk", prepare: func(ctx context.Context, j *job) (prepared, error) {
		return prepareReplay(ctx, j, j.dir, unpaced)
	}},
	{name: "holdfast-paced", label: "**Holdfast** as it is by default: paced", paced: true, prepare: func(ctx context.Context, j *job) (prepared, error) {
		return prepareReplay(ctx, j, "", 0)
	}},
	{name: "go-redis", label: "go-redis, pipelines of 500", prepare: prepareGoRedis},
	{name: "rueidis", label: "rueidis, DoMulti of 500", prepare: prepareRueidis},
}

// unpaced is the replay.Options.Rate of a replay that takes all that the server gives.
const unpaced = -1

// rawWrite is the size of a write of the raw stream.
const rawWrite = 64 << 10

func prepareRaw(ctx context.Context, j *job) (prepared, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", j.addr)
	if err != nil {
		return prepared{}, err
	}
	return prepared{run: func(context.Context) error { return pipe(c, j.encoded) }, done: c.Close}, nil
}

// pipe sends all and returns when the server has answered all: its last answer is to
// an ECHO behind them.
func pipe(c net.Conn, all []byte) error {
	word := rand.Text()
	last := resp.AppendBulkString(nil, word)
	read := make(chan error, 1)
	go func() { read <- readUntil(c, last) }()
	for len(all) > 0 {
		n, err := c.Write(all[:min(rawWrite, len(all))])
		if err != nil {
			return err
		}
		all = all[n:]
	}
	if _, err := c.Write(resp.AppendCommandStrings(nil, "ECHO", word)); err != nil {
		return err
	}
	return <-read
}

// readUntil reads until the stream ends with last.
func readUntil(c net.Conn, last []byte) error {
	buf := make([]byte, rawWrite)
	have := 0 // kept from before: where the end may have begun
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			return err
		}
		got := buf[:have+n]
		if bytes.HasSuffix(got, last) {
			return nil
		}
		have = copy(buf, got[max(0, len(got)-len(last)):])
	}
}

// prepareReplay fills a journal: in memory, or below dir.
func prepareReplay(ctx context.Context, j *job, dir string, rate int) (p prepared, err error) {
	if dir != "" {
		if dir, err = os.MkdirTemp(dir, "journal-"); err != nil {
			return p, err
		}
	}
	log, err := fillJournal(ctx, j, dir)
	if err != nil {
		return p, err
	}
	// Its own end, as trimming goes on for a moment when all is drained.
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	src := backlog.New(own, backlog.Options{Journal: log, Now: time.Now})
	p.run = func(ctx context.Context) error { return drain(ctx, src, j, rate) }
	p.done = func() error {
		err := errors.Join(src.Close(), log.Close())
		stop()
		if dir != "" {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return err
	}
	return p, nil
}

func fillJournal(ctx context.Context, j *job, dir string) (*journal.Journal, error) {
	log, _, err := journal.Open(journal.Options{Dir: dir, Fsync: journal.FsyncNo, MaxBytes: -1, MaxEntries: -1, Retention: -1})
	if err != nil {
		return nil, err
	}
	var last journal.Ticket
	var cmd, meta, reply []byte
	j.each(j.n, func(_ int, w *write) {
		if err != nil {
			return
		}
		info := &kindInfo[w.kind]
		cmd, reply = resp.AppendCommandStrings(cmd[:0], w.args()...), w.appendReply(reply[:0])
		digest, _, _ := resp.NewDigest().Add(reply)
		e := entry.Entry{Write: cmd, Class: info.class, Repeatable: info.repeatable, Reply: digest.Sum()}
		meta = e.AppendMeta(meta[:0])
		last, err = log.Append(journal.Record{At: time.Now(), Meta: meta, Body: e.Body()})
	})
	if err == nil {
		err = last.Wait(ctx)
	}
	if err == nil {
		err = log.Sync(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return log, nil
}

// drain replays all, and returns when it is in the server and trimmed.
func drain(ctx context.Context, src *backlog.Source, j *job, rate int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	last := src.Bounds().Last
	drained := false
	rp, err := replay.New(replay.Options{
		ClientID: rand.Text(), Source: src, Rate: rate, BatchEntries: j.batch,
		Hooks: replay.Hooks{Drained: func(upTo uint64) {
			if upTo == last {
				drained = true
				stop()
			}
		}},
	})
	if err != nil {
		return err
	}
	err = rp.Run(ctx, replay.Target{Addr: j.addr})
	if st := rp.Stats(); !drained || st.Replayed != uint64(j.n) || st.DeadLettered != 0 {
		return fmt.Errorf("replayed %d of %d entries, %d dead letters: %w", st.Replayed, j.n, st.DeadLettered, err)
	}
	return nil
}

func prepareGoRedis(ctx context.Context, j *job) (prepared, error) {
	c := redis.NewClient(&redis.Options{Addr: j.addr, PoolSize: 1, MaxRetries: -1})
	run := func(ctx context.Context) (err error) {
		pipe := c.Pipeline()
		flush := func() {
			if err == nil {
				_, err = pipe.Exec(ctx)
			}
		}
		j.each(j.n, func(_ int, w *write) {
			switch w.kind {
			case kindSet:
				pipe.Set(ctx, w.key, value, 0)
			case kindHSet:
				pipe.HSet(ctx, w.key, "seen", field)
			case kindIncr:
				pipe.Incr(ctx, w.key)
			case kindRPush:
				pipe.RPush(ctx, w.key, value)
			case kindXAdd:
				pipe.XAdd(ctx, &redis.XAddArgs{Stream: w.key, ID: w.extra, Values: []string{"action", field}})
			default:
				pipe.ZAdd(ctx, w.key, redis.Z{Score: float64(w.n % 1000), Member: w.extra})
			}
			if pipe.Len() == pipeline {
				flush()
			}
		})
		flush()
		return err
	}
	if err := c.Ping(ctx).Err(); err != nil { // dials
		return prepared{}, errors.Join(err, c.Close())
	}
	return prepared{run: run, done: c.Close}, nil
}

func prepareRueidis(_ context.Context, j *job) (prepared, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{j.addr}, DisableCache: true, ForceSingleClient: true, DisableRetry: true,
	})
	if err != nil {
		return prepared{}, err
	}
	run := func(ctx context.Context) (err error) {
		batch := make(rueidis.Commands, 0, pipeline)
		flush := func() {
			if err != nil || len(batch) == 0 {
				return
			}
			for _, r := range c.DoMulti(ctx, batch...) {
				err = errors.Join(err, r.Error())
			}
			batch = batch[:0]
		}
		j.each(j.n, func(_ int, w *write) {
			var cmd rueidis.Completed
			switch w.kind {
			case kindSet:
				cmd = c.B().Set().Key(w.key).Value(value).Build()
			case kindHSet:
				cmd = c.B().Hset().Key(w.key).FieldValue().FieldValue("seen", field).Build()
			case kindIncr:
				cmd = c.B().Incr().Key(w.key).Build()
			case kindRPush:
				cmd = c.B().Rpush().Key(w.key).Element(value).Build()
			case kindXAdd:
				cmd = c.B().Xadd().Key(w.key).Id(w.extra).FieldValue().FieldValue("action", field).Build()
			default:
				cmd = c.B().Zadd().Key(w.key).ScoreMember().ScoreMember(float64(w.n%1000), w.extra).Build()
			}
			if batch = append(batch, cmd); len(batch) == pipeline {
				flush()
			}
		})
		flush()
		return err
	}
	return prepared{run: run, done: func() error { c.Close(); return nil }}, nil
}
