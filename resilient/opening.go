package resilient

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/topology"
)

// admitJournal parks a journal with records that must not become the client's own,
// by its age or by what the servers say of themselves at this moment. What can't be
// told yet is asked again before its replay.
func (l *lifecycle) admitJournal(
	base *redis.Options, j *journal.Journal, found *journal.Recovery, nodes []topology.NodeReport,
) error {
	reason := ParkReason(0)
	switch {
	case j.Confirmed():
	case l.options.tooOld(found):
		reason = ParkedOld
	case foreign(j.Lineage(), nodes) && !l.holdsFence(base, j, nodes):
		reason = ParkedForeign
	}
	if reason == 0 {
		return nil
	}
	l.parking.add(parkedFrom(j, found, reason), nil)
	return errParked
}

// foreign reports whether servers answer and none of them is of the lineage, or
// stands where its last primary stood.
func foreign(l journal.Lineage, nodes []topology.NodeReport) bool {
	if len(l.ReplIDs) == 0 {
		return false
	}
	answered := false
	for i := range nodes {
		n := &nodes[i]
		if !n.Answered() {
			continue
		}
		answered = true
		if knows(&l, n) || n.Addr == l.Primary && aloneAmong(nodes, n.RunID) {
			return false
		}
	}
	return answered
}

// holdsFence reports whether a server that answers holds the journal's fence. One
// that can't be asked counts as not holding it: the journal is looked at again.
func (l *lifecycle) holdsFence(base *redis.Options, j *journal.Journal, nodes []topology.NodeReport) bool {
	ctx, cancel := context.WithTimeout(l.ctx, l.options.ProbeTimeout)
	defer cancel()
	single := singleAttempt(base)
	for i := range nodes {
		if !nodes[i].Answered() {
			continue
		}
		o := *single
		o.Addr = nodes[i].Addr
		c := redis.NewClient(&o)
		held, err := fenceAt(ctx, c, j.ID().String())()
		_ = c.Close() // it served one question
		if err == nil && held {
			return true
		}
	}
	return false
}

// firstLook makes a function that asks the servers, once and only if it is called,
// what they say of themselves: those that the options or the Sentinels name, and those
// that these name.
func (l *lifecycle) firstLook() func() []topology.NodeReport {
	return sync.OnceValue(func() []topology.NodeReport {
		seeds := l.firstAddrs()
		nodes := l.probeAll(seeds)
		var named []string
		for i := range nodes {
			for _, addr := range append([]string{nodes[i].Master}, nodes[i].Replicas...) {
				if addr != "" && !slices.Contains(seeds, addr) && !slices.Contains(named, addr) {
					named = append(named, addr)
				}
			}
		}
		return append(nodes, l.probeAll(named)...)
	})
}

// probeAll asks servers at once, each bounded by Options.ProbeTimeout.
func (l *lifecycle) probeAll(addrs []string) []topology.NodeReport {
	ctx, cancel := context.WithTimeout(l.ctx, l.options.ProbeTimeout)
	defer cancel()
	nodes := make([]topology.NodeReport, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		wg.Go(func() { nodes[i] = l.prober.Probe(ctx, addr) })
	}
	wg.Wait()
	return nodes
}

// problems are the faults found in the journal directory. It is safe for concurrent
// use.
type problems struct {
	events *events

	mu    sync.Mutex // guards texts
	texts []string
}

// problemsKept bounds problems.texts: a directory is looked at again and again.
const problemsKept = 256

// add keeps a problem, and tells of it once.
func (p *problems) add(text string) {
	p.mu.Lock()
	known := slices.Contains(p.texts, text)
	if !known && len(p.texts) < problemsKept {
		p.texts = append(p.texts, text)
	}
	p.mu.Unlock()
	if !known {
		p.events.journalProblem(JournalProblemInfo{Problem: text})
	}
}

// damage adds what was found damaged in a journal.
func (p *problems) damage(id string, found *journal.Recovery) {
	for _, name := range found.Damaged {
		p.add(fmt.Sprintf("journal file %s/%s is damaged and is kept aside; what is whole in it is replayed", id, name))
	}
	if found.Lost > 0 {
		p.add(fmt.Sprintf("%d acknowledged writes of journal %s were lost by damage", found.Lost, id))
	}
}

func (p *problems) list() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.texts)
}
