package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/command"
	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
)

// write is a deferred write, read from its record.
type write struct {
	Seq    uint64
	At     time.Time
	DB     int
	Status journal.Status // 0 of a dead letter
	Reason string         // of a dead letter
	Bytes  int            // of the encoded commands

	record   journal.Record
	entry    entry.Entry
	encoded  [][]byte   // each command
	commands [][][]byte // the arguments of each; it has a name at least
	keys     []string   // all of them, without repetitions
	err      error      // it can't be read
}

// readWrite decodes a record; the write owns its bytes.
func readWrite(r journal.Record) *write {
	r.Meta, r.Body = bytes.Clone(r.Meta), bytes.Clone(r.Body)
	w := &write{Seq: r.Seq, At: r.At, DB: r.DB, Bytes: len(r.Body), record: r}
	if w.entry, w.err = entry.Parse(r.Meta, r.Body); w.err != nil {
		return w
	}
	w.Bytes = len(w.entry.Write)
	seen := make(map[string]bool)
	w.err = entry.EachCommand(w.entry.Write, func(cmd []byte, args [][]byte) error {
		w.encoded, w.commands = append(w.encoded, cmd), append(w.commands, args)
		keys, err := keysOf(args)
		if err != nil {
			return nil // its keys can't be told; it is shown without
		}
		for _, i := range keys {
			if key := string(args[i]); !seen[key] {
				seen[key] = true
				w.keys = append(w.keys, key)
			}
		}
		return nil
	})
	return w
}

// keysOf are the indexes of the arguments that are keys.
func keysOf(args [][]byte) ([]int, error) {
	return command.Lookup(string(args[0])).AppendKeys(nil, len(args), func(i int) string { return string(args[i]) })
}

func (w *write) hasKey(key string) bool {
	for _, k := range w.keys {
		if k == key {
			return true
		}
	}
	return false
}

func (w *write) hasCommand(name string) bool {
	for _, args := range w.commands {
		if strings.EqualFold(string(args[0]), name) {
			return true
		}
	}
	return false
}

// names are the commands, equal neighbours counted: "SET", "INCR x3, EXPIRE".
func (w *write) names() string {
	if w.err != nil {
		return "(unreadable)"
	}
	var names []string
	for i := 0; i < len(w.commands); {
		name := commandName(w.commands[i])
		n := 1
		for i+n < len(w.commands) && commandName(w.commands[i+n]) == name {
			n++
		}
		if i += n; n > 1 {
			name += " x" + strconv.Itoa(n)
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// commandName is the command's name if it can be one; anything else could be
// a value that got there by mistake.
func commandName(args [][]byte) string {
	if command.Lookup(string(args[0])) == nil {
		return "(unknown)"
	}
	return strings.ToUpper(string(args[0]))
}

// digester shows keys by digests, so that equal ones can be seen, of one target
// across its journals.
type digester string

func digesterOf(v *journal.View) digester { return digester(v.Target()) }

func (d digester) of(key string) string {
	sum := sha256.Sum256([]byte(string(d) + "\x00" + key))
	return hex.EncodeToString(sum[:4])
}

// shownKeys is how many keys a table shows of one write.
const shownKeys = 3

// keyList shows the keys: by digests, or as they are.
func (w *write) keyList(d digester, values bool) string {
	var shown []string
	for _, key := range w.keys[:min(len(w.keys), shownKeys)] {
		if values {
			shown = append(shown, quote([]byte(key)))
		} else {
			shown = append(shown, "#"+d.of(key))
		}
	}
	if more := len(w.keys) - shownKeys; more > 0 {
		shown = append(shown, "+"+strconv.Itoa(more))
	}
	return strings.Join(shown, " ")
}

// shownBytes is how much of an argument a table shows.
const shownBytes = 64

// quote shows an argument in a line.
func quote(b []byte) string {
	if len(b) <= shownBytes {
		return strconv.Quote(string(b))
	}
	cut := shownBytes
	for cut > 0 && !utf8.RuneStart(b[cut]) {
		cut--
	}
	return strconv.Quote(string(b[:cut])) + "…" + strconv.Itoa(len(b))
}

// line shows the commands with their arguments.
func (w *write) line() string {
	var commands []string
	for _, args := range w.commands {
		words, rest := []string{commandName(args)}, args[1:]
		if command.Lookup(string(args[0])) == nil {
			words, rest = nil, args
		}
		for _, arg := range rest {
			words = append(words, quote(arg))
		}
		commands = append(commands, strings.Join(words, " "))
	}
	return strings.Join(commands, "; ")
}

// writeJSON is a write as JSON.
type writeJSON struct {
	Journal   string     `json:"journal"`
	Seq       uint64     `json:"seq"`
	At        time.Time  `json:"at"`
	DB        int        `json:"db"`
	Status    string     `json:"status"`
	Class     string     `json:"class,omitempty"`
	Commands  []string   `json:"commands,omitempty"`
	KeyCount  int        `json:"key_count"`
	KeyDigest []string   `json:"key_digests,omitempty"`
	Bytes     int        `json:"bytes"`
	Lapses    *time.Time `json:"lapses,omitempty"`
	Useful    *time.Time `json:"useful_until,omitempty"`
	Estimated bool       `json:"estimated,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Error     string     `json:"error,omitempty"`
	Fate      *fateJSON  `json:"fate,omitempty"`
	Args      [][]blob   `json:"args,omitempty"`
}

func (w *write) json(v *journal.View, values bool) writeJSON {
	j := writeJSON{
		Journal: v.ID().String(), Seq: w.Seq, At: w.At.UTC(), DB: w.DB, Status: w.status(), Bytes: w.Bytes,
		KeyCount: len(w.keys), Estimated: w.entry.Estimated, Reason: reasonOf(w.Reason, values),
	}
	if w.err != nil {
		j.Error = w.err.Error()
		return j
	}
	j.Class = w.entry.Class.String()
	j.Lapses, j.Useful = milli(w.entry.Lapses), milli(w.entry.Useful)
	d := digesterOf(v)
	for _, key := range w.keys {
		j.KeyDigest = append(j.KeyDigest, d.of(key))
	}
	for _, args := range w.commands {
		j.Commands = append(j.Commands, commandName(args))
		if values {
			var blobs []blob
			for _, arg := range args {
				blobs = append(blobs, blob(arg))
			}
			j.Args = append(j.Args, blobs)
		}
	}
	return j
}

func (w *write) status() string {
	if w.Status == 0 {
		return journal.StatusDead.String()
	}
	return w.Status.String()
}

// reasonOf shows a dead letter's reason: behind its kind the server's words, which
// may quote the write.
func reasonOf(reason string, values bool) string {
	if values {
		return reason
	}
	return backlog.PublicReason(reason)
}

func milli(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}
