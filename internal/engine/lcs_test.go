package engine

import (
	"bytes"
	"errors"
	"testing"
)

func TestLCS(t *testing.T) {
	eachProtocol(t, func(o *oracle) {
		o.opaque("list")
		o.lines(`
			MSET a ohmytext b mynewtext c "" d aaaa e aabaacaab f abcabcabc
			LCS a b
			LCS a b LEN
			LCS a b IDX
			LCS a b IDX MINMATCHLEN 4
			LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN
			LCS a b IDX WITHMATCHLEN
			LCS a b WITHMATCHLEN
			LCS a b MINMATCHLEN 4
			LCS a b IDX MINMATCHLEN -1
			LCS a b IDX MINMATCHLEN 0
			LCS a b IDX MINMATCHLEN 9223372036854775807
			LCS a b IDX MINMATCHLEN abc
			LCS a b IDX MINMATCHLEN
			LCS a b LEN IDX
			LCS a b LEN LEN
			LCS a b junk
			LCS a a
			LCS a a IDX
			LCS d e IDX
			LCS e d IDX
			LCS e f IDX
			LCS f e IDX WITHMATCHLEN
			LCS f e
			LCS e f
			LCS c c
			LCS c c IDX
			LCS a c
			LCS a missing LEN
			LCS a missing IDX
			LCS missing missing2
			LCS list a
			LCS a list LEN IDX
			LCS a list junk
			LCS a
			LCS
		`)
	})
}

func TestLCSOfLongStringsIsRefused(t *testing.T) {
	m := newModel()
	long := bytes.Repeat([]byte("ab"), 3000)
	*m.object([]byte("a")) = NewString(long)
	*m.object([]byte("b")) = NewString(long)
	*m.object([]byte("c")) = NewString(clone(long[:500]))
	for line, want := range map[string]error{
		"LCS a b":     ErrTooBig,
		"LCS a b LEN": ErrTooBig,
		"LCS a c LEN": nil,
		"LCS a b x":   nil, // an error reply
	} {
		c := m.call(split(line))
		if c.Run(); !errors.Is(c.Err(), want) {
			t.Errorf("%s: error %v, want %v", line, c.Err(), want)
		}
	}
}
