// Command gen writes the command table of package command from what a
// redis-server of the pinned version says about itself.
//
//	go run ./gen [-server path] -output zz_generated_table.go
//
// It starts the server on a socket in a temporary directory and stops it again.
// Its output depends on the server's answers alone.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

// pinnedVersion is the server whose table is committed. To move to another one,
// change it, generate, and give every new command a class in class.go.
const pinnedVersion = "7.0.15"

func main() {
	path := flag.String("server", defaultServer(), "the redis-server to ask")
	output := flag.String("output", "", "the file to write")
	flag.Parse()
	if err := run(*path, *output); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(path, output string) error {
	if output == "" {
		return errors.New("no -output given")
	}
	facts, err := ask(path)
	if err != nil {
		return err
	}
	if facts.version != pinnedVersion {
		return fmt.Errorf("%s is version %s, but the table is pinned to %s: name another server with -server or %s",
			path, facts.version, pinnedVersion, serverEnv)
	}
	source, err := render(facts)
	if err != nil {
		return err
	}
	return os.WriteFile(output, source, 0o644)
}
