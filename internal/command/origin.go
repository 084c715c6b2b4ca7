package command

import (
	"iter"
	"strconv"
	"strings"
)

// The servers that an Origin may name, beside modules.
const (
	ServerRedis  = "Redis"
	ServerValkey = "Valkey"
)

// Origin is one server that has a command.
type Origin struct {
	// Server is ServerRedis, ServerValkey or the name of a module, as in "RedisJSON".
	Server string
	// Since is the server's version, or the module's, that brought the command. Of
	// Valkey it is "7.2.0", its first, for all that it took over from Redis.
	Since string
}

// Servers tells which servers have the command, Redis first. It is for documents:
// the slice is made anew. It is nil for a nil Spec.
func (s *Spec) Servers() []Origin {
	if s == nil {
		return nil
	}
	var out []Origin
	if s.redis != "" {
		out = append(out, Origin{Server: ServerRedis, Since: s.redis})
	}
	if s.valkey != "" {
		out = append(out, Origin{Server: ServerValkey, Since: s.valkey})
	}
	if s.module != "" {
		out = append(out, Origin{Server: s.module, Since: s.Since})
	}
	return out
}

// All yields the Spec of every command in the order of their names, each container
// followed by its subcommands.
func All() iter.Seq[*Spec] {
	return func(yield func(*Spec) bool) {
		for i := range table {
			if !yield(&table[i]) {
				return
			}
			for j := range table[i].subs {
				if !yield(&table[i].subs[j]) {
					return
				}
			}
		}
	}
}

// On reports whether a server has the command that args call: a Redis of this
// version (major*10000 + minor*100 + patch), or a Valkey of its own version. A
// version of 0 is not known, and has everything; so has every server the commands
// of modules, since its version doesn't tell.
func (s *Spec) On(args [][]byte, version int, valkey bool) bool {
	if s == nil || version == 0 {
		return true
	}
	if len(s.subs) > 0 && len(args) > 1 {
		if s = findSub(s, args[1]); s == nil {
			return true
		}
	}
	since := s.redis
	if valkey {
		since = s.valkey
	}
	if since == "" {
		return s.module != ""
	}
	return versionNumber(since) <= version
}

// versionNumber turns "7.0.15" into 70015.
func versionNumber(text string) int {
	n := 0
	for i, part := range strings.SplitN(text+".0.0", ".", 4) {
		if i == 3 {
			break
		}
		v, _ := strconv.Atoi(part)
		n = n*100 + v
	}
	return n
}
