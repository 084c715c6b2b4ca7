package coalesce

// cursor reads an encoded command from argument to argument.
type cursor struct {
	cmd []byte
	at  int
}

// header reads a line of a kind and a length.
func (c *cursor) header(kind byte) (n int, ok bool) {
	b := c.cmd[c.at:]
	if len(b) < 4 || b[0] != kind {
		return 0, false
	}
	for i, digit := range b[1:] {
		switch {
		case digit >= '0' && digit <= '9' && i < 9:
			n = n*10 + int(digit-'0')
		case digit == '\r' && i > 0 && len(b) > i+2 && b[i+2] == '\n':
			c.at += i + 3
			return n, true
		default:
			return 0, false
		}
	}
	return 0, false
}

// arg reads the next argument, which aliases the command.
func (c *cursor) arg() (arg []byte, ok bool) {
	n, ok := c.header('$')
	if !ok || len(c.cmd)-c.at < n+2 {
		return nil, false
	}
	arg = c.cmd[c.at : c.at+n : c.at+n]
	c.at += n + 2
	return arg, true
}

// int reads the next argument as Redis reads an integer, which has one way to be
// written.
func (c *cursor) int() (n int64, ok bool) {
	b, ok := c.arg()
	if !ok || len(b) == 0 {
		return 0, false
	}
	negative := b[0] == '-'
	digits := b
	if negative {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var v uint64
	for _, digit := range digits {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		v = v*10 + uint64(digit-'0')
	}
	switch {
	case negative && v <= 1<<63:
		return -int64(v), true
	case !negative && v < 1<<63:
		return int64(v), true
	}
	return 0, false
}

// number reports whether the next argument begins as a number does, and no flag.
func (c *cursor) number() bool {
	b, ok := c.arg()
	if !ok || len(b) == 0 {
		return false
	}
	switch b[0] {
	case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '.', '-', '+':
		return true
	case 'i', 'I': // inf, and not INCR
		return len(b) > 2 && b[2]|0x20 == 'f'
	}
	return false
}
