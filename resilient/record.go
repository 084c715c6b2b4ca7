package resilient

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/overlay"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// entryClass is the class as the journal numbers it for ever. Commands of the
// classes that are missing are never deferred.
func entryClass(c command.Class) entry.Class {
	switch c {
	case command.ClassRead:
		return entry.ClassRead
	case command.ClassBlind:
		return entry.ClassBlind
	case command.ClassAccumulating:
		return entry.ClassAccumulating
	case command.ClassConditional:
		return entry.ClassConditional
	case command.ClassClaiming:
		return entry.ClassClaiming
	case command.ClassScript:
		return entry.ClassScript
	case command.ClassTransaction:
		return entry.ClassTransaction
	case command.ClassPublish:
		return entry.ClassPublish
	case command.ClassAdmin:
		return entry.ClassAdmin
	case command.ClassUnknown, command.ClassSession, command.ClassPassthrough:
	}
	return entry.ClassUnknown
}

// record is what the journal keeps of the write. The journal copies it, so that its
// Meta may stand in the write's own buffer.
func (w *write) record(db, proto int, effect *overlay.Effect) journal.Record {
	e := entry.Entry{
		Repeatable: len(w.commands) == 1 && repeatable(w.commands[0].Args),
		Sets:       effect.Sets,
		Estimated:  w.estimated || !effect.Exact,
		RESP3:      proto == 3,
		Class:      w.class(),
		Lapses:     effect.Lapses,
		Until:      effect.Until,
		Useful:     w.useful,
		Reply:      w.digest(effect),
		Trace:      w.trace,
		Shard:      []byte(w.shard),
		Write:      w.body(effect.Failed),
		Restore:    effect.Restore,
		Bases:      bases(effect.Bases),
	}
	return journal.Record{
		At: time.UnixMilli(effect.At), DB: db, Meta: e.AppendMeta(w.meta[:0]), Body: e.Body(),
	}
}

// bases are what keys held without a deferred write, as the journal keeps it.
func bases(of []overlay.KeyBasis) (all []entry.Base) {
	for i := range of {
		all = append(all, entry.Base{Name: basis.Name(of[i].Name), Basis: of[i].Basis})
	}
	return all
}

// body are the encoded commands. A command of a transaction that failed has changed
// nothing, and those that only read have nothing to change.
func (w *write) body(failed []bool) []byte {
	if len(w.commands) == 1 {
		return w.bodies[0]
	}
	var body []byte
	for i := range w.commands {
		if w.kept(i, failed) {
			body = append(body, w.bodies[i]...)
		}
	}
	return body
}

// kept reports whether a command of a transaction stands in its body.
func (w *write) kept(i int, failed []bool) bool {
	return (failed == nil || !failed[i]) && command.Lookup(string(w.commands[i].Args[0])).MayWrite()
}

func (w *write) class() entry.Class {
	if len(w.commands) > 1 {
		return entry.ClassTransaction
	}
	args := w.commands[0].Args
	if spec := command.Lookup(string(args[0])); spec != nil {
		return entryClass(spec.Class(args))
	}
	return entry.ClassUnknown
}

// digest is that of the replies which the replay has to get for the body; 0 where they
// can't be known. Of a transaction those of the commands that are left out are left out.
func (w *write) digest(effect *overlay.Effect) uint64 {
	if w.estimated || !effect.Exact || len(effect.Reply) == 0 {
		return 0
	}
	d, rest := resp.NewDigest(), effect.Reply
	for i := range w.commands {
		next, n, err := d.Add(rest)
		if err != nil {
			return 0
		}
		rest = rest[n:]
		if len(w.commands) == 1 || w.kept(i, effect.Failed) {
			d = next
		}
	}
	return d.Sum()
}

// traceOf is the span that ctx carries.
func traceOf(ctx context.Context) (t entry.Trace) {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return t
	}
	id, parent := span.TraceID(), span.SpanID()
	copy(t[:], id[:])
	copy(t[len(id):], parent[:])
	t[len(t)-1] = byte(span.TraceFlags())
	return t
}
