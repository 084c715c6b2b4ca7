package resilient

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// Resolution is what becomes of the deferred writes to a key that somebody else has
// written since the first of them was accepted: after a promotion and before the replay
// came to the key, or where a part of the network went on writing; or that a failover
// took back behind what the writes were based on.
type Resolution uint8

// The choices of Options.Conflicts, and the answers of Options.ResolveConflict.
const (
	// ResolutionOverwrite replays the writes on whatever the key holds. The default.
	ResolutionOverwrite Resolution = iota
	// ResolutionKeepServer leaves the key as it is. Its deferred writes, all of those that
	// the replay comes to, become dead letters with the outcome conflicted, which are kept
	// and can be replayed by hand. A write over several keys, or a transaction, is left out
	// as a whole.
	ResolutionKeepServer
)

var resolutionNames = [...]string{"overwrite", "keep-server"}

// String is the resolution in a word.
func (r Resolution) String() string {
	if int(r) < len(resolutionNames) {
		return resolutionNames[r]
	}
	return fmt.Sprintf("resolution(%d)", uint8(r))
}

// Conflict is a key that does not hold what it did when its first deferred write was
// accepted. It is for Options.ResolveConflict alone: it names the key.
type Conflict struct {
	Key string
	// Commands are the names of the commands of the first deferred write to the key, of a
	// transaction all that write. Accepted is when its caller was answered.
	Commands []string
	Accepted time.Time
	// BaseKnown says that a replica told what the key held then; Existed, that it did
	// exist. Without it nobody knows whether the key has changed since.
	BaseKnown, Existed bool
	// Type is what TYPE answers for the key now: "none" where it does not exist any more;
	// "unknown" where the client's user may not ask.
	Type string
	// Value is what the key holds now, if it is a string; of a longer one the first 64 KiB.
	Value []byte
}

// resolveTimeout bounds one call of Options.ResolveConflict: the replay waits for it,
// and with it the writers whose keys wait.
const resolveTimeout = time.Second

// ConflictInfo tells of a key that somebody else has written.
type ConflictInfo struct {
	Seq      uint64    // of the first deferred write to the key
	Commands []string  // the names of its commands
	Accepted time.Time // when it was accepted
	Type     string    // of the key in the primary, as TYPE answers
	// BaseKnown is false where nobody could tell what the key held, so that it counts as
	// changed because it exists.
	BaseKnown bool
	// Resolution is what came of it.
	Resolution Resolution
}

// String is one line for logs.
func (i ConflictInfo) String() string {
	what := "somebody else has written a key (" + i.Type + " by now)"
	if !i.BaseKnown {
		what = "a key exists (" + i.Type + ") of which nobody could tell what it held"
	}
	return fmt.Sprintf("conflict: %s before deferred write %d (%s, accepted %s): %s",
		what, i.Seq, strings.Join(i.Commands, ", "), i.Accepted.UTC().Format(time.RFC3339), i.Resolution)
}

// watchesConflicts reports whether replays compare keys with what they were.
func (o *Options) watchesConflicts() bool {
	return o.Conflicts != ResolutionOverwrite || o.ResolveConflict != nil
}

// validateConflicts reports the faults of the options about conflicts.
func (o *Options) validateConflicts() (faults []error) {
	switch {
	case o.Conflicts > ResolutionKeepServer:
		faults = append(faults, fmt.Errorf("resilient: Options.Conflicts %d is none of ResolutionOverwrite, ResolutionKeepServer", o.Conflicts))
	case o.Conflicts != ResolutionOverwrite && o.ResolveConflict != nil:
		faults = append(faults, fmt.Errorf("resilient: Options.Conflicts is %s beside ResolveConflict, which decides alone; leave one of them out", o.Conflicts))
	}
	return faults
}

// guard has a replay compare keys, if the options want that. source is what it reads.
func (f *foundation) guard(o *replay.Options, source *journalSource) {
	if !f.options.watchesConflicts() {
		return
	}
	o.Conflicts = &replay.Conflicts{Left: source.Conflicted, Now: source.now}
	if f.options.ResolveConflict != nil {
		r := &resolver{resolve: f.options.ResolveConflict, log: f.log, busy: make(chan struct{}, 1)}
		o.Conflicts.Overwrite = r.overwrite
	}
	o.Hooks.Conflict = func(c replay.Conflict) { f.events.conflictFound(conflictInfo(c)) }
}

func conflictInfo(c replay.Conflict) ConflictInfo {
	i := ConflictInfo{
		Seq: c.Seq, Commands: c.Commands, Accepted: c.At, Type: c.Server,
		BaseKnown: c.Base.Kind != basis.KindUnknown, Resolution: ResolutionOverwrite,
	}
	if c.Kept {
		i.Resolution = ResolutionKeepServer
	}
	return i
}

// resolver asks the application, for one replay.
type resolver struct {
	resolve func(context.Context, Conflict) Resolution
	log     *slog.Logger
	busy    chan struct{} // of capacity 1: holds a value while the application is asked
}

// overwrite is replay.Conflicts.Overwrite. An application that does not answer in time
// is not asked again before it has returned; until then the server's values are kept,
// which loses nothing.
func (r *resolver) overwrite(ctx context.Context, c replay.Conflict) bool {
	select {
	case r.busy <- struct{}{}:
	default:
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	said := make(chan Resolution, 1)
	go func() {
		defer func() { <-r.busy }()
		said <- r.ask(ctx, Conflict{
			Key: string(c.Key), Commands: c.Commands, Accepted: c.At,
			BaseKnown: c.Base.Kind != basis.KindUnknown, Existed: c.Base.Kind > basis.KindNone,
			Type: c.Server, Value: c.Value,
		})
	}()
	select {
	case answer := <-said:
		return answer == ResolutionOverwrite
	case <-ctx.Done():
		r.log.Warn("Options.ResolveConflict did not answer in time; the server's values are kept until it returns",
			slog.Duration("timeout", resolveTimeout))
		return false
	}
}

// ask contains a panic: then the server's value is kept.
func (r *resolver) ask(ctx context.Context, c Conflict) (answer Resolution) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("Options.ResolveConflict panicked; the server's value is kept", slog.String("type", fmt.Sprintf("%T", p)))
			answer = ResolutionKeepServer
		}
	}()
	return r.resolve(ctx, c)
}
