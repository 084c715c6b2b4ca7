package resilient

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/holdfast-cache/holdfast/internal/journal"
)

// errOtherShards says why a journal that is parked as ParkedOtherShards is not replayed.
var errOtherShards = errors.New("resilient: its keys have other places among this client's shards; " +
	"make a client with the shards that it was written for, or discard it with journalctl")

// strange looks at a free journal of another target. One that was written over a Ring of
// other shards would wait for ever without a word when the shards have been renamed, or
// some added: it is listed as parked. Others are none of a client's business.
func (h *heirs) strange(name string) {
	if h.c.layout.strict() || h.strangers[name] {
		return
	}
	v, err := journal.NewView(filepath.Join(h.c.options.Dir, name))
	if err != nil {
		return // it is gone, or its owner's to tell
	}
	ofRing := false
	err = v.Records(func(rec journal.Record, status journal.Status) bool {
		ofRing = status == journal.StatusPending && shardOfRecord(rec) != ""
		return status != journal.StatusPending
	})
	if err != nil || !ofRing {
		return
	}
	i := v.Info()
	if i.Live {
		return // of a client that is well, for all we know
	}
	h.strangers[name] = true
	h.c.parking.add(ParkedJournal{
		ID: name, Reason: ParkedOtherShards, Entries: int(i.Entries), Oldest: i.Oldest, Newest: i.Newest,
	}, nil)
}

// forget takes those off the list that somebody has replayed or discarded meanwhile.
func (h *heirs) forget(names []string) {
	for name := range h.strangers {
		if !slices.Contains(names, name) || !journal.HasSegments(h.c.options.Dir, name) {
			delete(h.strangers, name)
			h.c.parking.remove(name)
		}
	}
}
