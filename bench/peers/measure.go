package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"
)

// A disturbed measurement stays in the file, behind this.
const disturbed = "# disturbed: "

// quietFor is how long the others must have been quiet before a measurement.
const quietFor = 500 * time.Millisecond

// session is one run of the program.
type session struct {
	plan
	out    io.Writer
	parent string        // the stores are made below it
	spent  time.Duration // of the patience
}

// measure does all rounds. A peer that fails to append ends it: its figures
// would be of less work than the others'. One that can't be opened after a kill
// is a result.
func measure(ctx context.Context, p plan, out io.Writer) (err error) {
	parent, err := os.MkdirTemp(p.dir, "peers-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(parent)) }()
	s := &session{plan: p, out: out, parent: parent}
	fmt.Fprint(out, header(p))
	random := rand.New(rand.NewPCG(p.seed, 0))
	for round := range p.rounds {
		fmt.Fprintf(out, "# round %d of appends\n", round+1)
		for _, w := range works {
			names := candidates()
			random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			if err := s.quietly(ctx, func() ([]string, error) { return s.appends(ctx, w, names) }); err != nil {
				return err
			}
		}
	}
	for round := range p.opens {
		fmt.Fprintf(out, "# round %d of opens\n", round+1)
		for _, i := range random.Perm(len(peers)) {
			if err := s.quietly(ctx, func() ([]string, error) { return s.open(ctx, peers[i].name) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// quietly lets do measure what is to be compared, and again as long as others
// disturbed it and there is patience. Whether they did is seen from what they
// took of the processors, never from the figures.
func (s *session) quietly(ctx context.Context, do func() ([]string, error)) error {
	for {
		start := time.Now()
		s.await(ctx)
		s.spent += time.Since(start)
		before := newCompany()
		lines, err := do()
		if err != nil {
			return err
		}
		others := before.since()
		again := others > s.company && s.spent < s.patience
		prefix := ""
		if again {
			prefix = disturbed
			s.spent += time.Since(before.at)
		}
		fmt.Fprintf(s.out, "# others took %.0f%% of a processor\n", 100*others)
		for _, line := range lines {
			fmt.Fprintln(s.out, prefix+line)
		}
		if !again {
			return nil
		}
	}
}

// await returns when the others are quiet, the patience is over or ctx ends.
func (s *session) await(ctx context.Context) {
	start := time.Now()
	for ctx.Err() == nil && s.spent+time.Since(start) < s.patience {
		before := newCompany()
		select {
		case <-time.After(quietFor):
		case <-ctx.Done():
		}
		if before.since() <= s.company {
			return
		}
	}
}

// appends measures w with each of names.
func (s *session) appends(ctx context.Context, w work, names []string) (lines []string, err error) {
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := measureAppends(s.parent, name, w, s.warmup, s.window)
		if err != nil {
			return nil, fmt.Errorf("%s with %d callers of %d bytes: %w", name, w.callers, w.size, err)
		}
		lines = append(lines, r.line(w, name))
	}
	return lines, nil
}

// open kills and opens a store of one peer.
func (s *session) open(ctx context.Context, name string) ([]string, error) {
	r, err := measureOpen(ctx, s.parent, name, s.records)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return []string{failedLine(name, err)}, nil
	}
	return []string{r.line(name)}, nil
}
