package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/replay"
)

// keepAll is a retention that removes nothing: that is for the service, which knows
// its own.
const keepAll = 20 * 365 * 24 * time.Hour

// adopt takes the journal in the directory path, which nobody may hold, and says what
// of it can't be read.
func (a *app) adopt(path string) (*journal.Journal, error) {
	path = filepath.Clean(path)
	j, found, err := journal.Adopt(journal.Options{
		Dir: filepath.Dir(path), MaxBytes: -1, MaxEntries: -1, Retention: keepAll,
	}, filepath.Base(path))
	if errors.Is(err, journal.ErrInUse) {
		return nil, fmt.Errorf("a process holds the journal and sees to it itself; stop that first: %w", err)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range found.Damaged {
		fmt.Fprintf(a.err, "%s is damaged: verify says where; what is whole in it counts\n", name)
	}
	for _, s := range found.Skipped {
		fmt.Fprintln(a.err, s.Err)
	}
	return j, nil
}

func (a *app) replay(args []string) (err error) {
	f := a.flags("replay")
	f.showValues()
	t := f.target()
	dry := f.Bool("dry-run", false, "say what would be sent, and send nothing; with --to also from where on")
	dead := f.Bool("dead", false, "send dead letters instead, after what made them so has been mended")
	force := f.Bool("force", false, "with --dead: also those that may have been applied, in part or whole")
	acks := f.Int("acks", 0, "how many of the primary's replicas must confirm; 0: all, -1: none")
	bound := f.Duration("ack-timeout", replay.DefaultAckBound, "how long to wait for them")
	plain := f.Bool("without-transactions", false,
		"for a server or a proxy without MULTI: a weaker promise, see docs/replay.md; as Options.ReplayWithoutTransactions")
	var seqs seqRange
	f.Var(&seqs, "seq", "with --dead: only the sequences `N or A-B`")
	if err := f.parse(args, 2); err != nil {
		return err
	}
	if err := t.check(a.env); err != nil {
		return err
	}
	switch {
	case t.addr == "" && !*dry:
		return usagef("say --to HOST:PORT, or --dry-run")
	case !*dead && (*force || seqs != seqRange{}):
		return usagef("--force and --seq belong to --dead: the journal itself is replayed in order and whole")
	case *acks < -1 || *bound <= 0:
		return usagef("--acks is -1 or above, --ack-timeout positive")
	}
	path, err := f.path()
	if err != nil {
		return err
	}
	switch {
	case *dry:
		return a.dryRun(f, path, t, *dead, seqs)
	}
	o := replay.Options{ReplicaAcks: *acks, AckBound: *bound, Plain: *plain}
	if *dead {
		return a.replayDead(f, path, t, o, seqs, *force)
	}
	return a.replayTo(f, path, t, o)
}

// plan is what a replay would do.
type plan struct {
	count      map[backlog.Kind]int
	dead, left int
	db         int
	first      uint64
	last       uint64
}

func planOf(v *journal.View, now time.Time) (p plan, err error) {
	p.count = make(map[backlog.Kind]int)
	p.db = -1
	err = v.Records(func(r journal.Record, s journal.Status) bool {
		switch s {
		case journal.StatusDead:
			p.dead++
		case journal.StatusPending:
			if p.db < 0 {
				p.db, p.first = r.DB, r.Seq
			}
			p.last = r.Seq
			p.count[backlog.FormOf(r, now).Kind]++
			p.left++
		case journal.StatusRetained:
		}
		return true
	})
	p.db = max(p.db, 0)
	return p, err
}

type planJSON struct {
	Journal string `json:"journal"`
	Live    bool   `json:"live"`
	Send    int    `json:"send"`
	Restore int    `json:"restore"`
	Expired int    `json:"expired"`
	Useless int    `json:"useless"`
	Unread  int    `json:"unreadable"`
	Dead    int    `json:"dead_letters_passed_over"`
	DB      int    `json:"db"`
	First   uint64 `json:"first,omitempty"`
	Last    uint64 `json:"last,omitempty"`
	Primary *bool  `json:"primary,omitempty"`
	Fence   string `json:"fence,omitempty"`
	Lineage string `json:"lineage,omitempty"`
}

func (a *app) dryRun(f *flags, path string, t *target, dead bool, seqs seqRange) error {
	v, err := journal.NewView(path)
	if err != nil {
		return err
	}
	if dead {
		return a.listLetters(f, []*journal.View{v}, &filter{seqs: seqs})
	}
	p, err := planOf(v, a.now())
	if err != nil {
		return err
	}
	info := v.Info()
	out := planJSON{
		Journal: v.ID().String(), Live: info.Live, DB: p.db, First: p.first, Last: p.last, Dead: p.dead,
		Send: p.count[backlog.KindWrite], Restore: p.count[backlog.KindRestore], Expired: p.count[backlog.KindExpired],
		Useless: p.count[backlog.KindUseless], Unread: p.count[backlog.KindUnreadable],
	}
	if t.addr != "" {
		if err := a.askPrimary(&out, info, t, p.db); err != nil {
			return err
		}
	}
	if f.json {
		return printJSON(a.out, out)
	}
	a.printPlan(out, t.addr)
	return nil
}

// askPrimary adds what the server says.
func (a *app) askPrimary(out *planJSON, info journal.Info, t *target, db int) error {
	s, err := t.open(a.ctx, db)
	if err != nil {
		return err
	}
	defer s.close()
	n, err := s.node(a.now)
	if err != nil {
		return err
	}
	out.Primary, out.Lineage = &n.primary, lineageOf(info, n, t.addr)
	fence, err := s.ask("GET", replay.FenceKey(info.ID.String()))
	switch {
	case err != nil:
		return err
	case fence.IsError():
		return fmt.Errorf("the server refuses to show the fence: %s", codeOf(fence))
	}
	out.Fence = fence.Text()
	return nil
}

// lineageOf says whether the primary is of the servers that the journal knew.
func lineageOf(info journal.Info, n node, addr string) string {
	l := info.Lineage
	switch {
	case len(l.ReplIDs) == 0:
		return "unknown: the journal knows no server"
	case slices.Contains(l.ReplIDs, n.replID), slices.Contains(l.ReplIDs, n.replID2):
		return "fits: the data set is one that the journal knew"
	case l.Primary == addr:
		return "fits: the last primary's address, with a new data set id"
	}
	return "FOREIGN: the journal never saw this data set"
}

func (a *app) printPlan(p planJSON, addr string) {
	t := newTable(a.out, "journal", p.Journal)
	if p.Live {
		t.row("held", "yes: its process replays it by itself")
	}
	t.row("would be sent", p.Send)
	t.row("restored", strconv.Itoa(p.Restore)+" (their keys' former deadlines have passed: the state they left is sent)")
	t.row("expired", strconv.Itoa(p.Expired)+" (nothing is left of them)")
	t.row("no longer useful", strconv.Itoa(p.Useless)+" (they become dead letters)")
	t.row("unreadable", strconv.Itoa(p.Unread)+" (they become dead letters)")
	t.row("dead letters", strconv.Itoa(p.Dead)+" among them are passed over")
	t.row("database", p.DB)
	t.row("sequences", orDash(span(p.First, p.Last)))
	if p.Primary != nil {
		role := "a replica: it can't be replayed to"
		if *p.Primary {
			role = "a primary"
		}
		t.row("server", addr+" is "+role)
		t.row("lineage", p.Lineage)
		fence := "none: from the beginning"
		if p.Fence != "" {
			fence = p.Fence + ": it has everything up to there"
		}
		t.row("fence", fence)
	}
	_ = t.Flush()
}

type replayJSON struct {
	Journal      string `json:"journal"`
	Primary      string `json:"primary"`
	Replayed     uint64 `json:"replayed"`
	Expired      uint64 `json:"expired"`
	DeadLettered uint64 `json:"dead_lettered"`
	Unconfirmed  uint64 `json:"unconfirmed"`
	Waiting      int64  `json:"waiting"`
}

// replayTo sends the journal, as its client would have done.
func (a *app) replayTo(f *flags, path string, t *target, o replay.Options) (err error) {
	j, err := a.adopt(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	v, err := journal.NewView(path)
	if err != nil {
		return err
	}
	p, err := planOf(v, a.now())
	if err != nil {
		return err
	}
	s, err := t.open(a.ctx, p.db)
	if err != nil {
		return err
	}
	n, err := s.node(a.now)
	s.close()
	if err != nil {
		return err
	}
	src := a.source(j, p.db, n.ahead)
	defer func() { err = errors.Join(err, src.Close()) }()
	o.DB = p.db
	stats, runErr := a.drain(j, src, t, n, o)
	if runErr == nil {
		runErr = j.Unconfirm(a.ctx)
	}
	counts := src.Counts()
	dead := stats.DeadLettered + counts.SetAside
	out := replayJSON{
		Journal: j.ID().String(), Primary: t.addr, Replayed: stats.Replayed, Expired: counts.Expired,
		DeadLettered: dead, Unconfirmed: stats.Unconfirmed, Waiting: j.Stats().Entries,
	}
	if err := a.report(f, out); err != nil {
		return err
	}
	switch {
	case a.ctx.Err() != nil:
		return errors.New("it was stopped; run it again, and it goes on where it was")
	case runErr != nil:
		return fmt.Errorf("%w; run it again, and it goes on where it was", runErr)
	case dead > 0:
		return errFound
	}
	return nil
}

func (a *app) report(f *flags, r replayJSON) error {
	if f.json {
		return printJSON(a.out, r)
	}
	fmt.Fprintf(a.out, "journal %s to %s: %d replayed, %d expired, %d dead letters, %d unconfirmed by replicas, %d still waiting\n",
		r.Journal, r.Primary, r.Replayed, r.Expired, r.DeadLettered, r.Unconfirmed, r.Waiting)
	return nil
}

// source is the journal as the replay reads it: of one database, that of the
// connection, and by the clock of the server, which is ahead of ours.
func (a *app) source(j *journal.Journal, db int, ahead time.Duration) *backlog.Source {
	return backlog.New(a.ctx, backlog.Options{
		Journal: j,
		Now:     func() time.Time { return a.now().Add(ahead) },
		Check: func(r journal.Record) error {
			if r.DB != db {
				return fmt.Errorf("write %d is of database %d, those before it of %d: export it and send it by hand", r.Seq, r.DB, db)
			}
			return nil
		},
		Hooks: backlog.Hooks{
			Problem: func(what string, err error) { fmt.Fprintf(a.err, "%s: %v\n", what, err) },
		},
	})
}

// connection adds to the options how the server is reached.
func (*app) connection(t *target, o replay.Options) replay.Options {
	o.Dial, o.Timeout = t.dial, t.timeout
	o.Credentials = func(context.Context) (string, string, error) { return t.user, t.pass, nil }
	return o
}

// drain runs the replay until nothing waits.
func (a *app) drain(j *journal.Journal, src *backlog.Source, t *target, n node, o replay.Options) (replay.Stats, error) {
	if j.Stats().Last <= j.Stats().Trimmed {
		return replay.Stats{}, nil
	}
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	drained := make(chan struct{}, 1)
	o.ClientID, o.Source = j.ID().String(), src
	o = a.connection(t, o)
	o.Replicas = func() []string { return n.replicas }
	o.Hooks = replay.Hooks{
		Ready: func(r replay.Ready) { src.Met(r.RunID) },
		Gap: func(g replay.Gap) {
			fmt.Fprintf(a.err, "a failover lost the writes %d to %d, which had been replayed and confirmed\n", g.From, g.To)
		},
		Paused: func(code string) { fmt.Fprintf(a.err, "waiting for the server: %s\n", code) },
		Drained: func(uint64) {
			drained <- struct{}{} // nobody adds to this journal: it comes once
			cancel()
		},
	}
	r, err := replay.New(o)
	if err != nil {
		return replay.Stats{}, err
	}
	err = r.Run(ctx, replay.Target{Addr: t.addr, RunID: n.runID})
	select {
	case <-drained:
		err = nil
	default:
	}
	return r.Stats(), err
}
