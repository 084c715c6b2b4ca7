// Package command knows what each Redis command is: its class, the arguments
// that are keys, whether it may be repeated, and the form in which it is kept
// when it is deferred.
//
// The facts that servers state about themselves (names, arities, flags, key
// positions, versions) come from a table generated from the files in gen/facts,
// which hold what Redis from 7.0 on, Valkey and the usual modules say; what a
// server does not state, above all what may be done with a command while there is
// no primary, is kept by hand in list.go. A command that is in the table and in no
// list there is of ClassUnknown, and so is every command that the table does not
// have: both fail closed.
//
// Everything in this package is a pure function of its arguments and of tables
// that do not change after initialization, and may be used concurrently.
// Arguments are never retained; what Canonical returns may alias them.
package command

//go:generate go run ./gen -output zz_generated_table.go

// Spec is what is known of one command, or of one subcommand of a container
// such as CONFIG. Specs belong to the table and must not be changed.
//
// All methods may be called on a nil *Spec, which is what Lookup returns for a
// command that is not known; they then give the answer that fails closed.
type Spec struct {
	// Name is the command's name in lower case. Of a subcommand it is the full
	// name as Redis writes it, as in "config|get".
	Name string
	// Arity is the number of arguments, the name included (of a subcommand:
	// both words). A negative value is a minimum: -3 means three or more.
	Arity int
	// Since is the version that brought the command, as in "2.6.12": of Redis where
	// Redis has it, else of Valkey or of the module. Servers tells them apart.
	Since string

	// The versions since which Redis and Valkey have the command, empty where they
	// do not, and the name of the module that has it.
	redis, valkey, module string

	flags flags
	keys  []keySpec
	// keysPartial says that the server's rules leave keys out, so that a keyFinder
	// must know them.
	keysPartial bool
	subs        []Spec

	// What follows is joined to the generated facts at initialization.

	class       Class                     // of the plain form, and of a container's bare name
	classify    func(args [][]byte) Class // nil when class holds whatever the arguments
	findKeys    keyFinder                 // nil when keys says it all
	deferrable  func(args [][]byte) bool  // nil when never; asked only for forms whose class may be deferred
	repeatable  func(args [][]byte) bool  // nil when the class decides; called with a number of arguments that Arity allows
	canonical   rewrite                   // nil when there is nothing to rewrite; called with a number of arguments that Arity allows
	estimated   func(args [][]byte) bool  // nil when the reply can be exact; takes any number of arguments
	replicaName string                    // "" when it is Name
	mayWrite    bool
	served      bool
	keyspace    bool
	counter     bool
	flushes     bool
}

// flags are those of the server's COMMAND reply that this package relies on.
type flags uint8

const (
	flagReadOnly flags = 1 << iota
	flagWrite
)

// longestName bounds the names that lookupFold has to fold. A test holds it
// against the table.
const longestName = 24

// byName indexes table by name. Built once, only read afterwards.
var byName = index()

// Lookup returns the command of that name, or nil when the table has none. The
// name is a first word only, also of a container. Lower case, as go-redis's
// Cmder.Name gives it, is the fast path; any other case is found too. It does
// not allocate.
func Lookup(name string) *Spec {
	if s, ok := byName[name]; ok {
		return s
	}
	return lookupFold(name)
}

// lookupBytes is Lookup for a name as it comes from the wire.
func lookupBytes(name []byte) *Spec {
	if s, ok := byName[string(name)]; ok { // the conversion does not allocate
		return s
	}
	return lookupFold(name)
}

func lookupFold[T []byte | string](name T) *Spec {
	if len(name) > longestName {
		return nil
	}
	var folded [longestName]byte
	for i := range len(name) {
		folded[i] = lower(name[i])
	}
	return byName[string(folded[:len(name)])]
}

// Class says what the command is when it is called with args; args[0] is its
// name. Options that no server of the table understands make it ClassUnknown.
// Arguments that every server would refuse (a missing value, options that exclude
// each other, a wrong count) leave the class of the command's form, since no state
// comes of them.
func (s *Spec) Class(args [][]byte) Class {
	switch {
	case s == nil:
		return ClassUnknown
	case len(s.subs) > 0:
		if len(args) < 2 {
			return s.class
		}
		return findSub(s, args[1]).Class(args)
	case s.classify != nil:
		return s.classify(args)
	}
	return s.class
}

// MayWrite reports whether any form of the command may change the data set or
// have another effect that must not happen twice. It goes by the name alone and
// errs towards true: for containers of which one subcommand does, for scripts,
// and for unknown commands. Such a command is sent without automatic retries.
func (s *Spec) MayWrite() bool { return s == nil || s.mayWrite }

