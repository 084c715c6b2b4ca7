package redistest

import (
	"bytes"
	"strings"
	"sync/atomic"
)

// Match says whether a rule of a Proxy is meant for a request: one command as it
// is encoded on the wire, commands of a pipeline one by one, handshakes too. It
// is called from several goroutines and must not keep the bytes.
type Match func(request []byte) bool

// Contains matches requests that contain s, in upper or lower case.
func Contains(s string) Match {
	lower := []byte(strings.ToLower(s))
	return func(request []byte) bool { return bytes.Contains(bytes.ToLower(request), lower) }
}

// Once matches the first request that m matches, and no other.
func Once(m Match) Match {
	var used atomic.Bool
	return func(request []byte) bool { return m(request) && used.CompareAndSwap(false, true) }
}

// action is what a rule does with a request that it matches.
type action int

const (
	actionNone action = iota // the zero value: nothing matched
	actionCount
	actionCutBeforeSend
	actionCutAfterSend
	actionCutMidReply
)

// Rule is one fault that a Proxy is to make, or one thing that it counts. It is
// safe for concurrent use.
type Rule struct {
	match  Match
	action action
	hits   atomic.Int64
	off    atomic.Bool
}

// Hits is how many requests the rule was applied to.
func (r *Rule) Hits() int { return int(r.hits.Load()) }

// Disarm ends the rule. Its hits remain.
func (r *Rule) Disarm() { r.off.Store(true) }

func (r *Rule) applies(request []byte) bool {
	if r.off.Load() || !r.match(request) {
		return false
	}
	r.hits.Add(1)
	return true
}
