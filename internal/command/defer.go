package command

import (
	"bytes"
	"strings"
)

// deferredWrites are the commands of which the overlay executes every form whose
// class may be deferred.
const deferredWrites = `
	set setex psetex mset msetex
	getex append setrange incr incrby decr decrby incrbyfloat
	setbit bitfield bitop
	del unlink expire pexpire expireat pexpireat persist rename copy
	hset hmset hdel hincrby hincrbyfloat
	hexpire hpexpire hexpireat hpexpireat hpersist hgetex hsetex
	lpush rpush lpushx rpushx lset linsert lrem ltrim
	sadd srem sinterstore sunionstore sdiffstore
	zadd zincrby zrem zremrangebylex zremrangebyrank zremrangebyscore
	zrangestore zunionstore zinterstore zdiffstore
	xdel xack
	pfadd pfmerge
	geoadd geosearchstore georadius georadiusbymember`

// deferredForms are the commands of which the overlay executes only some forms of
// a class that may be deferred.
var deferredForms = map[string]func(args [][]byte) bool{
	"sort":  func(args [][]byte) bool { return !sortsByKeys(args) },
	"xadd":  deferrableXAdd,
	"xtrim": func(args [][]byte) bool { return !parseTrim(args, 2).byGroups },
}

// defers joins the two.
func defers() map[string]func(args [][]byte) bool {
	m := make(map[string]func(args [][]byte) bool)
	for name := range strings.FieldsSeq(deferredWrites) {
		m[name] = always
	}
	for name, f := range deferredForms {
		m[name] = f
	}
	return m
}

// sortsByKeys reports whether a SORT reads keys that it does not name: those that
// the patterns of BY and GET make of its elements.
func sortsByKeys(args [][]byte) bool {
	for i := 2; i < len(args); i++ {
		switch {
		case oneOf(args[i], "by", "get"):
			i++
			if i < len(args) && bytes.IndexByte(args[i], '*') >= 0 {
				return true
			}
		case option(args[i], "limit"):
			i += 2
		case option(args[i], "store"):
			i++
		}
	}
	return false
}

// deferrableXAdd: what an idempotent producer sent before, and what the groups of
// a stream have not acknowledged, only the primary knows.
func deferrableXAdd(args [][]byte) bool {
	o := parseXAdd(args)
	return !o.idempotent && !o.byGroups
}
