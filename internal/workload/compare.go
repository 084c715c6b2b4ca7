package workload

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

var comparisons = func() map[string]comparison {
	m := make(map[string]comparison)
	for _, d := range differences {
		for name := range strings.FieldsSeq(d.commands) {
			m[name] = d.how
		}
	}
	return m
}()

// Compare tells whether two encoded replies to a command mean the same; the
// error says how they differ.
func Compare(args [][]byte, want, got []byte) error {
	if bytes.Equal(want, got) {
		return nil
	}
	differ := fmt.Errorf("replies differ: want %q, got %q", clip(want), clip(got))
	how := compareBytes
	if len(args) > 0 {
		how = comparisons[strings.ToLower(string(args[0]))]
	}
	if how == compareBytes || len(want) == 0 || len(got) == 0 || want[0] != got[0] || want[0] == '-' {
		return differ
	}
	a, errA := decode(want)
	b, errB := decode(got)
	if errA != nil || errB != nil || a.Kind != b.Kind {
		return differ
	}
	same := false
	switch how {
	case compareUnordered:
		same = sameElements(a.Elems, b.Elems, 1)
	case comparePairs:
		same = sameElements(a.Elems, b.Elems, 2)
	case compareRandom:
		same = a.Kind == resp.KindBulk || len(a.Elems) == len(b.Elems)
	case compareTime:
		same = sameTime(a, b)
	case compareScan:
		same = len(a.Elems) == 2 && len(b.Elems) == 2 && sameScan(args, a.Elems, b.Elems)
	case compareStreamInfo:
		same = sameStreamInfo(a, b, "")
	case compareBytes:
	}
	if !same {
		return differ
	}
	return nil
}

func decode(b []byte) (resp.Value, error) { return resp.NewReader(bytes.NewReader(b)).ReadValue() }

// sameElements compares two lists as multisets of groups of n.
func sameElements(a, b []resp.Value, n int) bool {
	if len(a) != len(b) || len(a)%n != 0 {
		return false
	}
	x, y := groups(a, n), groups(b, n)
	return slices.Equal(x, y)
}

// sameTime compares two times to live, or two lists of them.
func sameTime(a, b resp.Value) bool {
	d := a.Int - b.Int
	return a.Kind == b.Kind && (a.Kind == resp.KindInt || a.Kind == resp.KindArray) &&
		(a.Int == b.Int || min(a.Int, b.Int) >= 0 && -timeTolerance <= d && d <= timeTolerance) &&
		slices.EqualFunc(a.Elems, b.Elems, sameTime)
}

// sameScan compares two replies of a scan. One that is not the whole scan, by its
// cursor or by the one that was asked for, has to be part of the other.
func sameScan(args [][]byte, a, b []resp.Value) bool {
	n, cursor := 1, 2
	switch strings.ToLower(string(args[0])) {
	case "scan":
		cursor = 1
	case "zscan":
		n = 2
	case "hscan":
		if !slices.ContainsFunc(args, func(arg []byte) bool { return strings.EqualFold(string(arg), "novalues") }) {
			n = 2
		}
	}
	x, y := a[1].Elems, b[1].Elems
	whole := string(a[0].Str) == "0" && string(b[0].Str) == "0" && cursor < len(args) && string(args[cursor]) == "0"
	if whole || len(x) == len(y) {
		return sameElements(x, y, n)
	}
	if len(x) > len(y) {
		x, y = y, x
	}
	if len(x)%n != 0 || len(y)%n != 0 {
		return false
	}
	rest := groups(y, n)
	for _, part := range groups(x, n) {
		i, found := slices.BinarySearch(rest, part)
		if !found {
			return false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return true
}

func groups(v []resp.Value, n int) []string {
	var out []string
	for i := 0; i+n <= len(v); i += n {
		out = append(out, fmt.Sprintf("%+v", v[i:i+n]))
	}
	slices.Sort(out)
	return out
}

func clip(b []byte) []byte { return b[:min(len(b), 400)] }

// CompareValues is Compare for replies as a client library decodes them: strings,
// integers, floats, booleans, nil, slices and maps.
func CompareValues(args [][]byte, want, got any) error {
	how := compareBytes
	if len(args) > 0 {
		how = comparisons[strings.ToLower(string(args[0]))]
	}
	a, b := fmt.Sprintf("%#v", want), fmt.Sprintf("%#v", got)
	if a == b || how != compareBytes && similar(how, want, got) {
		return nil
	}
	return fmt.Errorf("replies differ: want %s, got %s", clip([]byte(a)), clip([]byte(b)))
}

func similar(how comparison, want, got any) bool {
	a, isList := want.([]any)
	b, isListToo := got.([]any)
	if isList != isListToo {
		return false
	}
	switch how {
	case compareUnordered:
		return sameValues(a, b, 1)
	case comparePairs:
		return isList && sameValues(a, b, 2)
	case compareRandom:
		return len(a) == len(b) && fmt.Sprintf("%T", want) == fmt.Sprintf("%T", got)
	case compareScan:
		if len(a) != 2 || len(b) != 2 {
			return false
		}
		if fmt.Sprint(a[0]) != "0" || fmt.Sprint(b[0]) != "0" {
			return true // a page of a longer iteration
		}
		return similar(compareUnordered, a[1], b[1])
	case compareTime:
		if isList {
			return slices.EqualFunc(a, b, func(x, y any) bool { return similar(how, x, y) })
		}
		x, ok := want.(int64)
		y, too := got.(int64)
		return ok && too && (x == y || min(x, y) >= 0 && max(x-y, y-x) <= timeTolerance)
	case compareStreamInfo:
		return sameStreamInfo(decoded(want), decoded(got), "")
	case compareBytes:
	}
	return false
}

func sameValues(a, b []any, n int) bool {
	if len(a) != len(b) || len(a)%n != 0 {
		return false
	}
	list := func(v []any) []string {
		var out []string
		for i := 0; i < len(v); i += n {
			out = append(out, fmt.Sprintf("%#v", v[i:i+n]))
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(list(a), list(b))
}
