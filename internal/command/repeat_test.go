package command

import "testing"

// Sending a repeatable command twice must leave what sending it once leaves, with
// the same reply.
func TestRepeatableOnServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	const repeatable = `
	SET k v
	SET k v EX 100
	SET k v PX 100000
	SET k v EXAT 4102444800
	SET k v PXAT 4102444800000
	SET k v KEEPTTL
	SET k v XX
	SETEX k 100 v
	PSETEX k 100000 v
	MSET k v l w
	SETRANGE s 2 xyz
	HMSET h f v g w
	PFMERGE p q
	EXPIRE s 100
	PEXPIRE s 100000
	EXPIREAT s 4102444800
	PEXPIREAT s 4102444800000
	GET s
	HGETALL h
	GETEX s
	BITFIELD s GET u8 0
	SORT l
	PING
	CONFIG GET maxmemory
	SCRIPT LOAD return
	OBJECT ENCODING s
	XREAD STREAMS x 0
	EVAL_RO return(1) 0
`
	const unrepeatable = `
	SET k v NX
	SET s v GET
	SETNX k v
	INCR n
	INCRBY n 2
	DECR n
	DECRBY n 2
	APPEND s v
	DEL s
	UNLINK s
	PERSIST e
	EXPIRE s -1
	EXPIRE s 0
	PEXPIRE s -1
	EXPIREAT s -1
	HSET h new v
	HSETNX h new v
	HDEL h f
	HINCRBY h n 1
	LPUSH l v
	LPOP l
	LTRIM l 1 -1
	SADD t new
	SREM t a
	SETBIT s 1 0
	BITFIELD s INCRBY u8 0 1
	ZADD z 1 new
	XADD x * f v
	RENAME s moved
	GETDEL s
	PFADD p new
	EXPIRE s 100 NX
	PEXPIREAT e 4102444800000 GT
	SDIFFSTORE t t2 t
`
	prepare := func() {
		for _, words := range []string{
			"FLUSHALL", "SET s hello", "SET n 5", "SET e x EX 1000", "HSET h f 1 n 1", "RPUSH l 3 1 2",
			"SADD t a b", "SADD t2 a b c", "ZADD z 1 a", "XADD x 1-1 f v", "PFADD p a", "PFADD q b",
		} {
			srv.run(words)
		}
	}
	for want, lines := range map[bool]string{true: repeatable, false: unrepeatable} {
		for _, words := range rowsOf(t, lines)[""] {
			args := parseLine(words)
			if got := specOf(t, words).Repeatable(args); got != want {
				t.Errorf("%s: repeatable %v, want %v", words, got, want)
			}
			prepare()
			first, after := srv.do(args), srv.snapshot()
			second, again := srv.do(args), srv.snapshot()
			if first.IsError() {
				t.Errorf("%s: %s", words, first.Text())
			}
			if same := showReply(first) == showReply(second) && again.like(after); same != want {
				t.Errorf("%s: to repeat it changes nothing: %v, want %v\nreplies %s, %s\nstates %v\n%v",
					words, same, want, showReply(first), showReply(second), after, again)
			}
		}
	}
}

func TestNotRepeatable(t *testing.T) {
	t.Parallel()
	// Commands that fail, that need another server, or that only a concurrent
	// change makes dangerous.
	for _, words := range []string{
		"SET k", "SET k v EX 10 KEEPTTL", "SET k v FOO", "SET k v IFEQ w", "MSET", "EXPIRE k", "EXPIRE k x", "LSET k 0 v",
		"EVAL code 0", "PUBLISH c m", "FLUSHALL", "CONFIG SET a b", "CONFIG NOPE", "MSETEX 1 k v NX", "MSETEX 1 k v XX",
		"MSETEX 1 k v FOO", "MSETEX x k v", "MSETEX 1 k v GET", "SET k v EX 10 IFEQ w", "FT.CURSOR READ i 1", "CLIENT KILL a:1", "MULTI", "XGROUP",
	} {
		s := specOf(t, words)
		if want := words == "XGROUP"; s.Repeatable(parseLine(words)) != want { // answered with an error
			t.Errorf("%s: repeatable %v", words, !want)
		}
	}
	// Of no server at hand, but of the kind of MSET.
	for _, words := range []string{"MSETEX 1 k v", "MSETEX 2 k v l w EX 10"} {
		if !specOf(t, words).Repeatable(parseLine(words)) {
			t.Errorf("%s: not repeatable", words)
		}
	}
}
