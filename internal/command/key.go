package command

import (
	"errors"
	"fmt"
)

// ErrKeys says that the arguments do not tell which of them are keys: the
// command is not known, or the server would refuse it. AppendKeys wraps it.
var ErrKeys = errors.New("command: cannot tell which arguments are keys")

// keySpec is one of the server's rules for where a command's keys are. The rule
// finds a starting point and from there, at a fixed step, the keys.
type keySpec struct {
	keyword string // when not empty, keys start after this word (lower case), searched for from index from on
	from    int    // else keys start at this index

	find findKeys
	// For findRange: the last key, counted from the first, or from behind when
	// negative (-1 is the last argument); limit 2 stops half way, as XREAD's keys
	// do. For findKeyNum: the count of keys stands at index numkeys from the
	// start, and the first key at index first.
	last, limit    int
	numkeys, first int
	step           int
}

type findKeys uint8

const (
	findRange findKeys = iota + 1
	findKeyNum
)

// keyFinder finds the keys of a command whose rules the server cannot state. It
// reports false when the arguments do not tell.
type keyFinder func(dst []int, n int, arg func(i int) string) ([]int, bool)

var keyFinders = map[string]keyFinder{
	"sort":              findSortKeys,
	"sort_ro":           findSortKeys,
	"migrate":           findMigrateKeys,
	"georadius":         func(dst []int, n int, arg func(int) string) ([]int, bool) { return findGeoKeys(dst, 6, n, arg) },
	"georadiusbymember": func(dst []int, n int, arg func(int) string) ([]int, bool) { return findGeoKeys(dst, 5, n, arg) },
	"xread":             findStreamKeys,
	"xreadgroup":        findStreamKeys,
}

// AppendKeys appends to dst the indexes of the arguments that are keys, of a
// command of n arguments, the name included; arg gives argument i as text. A key
// given twice is there twice; a command without keys leaves dst as it is. Keys
// that a command computes (SORT … BY and GET patterns, scripts that touch
// undeclared keys) cannot be seen, and channels are not keys.
//
// An error wraps ErrKeys and comes with dst as it was. It does not allocate but
// for what append on dst needs, and for errors.
func (s *Spec) AppendKeys(dst []int, n int, arg func(i int) string) ([]int, error) {
	if s == nil {
		return dst, fmt.Errorf("%w: the command is not in the table", ErrKeys)
	}
	if len(s.subs) > 0 {
		if n < 2 {
			return dst, nil
		}
		return findSub(s, arg(1)).AppendKeys(dst, n, arg)
	}
	if len(s.keys) > 0 && !s.arityAllows(n) {
		return dst, fmt.Errorf("%w: wrong number of arguments for '%s'", ErrKeys, s.Name)
	}
	before := len(dst)
	if s.findKeys != nil {
		if dst, ok := s.findKeys(dst, n, arg); ok {
			return dst, nil
		}
		return dst[:before], fmt.Errorf("%w: '%s' announces keys that its arguments do not hold", ErrKeys, s.Name)
	}
	for i := range s.keys {
		var ok bool
		if dst, ok = s.keys[i].append(dst, n, arg); !ok {
			return dst[:before], fmt.Errorf("%w: '%s' announces keys that its arguments do not hold", ErrKeys, s.Name)
		}
	}
	return dst, nil
}

// append adds the keys of one rule. It reports false when the arguments cannot
// satisfy the rule. A keyword that is not there is no fault: it was optional.
func (k *keySpec) append(dst []int, n int, arg func(i int) string) ([]int, bool) {
	start := k.from
	if k.keyword != "" {
		if start = k.search(n, arg); start < 0 {
			return dst, true
		}
	}
	if start >= n {
		// A rule that takes "the rest" may find nothing left, as in PFMERGE with a
		// destination only.
		return dst, k.find == findRange && k.last < 0
	}
	first, last := start, 0
	switch k.find {
	case findRange:
		switch {
		case k.last >= 0:
			last = first + k.last
		case k.limit > 1:
			last = first + (n-first)/k.limit + k.last
		default:
			last = n + k.last
		}
	case findKeyNum:
		count, ok := parseInt(arg(start + k.numkeys))
		if !ok || count < 0 || count > int64(n) {
			return dst, false
		}
		if count == 0 { // scripts may have no keys; others are refused by the server
			return dst, true
		}
		first = start + k.first
		last = first + (int(count)-1)*k.step
	}
	if first >= n || last >= n || last < first {
		return dst, false
	}
	for i := first; i <= last; i += k.step {
		dst = append(dst, i)
	}
	return dst, true
}

// search returns the index after the keyword, -1 when it is not there. The last
// argument is not looked at, as nothing could follow.
func (k *keySpec) search(n int, arg func(i int) string) int {
	for i := k.from; i < n-1; i++ {
		if option(arg(i), k.keyword) {
			return i + 1
		}
	}
	return -1
}

// findSortKeys finds what Redis calls unknowable: the destination may stand
// anywhere among the options. When it is given twice the last one counts.
func findSortKeys(dst []int, n int, arg func(i int) string) ([]int, bool) {
	dst = append(dst, 1)
	store := 0
	for i := 2; i < n; i++ {
		switch word := arg(i); {
		case option(word, "limit"):
			i += 2
		case option(word, "by"), option(word, "get"):
			i++
		case option(word, "store") && i+1 < n:
			i++
			store = i
		}
	}
	if store > 0 {
		dst = append(dst, store)
	}
	return dst, true
}

// findMigrateKeys: one key in its place, or an empty one there and the rest after
// the word KEYS, which is not that word where it is a password.
func findMigrateKeys(dst []int, n int, arg func(i int) string) ([]int, bool) {
	if arg(3) != "" {
		return append(dst, 3), true
	}
	for i := 6; i < n; i++ {
		switch word := arg(i); {
		case option(word, "auth"):
			i++
		case option(word, "auth2"):
			i += 2
		case option(word, "keys"):
			for i++; i < n; i++ {
				dst = append(dst, i)
			}
		}
	}
	return dst, true
}

// findGeoKeys: the destination may stand anywhere among the options, from index
// first on. When it is given twice the last one counts.
func findGeoKeys(dst []int, first, n int, arg func(i int) string) ([]int, bool) {
	dst = append(dst, 1)
	store := 0
	for i := first; i < n-1; i++ {
		switch word := arg(i); {
		case option(word, "count"):
			i++
		case option(word, "store"), option(word, "storedist"):
			i++
			store = i
		}
	}
	if store > 0 {
		dst = append(dst, store)
	}
	return dst, true
}

// findStreamKeys: behind the word STREAMS stand as many keys as IDs. That word may
// be a group's name or another option's value too, where it means nothing.
func findStreamKeys(dst []int, n int, arg func(i int) string) ([]int, bool) {
	for i := 1; i < n; i++ {
		switch word := arg(i); {
		case option(word, "streams"):
			rest := n - 1 - i
			for key := i + 1; key <= i+rest/2; key++ {
				dst = append(dst, key)
			}
			return dst, rest > 0 && rest%2 == 0
		case option(word, "count"), option(word, "block"), option(word, "claim"),
			option(word, "maxcount"), option(word, "maxsize"):
			i++
		case option(word, "group"):
			i += 2
		}
	}
	return dst, true
}
