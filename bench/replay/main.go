package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

// commands are the subcommands: each measures something, or shows what was measured.
var commands = map[string]func(ctx context.Context, args []string) error{
	"throughput": throughput,
	"latency":    latency,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go run . throughput|latency [flags]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := commands[os.Args[1]](ctx, os.Args[2:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}
