package topology

import (
	"fmt"
	"strings"
)

// SlotRange is a range of slots, both ends included.
type SlotRange struct{ First, Last int }

// String is "5" or "5-10".
func (r SlotRange) String() string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// ShardFacts is what the servers of a Cluster say of one shard. It is immutable once handed over.
type ShardFacts struct {
	// ID names the shard; see [Cluster] for what it outlives.
	ID string
	// Slots are its slots, in order, without those on their way to another shard.
	Slots []SlotRange
	// Owner is the address of the server that serves them by the word of most masters, OwnerID its
	// node id; "" when there is none.
	Owner, OwnerID string
	// Failed: the servers that answer have marked the owner as failed, or nobody owns the slots.
	Failed bool
	// Voters is how many masters with slots the Cluster has, Heard how many of them answered, and
	// Votes how many of those name Owner.
	Voters, Heard, Votes int
	// Members are the addresses of the shard's servers.
	Members []string
	// Uncovered are all slots of the Cluster that nobody serves.
	Uncovered []SlotRange
}

func (f *ShardFacts) word() word {
	w := word{asked: f.Voters > 0, majority: 2*f.Heard > f.Voters, voters: f.Voters, heard: f.Heard, votes: f.Votes}
	if 2*f.Votes > f.Heard && !f.Failed {
		w.addr = f.Owner
	}
	return w
}

func (f *ShardFacts) automation(m *Machine) Automation {
	switch {
	case !f.word().majority:
		return AutomationQuorumLost
	case f.Failed && m.best() == nil:
		return AutomationUnable
	}
	return AutomationReady
}

// slotsText lists the slots for people.
func (f *ShardFacts) slotsText() string {
	const shown = 3
	var parts []string
	for i, r := range f.Slots {
		if i == shown {
			parts = append(parts, fmt.Sprintf("and %d ranges more", len(f.Slots)-shown))
			break
		}
		parts = append(parts, r.String())
	}
	return "slots " + strings.Join(parts, ", ")
}
