package command

// The functions of this file tell the forms of one command apart. But for those
// that say what is repeatable they take any number of arguments.

// classifiers hold the commands whose class depends on their arguments.
var classifiers = map[string]func(args [][]byte) Class{
	"set":               classifySet,
	"msetex":            classifyMSetEx,
	"getex":             classifyGetEx,
	"copy":              classifyCopy,
	"expire":            classifyExpire,
	"pexpire":           classifyExpire,
	"expireat":          classifyExpire,
	"pexpireat":         classifyExpire,
	"hexpire":           classifyFields(&expireForm),
	"hpexpire":          classifyFields(&expireForm),
	"hexpireat":         classifyFields(&expireForm),
	"hpexpireat":        classifyFields(&expireForm),
	"hgetex":            classifyFields(&getexForm),
	"hsetex":            classifyFields(&setexForm),
	"zadd":              classifyZAdd,
	"geoadd":            classifyGeoAdd,
	"sort":              classifySort,
	"bitfield":          classifyBitField,
	"georadius":         func(args [][]byte) Class { return classifyGeoRadius(args, 6) },
	"georadiusbymember": func(args [][]byte) Class { return classifyGeoRadius(args, 5) },
	"xtrim":             classifyXTrim,
	"ft.config":         classifyFTConfig,
}

// classifySet: comparing with the old value (IFEQ and its like) is a claim.
func classifySet(args [][]byte) Class { return parseSet(args, 3).class() }

// classifyMSetEx: unlike SET's, its XX is about all keys together, and the reply
// says whether this caller was the one to set them.
func classifyMSetEx(args [][]byte) Class {
	first, _ := msetexOptions(args)
	o := parseSet(args, first)
	if o.xx {
		return ClassClaiming
	}
	return o.class()
}

func (o setOptions) class() Class {
	switch {
	case o.nx, o.get, o.claims:
		return ClassClaiming
	case o.unknown:
		return ClassUnknown
	case o.xx, o.keepTTL:
		return ClassAccumulating
	}
	return ClassBlind
}

func repeatableSet(args [][]byte) bool {
	// With XX too the second finds what the first found or left.
	o := parseSet(args, 3)
	return !o.nx && !o.get && !o.claims && !o.syntax
}

func repeatableMSetEx(args [][]byte) bool {
	first, ok := msetexOptions(args)
	o := parseSet(args, first)
	return ok && !o.nx && !o.xx && !o.get && !o.claims && !o.syntax
}

// classifyGetEx: without an option GETEX is GET.
func classifyGetEx(args [][]byte) Class {
	switch {
	case parseGetEx(args).unknown:
		return ClassUnknown
	case len(args) > 2:
		return ClassAccumulating
	}
	return ClassRead
}

// classifyCopy: with REPLACE the reply grants nothing that was not there. A copy
// to another database is like MOVE.
func classifyCopy(args [][]byte) Class {
	class := ClassClaiming
	for i := 3; i < len(args); i++ {
		switch {
		case option(args[i], "replace"):
			if class == ClassClaiming {
				class = ClassAccumulating
			}
		case option(args[i], "db"):
			class = ClassAdmin
			i++
		default:
			return ClassUnknown
		}
	}
	return class
}

// classifyFTConfig: a module's command, which is no container to the server.
func classifyFTConfig(args [][]byte) Class {
	if len(args) > 1 && oneOf(args[1], "get", "help") {
		return ClassPassthrough
	}
	return ClassAdmin
}

// plainExpire reports whether an EXPIRE or its like is unconditional.
func plainExpire(args [][]byte) bool { return len(args) <= 3 }

func classifyExpire(args [][]byte) Class {
	if plainExpire(args) {
		return ClassAccumulating
	}
	for _, arg := range args[3:] {
		if !oneOf(arg, "nx", "xx", "gt", "lt") {
			return ClassUnknown
		}
	}
	return ClassConditional
}

func repeatableExpire(args [][]byte) bool {
	if !plainExpire(args) {
		return false
	}
	when, ok := parseInt(args[2])
	return ok && when > 0
}

// classifyZAdd reads options up to the first score, as Redis does.
func classifyZAdd(args [][]byte) Class {
	return classifyAdd(args, []string{"nx", "xx", "gt", "lt"}, []string{"ch", "incr"})
}

func classifyGeoAdd(args [][]byte) Class {
	return classifyAdd(args, []string{"nx", "xx"}, []string{"ch"})
}

func classifyAdd(args [][]byte, conditions, others []string) Class {
	class := ClassAccumulating
	for i := 2; i < len(args); i++ {
		switch {
		case oneOf(args[i], conditions...):
			class = ClassConditional
		case oneOf(args[i], others...):
		default:
			return class
		}
	}
	return class
}

func classifySort(args [][]byte) Class {
	class := ClassRead
	for i := 2; i < len(args); i++ {
		switch {
		case oneOf(args[i], "asc", "desc", "alpha"):
		case oneOf(args[i], "by", "get"):
			i++
		case option(args[i], "limit"):
			i += 2
		case option(args[i], "store"):
			class = ClassAccumulating
			i++
		default:
			return ClassUnknown
		}
	}
	return class
}

// classifyGeoRadius takes the index of the first option.
func classifyGeoRadius(args [][]byte, first int) Class {
	class := ClassRead
	for i := first; i < len(args); i++ {
		switch {
		case oneOf(args[i], "withdist", "withhash", "withcoord", "any", "asc", "desc"):
		case option(args[i], "count"):
			i++
		case oneOf(args[i], "store", "storedist"):
			class = ClassAccumulating
			i++
		default:
			return ClassUnknown
		}
	}
	return class
}

func classifyBitField(args [][]byte) Class {
	class := ClassRead
	for i := 2; i < len(args); {
		switch {
		case option(args[i], "get"):
			i += 3
		case option(args[i], "overflow"):
			i += 2
		case oneOf(args[i], "set", "incrby"):
			class = ClassAccumulating
			i += 4
		default:
			return ClassUnknown
		}
	}
	return class
}
