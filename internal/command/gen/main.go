// Command gen writes the command table of package command from the facts files in
// its directory facts, and those files from servers.
//
//	go run ./gen -output zz_generated_table.go
//	go run ./gen -ask [-server path] -output gen/facts/redis-8.0.txt
//
// The first needs no server: its output depends on the files alone. The second
// starts a server on a socket in a temporary directory, writes what it says of its
// commands and stops it again.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	asking := flag.Bool("ask", false, "write the facts of a server instead of the table")
	server := flag.String("server", defaultServer(), "the server to ask")
	output := flag.String("output", "", "the file to write")
	flag.Parse()
	if err := run(*asking, *server, *output); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(asking bool, server, output string) error {
	if output == "" {
		return errors.New("no -output given")
	}
	source := makeTable
	if asking {
		source = func() ([]byte, error) { return makeFacts(server) }
	}
	text, err := source()
	if err != nil {
		return err
	}
	return os.WriteFile(output, text, 0o644)
}

// makeTable writes the table from the files.
func makeTable() ([]byte, error) {
	all, err := load()
	if err != nil {
		return nil, err
	}
	m, err := merge(all)
	if err != nil {
		return nil, err
	}
	return render(m)
}

// makeFacts writes a facts file from what a server says. Commands of modules that
// the server has loaded are left out: they have no version of their own there, and
// modules say little of their commands, so that those are kept by hand.
func makeFacts(server string) ([]byte, error) {
	f, err := ask(server)
	if err != nil {
		return nil, err
	}
	own := *f
	own.commands = nil
	for _, c := range f.commands {
		if c.since != "" {
			own.commands = append(own.commands, c)
		}
	}
	return formatFacts(&own), nil
}
