package resilient

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// Decision is what is to become of a command while its shard has no primary.
// The zero value leaves it to the command table (docs/semantics.md). A Decision
// is a value: its methods return changed copies.
type Decision struct {
	action action
	reply  any
	until  time.Time
	period time.Duration
}

type action uint8

const (
	actionDefault action = iota
	actionForward
	actionDefer
	actionRefuse
)

// Forward sends the command to a server although no primary is there: to the one
// that answers reads. It is for commands that a replica executes and whose effect
// there is what the caller wants, such as PUBLISH for the subscribers of one
// replica, or a script that only reads. A write comes back refused.
func Forward() Decision { return Decision{action: actionForward} }

// Defer puts the command into the journal, also where the table would refuse it:
// SET NX, LPOP and other claims, PUBLISH. The reply is what Redis would answer if
// no other process defers the same: with a claim two processes may both win.
// A publication is answered with 0 receivers. A command that can't be executed
// here (a script, an unknown one) is still refused: it needs [DeferWithReply].
func Defer() Decision { return Decision{action: actionDefer} }

// DeferWithReply puts the command into the journal unseen and answers it with
// reply: a string, []byte, bool, an integer, a float64, nil, an error, or a
// []any of these. It is for scripts whose answer is known beforehand, such as
// the enqueue script of a queue library. What the command did is not visible
// before its replay: reads of its keys are refused with [ErrPendingWrites].
func DeferWithReply(reply any) Decision { return Decision{action: actionDefer, reply: given{reply}} }

// Refuse refuses the command with [ErrNoPrimary], also where the table would
// defer it: INCR that hands out ids, for one.
func Refuse() Decision { return Decision{action: actionRefuse} }

// given tells a reply of nil from none.
type given struct{ value any }

// UsefulUntil says from when on the write must not be replayed any more: it then
// becomes a dead letter. It goes with any decision that lets the command be
// deferred, the zero Decision too.
func (d Decision) UsefulUntil(t time.Time) Decision {
	d.until = t
	return d
}

// UsefulFor is UsefulUntil counted from the time when the write is accepted.
func (d Decision) UsefulFor(period time.Duration) Decision {
	d.period = period
	return d
}

// deadline is when a write accepted at now stops being useful, in Unix
// milliseconds; 0 is never.
func (d Decision) deadline(now time.Time) int64 {
	t := d.until
	if d.period > 0 {
		if end := now.Add(d.period); t.IsZero() || end.Before(t) {
			t = end
		}
	}
	if t.IsZero() {
		return 0
	}
	return max(t.UnixMilli(), 1)
}

// Command is what a Policy is told of a command. It is the policy's to keep.
type Command struct {
	Name   string   // in lower case; of a container with its subcommand, as in "xgroup|create"
	Class  string   // what the command table says, such as "claiming write"
	Keys   []string // the keys it names
	Script string   // of EVAL and EVALSHA: the script's SHA-1 in hex
}

// Policy decides what becomes of a command while its shard has no primary, or
// while its keys have deferred writes. It is asked for writes and scripts only,
// must be quick, safe for concurrent use, and must not call the client. A panic
// in it refuses the command.
type Policy func(ctx context.Context, cmd Command) Decision

// Rule is one line of Options.Rules: which commands, and what becomes of them.
// A command matches when it matches every field that is set.
type Rule struct {
	// Commands are names, in any case of letters; a container may be given with
	// its subcommand ("xgroup|create"). Default: every command.
	Commands []string
	// Prefixes match when every key of the command begins with one of them; a
	// command without keys does not match. Default: any keys.
	Prefixes []string
	// Scripts match EVAL and EVALSHA of these scripts, by their SHA-1 in hex.
	Scripts []string
	// Sources match like Scripts, and are sent whole when they are replayed: the
	// new primary may not know the script by its SHA.
	Sources []*redis.Script
	// Then is the decision. The zero value leaves it to the table, and ends the
	// search: it exempts from later rules.
	Then Decision
}

// rulebook is Options.Rules and Options.Policy, prepared.
type rulebook struct {
	rules   []preparedRule
	policy  Policy
	sources map[string]string // scripts by SHA
}

type preparedRule struct {
	commands, prefixes, scripts []string
	then                        Decision
}

