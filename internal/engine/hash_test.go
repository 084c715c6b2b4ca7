package engine

import (
	"bytes"
	"fmt"
	"testing"
)

func TestHashesAsTheServer(t *testing.T) { random(t, 4000, "hashes", "keys") }

// hashLines runs lines over both protocols, and compares the state at the end.
func hashLines(t *testing.T, text func(Server) string) {
	t.Helper()
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprintf("resp%d", proto), func(t *testing.T) {
			t.Parallel()
			o := startOracle(t, proto)
			o.lines(text(o.model.server))
			o.sameState()
			o.sameFieldDeadlines()
		})
	}
}

// sameFieldDeadlines compares the deadline of every field of every hash.
func (o *oracle) sameFieldDeadlines() {
	o.t.Helper()
	if !o.model.server.AtLeast(70400) {
		return
	}
	for name, obj := range o.model.objects {
		h, ok := obj.data.(*hash)
		if !ok {
			continue
		}
		args := [][]byte{[]byte("HPEXPIRETIME"), []byte(name), []byte("FIELDS"), []byte(fmt.Sprint(h.live))}
		for i := range h.slots {
			if s := &h.slots[i]; s.exists() {
				args = append(args, []byte(s.name()))
			}
		}
		got, ok := o.model.do(args, o.proto)
		if want := o.server(args); !ok || !bytes.Equal(want, got) {
			o.fatalf("deadlines of the fields of %q: %q on the server and %q here", name, want, got)
		}
	}
}

func TestHashCommands(t *testing.T) {
	hashLines(t, func(Server) string {
		return `
			HSET h a 1 b 2 a 3
			HSET h a 1 b
			HSET h a
			HMSET h c 4 "" "" d "\x00\xff\r\n"
			HMSET h a 1 b
			HmSeT h a
			HGETALL h
			HKEYS h
			HVALS h
			HLEN h
			HGET h ""
			HGET h zz
			HGET none a
			HMGET h a zz "" a
			HMGET none a b
			HMGET h
			HSTRLEN h d
			HSTRLEN h zz
			HSTRLEN none a
			HEXISTS h a
			HEXISTS h zz
			HEXISTS none zz
			HGETALL none
			HKEYS none
			HVALS none
			HLEN none
			HDEL h zz zz
			HDEL none zz
			HDEL h a a b
			HGETALL h
			HDEL h c "" d
			EXISTS h
			HSET h a 1
			TYPE h
			SET s 1
			HSET s a 1
			HSET s a 1 b
			HMSET s a 1
			HGET s a
			HMGET s a b
			HGETALL s
			HKEYS s
			HVALS s
			HLEN s
			HSTRLEN s a
			HEXISTS s a
			HDEL s a
			HINCRBY s a 1
			HINCRBY s a x
			HINCRBYFLOAT s a 1
			HINCRBYFLOAT s a x
			HRANDFIELD s
			HRANDFIELD s 1
			HRANDFIELD s x
			HRANDFIELD s 1 x
			HSCAN s 0
			HSCAN s x
			HSCAN s 0 x`
	})
}

func TestHashCounters(t *testing.T) {
	hashLines(t, func(Server) string {
		return `
			HSET h a 1 b 1.5 c x d " 1" e "" f 0x10 g 1e400 i inf j nan k "1 " l 9223372036854775807 m 007 n 1e4931 o -0 p 1. q -9223372036854775808
			HINCRBY h a x
			HINCRBY h a 01
			HINCRBY h a 9223372036854775808
			HINCRBY h a 1
			HINCRBY h b 1
			HINCRBY h c 1
			HINCRBY h d 1
			HINCRBY h e 1
			HINCRBY h l 1
			HINCRBY h l -9223372036854775808
			HINCRBY h m 1
			HINCRBY h o 1
			HINCRBY h q -1
			HINCRBY h new -5
			HINCRBY other new 0
			HGET other new
			HINCRBYFLOAT h a x
			HINCRBYFLOAT h a ""
			HINCRBYFLOAT h a " 1"
			HINCRBYFLOAT h a 0x1.8
			HINCRBYFLOAT h a inf
			HINCRBYFLOAT h a -infinity
			HINCRBYFLOAT h a nan
			HINCRBYFLOAT h a 1e5000
			HINCRBYFLOAT h a 1e-5000
			HINCRBYFLOAT h a .5
			HINCRBYFLOAT h a 5.
			HINCRBYFLOAT h a "1\x00"
			HINCRBYFLOAT h c 1
			HINCRBYFLOAT h d 1
			HINCRBYFLOAT h e 1
			HINCRBYFLOAT h f 1
			HINCRBYFLOAT h g -1e399
			HINCRBYFLOAT h i 1
			HINCRBYFLOAT h j 1
			HINCRBYFLOAT h k 1
			HINCRBYFLOAT h n 1e4932
			HINCRBYFLOAT h n 1e4932
			HINCRBYFLOAT h o -0
			HINCRBYFLOAT h p 0
			HINCRBYFLOAT h nn -1e-18
			HINCRBYFLOAT h nn3 0.1
			HINCRBYFLOAT h nn3 3.0e3
			HGETALL h`
	})
}

