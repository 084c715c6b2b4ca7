package resilient

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// letterHome is what dead letters need of a backend that defers.
type letterHome interface {
	ground() *foundation
	// shardOfRecord is the shard that has the keys of a write now; never nil.
	shardOfRecord(rec journal.Record) *shard
	// deliverTo are the options of a delivery to a shard.
	deliverTo(s *shard) replay.Options
}

func (f *foundation) ground() *foundation { return f }

func (l *lifecycle) deadLetters() letterHome { return l }

func (l *lifecycle) shardOfRecord(journal.Record) *shard { return &l.shard }

func (l *lifecycle) deliverTo(*shard) replay.Options {
	return l.replayOptions(l.place.base, func() []string { return l.replicas.promotable(l.monitor.View()) })
}

func (c *sharded) deadLetters() letterHome { return c }

func (c *sharded) shardOfRecord(rec journal.Record) *shard {
	return c.layout.shardOf(c.layout.laneOfRecord(rec))
}

func (c *sharded) deliverTo(s *shard) replay.Options {
	return c.replayOptions(c.base, func() []string { return c.replicas.promotable(s.monitor.View()) })
}

// postOffice sees to dead letters, for the duration of one call.
type postOffice struct {
	ctx  context.Context // ends with the call or the client
	home letterHome
	f    *foundation
}

// each calls yield with all dead letters: of the own journal, and of the others of the
// same target.
func (p *postOffice) each(yield func(*letter)) error {
	own := p.f.journal.ID().String()
	err := p.eachOf(own, p.f.journal.DeadLetters, p.f.journal.Stats().Trimmed, yield)
	if p.f.options.Dir == "" {
		return err
	}
	names, listErr := journal.Siblings(p.f.options.Dir)
	err = errors.Join(err, listErr)
	target := ""
	if v, viewErr := p.view(own); viewErr == nil {
		target = v.Target()
	}
	for _, name := range names {
		if name == own || p.ctx.Err() != nil {
			continue
		}
		v, viewErr := p.view(name)
		switch {
		case errors.Is(viewErr, fs.ErrNotExist): // done with meanwhile
		case viewErr != nil:
			err = errors.Join(err, viewErr)
		case v.Target() == target:
			err = errors.Join(err, p.eachOf(name, v.DeadLetters, v.Trimmed(), yield))
		}
	}
	return errors.Join(err, p.ctx.Err())
}

func (p *postOffice) view(name string) (*journal.View, error) {
	return journal.NewView(filepath.Join(p.f.options.Dir, name))
}

// eachOf is each for one journal.
func (p *postOffice) eachOf(
	name string, each func(func(journal.DeadLetter) bool) error, trimmed uint64, yield func(*letter),
) error {
	err := backlog.Letters(each, func(l *backlog.Letter) bool {
		yield(&letter{Letter: l, journal: name, waits: l.Seq > trimmed})
		return p.ctx.Err() == nil
	})
	if err != nil {
		return fmt.Errorf("resilient: the dead letters of journal %s can't all be read: %w", name, err)
	}
	return nil
}

