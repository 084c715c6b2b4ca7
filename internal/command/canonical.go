package command

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// ReplyError is an error reply as the pinned server would give it: the text of
// the RESP error line without its leading '-', as in "ERR syntax error". Like the
// server's own it may quote the word that it objects to.
type ReplyError string

// Error is the text of the error line.
func (e ReplyError) Error() string { return string(e) }

// The server's words.
const (
	errSyntax      ReplyError = "ERR syntax error"
	errNotInteger  ReplyError = "ERR value is not an integer or out of range"
	errDecrement   ReplyError = "ERR decrement would overflow"
	errExpireNX    ReplyError = "ERR NX and XX, GT or LT options at the same time are not compatible"
	errExpireGTLT  ReplyError = "ERR GT and LT options at the same time are not compatible"
	errNoArguments ReplyError = "ERR empty command"
)

func errArity(name string) ReplyError {
	return ReplyError("ERR wrong number of arguments for '" + name + "' command")
}

func errExpireTime(name string) ReplyError {
	return ReplyError("ERR invalid expire time in '" + name + "' command")
}

// rewrite is the canonical form of one command whose arity is right.
type rewrite func(args [][]byte, now time.Time) ([][]byte, error)

var rewrites = map[string]rewrite{
	"set":       canonicalSet,
	"setex":     func(args [][]byte, now time.Time) ([][]byte, error) { return canonicalSetEx(args, now, expiryEX) },
	"psetex":    func(args [][]byte, now time.Time) ([][]byte, error) { return canonicalSetEx(args, now, expiryPX) },
	"expire":    func(args [][]byte, now time.Time) ([][]byte, error) { return canonicalExpire(args, now, expiryEX) },
	"pexpire":   func(args [][]byte, now time.Time) ([][]byte, error) { return canonicalExpire(args, now, expiryPX) },
	"expireat":  func(args [][]byte, now time.Time) ([][]byte, error) { return canonicalExpire(args, now, expiryEXAT) },
	"pexpireat": func(args [][]byte, now time.Time) ([][]byte, error) { return canonicalExpire(args, now, expiryPXAT) },
	"incrby":    checkInt(2),
	"decrby":    checkDecrBy,
	"hincrby":   checkInt(3),
	"hset":      checkPairs,
	"hmset":     checkPairs,
}

// Canonical returns the form in which a command is deferred: what Redis itself
// sends to its replicas, with deadlines instead of times to live.
//
//	SET k v EX 10       SET k v PXAT <ms>     (also PX and EXAT)
//	SETEX k 10 v        SET k v PXAT <ms>     (also PSETEX)
//	EXPIRE k 10         PEXPIREAT k <ms>      (also PEXPIRE and EXPIREAT)
//
// Other commands come back as they are, in the very slice. Conditions (NX, GT and
// so on) stay; a deadline that has passed stays one. now is the time from which
// relative times count.
//
// What Redis refuses before it looks at any key comes as a ReplyError with the
// pinned server's text: a wrong number of arguments, and for the commands that
// are deferrable also bad integers, bad times and options that exclude each other.
// Errors that depend on a key's state are the overlay's to give. A command that is
// not in the table comes back as it is.
//
// A new slice has elements of args and new ones in it; args is not written to.
func Canonical(args [][]byte, now time.Time) ([][]byte, error) {
	if len(args) == 0 {
		return nil, errNoArguments
	}
	s := lookupBytes(args[0])
	if s != nil && len(s.subs) > 0 && len(args) > 1 {
		s = findSub(s, args[1])
	}
	switch {
	case s == nil:
		return args, nil
	case !s.arityAllows(len(args)):
		return nil, errArity(s.Name)
	case s.canonical == nil:
		return args, nil
	}
	return s.canonical(args, now)
}