func TestHashScan(t *testing.T) {
	hashLines(t, func(Server) string {
		text := `
			HSET h "" 0 a 1 b 2 c 3 m1 4 m2 5 m]2 6 "*" 7 "\\" 8 - 9
			HSCAN h 0
			HSCAN h 77
			HSCAN h x
			HSCAN h "1 "
			HSCAN h " 1"
			HSCAN h +1
			HSCAN h ""
			HSCAN h +
			HSCAN h -1
			HSCAN h -01
			HSCAN h "0\x00x"
			HSCAN h "\x00"
			HSCAN h 18446744073709551615
			HSCAN h 18446744073709551616
			HSCAN h -18446744073709551615
			HSCAN h -18446744073709551616
			HSCAN h 0 COUNT
			HSCAN h 0 COUNT 0
			HSCAN h 0 COUNT x
			HSCAN h 0 COUNT 1.5 x
			HSCAN h 0 COUNT 9223372036854775808
			HSCAN h 0 MATCH
			HSCAN h 0 TYPE hash
			HSCAN h 0 MATCH a MATCH b
			HSCAN h 0 count 5 match *
			HSCAN h 0 NOVALUES
			HSCAN h 0 NOVALUES MATCH m* COUNT 1
			HSCAN h 0 NOVALUES COUNT
			HSCAN none 0 x
			HSCAN none x
			HSCAN h`
		for _, p := range []string{
			`*`, `**`, `""`, `*?`, `?*`, `?`, `m?`, `m*2`, `m*`, `*m*`, `[^a]`, `[^a`, `[a`, `[c-a]`, `[c-`, `[a-]`,
			`[]`, `[^]`, `[`, `[^`, `"\\"`, `"\\\\"`, `"[\\]"`, `"[\\"`, `"\\*"`, `"[\\]]"`, `m]2`, `m[]2`, `"m[\\]]2"`,
			`m[1-2]`, `m[1-2`, `m[^1]`, `[--9]`, `[a-c]`, `[abc-]`, `a**`, `*a*`, `"a\x00"`,
		} {
			text += "\nHSCAN h 0 MATCH " + p
		}
		return text
	})
}

func TestHashRandom(t *testing.T) {
	hashLines(t, func(Server) string {
		return `
			HSET h a 1
			HRANDFIELD h
			HRANDFIELD h 0
			HRANDFIELD h 5
			HRANDFIELD h -3
			HRANDFIELD h 5 WITHVALUES
			HRANDFIELD h -3 withvalues
			HRANDFIELD h 0 WITHVALUES
			HRANDFIELD none
			HRANDFIELD none 3
			HRANDFIELD none 3 WITHVALUES
			HRANDFIELD none -4611686018427387904
			HRANDFIELD h x
			HRANDFIELD h 1.5
			HRANDFIELD h 1 x
			HRANDFIELD h x x
			HRANDFIELD h 1 WITHVALUES x
			HRANDFIELD h -9223372036854775808
			HRANDFIELD h 9223372036854775807
			HRANDFIELD h 9223372036854775807 WITHVALUES
			HRANDFIELD h 4611686018427387904 WITHVALUES
			HRANDFIELD h 4611686018427387903 WITHVALUES
			HRANDFIELD h -4611686018427387904 WITHVALUES`
	})
}
