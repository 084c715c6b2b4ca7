package engine

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"
)

const (
	errScoreRange = "ERR min or max is not a float"
	errLexRange   = "ERR min or max not valid string range item"
)

// parseScore reads a score. Most are small integers, which need no allocation.
func parseScore(b []byte) (float64, bool) {
	if n, ok := smallInt(b); ok {
		return float64(n), true
	}
	return parseFloat(b)
}

// smallInt reads up to 15 digits, all of whose numbers a double has.
func smallInt(b []byte) (n int64, ok bool) {
	digits := b
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 15 {
		return 0, false
	}
	for _, ch := range digits {
		if ch < '0' || ch > '9' {
			return 0, false
		}
		n = n*10 + int64(ch-'0')
	}
	if negative {
		return -n, n != 0 // minus zero is no integer
	}
	return n, true
}

// parseScoreBound reads an end of a range of scores: a number, or after a
// parenthesis one that does not belong to the range. upper tells which end.
func (c *Call) parseScoreBound(arg []byte, upper bool) (b zbound, ok bool) {
	open := len(arg) > 0 && arg[0] == '('
	if open {
		arg = arg[1:]
	}
	b = zbound{by: zByScore, past: upper != open}
	b.score, ok = c.parseBoundScore(arg)
	return b, ok
}

// parseBoundScore reads more than parseFloat does, as these numbers are C strings
// to Redis, and out of range is infinite. Redis 8 has a reader of its own, to
// which hexadecimal and space before a number are none.
func (c *Call) parseBoundScore(arg []byte) (float64, bool) {
	if n, ok := smallInt(arg); ok {
		return float64(n), true
	}
	if i := bytes.IndexByte(arg, 0); i >= 0 {
		arg = arg[:i]
	}
	strict := !c.server.Valkey && c.server.AtLeast(80000)
	if len(arg) == 0 {
		return 0, true
	}
	for !strict && len(arg) > 0 && isSpace(arg[0]) {
		arg = arg[1:]
	}
	s := string(arg)
	if strings.ContainsRune(s, '_') {
		return 0, false
	}
	if isHex(s) {
		if strict {
			return 0, false
		}
		if !strings.ContainsAny(s, "pP") {
			s += "p0"
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return f, !math.IsNaN(f)
}

// parseLexBound reads an end of a range of members: - and + are beyond all, a
// parenthesis or a bracket comes before a member.
func parseLexBound(arg []byte, upper bool) (b zbound, ok bool) {
	if len(arg) == 0 {
		return b, false
	}
	switch rest := arg[1:]; arg[0] {
	case '-':
		return zbound{by: zLeast}, len(rest) == 0 || rest[0] == 0
	case '+':
		return zbound{by: zGreatest}, len(rest) == 0 || rest[0] == 0
	case '(':
		return zbound{by: zByMember, member: string(rest), past: !upper}, true
	case '[':
		return zbound{by: zByMember, member: string(rest), past: upper}, true
	}
	return b, false
}
