package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/holdfast-cache/holdfast/internal/backlog"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

func (a *app) export(args []string) error {
	f := a.flags("export")
	f.showValues()
	c := f.filter()
	format := f.String("format", "resp", "`resp` for redis-cli --pipe, or json, an object a line")
	status := f.String("status", "pending", "which writes: `pending`, dead, retained or all")
	asIs := f.Bool("as-accepted", false, "the commands as they were accepted, also where the replay would send others by now")
	if err := f.parse(args, 2); err != nil {
		return err
	}
	if f.json {
		*format = "json"
	}
	switch *status {
	case "pending", "dead", "retained", "all":
	default:
		return usagef("--status %q: use pending, dead, retained or all", *status)
	}
	switch *format {
	case "resp":
		if !f.values {
			return usagef("RESP holds keys and values: say --values if that is meant")
		}
	case "json":
	default:
		return usagef("--format %q: use resp or json", *format)
	}
	path, err := f.path()
	if err != nil {
		return err
	}
	v, err := journal.NewView(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(a.out)
	e := exporter{out: out, now: a.now(), asIs: *asIs}
	n := 0
	err = eachWrite(v, *status == "retained" || *status == "all", func(w *write) error {
		if *status != "all" && *status != w.status() || !c.pass(w) {
			return nil
		}
		if n++; *format == "json" {
			return printJSON(out, w.json(v, f.values))
		}
		return e.write(w)
	})
	if err = errors.Join(err, out.Flush()); err != nil {
		return err
	}
	fmt.Fprint(a.err, plural(n, "write", "writes"))
	if e.left > 0 {
		fmt.Fprintf(a.err, "; %d left out: the time of those is over, or they can't be read", e.left)
	}
	fmt.Fprintln(a.err)
	if n == 0 {
		return errFound
	}
	return nil
}

// exporter writes commands as a server takes them.
type exporter struct {
	out  *bufio.Writer
	now  time.Time
	asIs bool
	db   int
	buf  []byte
	left int
}

func (e *exporter) write(w *write) error {
	commands := w.encoded
	if !e.asIs {
		commands = backlog.FormOf(w.record, e.now).Commands
	}
	if w.err != nil || len(commands) == 0 {
		e.left++
		return nil
	}
	e.buf = e.buf[:0]
	if w.DB != e.db {
		e.db = w.DB
		e.buf = resp.AppendCommandStrings(e.buf, "SELECT", strconv.Itoa(w.DB))
	}
	if len(commands) > 1 {
		e.buf = resp.AppendCommandStrings(e.buf, "MULTI")
	}
	e.buf = append(e.buf, bytes.Join(commands, nil)...)
	if len(commands) > 1 {
		e.buf = resp.AppendCommandStrings(e.buf, "EXEC")
	}
	_, err := e.out.Write(e.buf)
	return err
}
