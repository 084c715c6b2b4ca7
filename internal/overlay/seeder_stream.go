package overlay

import (
	"errors"

	"github.com/holdfast-cache/holdfast/internal/engine"
)

var errStream = errors.New("overlay: the server describes a stream in a way that is not understood")

// streamValue makes the object of a stream from the reply to XINFO STREAM, with
// FULL when it is to be whole. The reply is a map, or in RESP2 a flat array.
func streamValue(reply any, whole bool) (engine.Object, error) {
	info, err := mapOf(reply)
	if err != nil {
		return engine.Object{}, err
	}
	var st engine.StreamState
	ok := streamID(info["last-generated-id"], &st.LastID)
	// Servers before 7.0 keep no account of what was deleted and added.
	streamID(info["max-deleted-entry-id"], &st.MaxDeletedID)
	length, okLength := info["length"].(int64)
	if st.EntriesAdded, _ = info["entries-added"].(int64); info["entries-added"] == nil {
		st.EntriesAdded = length
	}
	if !ok || !okLength {
		return engine.Object{}, errStream
	}
	if !whole {
		return engine.NewPartialStream(length, st.LastID, st.MaxDeletedID, st.EntriesAdded), nil
	}
	entries, ok := info["entries"].([]any)
	if !ok {
		return engine.Object{}, errStream
	}
	st.Entries = make([]engine.StreamEntry, 0, len(entries))
	for _, e := range entries {
		entry, err := streamEntry(e)
		if err != nil {
			return engine.Object{}, err
		}
		st.Entries = append(st.Entries, entry)
	}
	groups, _ := info["groups"].([]any)
	for _, g := range groups {
		group, err := streamGroup(g)
		if err != nil {
			return engine.Object{}, err
		}
		st.Groups = append(st.Groups, group)
	}
	return engine.NewStream(st), nil
}

func streamEntry(v any) (e engine.StreamEntry, err error) {
	parts, ok := v.([]any)
	if !ok || len(parts) != 2 || !streamID(parts[0], &e.ID) {
		return e, errStream
	}
	fields, ok := parts[1].([]any)
	if !ok {
		return e, errStream
	}
	for _, f := range fields {
		word, ok := f.(string)
		if !ok {
			return e, errStream
		}
		e.Fields = append(e.Fields, []byte(word))
	}
	return e, nil
}

func streamGroup(v any) (g engine.StreamGroup, err error) {
	info, err := mapOf(v)
	if err != nil {
		return g, err
	}
	name, ok := info["name"].(string)
	if !ok || !streamID(info["last-delivered-id"], &g.LastID) {
		return g, errStream
	}
	g.Name = []byte(name)
	if g.EntriesRead, ok = info["entries-read"].(int64); !ok {
		g.EntriesRead = -1
	}
	pending, _ := info["pending"].([]any)
	for _, p := range pending {
		parts, ok := p.([]any)
		if !ok || len(parts) != 4 {
			return g, errStream
		}
		var n engine.StreamPending
		consumer, ok1 := parts[1].(string)
		at, ok2 := parts[2].(int64)
		count, ok3 := parts[3].(int64)
		if !streamID(parts[0], &n.ID) || !ok1 || !ok2 || !ok3 {
			return g, errStream
		}
		n.Consumer, n.DeliveredAt, n.Count = []byte(consumer), at, count
		g.Pending = append(g.Pending, n)
	}
	consumers, _ := info["consumers"].([]any)
	for _, c := range consumers {
		info, err := mapOf(c)
		if err != nil {
			return g, err
		}
		name, ok := info["name"].(string)
		if !ok {
			return g, errStream
		}
		consumer := engine.StreamConsumer{Name: []byte(name)}
		consumer.SeenAt, _ = info["seen-time"].(int64)
		if consumer.ActiveAt, ok = info["active-time"].(int64); !ok {
			consumer.ActiveAt = consumer.SeenAt
		}
		g.Consumers = append(g.Consumers, consumer)
	}
	return g, nil
}

func streamID(v any, id *engine.StreamID) bool {
	s, ok := v.(string)
	if !ok {
		return false
	}
	*id, ok = engine.ParseStreamID([]byte(s))
	return ok
}

// mapOf reads a map of RESP3, or the flat array that stands for it in RESP2.
func mapOf(v any) (map[string]any, error) {
	out := make(map[string]any)
	switch v := v.(type) {
	case map[any]any:
		for k, e := range v {
			if name, ok := k.(string); ok {
				out[name] = e
			}
		}
		return out, nil
	case []any:
		for i := 0; i+1 < len(v); i += 2 {
			if name, ok := v[i].(string); ok {
				out[name] = v[i+1]
			}
		}
		return out, nil
	}
	return nil, errStream
}
