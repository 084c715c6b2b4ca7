package resilient

import "github.com/holdfast-cache/holdfast/internal/command"

// later ends the reason of a refusal that only the outage is to blame for.
const later = "; try again after the return of a primary"

// reasons say why a command is refused, and what to do, by the error's kind.
var reasons = map[error]string{
	ErrJournalFull:   "the journal is full; raise Options.MaxJournalBytes or MaxEntries, or free the disk" + later,
	ErrJournalFailed: "the disk below the journal failed; look at the log" + later,
	ErrOverlayFull:   "the keys with deferred writes fill Options.MaxOverlayBytes; raise it" + later,
	ErrKeyTooBig:     "it needs the whole of a key larger than Options.MaxSeedBytes or MaxSeedFields; name its members" + later,
	ErrPromisedID:    "the entry was added in this outage with a generated id, which the primary will not give again; use ids of your own" + later,
	errRuled:         "a rule of Options.Rules or Policy says so" + later,
	errUnseenReply:   "its reply can't be known here; give one with DeferWithReply" + later,
	errPolicyPanic:   "Options.Policy panicked; mend it" + later,
	errTxCommand:     "a transaction is deferred whole or not at all, and one of its commands can't be" + later,
	errNotDeferable:  "this form of the command can't be deferred" + later,
	ErrBaseUnknown:   "its answer rests on the key's current value, and no server gives it; try again when one answers",
	ErrInDoubt:       "it was sent or written and no answer came back; look at the key before repeating it",
	ErrClosed:        "the client is closed",
	errAstride:       "its keys belong to several shards of the Ring, one of which has no primary or deferred writes; name one shard's keys" + later,
	errElsewhere:     "its slot has just moved to another shard; send it again",
	errPartitioned: "the primary doesn't answer this client, and others go on writing to it, so that a deferred write would be " +
		"applied over theirs; mend the network, or set Options.DeferPartitioned",
	errRights: "deferral is off, because the client's Redis user lacks rights that the replay needs, which Stats and the log " +
		"name; grant them",
	errStarved: "deferred writes wait until the primary has memory or disk again, and this command can't pass them; " +
		"free some, or try again later",
	errOvertaken:   "the server declined it and took a later write of the pipeline to the same key; send it again if it still matters",
	errPendingKey:  "the key has deferred writes, which this command can't see; read it with one that can" + later,
	errPendingKeys: "some keys have deferred writes, which this command can't see" + later,
}

// classReasons say why a command of a class is refused while there is no primary.
var classReasons = map[command.Class]string{
	command.ClassConditional:  "its answer may grant something exclusive, which only a primary can",
	command.ClassClaiming:     "it takes what another process may take too, which only a primary can decide",
	command.ClassScript:       "what a script does can't be known beforehand",
	command.ClassTransaction:  "a watched transaction rests on what nobody else may have changed, which only a primary can tell",
	command.ClassPublish:      "a message to a replica reaches only that replica's subscribers",
	command.ClassUnknown:      "the command is not in the table and might write",
	command.ClassBlind:        "this command can't be deferred yet",
	command.ClassAccumulating: "this command can't be deferred yet",
	command.ClassRead:         "every form of this command is a write to Redis, which a replica declines",
	command.ClassAdmin:        "it concerns the server and needs the primary",
}

// reasonOf says why a command of a class is refused, and what to do.
func reasonOf(kind error, class command.Class) string {
	if b, ok := kind.(*because); ok { //nolint:errorlint // made here, never wrapped
		kind = b.kind
	}
	if text, ok := reasons[kind]; ok {
		return text
	}
	if kind == ErrNoPrimary { //nolint:errorlint // a sentinel of this package, never wrapped here
		if text, ok := classReasons[class]; ok {
			return text + later
		}
		return "the shard has no primary" + later
	}
	return kind.Error() // a context's error, or one that names itself
}
