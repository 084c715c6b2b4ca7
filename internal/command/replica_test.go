package command

import (
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
)

// Every form that Class calls a read must be one that a replica answers, under
// ReplicaName; and every write one that it refuses.
func TestReplicaAnswersReads(t *testing.T) {
	t.Parallel()
	group := redistest.StartT(t, redistest.Options{Replicas: 1})
	replica := dialServer(t, group.Node(1).Addr())
	if role := replica.run("ROLE"); role.Elems[0].Text() != "slave" {
		t.Fatalf("node 1 is %s, not a replica", role.Elems[0].Text())
	}
	rows := rowsOf(t, classRows)
	executed := 0
	for _, words := range rows["read"] {
		if !replica.has(words) {
			continue
		}
		executed++
		s, args := specOf(t, words), parseLine(words)
		args[0] = []byte(s.ReplicaName())
		if v := replica.do(args); v.IsError() && strings.HasPrefix(v.Text(), "READONLY") {
			t.Errorf("%s: as %s the replica says %s", words, s.ReplicaName(), v.Text())
		}
	}
	for _, group := range []string{"accumulating", "conditional"} {
		for _, words := range rows[group] {
			if !replica.has(words) {
				continue
			}
			executed++
			if v := replica.do(parseLine(words)); !strings.HasPrefix(v.Text(), "READONLY") {
				t.Errorf("%s: %s, but the replica says %s", words, group, showReply(v))
			}
		}
	}
	if executed < 150 {
		t.Errorf("only %d rows executed", executed)
	}
}
