package command

import "bytes"

// trimOptions are how a stream is trimmed.
type trimOptions struct {
	approximate bool // as far as is cheap: MAXLEN ~ 1000
	// byGroups says that the state of the consumer groups takes part: ACKED and
	// DELREF.
	byGroups bool
	unknown  bool // an option that no server has
}

// xaddOptions are the options of one XADD.
type xaddOptions struct {
	trimOptions
	generatedID bool // the server makes up the ID or its second part
	idempotent  bool // IDMP and IDMPAUTO
}

// trimOption reads the option at args[i], if it is one of trimming, and returns the
// index behind it; i itself when it is none.
func (o *trimOptions) trimOption(args [][]byte, i int) int {
	switch {
	case option(args[i], "keepref"):
		return i + 1
	case oneOf(args[i], "delref", "acked"):
		o.byGroups = true
		return i + 1
	case option(args[i], "limit"):
		return i + 2
	case oneOf(args[i], "maxlen", "minid"):
		i++
		if i < len(args) && oneOf(args[i], "~", "=") {
			o.approximate = o.approximate || args[i][0] == '~'
			i++
		}
		return i + 1
	}
	return i
}

// parseTrim reads the options of an XTRIM.
func parseTrim(args [][]byte, first int) trimOptions {
	var o trimOptions
	for i := first; i < len(args); {
		next := o.trimOption(args, i)
		if next == i {
			o.unknown = true
			next++
		}
		i = next
	}
	return o
}

// parseXAdd reads the options of an XADD: what is none of them is the ID.
func parseXAdd(args [][]byte) xaddOptions {
	var o xaddOptions
	for i := 2; i < len(args); {
		next := o.trimOption(args, i)
		switch {
		case next > i:
		case option(args[i], "nomkstream"):
			next++
		case option(args[i], "idmpauto"):
			o.idempotent = true
			next += 2
		case option(args[i], "idmp"):
			o.idempotent = true
			next += 3
		default:
			o.generatedID = option(args[i], "*") || bytes.HasSuffix(args[i], []byte("-*"))
			return o
		}
		i = next
	}
	return o
}

func classifyXTrim(args [][]byte) Class {
	if parseTrim(args, 2).unknown {
		return ClassUnknown
	}
	return ClassAccumulating
}
