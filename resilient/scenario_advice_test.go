package resilient_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

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

// TestAdviceUnderSentinels does the same with the commands of State().Advice where there
// are Sentinels that don't end it by themselves.
func TestAdviceUnderSentinels(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"L1", "L2", "L5"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			sc, ok := redistest.ScenarioNamed(name)
			if !ok {
				t.Fatal("no such scenario")
			}
			s := redistest.SetupT(t, sc, redistest.StageOptions{})
			c := openAt(t, s.ClientOptions(), &resilient.Options{Dir: t.TempDir()})
			waitState(t, c, resilient.StateHealthy)
			check(t, c.Set(ctx, "before", 1, 0).Err())
			check(t, s.Group.WaitSynced(ctx))
			check(t, s.Break(ctx))
			check(t, s.Check(ctx))
			check(t, c.Incr(ctx, "before").Err())
			var advice *resilient.Advice
			redistest.Eventually(t, testPatience, "advice", func() bool {
				now := c.State()
				advice = now.Advice
				return beliefOf(now) == scenarioWant[name] && advice != nil && len(advice.Commands) > 0
			})
			for _, line := range advice.Commands {
				words := strings.Fields(line)
				if len(words) < 6 || words[0] != "redis-cli" || words[1] != "-h" || words[3] != "-p" {
					t.Fatalf("%q is no command line", line)
				}
				server := redis.NewClient(&redis.Options{Addr: words[2] + ":" + words[4]})
				args := make([]any, 0, len(words)-5)
				for _, word := range words[5:] {
					args = append(args, word)
				}
				err := server.Do(ctx, args...).Err()
				_ = server.Close() // it served one command
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
			}
			flush(t, c)
			waitState(t, c, resilient.StateHealthy)
			primary := nodeAt(t, s, c.State().Primary)
			if v := primary.Client().Get(ctx, "before").Val(); v != "2" {
				t.Errorf("the counter is %s, want 2, after %q", v, advice.Commands)
			}
			if now := c.State(); advice.Candidate != "" && now.Primary != advice.Candidate {
				t.Errorf("the primary is %s, and the advice was %s", now.Primary, advice.Candidate)
			}
		})
	}
}
