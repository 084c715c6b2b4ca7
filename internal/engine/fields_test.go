package engine

import "testing"

func TestFieldDeadlines(t *testing.T) {
	hashLines(t, func(s Server) string {
		if !s.AtLeast(70400) {
			return "HSET h a 1"
		}
		return `
			HSET h a 1 b 2 c 3
			SET s 1
			HEXPIRE h
			HEXPIRE h 10 FIELDS 1
			HEXPIRE h 10000 FIELDS 2 a
			HEXPIRE h 10000 FIELDS 1 a b
			HEXPIRE h 10000 FIELDS 0 a
			HEXPIRE h 10000 FIELDS x a
			HEXPIRE h 10000 FIELDS 9223372036854775808 a
			HEXPIRE h 10000 FIELDS 9223372036854775807 a
			HEXPIRE h 10000 FIELD 1 a
			HEXPIRE h 10000 NX FIELD 1 a
			HEXPIRE h 10000 NX XX FIELDS 1 a
			HEXPIRE h 10000 NX FIELDS 1
			HEXPIRE h x QQ FIELDS 1 a
			HEXPIRE h -1 QQ FIELDS 1 a
			HEXPIRE h 9223372036854775807 FIELDS 1 a
			HEXPIRE h 70368744177 FIELDS 1 a
			HPEXPIRE h 70368744177663 FIELDS 1 a
			HEXPIREAT h 70368744178 FIELDS 1 a
			HPEXPIREAT h 70368744177664 FIELDS 1 a
			HPEXPIREAT h 70368744177663 FIELDS 1 a
			HPEXPIRETIME h FIELDS 1 a
			HEXPIRE none 10 QQ FIELDS 1 a
			HEXPIRE none 10 FIELDS 2 a b
			HEXPIRE s x FIELDS 1 a
			HEXPIRE h 10000 FIELDS 3 a zz b
			HTTL h FIELDS 4 a b c zz
			HPTTL h FIELDS 4 a b c zz
			HTTL h FIELD 1 a
			HTTL h FIELDS 2 a
			HTTL h FIELDS x a
			HTTL h FIELDS 0 a
			HTTL none FIELDS 2 a b
			HTTL none FIELDS 2 a
			HTTL none FIELD 0 a
			HTTL s FIELD 1 a
			HPEXPIREAT h 4000000000001 FIELDS 1 a
			HEXPIRETIME h FIELDS 1 a
			HPEXPIREAT h 4000000000999 FIELDS 1 a
			HEXPIRETIME h FIELDS 3 a c zz
			HPEXPIREAT h 4000000000000 GT FIELDS 2 a c
			HPEXPIREAT h 4000000000000 LT FIELDS 2 a c
			HPEXPIREAT h 4000000000000 LT FIELDS 1 a
			HPEXPIREAT h 4000000000000 GT FIELDS 1 a
			HPEXPIREAT h 4000000000001 gt FIELDS 1 a
			HPEXPIREAT h 4000000000001 nx FIELDS 1 a
			HPEXPIREAT h 4000000000001 XX FIELDS 2 a zz
			HPERSIST h FIELDS 4 a b c zz
			HPERSIST h FIELDS 1 a
			HPERSIST s FIELD 1 a
			HPERSIST none FIELDS 2 a b
			HPERSIST none FIELDS 2 a
			HPERSIST h FIELDS 0 a
			HPEXPIREAT h 1 GT FIELDS 1 a
			HPEXPIREAT h 1 XX FIELDS 1 a
			HPEXPIREAT h 1 LT FIELDS 2 a a
			HGETALL h
			HPEXPIREAT h 0 FIELDS 4 b zz b c
			EXISTS h
			HSET h a 1 b 2
			HPEXPIREAT h 4000000000000 FIELDS 2 a b
			HSET h a 5
			HPEXPIRETIME h FIELDS 2 a b
			HINCRBY h b 1
			HINCRBYFLOAT h b 1.5
			HPEXPIRETIME h FIELDS 2 a b
			HDEL h b
			HSET h b 1
			HPEXPIRETIME h FIELDS 2 a b
			HPEXPIREAT h 4000000000000 FIELDS 2 a b
			RENAME h h2
			HPEXPIRETIME h2 FIELDS 2 a b
			COPY h2 h3
			HPEXPIRETIME h3 FIELDS 2 a b
			HEXPIRE h2 0 FIELDS 2 a b
			TYPE h2`
	})
}

