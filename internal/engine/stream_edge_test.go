package engine

import (
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// replay runs encoded commands on the server only.
func (o *oracle) replay(commands []byte) {
	o.t.Helper()
	for len(commands) > 0 {
		args, n, err := resp.ParseCommand(commands, nil)
		if err != nil {
			o.fatalf("%v", err)
		}
		if reply := o.server(args); reply[0] == '-' {
			o.fatalf("%q: %s", args, reply)
		}
		commands = commands[n:]
	}
}

var streamEdges = []struct{ about, lines string }{
	{"ids of XADD", `
		XADD s 5-1 a 1 b 2
		XADD s 5-* a 1 b 2
		XADD s 4-* a 1
		XADD s 5-2 a 1
		XADD t 0-0 a 1
		XADD t 0 a 1
		XADD t 5-x a 1
		XADD t NOMKSTREAM 5 a 1
		XADD t 0-* a 1
		XADD nope NOMKSTREAM 5 a 1
		XADD t 01-2 a 1
		XADD t "\x005" a 1
		XADD t "7\x00x" a 1
		XADD t " 8-+3" a 1
		XADD t 9--0 a 1
		XADD t 9--07 a 1
		XADD t -1-2 a 1
		XADD t 18446744073709551616-1 a 1
		XADD t 00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000012-1 a 1
		XADD t 18446744073709551615-18446744073709551615 a 1
		XADD t * a 1
		XADD t 18446744073709551615-* a 1
		XADD t 18446744073709551615-18446744073709551615 a 1
		XRANGE t - +`},
	{"arguments of XADD and XTRIM", `
		XADD s MAXLEN 5 LIMIT 5 6 a 1
		XADD s MAXLEN = 5 LIMIT 5 6 a 1
		XADD s MAXLEN -5 6 a 1
		XADD s MAXLEN ~ 5 LIMIT -1 6 a 1
		XADD s MAXLEN ~ 5 LIMIT x 6 a 1
		XADD s LIMIT 5 6 a 1
		XADD s LIMIT 0 6 a 1
		XADD s MAXLEN 5 MINID 3 6 a 1
		XADD s MAXLEN 5 MAXLEN 3 6 a 1
		XADD s MAXLEN x MINID 3 6 a 1
		XADD s MINID 5- 6 a 1
		XADD s MINID - 6 a 1
		XADD s MINID 5 7 a
		XADD s maxlen =
		XADD s maxlen 1 2 3
		XADD s nomkstream maxlen 1
		XADD s 8 a 1 NOMKSTREAM
		XADD s 8 "" ""
		XTRIM s
		XTRIM s MAXLEN
		XTRIM s MAXLEN =
		XTRIM s FOO 1
		XTRIM s LIMIT 5
		XTRIM s LIMIT 0
		XTRIM s MAXLEN 1 FOO
		XTRIM s MAXLEN ~ 1 LIMIT
		XTRIM s MAXLEN 1 NOMKSTREAM
		XTRIM nokey MAXLEN x
		XTRIM nokey MAXLEN 0
		XTRIM s MINID 9
		XLEN s
		XINFO STREAM s`},
	{"ranges", `
		XADD s 1-1 a 1
		XADD s 2-0 b 2 c 3
		XADD s 2-5 a 1
		XRANGE s - + COUNT 2
		XRANGE s (1-1 +
		XRANGE s (1 +
		XRANGE s - (2
		XRANGE s 2 2
		XRANGE s + -
		XRANGE s (- +
		XRANGE s - (0-0
		XRANGE s (18446744073709551615-18446744073709551615 +
		XRANGE s x +
		XRANGE s - + COUNT
		XRANGE s - + COUNT 0
		XRANGE s - + COUNT -1
		XRANGE s - + COUNT x
		XRANGE s - + FOO 1
		XRANGE s - + COUNT 1 COUNT 2
		XRANGE nokey - + COUNT 0
		XREVRANGE s + - COUNT 1
		XREVRANGE s (2-5 (1-0
		XREVRANGE s 1-0 -
		XREVRANGE nokey + -
		SET str x
		XRANGE str - +
		XRANGE str x +
		XLEN str`},
	{"XREAD", `
		XADD s 1-1 a 1
		XADD s 2-1 b 2
		XREAD STREAMS s 0
		XREAD COUNT 0 STREAMS s 0
		XREAD COUNT -1 STREAMS s 0
		XREAD COUNT x STREAMS s 0
		XREAD COUNT 1 STREAMS s s 1-1 0
		XREAD STREAMS nokey s 0 $
		XREAD STREAMS s +
		XREAD STREAMS nokey +
		XREAD STREAMS s -
		XREAD STREAMS s >
		XREAD STREAMS s 0 0
		XREAD BLOCK x STREAMS s 0
		XREAD BLOCK -1 STREAMS s $
		XREAD BLOCK 1 STREAMS s $
		XREAD NOACK STREAMS s 0
		XREAD GROUP g c STREAMS s 0
		XREAD FOO 1 STREAMS s 0
		XREAD COUNT 1 FOO s 0
		XDEL s 2-1
		XREAD STREAMS s +
		XDEL s 1-1
		XREAD STREAMS s +
		XREAD STREAMS s 0
		SET str x
		XREAD STREAMS s str 0 0`},
	{"an empty stream", `
		XADD s 3-1 a 1
		XDEL s 3-1 3-1 4
		TYPE s
		XLEN s
		XINFO STREAM s
		XINFO STREAM s FULL
		XADD s 3-1 a 1
		XADD s 4-1 a 1
		XTRIM s MAXLEN 0
		XINFO STREAM s
		XINFO STREAM s NO
		XINFO STREAM nokey NO
		XADD u MAXLEN 0 1-1 a 1
		XINFO STREAM u`},
	{"the end of a node deleted, then trimmed", `
		XADD s 1-1 a 1
		XADD s 2-1 a 1
		XADD s 3-1 a 1
		XDEL s 3-1
		XTRIM s MINID ~ 3-1
		XTRIM s MINID 3-1
		XINFO STREAM s
		XADD s 4-1 a 1
		XTRIM s MAXLEN ~ 0
		XINFO STREAM s`},
	{"XSETID", `
		XSETID nokey 1-1
		XADD s 7-1 a b
		XADD s 7-2 a b
		XSETID s x
		XSETID s -
		XSETID s 7-1
		XSETID s 7-2 ENTRIESADDED 1 MAXDELETEDID 0-0
		XSETID s 9-2 ENTRIESADDED 3 MAXDELETEDID 3-0
		XSETID s 9-0 ENTRIESADDED 3 MAXDELETEDID 9-1
		XSETID s 9-0 ENTRIESADDED -1
		XSETID s 9-0 ENTRIESADDED x
		XSETID s 9-0 ENTRIESADDED 8
		XSETID s 9-0 MAXDELETEDID
		XSETID s 9-0 MAXDELETEDID 3-0
		XSETID s 9-0 FOO 3-0
		XSETID s 0-0
		XADD s 8-0 a 1
		XADD s 9-1 a 1
		XDEL s 9-5
		XINFO STREAM s
		XADD t 9-0 a 1
		XDEL t 9-0
		XSETID t 8-0
		XINFO STREAM t`},
	{"groups", `
		XGROUP CREATE s g 0
		XGROUP CREATE s g 0 MKSTREAM
		XGROUP CREATE s g 0 MKSTREAM
		XPENDING s g
		XADD s 1-1 a 1
		XADD s 2-1 a 1
		XADD s 3-1 a 1
		XREADGROUP GROUP g c COUNT 2 STREAMS s >
		XREADGROUP GROUP g d STREAMS s >
		XREADGROUP GROUP g d STREAMS s >
		XDEL s 1-1
		XREADGROUP GROUP g c STREAMS s 0
		XPENDING s g
		XPENDING s g - +
		XPENDING s g - + x
		XPENDING s g - + -1
		XPENDING s g - + 10
		XPENDING s g IDLE x - + 1
		XPENDING s g IDLE 1 - +
		XPENDING s g IDLE 0 (1-1 + 10 c
		XPENDING s g FOO 1 - + 2
		XPENDING s g - + 1 c d
		XPENDING s g - + 1 nobody
		XPENDING s nog
		XPENDING nokey g (x + 1
		XACK nokey g x
		XACK s nog x
		XACK s g 1-1 x
		XACK s g 1-1 1-1 2-1 9-9
		XPENDING s g
		XINFO GROUPS s
		XINFO CONSUMERS s g
		XINFO CONSUMERS s nog
		XINFO CONSUMERS nokey g
		XINFO GROUPS nokey
		XCLAIM s g e 0 3-1 2-1 1-1 FORCE
		XCLAIM s g e 0 3-1 JUSTID IDLE 5000000 RETRYCOUNT 7
		XCLAIM s g e x 3-1
		XCLAIM s g e 0 3-1 FOO
		XPENDING s g IDLE 1000000 - + 10
		COPY s t
		XINFO STREAM t FULL
		XADD t 5-1 a 1
		XACK t g 3-1
		XINFO STREAM s FULL
		RENAME t u
		XINFO STREAM u FULL
		XGROUP DELCONSUMER s g e
		XGROUP DESTROY s g
		XINFO STREAM s FULL
		SET str x
		XACK str g 1-1
		XPENDING str g
		XINFO STREAM str`},
	// What is restored of these sameGroups compares.
	{"pending entries that are gone, beyond the last id and among others", `
		XADD s 1-0 a 1
		XADD s 9-0 a 1
		XGROUP CREATE s g 0 ENTRIESREAD 17
		XGROUP CREATE s h 0
		XREADGROUP GROUP g c STREAMS s >
		XREADGROUP GROUP h d COUNT 1 STREAMS s >
		XTRIM s MAXLEN 0
		XSETID s 0-0
		XADD s 3-0 a 1
		XADD s 12-0 a 1
		XCLAIM s g e 0 12-0 FORCE
		XREADGROUP GROUP h d STREAMS s >
		XADD s 13-0 a 1
		XDEL s 3-0
		XINFO STREAM s FULL
		XADD t 9-0 a 1
		XGROUP CREATE t g 0
		XREADGROUP GROUP g c STREAMS t >
		XTRIM t MAXLEN 0
		XSETID t 2-0
		XINFO STREAM t FULL
		XADD u 9-0 a 1
		XGROUP CREATE u g 0
		XREADGROUP GROUP g c STREAMS u >
		XTRIM u MAXLEN 0
		XSETID u 2-0
		XADD u 3-0 a 1
		XADD u 4-0 a 1
		XSETID u 5-0 ENTRIESADDED 40
		XINFO STREAM u FULL
		COPY u v
		XINFO STREAM v FULL`},
}

func TestStreamEdges(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) {
			t.Parallel()
			o := startOracle(t, proto)
			for _, e := range streamEdges {
				t.Log(e.about)
				for line := range strings.Lines(e.lines) {
					if args := split(strings.TrimSpace(line)); len(args) > 0 {
						o.runStrict(args)
					}
				}
				o.sameState()
				o.sameGroups()
				o.server(split("FLUSHALL"))
				clear(o.model.objects)
			}
		})
	}
}
