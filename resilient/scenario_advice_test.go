package resilient_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/redistest"
	"github.com/holdfast-cache/holdfast/resilient"
)

// printedCommand finds the commands in a diagnosis, each with its server.
var printedCommand = regexp.MustCompile(`redis-cli -h (\S+) -p (\d+) (REPLICAOF [\w.]+ \w+)`)

// TestAdviceEndsTheOutage follows the diagnosis to the letter where every server is
// a replica: that ends it, and nothing is lost of what the freshest server has.
func TestAdviceEndsTheOutage(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"S1", "S1-cold", "S1-uneven"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			sc, ok := redistest.ScenarioNamed(name)
			if !ok {
				t.Fatal("no such scenario")
			}
			s := redistest.SetupT(t, sc, redistest.StageOptions{})
			c := open(t, s.Group, &resilient.Options{Dir: t.TempDir()})
			check(t, c.Set(ctx, "before", 1, 0).Err())
			check(t, s.Group.WaitSynced(ctx))
			check(t, s.Break(ctx))
			check(t, s.Check(ctx))
			check(t, c.Incr(ctx, "before").Err())
			want := scenarioWant[name]
			redistest.Eventually(t, testPatience, want.String(), func() bool { return beliefOf(c.State()) == want })

			diagnosis := c.State().Diagnosis
			commands := printedCommand.FindAllStringSubmatch(diagnosis, -1)
			if len(commands) == 0 || commands[0][3] != "REPLICAOF NO ONE" {
				t.Fatalf("no promotion in %q", diagnosis)
			}
			var promoted *redistest.Node
			for _, command := range commands {
				n := nodeAt(t, s, command[1]+":"+command[2])
				var words []any
				for _, word := range strings.Fields(command[3]) {
					words = append(words, word)
				}
				if _, err := n.Do(ctx, words...); err != nil {
					t.Fatalf("%s: %v", command[0], err)
				}
				if promoted == nil {
					promoted = n
				}
			}
			flush(t, c)
			waitState(t, c, resilient.StateHealthy)
			if now := c.State(); now.Primary != promoted.Addr() {
				t.Errorf("the primary is %s, want %v", now.Primary, promoted)
			}
			if v, err := promoted.Do(ctx, "GET", "before"); v != "2" {
				t.Errorf("the counter is %v, %v, want 2", v, err)
			}
			if v, err := promoted.Do(ctx, "GET", redistest.MissedKey); name == "S1-uneven" && v != "20" {
				t.Errorf("what one replica had missed is %v, %v, want 20", v, err)
			}
			check(t, s.Group.WaitSynced(ctx)) // the others follow
		})
	}
}

func nodeAt(t *testing.T, s *redistest.Stage, addr string) *redistest.Node {
	t.Helper()
	for _, n := range s.Nodes() {
		if n.Addr() == addr {
			return n
		}
	}
	t.Fatalf("the diagnosis names %s, which is not one of the servers", addr)
	return nil
}
