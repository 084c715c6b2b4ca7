package engine

import (
	"bytes"
	"strings"
	"testing"
)

func TestLookupFindsEveryCommandInAnyCase(t *testing.T) {
	count := 0
	for _, cmd := range commands.slots {
		if cmd == nil {
			continue
		}
		count++
		args := bytes.Split([]byte(cmd.Name), []byte("|"))
		if got := Lookup(args); got != cmd {
			t.Errorf("%s: found %v", cmd.Name, got)
		}
		for i := range args {
			args[i] = bytes.ToUpper(args[i])
		}
		if got := Lookup(args); got != cmd {
			t.Errorf("%s in capitals: found %v", cmd.Name, got)
		}
		if n := testing.AllocsPerRun(10, func() { Lookup(args) }); n != 0 {
			t.Errorf("%s: %v allocations", cmd.Name, n)
		}
	}
	if count < 150 {
		t.Errorf("the table has %d commands only", count)
	}
}

func TestLookupOfWhatIsNoCommand(t *testing.T) {
	for _, line := range []string{
		"", "se", "sett", "xinfo", "xinfo nonsense", "xinfo |", "get|set",
		strings.Repeat("x", 100), "xinfo " + strings.Repeat("x", 100), "object\x00 help", "set\xff",
	} {
		args := bytes.Split([]byte(line), []byte(" "))
		if got := Lookup(args); got != nil {
			t.Errorf("%q: found %s", line, got.Name)
		}
	}
	if Lookup(nil) != nil || Lookup([][]byte{}) != nil {
		t.Error("found a command without a name")
	}
}
