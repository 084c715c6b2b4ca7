package engine

// Match reports whether s matches a glob pattern as Redis has them in KEYS, SCAN
// and so on: *, ?, classes as in [a-z] and [^a-z], and a backslash that takes the
// special meaning from what follows. Both are bytes, not characters.
//
// Two habits of Redis show at the edges. The empty string matches the empty
// pattern only, not *; commands that take a lone * for everything look at that
// themselves. And a class that is not closed ends with the pattern.
func Match(pattern, s []byte) bool { return globMatch(pattern, s) }

// globMatch is Match. It takes no more steps than the product of the lengths,
// since of several stars only the last one met ever has to be tried anew.
func globMatch(pattern, s []byte) bool {
	if len(s) == 0 {
		return len(pattern) == 0
	}
	var (
		afterStar []byte // what follows the last star, nil while there was none
		retry     []byte // what it is to be tried on next
	)
	for len(s) > 0 {
		if len(pattern) > 0 && pattern[0] == '*' {
			for len(pattern) > 0 && pattern[0] == '*' {
				pattern = pattern[1:]
			}
			if len(pattern) == 0 {
				return true
			}
			afterStar, retry = pattern, s
			continue
		}
		if len(pattern) > 0 {
			if ok, rest := globOne(pattern, s[0]); ok {
				pattern, s = rest, s[1:]
				continue
			}
		}
		if afterStar == nil {
			return false
		}
		retry = retry[1:]
		pattern, s = afterStar, retry
	}
	for len(pattern) > 0 && pattern[0] == '*' {
		pattern = pattern[1:]
	}
	return len(pattern) == 0
}

// globOne matches one byte with the first element of a pattern that has one
// which is no star, and returns what follows the element.
func globOne(pattern []byte, ch byte) (ok bool, rest []byte) {
	switch {
	case pattern[0] == '?':
		return true, pattern[1:]
	case pattern[0] == '[':
		return globClass(pattern[1:], ch)
	case pattern[0] == '\\' && len(pattern) > 1:
		pattern = pattern[1:]
	}
	return pattern[0] == ch, pattern[1:]
}

// globClass is globOne for a class, given what follows its bracket.
func globClass(class []byte, ch byte) (ok bool, rest []byte) {
	negated := len(class) > 0 && class[0] == '^'
	if negated {
		class = class[1:]
	}
	found := false
	for len(class) > 0 && class[0] != ']' {
		switch {
		case class[0] == '\\' && len(class) > 1:
			found = found || class[1] == ch
			class = class[2:]
		case len(class) > 2 && class[1] == '-': // the end may be any byte, ] too
			low, high := min(class[0], class[2]), max(class[0], class[2])
			found = found || (low <= ch && ch <= high)
			class = class[3:]
		default:
			found = found || class[0] == ch
			class = class[1:]
		}
	}
	if len(class) > 0 {
		class = class[1:] // the closing bracket
	}
	return found != negated, class
}
