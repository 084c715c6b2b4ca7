package command

// fieldOptions are the options of the hash commands that work on a block of
// fields: HEXPIRE and its like, HGETEX and HSETEX.
type fieldOptions struct {
	condition bool   // NX, XX, GT, LT of a deadline
	claims    bool   // FNX, FXX and Valkey's NX, XX: whether the fields or the key exist
	expiry    expiry // EX and its like
	value     int    // index of the deadline's value, when expiry is set
	unknown   bool   // an option that no server has
	malformed bool   // what every server refuses
}

// fieldForm is what one of these commands takes.
type fieldForm struct {
	first int // index of the first option
	width int // arguments of one field: 2 where it has a value
	// Which options there are.
	conditions, claims, deadline, keep []string
}

var (
	expireForm = fieldForm{first: 3, width: 1, conditions: []string{"nx", "xx", "gt", "lt"}}
	getexForm  = fieldForm{first: 2, width: 1, keep: []string{"persist"}, deadline: deadlineWords}
	setexForm  = fieldForm{
		first: 2, width: 2, keep: []string{"keepttl"}, deadline: deadlineWords,
		claims: []string{"fnx", "fxx", "nx", "xx"},
	}
	deadlineWords = []string{"ex", "px", "exat", "pxat"}
)

// parse reads the options, which newer servers take before the fields and behind
// them. It stops where the fields cannot be told from the rest.
func (f *fieldForm) parse(args [][]byte) fieldOptions {
	var (
		o        fieldOptions
		deadline int // options that say what becomes of the deadline
		choices  int // conditions and claims
		fields   bool
	)
	for i := f.first; i < len(args); i++ {
		switch word := args[i]; {
		case oneOf(word, f.conditions...):
			o.condition = true
			choices++
		case oneOf(word, f.claims...):
			o.claims = true
			choices++
		case oneOf(word, f.keep...):
			deadline++
		case oneOf(word, f.deadline...):
			deadline++
			o.expiry = parseExpiry(word)
			i++
			o.value = i
			o.malformed = o.malformed || i >= len(args)
		case option(word, "fields"):
			n, ok := int64(0), false
			if i+1 < len(args) {
				n, ok = parseInt(args[i+1])
			}
			if !ok || fields || n < 1 || n > int64((len(args)-i-2)/f.width) {
				o.malformed = true
				return o
			}
			fields = true
			i += 1 + int(n)*f.width
		default:
			o.unknown, o.malformed = true, true
		}
	}
	// A deadline takes one condition. Of the others it is the server's to say which
	// go together: its error does not depend on how the deadline is written.
	o.malformed = o.malformed || !fields || deadline > 1 || (len(f.conditions) > 0 && choices > 1)
	return o
}

// class is that of the form, which is accumulating without a condition: what a
// reply tells of a field depends on what was there.
func (o fieldOptions) class() Class {
	switch {
	case o.claims:
		return ClassClaiming
	case o.unknown:
		return ClassUnknown
	case o.condition:
		return ClassConditional
	}
	return ClassAccumulating
}

func classifyFields(f *fieldForm) func(args [][]byte) Class {
	return func(args [][]byte) Class { return f.parse(args).class() }
}
