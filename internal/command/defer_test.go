package command

import (
	"strings"
	"testing"
)

// deferrableRows are forms by whether they may be deferred.
const deferrableRows = `
deferrable:
	SET k v
	SET k v EX 10
	SET k v px 10
	SET k v EXAT 10
	SET k v PXAT 10
	SET k v KEEPTTL
	SET k v XX
	SET k v XX EX 10
	SET k v EX 10 PX 10
	SET k v EX nonsense
	SET k
	SETEX k 10 v
	PSETEX k 10 v
	MSET k v
	MSETEX 1 k v
	MSETEX 1 k v EX 10
	MSETEX 1 k v KEEPTTL
	GETEX k EX 10
	GETEX k PERSIST
	DEL a b
	UNLINK k
	EXPIRE k 10
	PEXPIRE k -1
	EXPIREAT k 10
	PEXPIREAT k 10
	EXPIRE k
	EXPIRE k 10 NX
	PEXPIRE k 10 XX
	EXPIREAT k 10 GT
	PEXPIREAT k 10 LT
	PERSIST k
	RENAME a b
	COPY a b REPLACE
	INCR k
	INCRBY k 1
	DECR k
	DECRBY k 1
	INCRBYFLOAT k 1
	APPEND k v
	SETRANGE k 0 v
	SETBIT k 0 1
	BITFIELD k SET u8 0 1
	BITFIELD k GET u8 0 INCRBY u8 0 1
	BITOP AND d a
	HSET k f v
	HMSET k f v
	HDEL k f
	HINCRBY k f 1
	HINCRBYFLOAT k f 1
	HEXPIRE k 10 FIELDS 1 f
	HPEXPIRE k 10 NX FIELDS 1 f
	HEXPIREAT k 10 GT FIELDS 1 f
	HPEXPIREAT k 10 LT FIELDS 1 f
	HPERSIST k FIELDS 1 f
	HGETEX k FIELDS 1 f
	HGETEX k EX 10 FIELDS 1 f
	HSETEX k FIELDS 1 f v
	HSETEX k KEEPTTL FIELDS 1 f v
	LPUSH k v
	RPUSH k v
	LPUSHX k v
	RPUSHX k v
	LSET k 0 v
	LINSERT k BEFORE p v
	LREM k 0 v
	LTRIM k 0 1
	SADD k m
	SREM k m
	SINTERSTORE d a
	SUNIONSTORE d a
	SDIFFSTORE d a
	ZADD k 1 m
	ZADD k NX 1 m
	ZADD k XX GT CH 1 m
	ZADD k INCR 1 m
	ZINCRBY k 1 m
	ZREM k m
	ZREMRANGEBYRANK k 0 1
	ZREMRANGEBYSCORE k 0 1
	ZREMRANGEBYLEX k - +
	ZRANGESTORE d k 0 1
	ZUNIONSTORE d 1 a
	ZINTERSTORE d 1 a
	ZDIFFSTORE d 1 a
	XADD k * f v
	XADD k 1-* f v
	XADD k MAXLEN ~ 10 1-1 f v
	XADD k KEEPREF MAXLEN 10 * f v
	XADD k * idmp acked
	XDEL k 1-1
	XTRIM k MAXLEN 10
	XTRIM k MINID ~ 10 LIMIT 5 KEEPREF
	XACK k g 1-1
	PFADD k v
	PFMERGE d a
	GEOADD k 1 2 m
	GEOADD k NX 1 2 m
	GEOSEARCHSTORE d k FROMMEMBER m BYRADIUS 1 km
	GEORADIUS k 1 2 3 km STORE d
	GEORADIUSBYMEMBER k m 3 km STOREDIST d
	SORT k STORE d
	SORT k BY nosort GET # STORE d
not:
	SET k v NX
	SET k v GET
	SET k v EX 10 NX
	SET k v NX EX 10
	SET k v IFEQ w
	SET k v FOO
	EXPIRE k 10 FOO
	SETNX k v
	GETSET k v
	GETEX k
	GETEX k FOO
	GETDEL k
	DELEX k
	DELIFEQ k v
	INCREX k
	MSETNX k v
	MSETEX 1 k v NX
	MSETEX 1 k v XX
	MSETEX 1 k v FOO
	RENAMENX a b
	COPY a b
	COPY a b DB 1 REPLACE
	BITFIELD k GET u8 0
	HSETNX k f v
	HSETEX k FNX FIELDS 1 f v
	HSETEX k FIELDS 1 f v FXX
	HGETDEL k FIELDS 1 f
	LPOP k
	LMOVE a b LEFT LEFT
	LMOVEM a b LEFT LEFT
	SPOP k
	SMOVE a b m
	ZPOPMIN k
	XADD k IDMP p i * f v
	XADD k IDMPAUTO p * f v
	XADD k ACKED MAXLEN 10 * f v
	XADD k DELREF MAXLEN 10 * f v
	XTRIM k MAXLEN 10 ACKED
	XTRIM k DELREF MAXLEN 10
	XDELEX k KEEPREF IDS 1 1-1
	XACKDEL k g KEEPREF IDS 1 1-1
	XREADGROUP GROUP g c STREAMS k >
	XGROUP CREATE k g $
	XSETID k 1-1
	SORT k
	SORT k BY w_* STORE d
	SORT k GET # GET o_* STORE d
	GEORADIUS k 1 2 3 km
	EVAL return 0
	CONFIG SET a b
	GET k
	PING
	FLUSHALL
	RESTORE k 0 v
	MOVE k 1
	PUBLISH c m
	VADD k VALUES 1 1 e
	ARSET k 0 v
	HIMPORT SET k f v
	BLESS SET k NO-EVICT
	JSON.SET k $ 1
	FT.SUGADD k s 1
	TS.ADD k * 1
	BF.ADD k i
`

