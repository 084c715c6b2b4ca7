package command

import (
	"errors"
	"math"
	"strconv"
	"time"
)

// errNoArguments says that there is no command at all.
var errNoArguments = errors.New("command: no arguments, not even a name")

// rewrite is the canonical form of one command, whose arity is right: args itself
// where there is nothing to rewrite.
type rewrite func(args [][]byte, now time.Time) [][]byte

var rewrites = map[string]rewrite{
	"set": func(args [][]byte, now time.Time) [][]byte {
		return canonicalSet(args, 3, parseSet(args, 3), now)
	},
	"msetex": func(args [][]byte, now time.Time) [][]byte {
		first, _ := msetexOptions(args)
		return canonicalSet(args, first, parseSet(args, first), now)
	},
	"getex": func(args [][]byte, now time.Time) [][]byte {
		return canonicalSet(args, 2, parseGetEx(args), now)
	},
	"increx": canonicalIncrEx,

	"setex":  func(args [][]byte, now time.Time) [][]byte { return canonicalSetEx(args, now, expiryEX) },
	"psetex": func(args [][]byte, now time.Time) [][]byte { return canonicalSetEx(args, now, expiryPX) },

	"expire":   func(args [][]byte, now time.Time) [][]byte { return canonicalExpire(args, now, expiryEX) },
	"pexpire":  func(args [][]byte, now time.Time) [][]byte { return canonicalExpire(args, now, expiryPX) },
	"expireat": func(args [][]byte, now time.Time) [][]byte { return canonicalExpire(args, now, expiryEXAT) },

	"hexpire":   func(args [][]byte, now time.Time) [][]byte { return canonicalFieldExpire(args, now, expiryEX) },
	"hpexpire":  func(args [][]byte, now time.Time) [][]byte { return canonicalFieldExpire(args, now, expiryPX) },
	"hexpireat": func(args [][]byte, now time.Time) [][]byte { return canonicalFieldExpire(args, now, expiryEXAT) },
	"hgetex":    func(args [][]byte, now time.Time) [][]byte { return canonicalFields(args, &getexForm, now) },
	"hsetex":    func(args [][]byte, now time.Time) [][]byte { return canonicalFields(args, &setexForm, now) },
}

// Canonical returns the form in which a command is executed and kept when it is
// deferred: what Redis itself sends to its replicas, with deadlines instead of
// times to live. Executed at any time it does what the original does at now.
//
//	SET k v EX 10               SET k v PXAT <ms>          (also PX and EXAT)
//	SETEX k 10 v                SET k v PXAT <ms>          (also PSETEX)
//	GETEX k EX 10               GETEX k PXAT <ms>          (also MSETEX, INCREX, HGETEX and HSETEX)
//	EXPIRE k 10 GT              PEXPIREAT k <ms> GT        (also PEXPIRE and EXPIREAT)
//	HEXPIRE k 10 FIELDS 1 f     HPEXPIREAT k <ms> FIELDS 1 f
//
// Other commands come back as they are, in the very slice, and so does a command
// that a server refuses before it looks at any key (a wrong number of arguments, a
// bad integer or time, options that exclude each other): executed it gives the
// server's own error, and nothing is kept. Conditions stay; a deadline that has
// passed stays one. now is the time from which relative times count.
//
// A new slice has elements of args and new ones in it; args is not written to. The
// only error is that of an empty args.
func Canonical(args [][]byte, now time.Time) ([][]byte, error) {
	if len(args) == 0 {
		return nil, errNoArguments
	}
	s := lookupBytes(args[0])
	if s == nil || s.canonical == nil || !s.arityAllows(len(args)) {
		return args, nil
	}
	return s.canonical(args, now), nil
}

// canonicalSet rewrites the options from index first on, which o describes.
func canonicalSet(args [][]byte, first int, o setOptions, now time.Time) [][]byte {
	if o.syntax || o.expiry == expiryNone || o.expiry == expiryPXAT {
		return args
	}
	ms, ok := deadline(args[o.value], o.expiry, now)
	if !ok {
		return args
	}
	// Where a unit was given twice all its pairs go, and the one that counted
	// comes last.
	out := make([][]byte, first, len(args))
	copy(out, args)
	for i := first; i < len(args); i++ {
		switch {
		case parseExpiry(args[i]) != expiryNone:
			i++
		case compares(args[i]):
			out = append(out, args[i], args[i+1])
			i++
		default:
			out = append(out, args[i])
		}
	}
	return append(out, []byte("PXAT"), appendMillis(ms))
}

func canonicalSetEx(args [][]byte, now time.Time, unit expiry) [][]byte {
	ms, ok := deadline(args[2], unit, now)
	if !ok {
		return args
	}
	return [][]byte{[]byte("SET"), args[1], args[3], []byte("PXAT"), appendMillis(ms)}
}

