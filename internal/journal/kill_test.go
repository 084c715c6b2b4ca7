package journal

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// writerDirEnv makes the test binary a process that writes until it is killed.
const writerDirEnv = "HOLDFAST_JOURNAL_TEST_DIR"

const killWriters = 20

// writeUntilKilled appends from several goroutines, each in the order of its
// own lock, and prints every record that was acknowledged.
func writeUntilKilled(dir string) {
	j, _, err := Open(Options{Dir: dir, SegmentBytes: 32 << 10})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var out sync.Mutex
	var wg sync.WaitGroup
	for w := range killWriters {
		wg.Go(func() {
			for i := 0; ; i++ {
				body := fmt.Sprintf("%d/%d/%d", os.Getpid(), w, i)
				ticket, err := j.Append(record(body))
				if err == nil {
					err = ticket.Wait(context.Background())
				}
				out.Lock()
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Printf("%d:%s\n", ticket.Seq(), body)
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestKilledWriterKeepsWhatItAcknowledged kills a writing process at random
// points: every acknowledged record is there once, each goroutine's records
// are in order without a hole, and the journal keeps its id.
func TestKilledWriterKeepsWhatItAcknowledged(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	var id ClientID
	var acked []string
	for run := range 10 {
		acked = append(acked, killOnce(t, dir, rnd.IntN(400))...)
		j, rec, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if run == 0 {
			id = j.ID()
		}
		if rec.Fresh || j.ID() != id || rec.Lost != 0 {
			t.Fatalf("run %d: id %v, want %v, recovery %+v", run, j.ID(), id, rec)
		}
		found := contents(t, j, 1)
		mustClose(t, j)
		checkKilled(t, found, acked)
	}
	if len(acked) == 0 {
		t.Fatal("nothing was acknowledged")
	}
}

// killOnce runs a writer, kills it after about n acknowledgements and returns
// all of them.
func killOnce(t *testing.T, dir string, n int) (acked []string) {
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
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // the end; a last line without its end was cut
			break
		}
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "error") {
			t.Errorf("the writer says: %s", line)
			break
		}
		if acked = append(acked, line); len(acked) == n+1 {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if cmd.Wait() == nil {
		t.Error("the writer ended by itself")
	}
	return acked
}

func checkKilled(t *testing.T, found, acked []string) {
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
		if want := fmt.Sprint(following[body[:cut]]); body[cut+1:] != want {
			t.Fatalf("%s where %s was to follow", body, want)
		}
		following[body[:cut]]++
	}
	for _, entry := range acked {
		if !there[entry] {
			t.Fatalf("%s was acknowledged and is gone", entry)
		}
	}
}
