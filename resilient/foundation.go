package resilient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
)

// foundation is what every client that defers writes stands on, whatever its
// servers are: the journal, the overlay, and who looks after them. It is made in
// the order of its fields and taken down in the reverse order.
type foundation struct {
	options *Options
	log     *slog.Logger
	ctx     context.Context // ends with the client; everything in the background hangs on it
	cancel  context.CancelFunc

	events   *events
	problems *problems
	parking  *parking
	keep     journal.Options // of the client's own journal, and of those it adopts
	journal  *journal.Journal
	found    ParkedJournal // what was in it, should it have to be parked
	overlay  *overlay.Overlay
	core     *core
	keeper   *keeper
	side     *side
	facade   *redis.Client
	metrics  metric.Registration

	// committed is told, once there is somebody to tell, that entries are durable:
	// the journal is there before the replay.
	committed atomic.Pointer[func()]

	closing sync.Once
	closed  error // of Close, set in closing
}

// init makes what the making of the rest already needs.
func (f *foundation) init(o *Options) {
	f.options = o.withDefaults()
	f.log = f.options.Logger
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.events = newEvents(f.options.Listener, f.log)
	f.problems = &problems{events: f.events}
	f.parking = newParking(f.events)
}

// openJournal opens the journal and reports what it found. A journal that can't
// be used, or must not be, is left as it is and never keeps a service from starting.
func (f *foundation) openJournal(target string, admit func(*journal.Journal, *journal.Recovery) error) error {
	o := f.options
	f.keep = journal.Options{
		Dir:        o.Dir,
		Target:     target,
		Fsync:      journal.Fsync(o.Fsync),
		MaxBytes:   o.MaxJournalBytes,
		MaxEntries: int64(o.MaxEntries),
		Retention:  o.LedgerRetention,
		Admit:      admit,
		Committed: func() {
			if tell := f.committed.Load(); tell != nil {
				(*tell)()
			}
		},
	}
	j, found, err := journal.Open(f.keep)
	if err != nil {
		return fmt.Errorf("resilient: Options.Dir: %w", err)
	}
	f.journal, f.found = j, parkedFrom(j, found, ParkedForeign)
	for _, s := range found.Skipped {
		if s.Name != j.ID().String() && !errors.Is(s.Err, errParked) {
			f.problems.add(fmt.Sprintf("journal %s was left as it is: %v", s.Name, s.Err))
		}
	}
	f.problems.damage(j.ID().String(), found)
	f.problems.unread(j.ID().String(), found)
	if !found.Fresh {
		f.log.Info("took over the journal of an earlier process",
			slog.Int64("entries", found.Entries), slog.Int64("skipped_bytes", found.SkippedBytes))
	}
	return nil
}

// unread adds what of a journal that was taken over could not be read as a whole, and
// stays as it is: dead letters, and files of the ledger. What waits for its replay is not
// among it.
func (p *problems) unread(id string, found *journal.Recovery) {
	for _, s := range found.Skipped {
		if s.Name == id {
			p.add(fmt.Sprintf("journal %s was taken over, but for what can't be read of its dead letters and its ledger, "+
				"which is kept as it is: %v", id, s.Err))
		}
	}
}

// buildCore makes what the routers share, but for the overlay.
func (f *foundation) buildCore(base *redis.Options) {
	o := f.options
	f.side = newSide(base.Protocol)
	f.core = &core{
		journal: f.journal, side: f.side, db: base.DB, proto: base.Protocol,
		maxRetries: retries(base.MaxRetries), blocks: o.OverflowPolicy == OverflowBlock,
		ctx: f.ctx, dial: base, partition: o.DeferPartitioned, overload: o.DeferOverload,
		client: f.journal.ID().String(),
		clock:  o.clock, rules: newRulebook(o), learned: new(learned), durability: durabilityOf(o),
	}
}

// buildOverlay makes the overlay, whose base values come from a source, and enters
// what the journal holds.
func (f *foundation) buildOverlay(o overlay.Options) error {
	o.MaxBytes, o.EstimateCounters = f.options.MaxOverlayBytes, f.options.EstimateCounters
	o.Bases = f.options.watchesConflicts()
	var err error
	if f.overlay, err = overlay.New(o); err != nil {
		return fmt.Errorf("resilient: %w", err)
	}
	f.core.overlay = f.overlay
	return f.recover()
}

// buildKeeper makes what mends the journal.
func (f *foundation) buildKeeper() {
	f.keeper = newKeeper(f.ctx, f.journal, f.overlay, f.core.rollback, f.events, f.log)
	if f.journal.Failure() != nil {
		f.keeper.failed() // the disk had no room at the start
	}
	f.core.failed = f.keeper.failed
}

// recover enters the journal's entries into the overlay: their keys are held
// from the start, and get their base when a command first asks for it.
func (f *foundation) recover() error {
	reader := f.journal.NewReader(1)
	defer func() { _ = reader.Close() }() // it was only read from
	unknown := 0
	for {
		records, err := reader.Next(f.ctx, 1024, 1<<20)
		if err != nil {
			return fmt.Errorf("resilient: reading the journal: %w", err)
		}
		if len(records) == 0 {
			break
		}
		for _, rec := range records {
			if f.journal.IsDead(rec.Seq) {
				continue
			}
			if f.core.note != nil {
				f.core.note(rec.Seq, f.core.laneOfRecord(rec))
			}
			if !f.recoverOne(rec) {
				unknown++
			}
		}
	}
	if unknown > 0 {
		f.problems.add(fmt.Sprintf("%d journal entries hold commands that this version can't show before their replay", unknown))
	}
	return nil
}

// recoverOne enters one entry; false when the overlay can't execute it. Where an
// entry holds commands that restore its key, these make the key known at once.
func (f *foundation) recoverOne(rec journal.Record) bool {
	e, err := entry.Parse(rec.Meta, rec.Body)
	if err != nil {
		return false
	}
	commands := e.Write
	if len(e.Restore) > 0 {
		commands = e.Restore
	}
	return entry.EachCommand(commands, func(_ []byte, args [][]byte) error {
		keys, err := keysOf(args)
		if err != nil {
			return err
		}
		c := overlay.Command{Args: args, Keys: keys}
		err = f.overlay.Recover(rec.Seq, rec.DB, c, rec.At.UnixMilli(), e.Lapses)
		if errors.Is(err, overlay.ErrNotServed) {
			c.Unseen = true // deferred by a rule, such as a script
			err = f.overlay.Recover(rec.Seq, rec.DB, c, rec.At.UnixMilli(), e.Lapses)
		}
		return err
	}) == nil
}

func durabilityOf(o *Options) Durability {
	switch {
	case o.Dir == "":
		return DurabilityMemory
	case o.Fsync != FsyncAlways:
		return DurabilityOS
	}
	return DurabilityDisk
}
