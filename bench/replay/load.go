package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// kind is a command of a load.
type kind uint8

const (
	kindSet kind = iota
	kindHSet
	kindIncr
	kindRPush
	kindXAdd
	kindZAdd
	kinds
)

// kindInfo is how each kind is written, and what a journal says of it.
var kindInfo = [kinds]struct {
	name       string
	prefix     string
	keys       int
	class      entry.Class
	repeatable bool
}{
	kindSet:   {"SET", "user:", 100_000, entry.ClassBlind, true},
	kindHSet:  {"HSET", "profile:", 100_000, entry.ClassBlind, true},
	kindIncr:  {"INCR", "hits:", 100_000, entry.ClassAccumulating, false},
	kindRPush: {"RPUSH", "queue:", 1000, entry.ClassAccumulating, false},
	kindXAdd:  {"XADD", "events:", 1000, entry.ClassAccumulating, false},
	kindZAdd:  {"ZADD", "board:", 1000, entry.ClassBlind, true},
}

// stride is prime to all numbers of keys: it visits each key once before any twice.
const stride = 7919

// load is a sequence of writes.
type load struct {
	name  string
	cycle []kind
}

// mixed is what an application with a bit of everything sends: of twenty writes.
var mixed = []kind{
	kindSet, kindHSet, kindIncr, kindSet, kindRPush, kindSet, kindZAdd, kindHSet, kindSet, kindIncr,
	kindSet, kindHSet, kindXAdd, kindSet, kindIncr, kindRPush, kindSet, kindZAdd, kindSet, kindHSet,
}

var loads = []load{
	{"SET", []kind{kindSet}},
	{"HSET", []kind{kindHSet}},
	{"INCR", []kind{kindIncr}},
	{"mix", mixed},
}

// value is what is written where a value is: 100 bytes.
var value = strings.Repeat("0123456789", 10)

// field is what a hash's field is set to.
const field = "2026-11-24T04:14:53Z"

// write is one of a load: a command and the reply that it gets.
type write struct {
	kind  kind
	n     int // how many of its kind were before
	key   string
	extra string // a member or an id
}

// each calls f with n writes of the load. The write is valid until f returns.
func (l load) each(n int, f func(i int, w *write)) {
	var before [kinds]int
	var keys [kinds][]string
	for i := range n {
		w := write{kind: l.cycle[i%len(l.cycle)]}
		info := &kindInfo[w.kind]
		if keys[w.kind] == nil {
			for k := range info.keys {
				keys[w.kind] = append(keys[w.kind], fmt.Sprintf("%s%07d", info.prefix, k))
			}
		}
		w.n = before[w.kind]
		before[w.kind]++
		w.key = keys[w.kind][w.n*stride%info.keys]
		switch w.kind {
		case kindXAdd:
			w.extra = strconv.Itoa(w.n+1) + "-1"
		case kindZAdd:
			w.extra = "player:" + strconv.Itoa(w.n)
		default: // the key says it all
		}
		f(i, &w)
	}
}

// args are the command's words.
func (w *write) args() []string {
	name := kindInfo[w.kind].name
	switch w.kind {
	case kindSet, kindRPush:
		return []string{name, w.key, value}
	case kindHSet:
		return []string{name, w.key, "seen", field}
	case kindIncr:
		return []string{name, w.key}
	case kindXAdd:
		return []string{name, w.key, w.extra, "action", field}
	default:
		return []string{name, w.key, strconv.Itoa(w.n % 1000), w.extra}
	}
}

// appendReply appends what the server answers, if it was empty before the load.
func (w *write) appendReply(dst []byte) []byte {
	round := w.n / kindInfo[w.kind].keys // how often its key was written before
	switch w.kind {
	case kindSet:
		return resp.AppendSimple(dst, "OK")
	case kindHSet:
		return resp.AppendInt(dst, int64(1-min(round, 1)))
	case kindIncr, kindRPush:
		return resp.AppendInt(dst, int64(round)+1)
	case kindXAdd:
		return resp.AppendBulkString(dst, w.extra)
	default:
		return resp.AppendInt(dst, 1)
	}
}

// encode is all of the load's commands as a client sends them, one behind the other.
func (l load) encode(n int) []byte {
	var out []byte
	l.each(n, func(_ int, w *write) { out = resp.AppendCommandStrings(out, w.args()...) })
	return out
}
