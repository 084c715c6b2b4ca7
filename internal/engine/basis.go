package engine

import (
	"github.com/holdfast-cache/holdfast/internal/basis"
)

// Basis is what a replay compares the server's value with, to see whether it is still
// this one. It reads the whole value.
func (o *Object) Basis() basis.Basis {
	b := o.basis()
	b.Until = o.expireAt
	return b
}

func (o *Object) basis() basis.Basis {
	switch {
	case o.typ == TypeNone:
		return basis.None()
	case o.opaque:
		return basis.Basis{} // of such a value not even its size is known
	case o.typ == TypeString:
		return basis.OfString(o.str)
	}
	var c basis.Content
	switch v := o.data.(type) {
	case *hash:
		if v.partial {
			return basis.OfLength(basis.KindHash, v.length())
		}
		for i := range v.slots {
			if s := &v.slots[i]; s.exists() {
				c.Field([]byte(s.name()), []byte(s.value()))
			}
		}
		return c.Basis(basis.KindHash)
	case *list:
		if v.gap != 0 {
			return basis.OfLength(basis.KindList, v.count())
		}
		for i := range v.n {
			c.Element([]byte(v.at(i)))
		}
		return c.Basis(basis.KindList)
	case *set:
		if v.part != nil {
			return basis.OfLength(basis.KindSet, v.count())
		}
		for _, m := range v.list {
			c.Member([]byte(m))
		}
		return c.Basis(basis.KindSet)
	case *zset:
		if v.part != nil {
			return basis.OfLength(basis.KindZSet, v.card())
		}
		v.each(func(member []byte, score float64) bool { c.Scored(member, score); return true })
		return c.Basis(basis.KindZSet)
	case *stream:
		return basis.OfStream(v.length, v.lastID.Ms, v.lastID.Seq)
	}
	return basis.Basis{}
}