func TestFieldsSetAndRead(t *testing.T) {
	hashLines(t, func(s Server) string {
		if !s.AtLeast(80000) {
			return "HSET h a 1"
		}
		return `
			SET s 1
			HSETEX h
			HSETEX h FIELDS 1 a
			HSETEX h FIELDS 1 a 1
			HSETEX h FIELDS 2 a 1
			HSETEX h FIELDS 1 a 1 b
			HSETEX h FIELDS 0 a 1
			HSETEX h FIELDS x a 1
			HSETEX h FIELDS 2147483648 a 1
			HSETEX h FIELDS 2147483647 a 1
			HSETEX h FIELD 1 a 1
			HSETEX h EX 10000 FIELDS 1 a 1
			HTTL h FIELDS 1 a
			HSETEX h EX 10000 PX 10 FIELDS 1 a 1
			HSETEX h KEEPTTL EX 10 FIELDS 1 a 1
			HSETEX h EX 281474976710657 EX 1 FIELDS 1 a 1
			HSETEX h EX x QQ FIELDS 1 a 1
			HSETEX h EX -1 QQ FIELDS 1 a 1
			HSETEX h FNX FIELDS 1 a 1
			HSETEX h fxx FIELDS 1 a 1
			HSETEX h FXX FNX FIELDS 1 a 1
			HSETEX h FXX FIELDS 2 a 1 zz 1
			HSETEX h FNX FIELDS 2 a 1 zz 1
			HSETEX h FNX EX 10 FIELDS
			HSETEX h FNX EX 10 FIELDS x
			HSETEX h FNX EX 10 EX
			HSETEX h FNX FNX EX 10
			HSETEX h QQ FIELDS 2 q 1 q 2
			HSETEX h EX FIELDS 1 a 1
			HSETEX h FIELDS 1 a 1 EX 10
			HSETEX h FIELDS 2 a 1 a 2
			HGET h a
			HSETEX s FIELDS 0 a 1
			HSETEX s FXX FIELDS 1 a 1
			HSETEX h PXAT 4000000000000 FIELDS 1 t 1
			HSETEX h FIELDS 1 t 2
			HPEXPIRETIME h FIELDS 1 t
			HSETEX h PXAT 4000000000000 FIELDS 1 t 1
			HSETEX h KEEPTTL FIELDS 2 t 3 n 4
			HPEXPIRETIME h FIELDS 3 t n zz
			HSETEX none FXX FIELDS 1 a 1
			HSETEX none PXAT 1 FIELDS 1 a 1
			EXISTS none
			HSETEX other FNX PXAT 4000000000000 FIELDS 1 a 1
			HGETEX h
			HGETEX h FIELDS 1
			HGETEX h FIELDS 2 t zz
			HGETEX h FIELDS 2 t
			HGETEX h FIELDS 0 t
			HGETEX h FIELDS x t
			HGETEX h EX 10 FIELDS
			HGETEX h EX x FIELDS 1 t
			HGETEX h EX -1 FIELDS 1 t
			HGETEX h PERSIST FIELDS 1
			HGETEX h PERSIST FIELDS 2 t n
			HPEXPIRETIME h FIELDS 2 t n
			HGETEX h EX 10000 FIELDS 3 t t zz
			HTTL h FIELDS 2 t n
			HGETEX h KEEPTTL FIELDS 1 t
			HGETEX h a b EX
			HGETEX h PXAT 70368744177664 FIELDS 1 t
			HGETEX h EXAT 4000000000 FIELDS 1 t
			HPEXPIRETIME h FIELDS 1 t
			HGETEX none EX -1 FIELDS 0 a
			HGETEX none EX 10 FIELDS 2 a b
			HGETEX s EX x FIELDS 1 a
			HGETEX h PXAT 1 FIELDS 3 t t n
			HGETALL h
			HSETEX h EXAT 1 FIELDS 2 a 1 zz 2
			EXISTS h`
	})
}

