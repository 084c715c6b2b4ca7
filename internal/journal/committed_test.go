package journal

import (
	"testing"
	"time"
)

// Whoever waits for new records, as a replay does, is told when they can be read:
// in memory a ticket is durable before that.
func TestCommittedComesWhenTheRecordsCanBeRead(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", t.TempDir()} {
		told := make(chan struct{}, 64)
		j, _, err := Open(Options{Dir: dir, Committed: func() { told <- struct{}{} }})
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			ticket, err := j.Append(Record{At: time.Now(), Body: []byte("x")})
			if err != nil {
				t.Fatal(err)
			}
			if err := ticket.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			for j.Stats().Last < ticket.Seq() {
				select {
				case <-told:
				case <-time.After(30 * time.Second):
					t.Fatalf("dir %q: nobody was told of record %d; the last is %d", dir, ticket.Seq(), j.Stats().Last)
				}
			}
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		if len(told) == 0 && dir != "" {
			t.Error("nobody was told of any commit")
		}
	}
}