func TestDeferrable(t *testing.T) {
	t.Parallel()
	rows := rowsOf(t, deferrableRows)
	for group, want := range map[string]bool{"deferrable": true, "not": false} {
		for _, words := range rows[group] {
			s, args := specOf(t, words), parseLine(words)
			if got := s.Deferrable(args); got != want {
				t.Errorf("%s: deferrable %v, want %v", words, got, want)
			}
			if got := s.Default(args) == DecisionDefer; got != want {
				t.Errorf("%s: by default %v", words, s.Default(args))
			}
		}
	}
	// Every command with a deferrable form has a row.
	seen := make(map[string]bool)
	for _, words := range rows["deferrable"] {
		seen[specOf(t, words).Name] = true
	}
	every(func(s *Spec) {
		if s.deferrable != nil && !seen[s.Name] {
			t.Errorf("%s: deferrable, but without a row", s.Name)
		}
	})
}

// What the overlay executes must be a write; what it answers, a read.
func TestDeferrableAndServedAreKinds(t *testing.T) {
	t.Parallel()
	every(func(s *Spec) {
		if s.deferrable != nil && s.flags&flagWrite == 0 {
			t.Errorf("%s: deferrable, but no write", s.Name)
		}
		if s.deferrable != nil && s.module != "" {
			t.Errorf("%s: deferrable, but of the module %s", s.Name, s.module)
		}
		if s.served && s.class != ClassRead && s.replicaName == "" && !s.Container() {
			t.Errorf("%s: served, but of class %v", s.Name, s.class)
		}
		if s.served && s.keyspace {
			t.Errorf("%s: of keys and of the whole keyspace", s.Name)
		}
	})
}

// The reads of keys that the overlay leaves to others, and the reason.
func TestServed(t *testing.T) {
	t.Parallel()
	left := map[string]string{
		"dump": "how a server keeps a value", "memory|usage": "how a server keeps a value",
		"object|encoding": "how a server keeps a value", "object|freq": "how a server keeps a value",
		"object|idletime": "how a server keeps a value", "object|refcount": "how a server keeps a value",
		"digest": "a hash function that no server at hand can check", "sdiffcard": "no server at hand", "sunioncard": "no server at hand",
		"bless|get": "no write that the overlay executes changes it",
		"eval_ro":   "a script", "evalsha_ro": "a script", "fcall_ro": "a script",
	}
	every(func(s *Spec) {
		kind, _, _ := strings.Cut(s.Name, ".")
		builtIn := s.module == "" && kind == s.Name && !strings.HasPrefix(s.Name, "v") && !strings.HasPrefix(s.Name, "ar")
		reads := s.class == ClassRead && (len(s.keys) > 0 || s.findKeys != nil) && builtIn
		if _, out := left[s.Name]; reads && s.served == out {
			t.Errorf("%s: served %t", s.Name, s.served)
		}
	})
	for _, name := range strings.Fields("XINFO getex sort bitfield georadius georadiusbymember") {
		if !Lookup(name).Served() {
			t.Errorf("%s: not served", name)
		}
	}
	for _, name := range strings.Fields("object memory xgroup keys scan dbsize randomkey set json.get vsim") {
		if Lookup(name).Served() {
			t.Errorf("%s: served", name)
		}
	}
}

func TestKeyspace(t *testing.T) {
	t.Parallel()
	var keyspace []string
	every(func(s *Spec) {
		if s.Keyspace() {
			keyspace = append(keyspace, s.Name)
			if s.class != ClassRead || len(s.keys) > 0 {
				t.Errorf("%s: of class %v, with keys %v", s.Name, s.class, s.keys)
			}
		}
	})
	const want = "clusterscan dbsize ft.aggregate ft.hybrid ft.profile ft.search ft.spellcheck ft.tagvals " +
		"keys randomkey scan ts.mget ts.mrange ts.mrevrange ts.queryindex ts.querylabels"
	if got := strings.Join(keyspace, " "); got != want {
		t.Errorf("keyspace: %s, want %s", got, want)
	}
}