// clock runs commands on one hash at moments of a test's choosing.
type clock struct {
	t    *testing.T
	o    Object
	now  int64
	last Call
}

func (k *clock) do(line string) string {
	k.t.Helper()
	args := split(line)
	k.last.Begin(Setup{
		Command: Lookup(args), Args: args, KeyArgs: []int{1}, Keys: []*Object{&k.o}, Now: k.now,
		Proto: 2, Server: Server{Version: 80002},
	})
	k.last.Run()
	if k.last.Err() != nil {
		k.t.Fatalf("%s: %v", line, k.last.Err())
	}
	k.last.Settle()
	return string(k.last.Reply())
}

func (k *clock) want(line, reply string) {
	k.t.Helper()
	if got := k.do(line); got != reply {
		k.t.Errorf("at %d %s gives %q, want %q", k.now, line, got, reply)
	}
}

// A field whose deadline has passed is gone for every command, and nobody has
// changed anything.
func TestFieldsEnd(t *testing.T) {
	for _, c := range []struct{ command, reply string }{
		{"HGET h a", "$-1\r\n"},
		{"HMGET h a b", "*2\r\n$-1\r\n$1\r\n2\r\n"},
		{"HGETALL h", "*2\r\n$1\r\nb\r\n$1\r\n2\r\n"},
		{"HKEYS h", "*1\r\n$1\r\nb\r\n"},
		{"HVALS h", "*1\r\n$1\r\n2\r\n"},
		{"HLEN h", ":1\r\n"},
		{"HSTRLEN h a", ":0\r\n"},
		{"HEXISTS h a", ":0\r\n"},
		{"HDEL h a", ":0\r\n"},
		{"HRANDFIELD h", "$1\r\nb\r\n"},
		{"HRANDFIELD h 5", "*1\r\n$1\r\nb\r\n"},
		{"HRANDFIELD h -2", "*2\r\n$1\r\nb\r\n$1\r\nb\r\n"},
		{"HSCAN h 0", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n"},
		{"HPEXPIRETIME h FIELDS 1 a", "*1\r\n:-2\r\n"},
		{"HPERSIST h FIELDS 1 a", "*1\r\n:-2\r\n"},
		{"HPEXPIREAT h 5000 FIELDS 1 a", "*1\r\n:-2\r\n"},
		{"HGETEX h PXAT 5000 FIELDS 1 a", "*1\r\n$-1\r\n"},
		{"HSETEX h FXX FIELDS 1 a 5", ":0\r\n"},
	} {
		k := &clock{t: t, o: NewHashExpiring(split("a 1 b 2"), []int64{1000}), now: 999}
		k.want("HGET h a", "$1\r\n1\r\n")
		k.now = 1000
		k.want(c.command, c.reply)
		if k.last.Dirty() || k.last.Depends() != 0 {
			t.Errorf("%s makes a change of what the time did", c.command)
		}
		k.now = 1001
		k.want("EXISTS h", ":1\r\n")
	}
	for _, c := range []struct{ command, reply string }{
		{"EXISTS h", ":0\r\n"},
		{"TYPE h", "+none\r\n"},
		{"DEL h", ":0\r\n"},
		{"HLEN h", ":0\r\n"},
		{"HRANDFIELD h", "$-1\r\n"},
		{"HSETEX h FXX FIELDS 1 a 5", ":0\r\n"},
	} {
		k := &clock{t: t, o: NewHashExpiring(split("a 1 b 2"), []int64{1000, 900}), now: 1000}
		k.want(c.command, c.reply)
		if k.last.Dirty() || k.o.Exists() {
			t.Errorf("%s: a hash whose fields have ended is there, or was changed", c.command)
		}
	}
}

// Fields of the key's type that begin anew have nothing of those that ended.
func TestFieldsBeginAnew(t *testing.T) {
	k := &clock{t: t, o: NewHashExpiring(split("a 1 b 2"), []int64{1000, 2000}), now: 1500}
	k.want("HINCRBY h a 5", ":5\r\n")
	k.want("HPEXPIRETIME h FIELDS 2 a b", "*2\r\n:-1\r\n:2000\r\n")
	k.now = 2000
	k.want("HSET h b 3", ":1\r\n")
	k.want("HGETALL h", "*4\r\n$1\r\na\r\n$1\r\n5\r\n$1\r\nb\r\n$1\r\n3\r\n")
}

// What rests on a deadline that has not passed says so.
func TestFieldsDependOnTheirDeadline(t *testing.T) {
	for command, depends := range map[string]int64{
		"HINCRBY h a 1":                           1000,
		"HINCRBYFLOAT h a 1":                      1000,
		"HINCRBY h b 1":                           0,
		"HSET h a 1":                              0,
		"HDEL h a":                                0,
		"HGET h a":                                0,
		"HPERSIST h FIELDS 2 b a":                 1000,
		"HPEXPIREAT h 1500 FIELDS 1 a":            1000,
		"HPEXPIREAT h 1500 GT FIELDS 2 c a":       1000,
		"HPEXPIREAT h 900 FIELDS 1 a":             0, // either way it ends at 900
		"HPEXPIREAT h 1000 FIELDS 1 a":            0,
		"HPEXPIREAT h 1500 FIELDS 1 b":            0,
		"HPEXPIREAT h 1 FIELDS 1 a":               0,
		"HGETEX h FIELDS 1 a":                     0,
		"HGETEX h PERSIST FIELDS 1 a":             1000,
		"HGETEX h PXAT 3000 FIELDS 1 c":           2000,
		"HSETEX h PXAT 3000 FIELDS 1 a 1":         0,
		"HSETEX h KEEPTTL FIELDS 3 a 1 b 1 zz 1":  1000,
		"HSETEX h FXX FIELDS 2 c 1 b 1":           2000,
		"HSETEX h FNX PXAT 3000 FIELDS 1 zz 1":    0,
		"HSETEX h FXX PXAT 3000 FIELDS 2 c 1 a 1": 1000,
	} {
		k := &clock{t: t, o: NewHashExpiring(split("a 1 b 2 c 3"), []int64{1000, 0, 2000}), now: 500}
		k.do(command)
		if k.last.Failed() || k.last.Depends() != depends {
			t.Errorf("%s depends on %d, want %d", command, k.last.Depends(), depends)
		}
	}
}

func TestHashSeedRestores(t *testing.T) {
	o := NewHashExpiring(split("a 1 b 2 c 3"), []int64{0, 5000, -1})
	o.SetExpireAt(9000)
	got, ok := o.AppendRestore(nil, "h")
	want := appendStrings(nil, "DEL", "h")
	want = appendStrings(want, "HSET", "h", "a", "1", "b", "2", "c", "3")
	want = appendStrings(want, "HPEXPIREAT", "h", "5000", "FIELDS", "1", "b")
	want = appendStrings(want, "PEXPIREAT", "h", "9000")
	if !ok || string(got) != string(want) {
		t.Errorf("restored by %q, want %q", got, want)
	}
	if o := NewHash(nil); o.Exists() {
		t.Error("a hash without fields exists")
	}
	if o := NewPartialHash(0); o.Exists() {
		t.Error("a partial hash without fields exists")
	}
}
