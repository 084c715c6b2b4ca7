package engine

// Type is the type of the value of a key.
type Type uint8

// The types of a value. The zero value is a key that does not exist.
const (
	TypeNone Type = iota
	TypeString
	TypeHash
	TypeList
	TypeSet
	TypeZSet
	TypeStream
	TypeModule // some other type, of a module: always opaque
)

var typeNames = [...]string{"none", "string", "hash", "list", "set", "zset", "stream", "module"}

// String is the word that TYPE answers; of TypeModule it is "module", which
// Object.TypeName knows better.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "invalid"
}

// TypeOf is the type that TYPE calls by this name, TypeModule for any other.
func TypeOf(name string) Type {
	for t, n := range typeNames {
		if n == name {
			return Type(t)
		}
	}
	return TypeModule
}

// Object is what one key holds. The zero value is a key that does not exist.
type Object struct {
	typ    Type
	opaque bool  // only the type and the deadline are known
	mark   int32 // during a call: 1 + index of its Change

	expireAt int64 // Unix milliseconds of the server's clock; 0 is none

	// str is the value of a string, and of an opaque module value the name of its
	// type. Bytes below its length change only with a way back (Change.Undo).
	str  []byte
	data container // the value of every other type; nil for strings
}

// container is the value of a type that has elements. An empty container never
// stays in an object, but that of a stream.
type container interface {
	// size is the memory it takes, in bytes, as estimated. It must be cheap.
	size() int64
	// whole reports whether every element is known.
	whole() bool
	// restore appends the commands, encoded, that make a key which does not exist
	// hold this value; the deadline of the key is not its business.
	restore(dst []byte, key string) []byte
}

// NewString returns a string. The bytes become the object's.
func NewString(b []byte) Object {
	return Object{typ: TypeString, str: b[:len(b):len(b)]}
}

// NewOpaque returns an object of which only the type is known, as TYPE names it.
func NewOpaque(typeName string) Object {
	o := Object{typ: TypeOf(typeName), opaque: true}
	switch o.typ {
	case TypeNone:
		return Object{}
	case TypeModule:
		o.str = []byte(typeName)
	default:
	}
	return o
}

func newObject(t Type, data container) Object { return Object{typ: t, data: data} }

// Exists reports whether there is a value. A deadline that has passed counts
// only once a Call has looked at the object, or Expire was called.
func (o *Object) Exists() bool { return o.typ != TypeNone }

// Type is the type of the value.
func (o *Object) Type() Type { return o.typ }

// TypeName is the word that TYPE answers.
func (o *Object) TypeName() string {
	if o.typ == TypeModule && len(o.str) > 0 {
		return string(o.str)
	}
	return o.typ.String()
}

// Opaque reports whether only the type and the deadline are known.
func (o *Object) Opaque() bool { return o.opaque }

// Partial reports whether some members are not known.
func (o *Object) Partial() bool { return o.data != nil && !o.data.whole() }

// ExpireAt is the deadline in Unix milliseconds of the server's clock; 0 is none.
func (o *Object) ExpireAt() int64 { return o.expireAt }

// SetExpireAt sets the deadline of a new object; it is for seeds, not for
// commands. Zero, or an object that does not exist, is no deadline.
func (o *Object) SetExpireAt(ms int64) {
	if o.typ != TypeNone {
		o.expireAt = max(ms, 0)
	}
}

// Expire drops the value if its deadline is not after now.
func (o *Object) Expire(now int64) {
	if o.expireAt != 0 && o.expireAt <= now {
		*o = Object{mark: o.mark}
		return
	}
	if o.typ == TypeHash {
		o.expireFields(now)
	}
}

// Size is the memory that the value takes beside the Object itself, in bytes, as
// estimated.
func (o *Object) Size() int64 {
	n := int64(cap(o.str))
	if o.data != nil {
		n += o.data.size()
	}
	return n
}

// AppendRestore appends the commands, encoded, that bring the key, whatever it
// holds, to this state, its deadline included. It appends nothing and reports
// false when the value is not wholly known.
func (o *Object) AppendRestore(dst []byte, key string) ([]byte, bool) {
	if o.opaque || o.Partial() {
		return dst, false
	}
	switch o.typ {
	case TypeNone:
		return appendStrings(dst, "DEL", key), true
	case TypeString:
		return o.restoreString(dst, key), true
	default:
	}
	dst = appendStrings(dst, "DEL", key)
	dst = o.data.restore(dst, key)
	if o.expireAt != 0 {
		dst = appendStrings(dst, "PEXPIREAT", key, formatInt(o.expireAt))
	}
	return dst, true
}

// Fact is what a server says of one member of a partial object.
type Fact struct {
	Member   []byte
	Present  bool
	Value    []byte  // of a hash field
	ExpireAt int64   // of a hash field: its deadline; 0 is none
	Score    float64 // of a member of a sorted set
}

// learner is a container that can be partial.
type learner interface {
	container
	learn(f Fact)
}

// Learn tells a partial object of members, of the state that it was made from:
// what it knows already, its own changes above all, it keeps. Other objects
// ignore it.
func (o *Object) Learn(facts []Fact) {
	l, ok := o.data.(learner)
	if !ok || l.whole() {
		return
	}
	for _, f := range facts {
		l.learn(f)
	}
}
