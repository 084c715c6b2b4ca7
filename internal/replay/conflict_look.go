package replay

import (
	"bytes"
	"math"
	"strconv"

	"github.com/holdfast-cache/holdfast/internal/basis"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// What is asked of the server in one write is bounded, by the number of keys and about
// so many bytes of values: neither side should hold more than that for us.
const (
	lookKeys    = 512
	lookBytes   = 1 << 20
	elementCost = 64 // of an element, whose size is not known
)

// look watches the keys, if watch is set, and reads what they hold then. Behind the values
// the fence is read: while it is as known, no batch of ours that the network has kept
// back is among what was read.
func (r *Replayer) look(s *session, keys []*compared, fence string, known fenceValue, watch bool) (moved laneState, text string, err error) {
	for len(keys) > 0 {
		n, cost := 0, int64(0)
		for n < len(keys) && n < lookKeys && (n == 0 || cost < lookBytes) {
			cost += keys[n].cost()
			n++
		}
		if moved, text, err = s.read(keys[:n], fence, known, watch); err != nil || moved != laneHere {
			return moved, text, err
		}
		keys = keys[n:]
	}
	return laneHere, "", nil
}

// cost is about how many bytes the answer has.
func (k *compared) cost() int64 {
	switch k.Base.Kind {
	case basis.KindString:
		return k.Base.Length
	case basis.KindHash, basis.KindList, basis.KindSet, basis.KindZSet:
		if !k.Base.Partial {
			return min(k.Base.Length, lookBytes) * elementCost
		}
	default:
	}
	return elementCost
}

// stands tells the errors that are of the node or the lane from those that are of the
// key: of these it says nothing.
func (s *session) stands(what string, v resp.Value) (moved laneState, text string, err error) {
	if !v.IsError() {
		return laneHere, "", nil
	}
	text = errorText(v)
	code := codeOf(text)
	if state, ok := laneStateOf(code); ok && s.lanes.known != nil {
		return state, text, nil
	}
	if kindOf(code) != codeOther {
		return laneHere, "", answerError(what, v)
	}
	return laneHere, "", nil
}

// read asks what the keys hold, and for the fence. Each key is watched by a command of its
// own: one that the user has no rights on does not keep the others from being watched.
func (s *session) read(keys []*compared, fence string, known fenceValue, watch bool) (moved laneState, text string, err error) {
	cmds := make([][]string, 0, 3*len(keys)+1)
	for _, k := range keys {
		if watch {
			cmds = append(cmds, []string{"WATCH", string(k.Key)})
		}
		cmds = append(cmds, []string{"TYPE", string(k.Key)})
		if q := k.question(); q != nil {
			cmds = append(cmds, q)
		}
	}
	answers, err := s.c.query(append(cmds, []string{"GET", fence})...)
	if err != nil {
		return laneHere, "", err
	}
	for i, v := range answers[:len(cmds)] {
		if moved, text, err = s.stands(cmds[i][0], v); err != nil || moved != laneHere {
			return moved, text, err
		}
	}
	if fenceOf(answers[len(cmds)]) != known {
		return laneHere, "", errReread
	}
	for _, k := range keys {
		if watch {
			answers = answers[1:]
		}
		typ := answers[0]
		answers = answers[1:]
		var value resp.Value
		if k.question() != nil {
			value, answers = answers[0], answers[1:]
		}
		k.server, k.state = basis.KindUnknown.String(), basis.Basis{}
		if !typ.IsError() {
			k.server = typ.Text()
			k.state = stateOf(k.Base, basis.KindOf(k.server), value)
		}
	}
	return laneHere, "", nil
}

// question is the command that reads the key's value if it is what it was: no more of
// it, but one element or byte, which tells that there is more. nil: the type tells all
// there is to know.
func (k *compared) question() []string {
	b, key := k.Base, string(k.Key)
	last, more := strconv.FormatInt(b.Length, 10), strconv.FormatInt(b.Length+1, 10)
	switch b.Kind {
	case basis.KindString:
		return []string{"GETRANGE", key, "0", last}
	case basis.KindHash:
		if b.Partial {
			return []string{"HLEN", key}
		}
		// With a count above the length the whole of it comes.
		return []string{"HRANDFIELD", key, more, "WITHVALUES"}
	case basis.KindList:
		if b.Partial {
			return []string{"LLEN", key}
		}
		return []string{"LRANGE", key, "0", last}
	case basis.KindSet:
		if b.Partial {
			return []string{"SCARD", key}
		}
		return []string{"SRANDMEMBER", key, more}
	case basis.KindZSet:
		if b.Partial {
			return []string{"ZCARD", key}
		}
		return []string{"ZRANGE", key, "0", last, "WITHSCORES"}
	case basis.KindStream:
		return []string{"XINFO", "STREAM", key}
	case basis.KindNone, basis.KindUnknown:
	}
	return nil
}

// stateOf is what a key of that kind holds, by the answer to the question of its base.
func stateOf(base basis.Basis, kind basis.Kind, v resp.Value) basis.Basis {
	switch {
	case kind == basis.KindNone:
		return basis.None()
	case kind != base.Kind || v.IsError():
		return basis.Basis{Kind: kind, Length: -1} // something else, whatever it is
	case v.Kind == resp.KindInt:
		return basis.OfLength(kind, v.Int)
	}
	var c basis.Content
	switch kind {
	case basis.KindString:
		return basis.OfString(v.Str)
	case basis.KindHash:
		for i := 0; i+1 < len(v.Elems); i += 2 {
			c.Field(v.Elems[i].Str, v.Elems[i+1].Str)
		}
	case basis.KindList:
		for i := range v.Elems {
			c.Element(v.Elems[i].Str)
		}
	case basis.KindSet:
		for i := range v.Elems {
			c.Member(v.Elems[i].Str)
		}
	case basis.KindZSet:
		for i := 0; i+1 < len(v.Elems); i += 2 {
			score, err := strconv.ParseFloat(v.Elems[i+1].Text(), 64)
			if err != nil {
				score = math.NaN()
			}
			c.Scored(v.Elems[i].Str, score)
		}
	case basis.KindStream:
		return streamOf(v.Elems)
	default:
	}
	return c.Basis(kind)
}

// streamOf reads XINFO STREAM, whose names and values alternate.
func streamOf(info []resp.Value) basis.Basis {
	b := basis.Basis{Kind: basis.KindStream, Length: -1}
	length, ms, seq, found := int64(0), uint64(0), uint64(0), 0
	for i := 0; i+1 < len(info); i += 2 {
		switch v := info[i+1]; string(info[i].Str) {
		case "length":
			length, found = v.Int, found+1
		case "last-generated-id":
			before, after, _ := bytes.Cut(v.Str, []byte("-"))
			var errs [2]error
			ms, errs[0] = strconv.ParseUint(string(before), 10, 64)
			seq, errs[1] = strconv.ParseUint(string(after), 10, 64)
			if errs[0] == nil && errs[1] == nil {
				found++
			}
		}
	}
	if found == 2 {
		return basis.OfStream(length, ms, seq)
	}
	return b
}

// text is the beginning of a key's value if that is a string; nil for others.
func (s *session) text(k *compared) ([]byte, error) {
	if k.server != basis.KindString.String() {
		return nil, nil
	}
	answers, err := s.c.query([]string{"GETRANGE", string(k.Key), "0", strconv.Itoa(valueBytes - 1)})
	if err != nil || answers[0].IsError() {
		return nil, err // what may not be read is not shown
	}
	return answers[0].Str, nil
}