// newRulebook prepares the rules; nil when there are none.
func newRulebook(o *Options) *rulebook {
	if len(o.Rules) == 0 && o.Policy == nil {
		return nil
	}
	b := &rulebook{policy: o.Policy, sources: make(map[string]string)}
	for _, rule := range o.Rules {
		p := preparedRule{prefixes: slices.Clone(rule.Prefixes), then: rule.Then}
		for _, name := range rule.Commands {
			p.commands = append(p.commands, strings.ToLower(name))
		}
		for _, sha := range rule.Scripts {
			p.scripts = append(p.scripts, strings.ToLower(sha))
		}
		for _, s := range rule.Sources {
			p.scripts = append(p.scripts, s.Hash())
			b.sources[s.Hash()] = sourceOf(s)
		}
		b.rules = append(b.rules, p)
	}
	return b
}

// validateRules reports what can't be meant.
func validateRules(rules []Rule) error {
	var faults []error
	for i, rule := range rules {
		if err := rule.Then.check(); err != nil {
			faults = append(faults, fmt.Errorf("resilient: Options.Rules[%d].Then: %w", i, err))
		}
		for _, name := range rule.Commands {
			word, _, _ := strings.Cut(strings.ToLower(name), "|")
			if command.Lookup(word) == nil && rule.Then.action == actionDefer && rule.Then.reply == nil {
				faults = append(faults, fmt.Errorf("resilient: Options.Rules[%d]: %q is not in the command table, "+
					"so that it can't be answered; use DeferWithReply", i, word))
			}
		}
		for _, sha := range rule.Scripts {
			if raw, err := hex.DecodeString(sha); err != nil || len(raw) != sha1.Size {
				faults = append(faults, fmt.Errorf("resilient: Options.Rules[%d].Scripts: %q is not a SHA-1 in hex", i, sha))
			}
		}
		if slices.Contains(rule.Sources, nil) {
			faults = append(faults, fmt.Errorf("resilient: Options.Rules[%d].Sources holds nil", i))
		}
	}
	return errors.Join(faults...)
}

func (d Decision) check() error {
	if d.period < 0 {
		return errors.New("UsefulFor is negative; leave it out for no bound")
	}
	if g, ok := d.reply.(given); ok {
		if _, err := appendReply(nil, g.value, 3); err != nil {
			return err
		}
	}
	return nil
}

// of is the decision for a command.
func (b *rulebook) of(ctx context.Context, q *request) (d Decision, err error) {
	if b == nil {
		return Decision{}, nil
	}
	c := Command{Name: q.fullName(), Class: q.class().String(), Script: scriptOf(q)}
	for _, k := range q.keys {
		c.Keys = append(c.Keys, string(k))
	}
	if b.policy != nil {
		defer func() {
			if p := recover(); p != nil {
				d, err = Decision{}, fmt.Errorf("%w (%T)", errPolicyPanic, p)
			}
		}()
		d = b.policy(ctx, c)
		if d != (Decision{}) {
			return d, d.check()
		}
	}
	for i := range b.rules {
		if b.rules[i].matches(&c) {
			return b.rules[i].then, nil
		}
	}
	return Decision{}, nil
}

func (p *preparedRule) matches(c *Command) bool {
	if len(p.commands) > 0 {
		word, _, _ := strings.Cut(c.Name, "|")
		if !slices.Contains(p.commands, c.Name) && !slices.Contains(p.commands, word) {
			return false
		}
	}
	if len(p.scripts) > 0 && !slices.Contains(p.scripts, c.Script) {
		return false
	}
	if len(p.prefixes) == 0 {
		return true
	}
	for _, key := range c.Keys {
		if !slices.ContainsFunc(p.prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			return false
		}
	}
	return len(c.Keys) > 0
}

// scriptOf is the SHA-1 of the script that a command runs, "" of other commands.
func scriptOf(q *request) string {
	if len(q.args) < 2 {
		return ""
	}
	switch q.name {
	case "eval", "eval_ro":
		sum := sha1.Sum(q.args[1])
		return hex.EncodeToString(sum[:])
	case "evalsha", "evalsha_ro":
		return strings.ToLower(string(q.args[1]))
	}
	return ""
}

// source returns the source of the script that EVALSHA names, if it is known.
func (b *rulebook) source(sha string) (string, bool) {
	if b == nil {
		return "", false
	}
	s, ok := b.sources[sha]
	return s, ok
}

// sourceOf has a script give away its source: go-redis keeps it to itself, but
// hands it to whatever runs the script.
func sourceOf(s *redis.Script) string {
	var c captor
	s.Eval(context.Background(), &c, nil)
	return c.source
}

// captor is a Scripter that remembers the source it is asked to run.
type captor struct {
	redis.Scripter
	source string
}

func (c *captor) Eval(ctx context.Context, script string, _ []string, _ ...any) *redis.Cmd {
	c.source = script
	return redis.NewCmd(ctx)
}