func canonicalSet(args [][]byte, now time.Time) ([][]byte, error) {
	o := parseSet(args)
	if o.syntax {
		return nil, errSyntax
	}
	if o.expiry == expiryNone {
		return args, nil
	}
	ms, err := deadline(args[o.value], o.expiry, now, "set")
	if err != nil {
		return nil, err
	}
	if o.expiry == expiryPXAT {
		return args, nil
	}
	// Where a unit was given twice all its pairs go, and the one that counted
	// comes last.
	out := make([][]byte, 3, len(args))
	copy(out, args)
	for i := 3; i < len(args); i++ {
		if parseExpiry(args[i]) != expiryNone {
			i++
			continue
		}
		out = append(out, args[i])
	}
	return append(out, []byte("PXAT"), appendMillis(ms)), nil
}

func canonicalSetEx(args [][]byte, now time.Time, unit expiry) ([][]byte, error) {
	name := "setex"
	if unit == expiryPX {
		name = "psetex"
	}
	ms, err := deadline(args[2], unit, now, name)
	if err != nil {
		return nil, err
	}
	return [][]byte{[]byte("SET"), args[1], args[3], []byte("PXAT"), appendMillis(ms)}, nil
}

// deadline is the time, in milliseconds since the epoch, of SET and its like,
// which take only what is above zero.
func deadline(value []byte, unit expiry, now time.Time, name string) (int64, error) {
	v, ok := parseInt(value)
	if !ok {
		return 0, errNotInteger
	}
	seconds := unit == expiryEX || unit == expiryEXAT
	if v <= 0 || (seconds && v > math.MaxInt64/1000) {
		return 0, errExpireTime(name)
	}
	if seconds {
		v *= 1000
	}
	if unit == expiryEX || unit == expiryPX {
		base := max(now.UnixMilli(), 0)
		if v > math.MaxInt64-base {
			return 0, errExpireTime(name)
		}
		v += base
	}
	return v, nil
}

// canonicalExpire, unlike SET, takes times of zero and below: they delete.
func canonicalExpire(args [][]byte, now time.Time, unit expiry) ([][]byte, error) {
	if err := checkExpireOptions(args); err != nil {
		return nil, err
	}
	v, ok := parseInt(args[2])
	if !ok {
		return nil, errNotInteger
	}
	name := [...]string{expiryEX: "expire", expiryPX: "pexpire", expiryEXAT: "expireat", expiryPXAT: "pexpireat"}[unit]
	if unit == expiryEX || unit == expiryEXAT {
		if v > math.MaxInt64/1000 || v < math.MinInt64/1000 {
			return nil, errExpireTime(name)
		}
		v *= 1000
	}
	if unit == expiryEX || unit == expiryPX {
		base := max(now.UnixMilli(), 0)
		if v > math.MaxInt64-base {
			return nil, errExpireTime(name)
		}
		v += base
	}
	if unit == expiryPXAT {
		return args, nil
	}
	out := make([][]byte, 0, len(args))
	out = append(out, []byte("PEXPIREAT"), args[1], appendMillis(v))
	return append(out, args[3:]...), nil
}

func checkExpireOptions(args [][]byte) error {
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
			return ReplyError("ERR Unsupported option " + line(arg))
		}
	}
	switch {
	case nx && (xx || gt || lt):
		return errExpireNX
	case gt && lt:
		return errExpireGTLT
	}
	return nil
}

// line is an argument as the server quotes it in an error: a C string on one line.
func line(arg []byte) string {
	text, _, _ := strings.Cut(string(arg), "\x00")
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(text)
}

func checkInt(index int) rewrite {
	return func(args [][]byte, _ time.Time) ([][]byte, error) {
		if _, ok := parseInt(args[index]); !ok {
			return nil, errNotInteger
		}
		return args, nil
	}
}

// checkDecrBy refuses the one value that has no negative.
func checkDecrBy(args [][]byte, _ time.Time) ([][]byte, error) {
	switch v, ok := parseInt(args[2]); {
	case !ok:
		return nil, errNotInteger
	case v == math.MinInt64:
		return nil, errDecrement
	}
	return args, nil
}

// checkPairs refuses a field without its value.
func checkPairs(args [][]byte, _ time.Time) ([][]byte, error) {
	if len(args)%2 != 0 {
		return nil, errArity(strings.ToLower(string(args[0])))
	}
	return args, nil
}

func appendMillis(ms int64) []byte { return strconv.AppendInt(nil, ms, 10) }