// settleEach ends the letters of the ids, each in the way that end gives, or keeps it
// with end's error. One that stays doesn't keep the others.
func (p *postOffice) settleEach(ids []string, end func(*journal.Journal, *letter) (journal.Fate, error)) error {
	var faults []error
	var order []string // of the journals
	wanted := make(map[string]map[uint64]bool)
	for _, id := range ids {
		name, seq, _ := splitLetterID(id)
		if wanted[name] == nil {
			wanted[name] = make(map[uint64]bool)
			order = append(order, name)
		}
		wanted[name][seq] = true
	}
	for _, name := range order {
		j, giveBack, err := p.take(name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		faults = append(faults, p.settleOf(j, wanted[name], end), giveBack())
	}
	return errors.Join(faults...)
}

// take gives a journal to work on, and what ends that.
func (p *postOffice) take(name string) (j *journal.Journal, giveBack func() error, err error) {
	if name == p.f.journal.ID().String() {
		return p.f.journal, func() error { return nil }, nil
	}
	if p.f.options.Dir == "" {
		return nil, nil, fmt.Errorf("%w: there is no journal %s", ErrNoDeadLetter, name)
	}
	o := p.f.keep
	o.Admit, o.Committed = nil, nil
	j, _, err = journal.Adopt(o, name)
	switch {
	case err == nil:
		return j, j.Close, nil
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w: there is no journal %s", ErrNoDeadLetter, name)
	case errors.Is(err, journal.ErrInUse):
		err = fmt.Errorf("%w: journal %s is in use, by another process or for its replay: call that process, or try again later",
			ErrDeadLetterKept, name)
	default:
		err = fmt.Errorf("resilient: journal %s: %w", name, err)
	}
	return nil, nil, err
}

// settleOf ends letters of one journal.
func (p *postOffice) settleOf(
	j *journal.Journal, seqs map[uint64]bool, end func(*journal.Journal, *letter) (journal.Fate, error),
) error {
	var faults []error
	var found []*letter
	name := j.ID().String()
	faults = append(faults, p.eachOf(name, j.DeadLetters, j.Stats().Trimmed, func(l *letter) {
		if seqs[l.Seq] {
			found = append(found, l)
			delete(seqs, l.Seq)
		}
	}))
	for seq := range seqs {
		faults = append(faults, fmt.Errorf("%w: %s", ErrNoDeadLetter, letterID(name, seq)))
	}
	var settled []uint64
	for _, l := range found {
		if err := p.ctx.Err(); err != nil {
			faults = append(faults, err)
			break
		}
		fate, err := end(j, l)
		if err == nil {
			err = j.Record(fate)
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		p.f.log.Info("a dead letter is settled", slog.String("id", l.id()), slog.String("outcome", fate.Outcome.String()))
		settled = append(settled, l.Seq)
	}
	// What was delivered is settled also when the caller has gone: only the mark in Redis
	// would tell of it.
	return errors.Join(append(faults, backlog.Settle(context.WithoutCancel(p.ctx), j, settled...))...)
}

// mend delivers a letter.
func (p *postOffice) mend(j *journal.Journal, l *letter, force bool) (journal.Fate, error) {
	if l.waits {
		return journal.Fate{}, kept(l.id(), waitsText)
	}
	s := p.home.shardOfRecord(l.Record)
	if err := s.router.awaitKeys(p.ctx, l.DB, l.Keys); err != nil {
		return journal.Fate{}, fmt.Errorf("resilient: dead letter %s: %w", l.id(), err)
	}
	primary := s.monitor.View().Primary
	o := p.home.deliverTo(s)
	o.DB = l.DB
	target := replay.Target{Addr: primary.Addr, RunID: primary.RunID}
	got, err := backlog.Mend(p.ctx, j.ID(), l.Letter, o, target, s.now(), force)
	switch {
	case p.ctx.Err() != nil && err != nil:
		return journal.Fate{}, ended(p.ctx, p.f)
	case errors.Is(err, replay.ErrNotPrimary), errors.Is(err, replay.ErrDeclined):
		return journal.Fate{}, fmt.Errorf("resilient: dead letter %s: %w", l.id(), withCause(ErrNoPrimary, err))
	case err != nil:
		return journal.Fate{}, fmt.Errorf("resilient: dead letter %s: %w; call again, and it finds out what became of it", l.id(), err)
	case got.Kept != "" && got.Risk != backlog.RiskNone && !got.Risk.Final():
		return journal.Fate{}, kept(l.id(), got.Kept+"; see ForceDeadLetter")
	case got.Kept != "":
		return journal.Fate{}, kept(l.id(), got.Kept)
	}
	return got.Fate, nil
}

// awaitKeys waits until the keys have no deferred writes and the shard takes writes.
// ErrNoPrimary: it does not.
func (r *router) awaitKeys(ctx context.Context, db int, keys [][]byte) error {
	for {
		if r.current().write == nil {
			return ErrNoPrimary
		}
		held := ""
		pending := false
		for _, k := range keys {
			if _, is := r.overlay.Held(db, string(k)); is {
				held, pending = string(k), true
			}
		}
		if !pending {
			return ctx.Err()
		}
		tick, cancel := context.WithTimeout(ctx, settleTick)
		_ = r.overlay.Await(tick, db, held) // whether it was released is looked at again
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
