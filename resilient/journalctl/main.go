// Command journalctl looks into the journals that Holdfast clients keep of
// deferred writes, and sees to those that no process sees to any more. It reads
// the journal of a running process without disturbing it; what changes a journal
// needs that nobody holds it.
//
//	go build -o holdfast-journalctl ./resilient/journalctl
//	holdfast-journalctl ls /var/lib/app/holdfast
//
// Keys and values are shown only where --values asks for them. docs/journalctl.md
// describes each command.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit codes.
const (
	exitFine   = 0
	exitFound  = 1 // damage, or nothing that was looked for, or writes that could not be delivered
	exitUsage  = 2
	exitFailed = 3 // it could not be done
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{ctx: ctx, out: os.Stdout, err: os.Stderr, now: time.Now, zone: time.Local, env: os.Getenv}
	code := a.run(os.Args[1:])
	stop()
	os.Exit(code)
}

// app is the surroundings of a command, which tests replace.
type app struct {
	ctx      context.Context
	out, err io.Writer
	now      func() time.Time
	zone     *time.Location // of the times in tables
	env      func(string) string
}

// errFound ends a command with exitFound; what there is to say has been said.
var errFound = errors.New("found")

// usageError is a mistake in the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// verb is one of the commands.
type verb struct {
	name, args, about string
	run               func(a *app, args []string) error
}

func verbs() []verb {
	return []verb{
		{"ls", "DIR", "list the journals below a directory", (*app).ls},
		{"show", "DIR [JOURNAL]", "show what waits in a journal, and its dead letters", (*app).show},
		{"letters", "DIR [JOURNAL]", "list dead letters, and which of them replay --dead would send", (*app).letters},
		{"verify", "DIR [JOURNAL]", "read every record and say what is damaged where", (*app).verify},
		{"ledger", "DIR [JOURNAL]", "tell what became of writes, by key, command or time", (*app).ledger},
		{"export", "DIR [JOURNAL]", "write the commands as RESP for redis-cli --pipe, or as JSON lines", (*app).export},
		{"replay", "DIR [JOURNAL]", "send a journal that no process holds to a primary, exactly once", (*app).replay},
		{"confirm", "DIR JOURNAL", "let the service replay a journal that it has parked", (*app).confirm},
		{"discard", "DIR JOURNAL", "end deferred writes, or dead letters, without sending them", (*app).discard},
	}
}

// run carries out a command line and returns the exit code.
func (a *app) run(args []string) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		a.usage()
		if len(args) == 0 {
			return exitUsage
		}
		return exitFine
	}
	for _, v := range verbs() {
		if v.name == args[0] {
			return a.code(v, v.run(a, args[1:]))
		}
	}
	fmt.Fprintf(a.err, "journalctl: there is no command %q\n", args[0])
	a.usage()
	return exitUsage
}

func (a *app) code(v verb, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, flag.ErrHelp):
		return exitFine
	case errors.Is(err, errFound):
		return exitFound
	case errors.As(err, &usage):
		fmt.Fprintf(a.err, "journalctl %s: %v\n(journalctl %s --help lists the flags)\n", v.name, err, v.name)
		return exitUsage
	}
	fmt.Fprintf(a.err, "journalctl %s: %v\n", v.name, err)
	return exitFailed
}

func (a *app) usage() {
	fmt.Fprint(a.err, "usage: journalctl COMMAND [FLAGS] DIR [JOURNAL]\n\n")
	for _, v := range verbs() {
		fmt.Fprintf(a.err, "  %-8s %-14s %s\n", v.name, v.args, v.about)
	}
	fmt.Fprint(a.err, `
DIR is Options.Dir of the client, or the directory of one journal in it; JOURNAL
is a journal's name or the beginning of it. Every command knows --json and --help.
Exit codes: 0 fine; 1 damage found, or nothing found, or writes not delivered;
2 wrong usage; 3 it could not be done.
`)
}
