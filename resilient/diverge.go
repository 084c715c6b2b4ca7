package resilient

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// A deferred write diverges when the primary, executing it, answers otherwise than its
// caller was answered: somebody else has written the key meanwhile, or a failover took
// back what the answer rested on. It was executed all the same; the ledger has it as
// diverged. Answers that were not exact, such as estimates and those of rules, promise
// nothing.

// divergences counts, by command, the writes of one source that diverged.
type divergences struct {
	mu sync.Mutex // guards by
	by map[string]uint64
}

// watch has a replay of the source count.
func (d *divergences) watch(o *replay.Options) { o.Hooks.Diverged = d.add }

// add is the replayer's hook.
func (d *divergences) add(v replay.Divergence) {
	name := v.Command
	if command.Lookup(strings.ToLower(name)) == nil && name != "MULTI" {
		name = "other" // it is whatever somebody sent
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by == nil {
		d.by = make(map[string]uint64)
	}
	d.by[name]++
}

// report logs what diverged since the last time, in one line.
func (d *divergences) report(log *slog.Logger) {
	d.mu.Lock()
	by := d.by
	d.by = nil
	d.mu.Unlock()
	if len(by) == 0 {
		return
	}
	total := uint64(0)
	commands := make([]string, 0, len(by))
	for _, name := range slices.Sorted(maps.Keys(by)) {
		total += by[name]
		commands = append(commands, fmt.Sprintf("%s %d", name, by[name]))
	}
	log.Warn("deferred writes were answered otherwise than their callers had been: somebody else has written their keys, "+
		"or a failover lost what they were based on; the ledger says which",
		slog.Uint64("writes", total), slog.String("commands", strings.Join(commands, ", ")))
}
