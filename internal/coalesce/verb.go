package coalesce

// verb is what a command is, as far as merging goes.
type verb uint8

const (
	verbAny   verb = iota // may touch any key
	verbIdle              // changes no key
	verbKeys              // changes several keys; for MSET the values count as keys too
	verbApart             // changes one key, and is not merged
	// The others change one key.
	verbOther // can't be one with another, only be overwritten
	verbSet
	verbDel
	verbDeadline
	verbCount
	verbFieldCount
	verbHSet
	verbHMSet
	verbZAdd
	verbGeoAdd
	verbLPush
	verbRPush
	verbSAdd
	verbSRem
	verbHDel
	verbZRem
	verbPFAdd
)

// apart is the verb of a command that must not be merged.
func (v verb) apart() verb {
	if v > verbApart {
		return verbApart
	}
	return v
}

// run reports whether several become one by having each its members in it.
func (v verb) run() bool { return v >= verbHSet }

// told reports whether such a one is answered with what the last one is.
func (v verb) told() bool { return v == verbLPush || v == verbRPush || v == verbHMSet }

// parse reads the command. What it can't read is verbAny.
func (w *write) parse() {
	w.verb = verbAny
	c := cursor{cmd: w.cmd}
	argc, ok := c.header('*')
	if !ok {
		return
	}
	w.argc, w.name = int32(argc), int32(c.at)
	name, ok := c.arg()
	if !ok {
		return
	}
	w.start = int32(c.at)
	v := verbOf(name)
	if w.argc < 2 {
		if v == verbIdle {
			w.verb = v
		}
		return
	}
	if w.key, ok = c.arg(); !ok {
		return
	}
	w.rest = int32(c.at)
	w.verb = w.sort(v, name, c)
}

// sort looks whether a command is of the form by which its verb can be merged.
func (w *write) sort(v verb, name []byte, c cursor) verb {
	good := true
	switch v {
	case verbSet:
		return w.sortSet(c)
	case verbDel:
		if w.argc > 2 {
			return verbKeys
		}
	case verbDeadline:
		until, ok := w.lone(&c)
		good = ok && until > 0
	case verbCount:
		good = w.sortCount(name, &c)
	case verbFieldCount:
		if good = w.argc == 4; good {
			c.arg()
			w.end = int32(c.at)
			w.num, good = c.int()
		}
	case verbHSet, verbHMSet:
		good = w.argc >= 4 && w.argc%2 == 0
	case verbZAdd:
		good = w.argc >= 4 && w.argc%2 == 0 && c.number()
	case verbGeoAdd:
		good = w.argc >= 5 && w.argc%3 == 2 && c.number()
	case verbLPush, verbRPush, verbSAdd, verbSRem, verbHDel, verbZRem, verbPFAdd:
		good = w.argc >= 3
	default:
	}
	if !good {
		return verbApart
	}
	return v
}

// lone reads the one argument behind the key, a number.
func (w *write) lone(c *cursor) (int64, bool) {
	if w.argc != 3 {
		return 0, false
	}
	return c.int()
}

func (w *write) sortCount(name []byte, c *cursor) bool {
	down := name[0]|0x20 == 'd'
	by := int64(1)
	if len(name) > len("incr") {
		var ok bool
		if by, ok = w.lone(c); !ok {
			return false
		}
	} else if w.argc != 2 {
		return false
	}
	if down {
		by = -by
		if by == -by && by != 0 {
			return false // has no negative
		}
	}
	w.num = by
	return true
}

// sortSet tells the SETs that leave nothing of what was there, and answer OK.
func (w *write) sortSet(c cursor) verb {
	if _, ok := c.arg(); !ok {
		return verbAny
	}
	w.end = int32(c.at)
	if w.argc == 3 {
		return verbSet
	}
	option, ok := c.arg()
	if !ok || w.argc != 5 {
		return verbApart
	}
	var upper [4]byte
	switch string(fold(upper[:0], option)) {
	case "pxat", "exat", "px", "ex":
		if n, ok := c.int(); ok && n > 0 {
			return verbSet
		}
	}
	return verbApart
}

// fold appends b in lower case, unless it is longer than dst has room for.
func fold(dst, b []byte) []byte {
	if len(b) > cap(dst) {
		return nil
	}
	for _, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// verbOf knows commands by their names. Those of one key have it as the first argument.
func verbOf(name []byte) verb {
	var lower [16]byte
	switch string(fold(lower[:0], name)) {
	case "set":
		return verbSet
	case "del", "unlink":
		return verbDel
	case "pexpireat":
		return verbDeadline
	case "incr", "decr", "incrby", "decrby":
		return verbCount
	case "hincrby":
		return verbFieldCount
	case "hset":
		return verbHSet
	case "hmset":
		return verbHMSet
	case "zadd":
		return verbZAdd
	case "geoadd":
		return verbGeoAdd
	case "lpush":
		return verbLPush
	case "rpush":
		return verbRPush
	case "sadd":
		return verbSAdd
	case "srem":
		return verbSRem
	case "hdel":
		return verbHDel
	case "zrem":
		return verbZRem
	case "pfadd":
		return verbPFAdd
	case "append", "setrange", "setbit", "incrbyfloat", "hincrbyfloat", "zincrby", "ltrim", "lset", "linsert", "lrem",
		"persist", "expireat", "xadd", "xdel", "xtrim", "zremrangebyrank", "zremrangebyscore", "zremrangebylex":
		return verbOther
	case "setnx", "setex", "psetex", "getset", "getdel", "getex", "hsetnx", "lpushx", "rpushx", "lpop", "rpop", "spop",
		"zpopmin", "zpopmax", "expire", "pexpire", "restore", "bitfield", "hgetdel", "hgetex", "hsetex",
		"hexpireat", "hpexpireat", "hpersist", "xsetid", "xack":
		return verbApart
	case "mset":
		return verbKeys
	case "exists", "publish", "spublish", "echo", "ping":
		return verbIdle
	}
	return verbAny
}
