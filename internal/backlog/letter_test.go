package backlog

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// TestRiskOfALetter: what failed has applied nothing only where a command is all or nothing.
func TestRiskOfALetter(t *testing.T) {
	t.Parallel()
	rejected, doubt := replay.ReasonRejected.String()+": ERR", replay.ReasonInDoubt.String()
	for name, c := range map[string]struct {
		reason string
		write  []byte
		want   Risk
	}{
		"rejected":            {rejected, cmd("INCR", "n"), RiskNone},
		"rejected unit":       {rejected, append(cmd("INCR", "n"), cmd("INCR", "m")...), RiskPart},
		"rejected script":     {rejected, cmd("EVAL", "return 1", "1", "n"), RiskHalfway},
		"rejected function":   {rejected, cmd("FCALL", "f", "1", "n"), RiskHalfway},
		"rejected of modules": {rejected, cmd("MODULE.WRITE", "n"), RiskHalfway},
		"in doubt":            {doubt, cmd("INCR", "n"), RiskDoubt},
		"discarded":           {ReasonDiscarded, cmd("INCR", "n"), RiskDiscarded},
		"useless script":      {KindUseless.reason(), cmd("EVAL", "return 1", "1", "n"), RiskNone},
	} {
		l := ReadLetter(journal.DeadLetter{Record: record(entry.Entry{Write: c.write}), Reason: c.reason})
		if l.Err != nil || l.Risk() != c.want {
			t.Errorf("%s: %v, %v, want %v", name, l.Risk(), l.Err, c.want)
		}
	}
}

// TestUselessEntryInDoubt: that the use of a write has ended says nothing of whether it was
// applied, and it must not look as if it could be sent again without a risk.
func TestUselessEntryInDoubt(t *testing.T) {
	t.Parallel()
	useless := entry.Entry{Write: cmd("INCR", "n"), Useful: ms(-time.Minute)}
	again := useless
	again.Write, again.Repeatable = cmd("SET", "n", "1"), true
	b := lay(t, record(useless), record(again), record(useless))
	b.Doubt(replay.AllLanes, 2)
	equal(t, "read", b.read(t, 0, 100), "1 ECHO +-", "2 ECHO +-", "3 ECHO +-")
	equal(t, "dead letters", b.dead,
		"1 "+replay.ReasonInDoubt.String(), "2 "+KindUseless.reason(), "3 "+KindUseless.reason())
	b = lay(t, record(useless))
	b.Doubt(replay.AllLanes, 1)
	b.Doubt(replay.AllLanes, 0)
	b.read(t, 0, 100)
	equal(t, "without a doubt", b.dead, "1 "+KindUseless.reason())
}

// TestDoubtOfAllLanes: over a Ring one fence is for all lanes of a Source.
func TestDoubtOfAllLanes(t *testing.T) {
	t.Parallel()
	b := layLanes(t, record(entry.Entry{Write: cmd("INCR", "2a"), Useful: ms(-time.Minute)}))
	f := b.source(2)
	f.Doubt(replay.AllLanes, 1)
	f.read(t, 0, 100)
	equal(t, "dead letters", f.dead, "1 "+replay.ReasonInDoubt.String())
}

// TestLetterThatIsOwed: of what the primary has declined in a batch that it executed only
// the letter tells. While that can't be kept nothing counts as replayed.
func TestLetterThatIsOwed(t *testing.T) {
	t.Parallel()
	for _, laned := range []bool{false, true} {
		b := layLanes(t, incr("1a"), incr("1b"), incr("1c"))
		f := b.fixture
		if laned {
			f = b.source(1)
		}
		letters := filepath.Join(b.path, "00000000000000000001.dead") // is in the way
		must(t, os.Mkdir(letters, 0o700))
		d := replay.DeadLetter{Seq: 2, Reason: replay.ReasonRejected, Text: "WRONGTYPE", Passed: true}
		if err := f.DeadLetter(d); err == nil {
			t.Fatal("the letter was kept in a directory")
		}
		if err := f.DeadLetter(replay.DeadLetter{Seq: 3, Reason: replay.ReasonMalformed}); err != nil {
			t.Fatal(err) // the next file
		}
		must(t, os.Remove(letters))
		must(t, os.Mkdir(filepath.Join(b.path, "00000000000000000003.dead"), 0o700))
		if laned {
			f.places(t, 0, 100)
			f.entries(t, map[uint16]uint64{1: 3})
		}
		must(t, f.Trim(3, true))
		equal(t, "dead letters", f.dead, "3 malformed", "2 rejected")
		equal(t, "the ledger", b.outcomes(t, 3), "replayed", "dead-lettered rejected", "dead-lettered malformed")
	}
}
