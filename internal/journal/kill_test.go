package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// writerDirEnv makes the test binary a process that writes until it is killed.
const writerDirEnv = "HOLDFAST_JOURNAL_TEST_DIR"

const killWriters = 20

// writeUntilKilled appends from several goroutines, each in the order of its
// own lock, and prints every record that was acknowledged. Another one reads and
// trims, as a replay does, and says so before.
func writeUntilKilled(dir string) {
	fail := func(err error) {
		fmt.Println("error", err)
		os.Exit(1)
	}
	j, _, err := Open(Options{Dir: dir, SegmentBytes: 32 << 10})
	if err != nil {
		fail(err)
	}
	var out sync.Mutex
	say := func(format string, args ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	var wg sync.WaitGroup
	for w := range killWriters {
		wg.Go(func() {
			for i := 0; ; i++ {
				body := fmt.Sprintf("%d/%d/%d", os.Getpid(), w, i)
				ticket, err := j.Append(record(body))
				if err == nil {
					err = ticket.Wait(context.Background())
				}
				if err != nil {
					fail(err)
				}
				say("%d:%s", ticket.Seq(), body)
				if w == 0 && i%20 == 19 {
					seq := ticket.Seq() / 10 * uint64(10-i%3) // what is behind stays
					say("trim %d", seq)
					if err := j.Acknowledge(Progress{Acked: seq}); err != nil {
						fail(err)
					}
					if err := j.Trim(context.Background(), seq); err != nil {
						fail(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestKilledWriterKeepsWhatItAcknowledged kills a writing process at random
// points: every acknowledged record that was not trimmed is there once, each
// goroutine's records are in order without a hole, and the journal keeps its id.
func TestKilledWriterKeepsWhatItAcknowledged(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	runs := 60
	if soaking() {
		runs = 200
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	var id ClientID
	k := killed{acked: make(map[uint64]string)}
	for run := range runs {
		k.once(t, dir, rnd)
		j, rec, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if run == 0 {
			id = j.ID()
		}
		if rec.Fresh && run > 0 || j.ID() != id || rec.Lost != 0 || len(rec.Skipped) != 0 {
			t.Fatalf("seed %d, run %d: id %v, want %v, recovery %+v", seed, run, j.ID(), id, rec)
		}
		found := contents(t, j, 1)
		mustClose(t, j)
		k.check(t, found)
	}
	t.Logf("seed %d: %d runs, %d records were acknowledged, %d of them trimmed", seed, runs, k.total, k.trimmed)
	if k.total < 1000 || k.trimmed == 0 {
		t.Fatal("too little was written for the test to mean anything")
	}
}

// killed is what processes acknowledged before they were killed.
type killed struct {
	acked   map[uint64]string // by sequence, above trimmed
	trimmed uint64            // the highest that was to be trimmed
	total   int
}

// once runs a writer and kills it: after some acknowledgements, or after some
// time, so that its start is hit too.
func (k *killed) once(t *testing.T, dir string, rnd *rand.Rand) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerDirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
	}
	left := 1 + rnd.IntN(800)
	if rnd.IntN(3) == 0 {
		left = 1 << 30
		defer time.AfterFunc(time.Duration(rnd.IntN(60))*time.Millisecond, kill).Stop()
	}
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // the end; a last line without its end was cut
			break
		}
		k.said(t, strings.TrimSpace(line))
		if left--; left == 0 {
			kill()
		}
	}
	if cmd.Wait() == nil {
		t.Error("the writer ended by itself")
	}
}

func (k *killed) said(t *testing.T, line string) {
	t.Helper()
	if number, ok := strings.CutPrefix(line, "trim "); ok {
		seq, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			t.Errorf("the writer says: %s", line)
		}
		k.trimmed = max(k.trimmed, seq)
		return
	}
	number, _, _ := strings.Cut(line, ":")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		t.Errorf("the writer says: %s", line)
		return
	}
	if before, again := k.acked[seq]; again {
		t.Errorf("one sequence for two records: %s and %s", before, line)
	}
	k.acked[seq] = line
	k.total++
}

// check compares what is there with what was acknowledged.
func (k *killed) check(t *testing.T, found []string) {
	t.Helper()
	there := make(map[string]bool)
	following := make(map[string]int)
	for _, entry := range found {
		if there[entry] {
			t.Fatalf("%s is there twice", entry)
		}
		there[entry] = true
		_, body, _ := strings.Cut(entry, ":")
		cut := strings.LastIndexByte(body, '/')
		number, err := strconv.Atoi(body[cut+1:])
		if want, known := following[body[:cut]]; err != nil || known && number != want {
			t.Fatalf("%s where %d was to follow", body, want)
		}
		following[body[:cut]] = number + 1
	}
	for seq, entry := range k.acked {
		if seq <= k.trimmed {
			continue // kept: no other record may bear its sequence
		}
		if !there[entry] {
			t.Fatalf("%s was acknowledged and is gone", entry)
		}
	}
}
