package command

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// keyExamples are commands that COMMAND GETKEYS answers, with keys or with an
// error, and at the end those of which it takes a count that the command itself
// then refuses.
const keyExamples = `
as the server:
	GET k
	SET k v EX 10
	MGET a b c
	MSET a 1 b 2 c 3
	MSET a 1 b
	DEL a b
	EXISTS a a
	RENAME a b
	COPY a b REPLACE
	BITOP AND d a b c
	BLPOP a b 0
	BRPOPLPUSH a b 0
	BLMOVE a b LEFT RIGHT 0
	LMPOP 2 a b LEFT COUNT 2
	BLMPOP 0 2 a b RIGHT
	BZPOPMIN a b 0
	BZMPOP 0 1 a MIN
	SMOVE a b m
	SINTER a b
	SINTERSTORE d a b
	SINTERCARD 2 a b LIMIT 1
	ZUNION 2 a b WEIGHTS 1 2
	ZUNIONSTORE d 2 a b AGGREGATE MAX
	ZINTERSTORE d 1 a
	ZINTERCARD 1 a
	ZDIFF 2 a b WITHSCORES
	ZDIFFSTORE d 2 a b
	ZRANGESTORE d s 0 -1
	ZUNION 5 a b
	ZUNION -1 a b
	ZUNION x a b
	ZUNION 0 a
	ZUNION 9223372036854775807 a
	EVAL code 2 a b c
	EVAL code 0
	EVAL code 0 a
	EVALSHA sha 1 a
	EVAL_RO code 1 a b
	FCALL f 1 a b
	FCALL_RO f 0 b
	XADD k * f v
	XREAD STREAMS a b 0 0
	XREAD COUNT 2 BLOCK 10 STREAMS a b c 0 0 0
	XREAD COUNT 2 streams a 0
	XREAD COUNT 2 NOPE a
	XREADGROUP GROUP STREAMS c STREAMS a >
	XREADGROUP GROUP g c COUNT 1 NOACK STREAMS a b > >
	XGROUP CREATE k g $
	XGROUP createconsumer k g c
	XGROUP DESTROY k g
	XGROUP HELP
	XINFO STREAM k FULL
	XINFO groups k
	XPENDING k g
	XCLAIM k g c 0 1-1
	XAUTOCLAIM k g c 0 0
	OBJECT ENCODING k
	OBJECT HELP
	MEMORY USAGE k SAMPLES 3
	MEMORY STATS
	SORT k
	SORT k BY w_* LIMIT 0 10 GET # GET o_* DESC ALPHA STORE d
	SORT k store d
	SORT k STORE a STORE b
	SORT k BY STORE x
	SORT k BY STORE GET STORE STORE d
	SORT k LIMIT STORE a STORE d
	SORT k STORE
	SORT_RO k BY w_*
	GEOADD k 1 2 m
	GEORADIUS k 1 2 3 km
	GEORADIUS k 1 2 3 km COUNT 2 ASC STORE d
	GEORADIUS k 1 2 3 km storedist d
	GEORADIUSBYMEMBER k m 3 km STORE d
	GEORADIUSBYMEMBER k m 3 km WITHDIST STORE
	GEORADIUS_RO k 1 2 3 km
	GEOSEARCHSTORE d k FROMMEMBER m BYRADIUS 1 km
	MIGRATE h 1 k 0 1
	MIGRATE h 1 k 0 1 COPY REPLACE
	MIGRATE h 1 "" 0 1 KEYS a b c
	MIGRATE h 1 "" 0 1 COPY AUTH keys keys a b
	MIGRATE h 1 "" 0 1 AUTH2 keys keys KEYS a
	MIGRATE h 1 k 0 1 AUTH p REPLACE
	PFADD k
	PFCOUNT a b
	PFMERGE d a b
	PFDEBUG GETREG k
	LCS a b LEN
	TOUCH a b
	UNLINK a b
	WATCH a b
	SPUBLISH c m
	SSUBSCRIBE c
	PUBLISH c m
	RESTORE k 0 v
	DUMP k
	HSET k f v
	HMGET k f g
	LPUSH k v w
	ZADD k 1 m
	SETBIT k 1 1
	BITFIELD k GET u8 0
	GETEX k PERSIST
	MOVE k 1
	PING
	KEYS *
	SCAN 0
	DBSIZE
	INFO server
	CONFIG GET a
	GET
	GET a b
	SET k
	ZUNIONSTORE d 1
miscounted:
	ZUNION 01 a
	ZUNION 4294967297 a
	EVAL code 3 a
	EVAL code -1 a
`

// appendKeys is AppendKeys over a line's arguments.
func appendKeys(s *Spec, args [][]byte) ([]int, error) {
	return s.AppendKeys(nil, len(args), func(i int) string { return string(args[i]) })
}

func TestKeysAgreeWithServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	rows := rowsOf(t, keyExamples)
	for _, words := range rows["as the server"] {
		args := parseLine(words)
		indexes, err := appendKeys(specOf(t, words), args)
		v := srv.do(append(parseLine("COMMAND GETKEYS"), args...))
		if err != nil && !v.IsError() {
			t.Errorf("%s: %v, the server finds keys", words, err)
		}
		var got, want []string
		for _, i := range indexes {
			got = append(got, string(args[i]))
		}
		for _, elem := range v.Elems {
			want = append(want, elem.Text())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: keys %q, the server says %q %s", words, got, want, v.Text())
		}
	}
	for _, words := range rows["miscounted"] {
		args := parseLine(words)
		if _, err := appendKeys(specOf(t, words), args); err == nil {
			t.Errorf("%s: no error", words)
		}
		if v := srv.do(args); !v.IsError() {
			t.Errorf("%s: the server executes it", words)
		}
	}
}

// The places where the server's answer is not taken over.
func TestKeysBeyondServer(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]string{
		"PFMERGE d":         "1", // GETKEYS finds nothing to merge and gives up
		"ZUNIONSTORE d 0 a": "1", // the same
		"OBJECT":            "",
		"EVAL code 0":       "",
		// GETKEYS of some servers names every destination, of others the first word
		// that looks like one. What the command itself does decides.
		"GEORADIUS k 1 2 3 km STORE d STOREDIST e":                 "1 9",
		"GEORADIUS k 1 2 3 km STORE d STORE e":                     "1 9",
		"GEORADIUSBYMEMBER k store 3 km STORE d":                   "1 6",
		"XREAD BLOCK streams STREAMS a 0":                          "4",
		"XREADGROUP COUNT 1 GROUP STREAMS STREAMS STREAMS a b > >": "7 8",
		"XREADGROUP GROUP g c CLAIM 5 STREAMS a >":                 "7",
	} {
		got, err := appendKeys(specOf(t, words), parseLine(words))
		if err != nil {
			t.Errorf("%s: %v", words, err)
		}
		if text := joinInts(got); text != want {
			t.Errorf("%s: keys at %q, want %q", words, text, want)
		}
	}
}

// Of several destinations the last one counts, as AppendKeys has it.
func TestLastDestinationCounts(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	for _, words := range []string{
		"SORT l STORE d STORE e",
		"SORT l STORE STORE STORE e",
		"SORT l STORE GET STORE e",
		"GEORADIUS g 1 2 3 km STORE d STORE e",
		"GEORADIUS g 1 2 3 km STOREDIST d STORE e",
		"GEORADIUSBYMEMBER g m 3 km STORE d STOREDIST e",
	} {
		srv.run("FLUSHALL")
		srv.run("RPUSH l 5")
		srv.run("GEOADD g 1 2 m")
		srv.run(words)
		if d, e := srv.run("EXISTS d").Int, srv.run("EXISTS e").Int; d != 0 || e != 1 {
			t.Errorf("%s: d exists %d, e %d", words, d, e)
		}
		if got := keysOf(specOf(t, words), parseLine(words)); !slices.Contains(got, "e") || slices.Contains(got, "d") {
			t.Errorf("%s: keys %q", words, got)
		}
	}
}

func TestKeysCannotBeTold(t *testing.T) {
	t.Parallel()
	dst := []int{7, 8}
	for _, words := range []string{
		"ZUNION 5 a b", "ZUNIONSTORE d 2 a", "EVAL code x a", "EVAL code -1 a", "GET", "SET k", "XREAD COUNT 2 STREAMS a", "XREAD STREAMS a b 0",
		"OBJECT NOPE k",
	} {
		args := parseLine(words)
		got, err := specOf(t, words).AppendKeys(dst, len(args), func(i int) string { return string(args[i]) })
		if !errors.Is(err, ErrKeys) {
			t.Errorf("%s: error %v", words, err)
		}
		if !slices.Equal(got, dst) {
			t.Errorf("%s: dst became %v", words, got)
		}
		if err != nil && strings.Contains(err.Error(), "code") {
			t.Errorf("%s: the error quotes an argument: %v", words, err)
		}
	}
	if _, err := Lookup("nope.set").AppendKeys(nil, 2, func(int) string { return "" }); !errors.Is(err, ErrKeys) {
		t.Errorf("an unknown command: error %v", err)
	}
}

// What the server calls incomplete must be known by hand.
func TestPartialKeysHaveFinder(t *testing.T) {
	t.Parallel()
	every(func(s *Spec) {
		if s.keysPartial != (s.findKeys != nil) {
			t.Errorf("%s: partial %v, finder %v", s.Name, s.keysPartial, s.findKeys != nil)
		}
	})
}

func TestAppendKeysDoesNotAllocate(t *testing.T) {
	dst := make([]int, 0, 8)
	for _, words := range []string{"GET k", "MSET a 1 b 2", "ZUNIONSTORE d 2 a b", "XREAD STREAMS a b 0 0", "XGROUP CREATE k g $", "SORT k STORE d"} {
		fields := strings.Fields(words)
		arg := func(i int) string { return fields[i] }
		n := testing.AllocsPerRun(100, func() {
			if _, err := Lookup(fields[0]).AppendKeys(dst, len(fields), arg); err != nil {
				t.Error(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", words, n)
		}
	}
}

func joinInts(v []int) string {
	var b []byte
	for i, n := range v {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, byte('0'+n))
	}
	return string(b)
}