// Session reports whether the command is about the connection that carries it,
// so that on pooled connections it cannot mean what the caller wants: it is
// refused whatever the state of the shard. A false answer by the name alone does
// not cover subcommands such as CLIENT REPLY, which Class knows.
func (s *Spec) Session() bool { return s != nil && s.class == ClassSession }

// Served reports whether the command is a read of keys that the overlay can
// answer, in its forms that are reads: of SORT, BITFIELD, GEORADIUS and GETEX those
// without a write in them. Of a container it speaks of all subcommands that have
// keys. The overlay may still decline a form, or one that the shard's server does
// not have.
func (s *Spec) Served() bool { return s != nil && s.served }

// Keyspace reports whether the command names no key but reads over all of them:
// KEYS, SCAN, DBSIZE, RANDOMKEY, and the queries of modules over whatever matches
// (FT.SEARCH, TS.MRANGE). Reads by patterns inside a command that does have keys
// (SORT … BY, SORT … GET) are not meant.
func (s *Spec) Keyspace() bool { return s != nil && s.keyspace }

// Deferrable reports whether the command, called with args, may be taken into the
// journal while there is no primary: whether it is a write that grants nothing
// exclusive, of a kind that the overlay executes. It goes by the form, so that it
// is also true for arguments that any server refuses (a wrong count, no integer
// where there must be one): the overlay then gives the server's error, and nothing
// is deferred. The overlay may decline a form that the shard's server does not
// have.
func (s *Spec) Deferrable(args [][]byte) bool {
	if s == nil || s.deferrable == nil {
		return false
	}
	switch s.Class(args) {
	case ClassBlind, ClassAccumulating, ClassConditional:
		return s.deferrable(args)
	default:
		return false
	}
}

// Repeatable reports whether sending the command a second time changes neither
// the state that the first left behind nor the reply, so that it may be retried
// when it is not known whether the first was applied. What other clients do in
// between is not considered: a repeated SET may overwrite theirs, as a SET that
// arrives late may.
//
// A relative expiry counts as repeatable (SET EX, EXPIRE): the repetition moves
// the deadline by the time between the two, just as a slower network would have.
// Not so a deadline that is not in the future by its sign alone, since that is a
// deletion, whose second reply differs; and a deadline that passes between the
// two attempts can make the reply of EXPIRE or EXPIREAT 0 instead of 1, with the
// key gone in either case.
func (s *Spec) Repeatable(args [][]byte) bool {
	switch {
	case s == nil:
		return false
	case len(s.subs) > 0:
		if len(args) < 2 {
			return s.class == ClassPassthrough
		}
		return findSub(s, args[1]).Repeatable(args)
	case s.repeatable != nil:
		return s.arityAllows(len(args)) && s.repeatable(args)
	}
	// Some commands are reads in one form and writes in another.
	switch s.Class(args) {
	case ClassRead, ClassPassthrough:
		return true
	default:
		return false
	}
}

// ReplicaName is the name under which a replica accepts the forms of the command
// that Class calls reads. It differs from Name where Redis takes every form for
// a write and has a read-only twin with the same arguments (SORT and SORT_RO).
// It is empty for a nil Spec.
func (s *Spec) ReplicaName() string {
	switch {
	case s == nil:
		return ""
	case s.replicaName != "":
		return s.replicaName
	}
	return s.Name
}

// findSub returns the subcommand of that name, in any case, nil when there is none.
func findSub[T []byte | string](s *Spec, name T) *Spec {
	prefix := len(s.Name) + len("|")
	for i := range s.subs {
		if matchFold(name, s.subs[i].Name[prefix:]) {
			return &s.subs[i]
		}
	}
	return nil
}

// ArityAllows reports whether the number of args is one that a server accepts before
// it looks at any of them: what it refuses here, it refuses to queue after MULTI.
func (s *Spec) ArityAllows(args [][]byte) bool {
	if s == nil {
		return false
	}
	if len(s.subs) > 0 && len(args) > 1 {
		if s = findSub(s, args[1]); s == nil {
			return false
		}
	}
	return s.arityAllows(len(args))
}

// arityAllows reports whether n arguments, the name included, are a number that
// the server accepts before it looks at any of them.
func (s *Spec) arityAllows(n int) bool {
	if s.Arity < 0 {
		return n >= -s.Arity
	}
	return n == s.Arity
}

// Container reports whether the command's first argument names a subcommand, so
// that its name alone says little: CLIENT, CONFIG, XGROUP.
func (s *Spec) Container() bool { return s != nil && len(s.subs) > 0 }
