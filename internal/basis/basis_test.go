package basis

import (
	"math"
	"testing"
)

func content(k Kind, add ...func(*Content)) Basis {
	var c Content
	for _, f := range add {
		f(&c)
	}
	return c.Basis(k)
}

func element(s string) func(*Content)  { return func(c *Content) { c.Element([]byte(s)) } }
func member(s string) func(*Content)   { return func(c *Content) { c.Member([]byte(s)) } }
func field(n, v string) func(*Content) { return func(c *Content) { c.Field([]byte(n), []byte(v)) } }
func scored(m string, score float64) func(*Content) {
	return func(c *Content) { c.Scored([]byte(m), score) }
}

func TestEqualContentHasEqualBases(t *testing.T) {
	sketch := append([]byte("HYLL\x01\x00\x00\x00"), "12345678registers"...)
	counted := append([]byte("HYLL\x01\x00\x00\x00"), "abcdefghregisters"...)
	for name, pair := range map[string][2]Basis{
		"set":       {content(KindSet, member("a"), member("b")), content(KindSet, member("b"), member("a"))},
		"hash":      {content(KindHash, field("a", "1"), field("b", "2")), content(KindHash, field("b", "2"), field("a", "1"))},
		"zset":      {content(KindZSet, scored("a", 1), scored("b", 2)), content(KindZSet, scored("b", 2), scored("a", 1))},
		"zero":      {content(KindZSet, scored("a", 0)), content(KindZSet, scored("a", math.Copysign(0, -1)))},
		"sketch":    {OfString(sketch), OfString(counted)},
		"deadlines": {{Kind: KindString, Until: 5}, {Kind: KindString, Until: 9}},
		"big":       {OfLength(KindHash, 2), content(KindHash, field("a", "1"), field("b", "2"))},
	} {
		if !pair[0].Matches(pair[1], 0) {
			t.Errorf("%s: %+v does not match %+v", name, pair[0], pair[1])
		}
	}
}

func TestOtherContentHasOtherBases(t *testing.T) {
	all := []Basis{
		None(),
		OfString(nil), OfString([]byte("a")), OfString([]byte("b")), OfString([]byte("ab")),
		OfString([]byte("HYLL\x01\x00\x00\x0012345678registers")), OfString([]byte("HYLL\x01\x00\x00\x0012345678registerz")),
		content(KindHash, field("a", "bc")), content(KindHash, field("ab", "c")), content(KindHash, field("a", "b"), field("c", "d")),
		content(KindHash, field("a", "d"), field("c", "b")),
		content(KindList, element("a")), content(KindList, element("a"), element("b")), content(KindList, element("b"), element("a")),
		content(KindList, element("ab")), content(KindList, element("a"), element("a")),
		content(KindSet, member("a")), content(KindSet, member("a"), member("b")), content(KindSet, member("a"), member("c")),
		content(KindZSet, scored("a", 1)), content(KindZSet, scored("a", 2)), content(KindZSet, scored("a", math.Inf(1))),
		content(KindZSet, scored("a", 1), scored("b", 2)), content(KindZSet, scored("a", 2), scored("b", 1)),
		OfStream(0, 0, 0), OfStream(1, 0, 1), OfStream(1, 1, 0), OfStream(2, 1, 0),
	}
	for i, a := range all {
		for j, b := range all {
			if a.Matches(b, 0) != (i == j) {
				t.Errorf("%+v and %+v: match %v", a, b, i != j)
			}
		}
	}
}

func TestMatchesWhatTimeExplains(t *testing.T) {
	str := OfString([]byte("v"))
	timed := str
	timed.Until = 100
	for _, test := range []struct {
		name string
		base Basis
		now  Basis
		at   int64
		want bool
	}{
		{"deleted", str, None(), 200, false},
		{"expired", timed, None(), 100, true},
		{"gone before its deadline", timed, None(), 99, false},
		{"written after its deadline", timed, OfString([]byte("w")), 200, false},
		{"unknown, nothing there", Basis{}, None(), 0, true},
		{"unknown, something there", Basis{}, str, 0, false},
		{"unknown on both sides", Basis{}, Basis{}, 0, false},
		{"a module's value", None(), Basis{}, 0, false},
		{"another number of elements", OfLength(KindSet, 3), OfLength(KindSet, 4), 0, false},
		{"another type", OfLength(KindSet, 3), OfLength(KindZSet, 3), 0, false},
	} {
		if got := test.base.Matches(test.now, test.at); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestParseReadsWhatAppendWrote(t *testing.T) {
	for _, b := range []Basis{{}, None(), OfString([]byte("x")), OfLength(KindZSet, 1<<40), {Kind: KindList, Length: 2, Sum: 1 << 63, Until: 1 << 41}} {
		p := b.Append(nil)
		if got, err := Parse(p); err != nil || got != b {
			t.Errorf("%+v became %+v, %v", b, got, err)
		}
		if _, err := Parse(p[1:]); err == nil {
			t.Error("a basis that is cut was read")
		}
	}
	later := OfString(nil).Append(nil)
	later[0] = 99
	if got, err := Parse(later); err != nil || got.Kind != KindUnknown {
		t.Errorf("a kind of a later version is %+v, %v", got, err)
	}
	later[8] = 0xff
	if _, err := Parse(later); err == nil {
		t.Error("a negative length was read")
	}
}

// The digests are in journals: they stay as they are.
func TestDigestsAreFrozen(t *testing.T) {
	for _, test := range []struct {
		got, want uint64
	}{
		{Name("key"), 0xe4f7949198d0c474},
		{OfString([]byte("value")).Sum, 0xd1ba8f6700a51501},
		{content(KindHash, field("f", "v")).Sum, 0x1896a7df5f1366b5},
		{content(KindList, element("a"), element("b")).Sum, 0x5b149f0009cadf13},
		{content(KindSet, member("a"), member("b")).Sum, 0x3e0afee595de43ac},
		{content(KindZSet, scored("a", 1.5)).Sum, 0x176e47a0814423ed},
		{OfStream(1, 2, 3).Sum, 0x7b7b183819780a64},
	} {
		if test.got != test.want {
			t.Errorf("%#x, was %#x", test.got, test.want)
		}
	}
}

func TestKinds(t *testing.T) {
	for k := KindNone; int(k) < len(kindNames); k++ {
		if KindOf(k.String()) != k {
			t.Errorf("%v is read as %v", k, KindOf(k.String()))
		}
	}
	if KindOf("ReJSON-RL") != KindUnknown || Kind(77).String() != "unknown" {
		t.Error("a module's type is known")
	}
}
