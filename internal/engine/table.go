package engine

import (
	"slices"
)

// Need is what a command must know of a key before it runs.
type Need uint8

// The needs, from the least.
const (
	NeedNothing Need = iota // the command overwrites whatever there is
	NeedMeta                // whether it exists, its type, its deadline
	NeedValue               // its value, or of a big one the members that the command names
)

// Command is one command that the engine executes.
type Command struct {
	Name  string // in lower case; of a subcommand as in "xinfo|stream"
	Arity int    // as in Redis: with the name; negative is a minimum
	Write bool   // some form of it changes something

	needs   Need
	needsOf func(args [][]byte) Need // nil when needs holds for every form
	exec    func(*Call)
}

// Needs is what this invocation must know of its keys.
func (cmd *Command) Needs(args [][]byte) Need {
	if cmd.needsOf != nil && cmd.arityAllows(len(args)) {
		return cmd.needsOf(args)
	}
	return cmd.needs
}

func (cmd *Command) arityAllows(n int) bool {
	return n == cmd.Arity || (cmd.Arity < 0 && n >= -cmd.Arity)
}

// commands is the table by name; containers hold those whose first argument
// names a subcommand.
var (
	commands   = makeCommands()
	containers = makeContainers()
)

func makeCommands() map[string]*Command {
	all := slices.Concat(
		keyCommands(), stringCommands(), bitmapCommands(), logCommands(),
		hashCommands(), fieldCommands(), listCommands(), setCommands(),
		zsetCommands(), geoCommands(), streamCommands(), sortCommands(),
	)
	m := make(map[string]*Command, len(all))
	for i := range all {
		m[all[i].Name] = &all[i]
	}
	return m
}

func makeContainers() map[string]bool {
	m := make(map[string]bool)
	for name := range commands {
		if i := slices.Index([]byte(name), '|'); i >= 0 {
			m[name[:i]] = true
		}
	}
	return m
}

// longestName bounds the names that Lookup has to fold.
const longestName = 32

// Lookup finds the command that args call, in any case of letters; nil when the
// engine does not execute it. It does not allocate.
func Lookup(args [][]byte) *Command {
	if len(args) == 0 || len(args[0]) > longestName {
		return nil
	}
	var room [2*longestName + 1]byte
	name := fold(room[:0], args[0])
	if cmd := commands[string(name)]; cmd != nil || len(args) == 1 {
		return cmd // a container alone is no command
	}
	if len(args[1]) > longestName || !containers[string(name)] {
		return nil
	}
	return commands[string(fold(append(name, '|'), args[1]))]
}

func fold(dst, name []byte) []byte {
	for _, ch := range name {
		if 'A' <= ch && ch <= 'Z' {
			ch += 'a' - 'A'
		}
		dst = append(dst, ch)
	}
	return dst
}