// canonicalIncrEx: the options before and behind the deadline have values that may
// look like one.
func canonicalIncrEx(args [][]byte, now time.Time) [][]byte {
	found := 0
	for i := 2; i < len(args); i++ {
		switch {
		case oneOf(args[i], "byint", "byfloat", "lbound", "ubound"):
			i++
		case parseExpiry(args[i]) != expiryNone:
			if found > 0 || i+1 == len(args) {
				return args
			}
			found = i
			i++
		}
	}
	if found == 0 {
		return args
	}
	return replaceDeadline(args, found+1, parseExpiry(args[found]), now, deadline)
}

// replaceDeadline writes the option whose value is args[value] as PXAT.
func replaceDeadline(args [][]byte, value int, unit expiry, now time.Time,
	read func([]byte, expiry, time.Time) (int64, bool),
) [][]byte {
	ms, ok := read(args[value], unit, now)
	if !ok || unit == expiryPXAT {
		return args
	}
	out := make([][]byte, len(args))
	copy(out, args)
	out[value-1], out[value] = []byte("PXAT"), appendMillis(ms)
	return out
}

// deadline is the time, in milliseconds since the epoch, of SET and its like,
// which take only what is above zero.
func deadline(value []byte, unit expiry, now time.Time) (int64, bool) {
	v, ok := parseInt(value)
	if !ok || v <= 0 {
		return 0, false
	}
	return absolute(v, unit, now)
}

// absolute is a time in milliseconds since the epoch, false where it is not within
// 64 bits.
func absolute(v int64, unit expiry, now time.Time) (int64, bool) {
	if unit == expiryEX || unit == expiryEXAT {
		if v > math.MaxInt64/1000 || v < math.MinInt64/1000 {
			return 0, false
		}
		v *= 1000
	}
	if unit == expiryEX || unit == expiryPX {
		base := max(now.UnixMilli(), 0)
		if v > math.MaxInt64-base {
			return 0, false
		}
		v += base
	}
	return v, true
}

// canonicalExpire, unlike SET, takes times of zero and below: they delete.
func canonicalExpire(args [][]byte, now time.Time, unit expiry) [][]byte {
	v, ok := parseInt(args[2])
	if !ok || !expireOptions(args) {
		return args
	}
	ms, ok := absolute(v, unit, now)
	if !ok {
		return args
	}
	return moved(args, "PEXPIREAT", ms)
}

// moved is args with another name and another time at index 2.
func moved(args [][]byte, name string, ms int64) [][]byte {
	out := make([][]byte, len(args))
	copy(out, args)
	out[0], out[2] = []byte(name), appendMillis(ms)
	return out
}

// expireOptions reports whether the options of EXPIRE go together.
func expireOptions(args [][]byte) bool {
	var nx, xx, gt, lt bool
	for _, arg := range args[3:] {
		switch {
		case option(arg, "nx"):
			nx = true
		case option(arg, "xx"):
			xx = true
		case option(arg, "gt"):
			gt = true
		case option(arg, "lt"):
			lt = true
		default:
			return false
		}
	}
	return (!nx || (!xx && !gt && !lt)) && (!gt || !lt)
}

// maxFieldTime is the latest deadline that Redis gives a field of a hash.
const maxFieldTime = 1<<46 - 1

// fieldDeadline is the time of HEXPIRE and its like. Zero and what has passed
// delete; below zero there is nothing.
func fieldDeadline(value []byte, unit expiry, now time.Time) (int64, bool) {
	v, ok := parseInt(value)
	if !ok || v < 0 {
		return 0, false
	}
	ms, ok := absolute(v, unit, now)
	return ms, ok && ms <= maxFieldTime
}

func canonicalFieldExpire(args [][]byte, now time.Time, unit expiry) [][]byte {
	if expireForm.parse(args).malformed {
		return args
	}
	ms, ok := fieldDeadline(args[2], unit, now)
	if !ok {
		return args
	}
	return moved(args, "HPEXPIREAT", ms)
}

func canonicalFields(args [][]byte, form *fieldForm, now time.Time) [][]byte {
	o := form.parse(args)
	if o.malformed || o.expiry == expiryNone {
		return args
	}
	// A time to live of zero deletes at once, whenever that is, or is an error:
	// servers differ, and what they make of it does not depend on now.
	if v, ok := parseInt(args[o.value]); ok && v == 0 {
		return args
	}
	return replaceDeadline(args, o.value, o.expiry, now, fieldDeadline)
}

func appendMillis(ms int64) []byte { return strconv.AppendInt(nil, ms, 10) }
