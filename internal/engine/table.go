package engine

import (
	"slices"
	"strings"
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

// commands holds the table by name.
var commands = makeNames(slices.Concat(
	keyCommands(), stringCommands(), bitmapCommands(), logCommands(),
	hashCommands(), fieldCommands(), listCommands(), setCommands(),
	zsetCommands(), geoCommands(), streamCommands(), sortCommands(),
))

// names finds commands by name: a hash table that folds letters as it goes,
// because every command of an outage is looked up and a map would want its key
// folded first.
type names struct {
	slots [namesSize]*Command // a name's own, or one of those that follow it
	subs  [namesSize]bool     // by the hash of a container's name: it has subcommands
}

// namesSize leaves most slots empty, so that a name is rarely beside its own.
const namesSize = 1 << 11

func makeNames(all []Command) *names {
	n := new(names)
	for i := range all {
		cmd := &all[i]
		at := hashName(nameSeed, cmd.Name)
		for n.slots[at%namesSize] != nil {
			at++
		}
		n.slots[at%namesSize] = cmd
		if container, _, ok := strings.Cut(cmd.Name, "|"); ok {
			n.subs[hashName(nameSeed, container)%namesSize] = true
		}
	}
	return n
}

// nameSeed, the start of hashName, and its prime are those of 32-bit FNV-1a.
const nameSeed uint32 = 2166136261

func hashName[T string | []byte](h uint32, name T) uint32 {
	for i := range len(name) {
		h = (h ^ uint32(lower(name[i]))) * 16777619
	}
	return h
}

func lower(ch byte) byte {
	if 'A' <= ch && ch <= 'Z' {
		ch += 'a' - 'A'
	}
	return ch
}

// find returns the command called name, or name|sub where sub is not nil.
func (n *names) find(h uint32, name, sub []byte) *Command {
	for ; ; h++ {
		cmd := n.slots[h%namesSize]
		if cmd == nil || isNamed(cmd.Name, name, sub) {
			return cmd
		}
	}
}

func isNamed(full string, name, sub []byte) bool {
	if sub != nil {
		at := len(name)
		return len(full) == at+1+len(sub) && full[at] == '|' && isFolded(full[:at], name) && isFolded(full[at+1:], sub)
	}
	return isFolded(full, name)
}

func isFolded(lowered string, name []byte) bool {
	if len(lowered) != len(name) {
		return false
	}
	for i := range name {
		if lowered[i] != lower(name[i]) {
			return false
		}
	}
	return true
}

// longestName bounds the names that Lookup looks at.
const longestName = 32

// Lookup finds the command that args call, in any case of letters; nil when the
// engine does not execute it. It does not allocate.
func Lookup(args [][]byte) *Command {
	if len(args) == 0 || len(args[0]) > longestName {
		return nil
	}
	h := hashName(nameSeed, args[0])
	if cmd := commands.find(h, args[0], nil); cmd != nil || len(args) == 1 {
		return cmd // a container alone is no command
	}
	if len(args[1]) > longestName || !commands.subs[h%namesSize] {
		return nil
	}
	return commands.find(hashName(hashName(h, "|"), args[1]), args[0], args[1])
}
