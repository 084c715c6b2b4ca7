package command

import "strings"

// Class says what a command does to the data set, and with that what may become
// of it while a shard has no primary. The zero value is ClassUnknown.
type Class uint8

// The classes.
const (
	// ClassUnknown is a command, subcommand or option that the table does not
	// have. It may do anything, so it fails closed: refused with no primary.
	ClassUnknown Class = iota
	// ClassRead changes nothing: answered from the overlay where that has the
	// key, else from a replica.
	ClassRead
	// ClassBlind is a write whose reply and effect do not depend on what was
	// there before: deferrable without a base.
	ClassBlind
	// ClassAccumulating is a write whose reply or effect builds on what was there
	// before: deferrable on top of a base.
	ClassAccumulating
	// ClassConditional is a write that happens or not depending on what was there
	// before, in a form that gives the caller nothing to hold exclusively, such
	// as ZADD GT or EXPIRE NX.
	ClassConditional
	// ClassClaiming is a write whose reply may make the caller the only owner of
	// something: a lock, an element, a job. Deferred it would make two owners, so
	// it is refused.
	ClassClaiming
	// ClassScript runs code that may do anything: EVAL, EVALSHA, FCALL.
	ClassScript
	// ClassTransaction is a MULTI … EXEC unit as a whole. No single command has
	// it: the words MULTI and EXEC themselves are ClassSession.
	ClassTransaction
	// ClassPublish is a message to subscribers, which on a replica reaches only
	// that replica's own.
	ClassPublish
	// ClassAdmin changes the server, the topology or whole databases, or waits
	// for replicas: never deferred.
	ClassAdmin
	// ClassSession is about the connection that carries it, and is never allowed
	// over pooled connections.
	ClassSession
	// ClassPassthrough neither reads nor changes keys in a way that matters here
	// (PING, INFO, CONFIG GET): forwarded whatever the state.
	ClassPassthrough
)

// String is the class in words, as it appears in errors, logs and documents.
func (c Class) String() string {
	switch c {
	case ClassRead:
		return "read"
	case ClassBlind:
		return "blind write"
	case ClassAccumulating:
		return "accumulating write"
	case ClassConditional:
		return "conditional write"
	case ClassClaiming:
		return "claiming write"
	case ClassScript:
		return "script"
	case ClassTransaction:
		return "transaction"
	case ClassPublish:
		return "publish"
	case ClassAdmin:
		return "admin"
	case ClassSession:
		return "session"
	case ClassPassthrough:
		return "passthrough"
	default:
		return "unknown"
	}
}

// classes lists every command and subcommand that does not simply have the
// server's readonly flag, which means ClassRead. Nothing is taken from the write
// flag: whether a write may be deferred is for a person to decide, and a new
// command must not get an answer by accident.
//
// The commands that classifiers lists too have their plain form's class here.
var classes = map[Class]string{
	ClassBlind: "set setex psetex mset",

	ClassAccumulating: `
		del unlink expire pexpire expireat pexpireat persist rename
		getex append setrange incr incrby decr decrby incrbyfloat setbit bitfield bitop
		hset hmset hdel hincrby hincrbyfloat
		lpush rpush lpushx rpushx lset linsert lrem ltrim
		sadd srem sinterstore sunionstore sdiffstore
		zadd zincrby zrem zremrangebylex zremrangebyrank zremrangebyscore
		zrangestore zunionstore zinterstore zdiffstore
		xadd xdel xtrim xack
		pfadd pfmerge
		geoadd geosearchstore georadius georadiusbymember
		sort`,

	ClassClaiming: `
		setnx getset getdel msetnx renamenx copy hsetnx
		lpop rpop lmpop rpoplpush lmove blpop brpop blmpop brpoplpush blmove
		spop smove
		zpopmin zpopmax zmpop bzpopmin bzpopmax bzmpop
		xreadgroup xclaim xautoclaim xsetid
		xgroup|create xgroup|createconsumer xgroup|delconsumer xgroup|destroy xgroup|setid`,

	ClassScript: "eval evalsha fcall",

	ClassPublish: "publish spublish",

	ClassAdmin: `
		flushdb flushall swapdb move migrate restore restore-asking
		wait failover replicaof slaveof shutdown debug
		save bgsave bgrewriteaof pfdebug pfselftest
		config|set config|rewrite config|resetstat
		script|flush script|kill
		function|delete function|flush function|kill function|load function|restore
		acl|deluser acl|load acl|save acl|setuser
		module|load module|loadex module|unload
		memory|purge
		cluster|addslots cluster|addslotsrange cluster|bumpepoch cluster|delslots
		cluster|delslotsrange cluster|failover cluster|flushslots cluster|forget
		cluster|meet cluster|replicate cluster|reset cluster|saveconfig
		cluster|set-config-epoch cluster|setslot`,

	// CLIENT REPLY and its like alter how one connection answers: on a pooled one
	// they would put every later caller out of step.
	ClassSession: `
		watch unwatch multi exec discard select auth hello reset quit
		asking readonly readwrite
		subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe
		monitor sync psync replconf
		client|reply client|tracking client|caching
		script|debug`,

	// The bare names of containers are here because the server answers them with
	// an error, but for COMMAND.
	ClassPassthrough: `
		ping echo info time role lastsave lolwut
		acl client cluster command config function latency memory module object
		pubsub script slowlog xgroup xinfo
		acl|cat acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|log acl|users acl|whoami
		client|getname client|getredir client|help client|id client|info client|kill client|list
		client|no-evict client|pause client|setname client|trackinginfo client|unblock client|unpause
		cluster|count-failure-reports cluster|countkeysinslot cluster|getkeysinslot cluster|help
		cluster|info cluster|keyslot cluster|links cluster|myid cluster|nodes cluster|replicas
		cluster|shards cluster|slaves cluster|slots
		command|count command|docs command|getkeys command|getkeysandflags command|help
		command|info command|list
		config|get config|help
		function|dump function|help function|list function|stats
		latency|doctor latency|graph latency|help latency|histogram latency|history
		latency|latest latency|reset
		memory|doctor memory|help memory|malloc-stats memory|stats
		module|help module|list
		object|help
		pubsub|channels pubsub|help pubsub|numpat pubsub|numsub pubsub|shardchannels pubsub|shardnumsub
		script|exists script|help script|load
		slowlog|get slowlog|help slowlog|len slowlog|reset
		xgroup|help xinfo|help`,
}

// classifiers hold the commands whose class depends on their arguments.
var classifiers = map[string]func(args [][]byte) Class{
	"set":               classifySet,
	"getex":             classifyGetEx,
	"copy":              classifyCopy,
	"expire":            classifyExpire,
	"pexpire":           classifyExpire,
	"expireat":          classifyExpire,
	"pexpireat":         classifyExpire,
	"zadd":              classifyZAdd,
	"geoadd":            classifyGeoAdd,
	"sort":              classifySort,
	"bitfield":          classifyBitField,
	"georadius":         func(args [][]byte) Class { return classifyGeoRadius(args, 6) },
	"georadiusbymember": func(args [][]byte) Class { return classifyGeoRadius(args, 5) },
}

// deferrables hold the commands of which the overlay can execute at least one
// form. always stands for every form.
var deferrables = map[string]func(args [][]byte) bool{
	"set":       deferrableSet,
	"setex":     always,
	"psetex":    always,
	"del":       always,
	"expire":    plainExpire,
	"pexpire":   plainExpire,
	"expireat":  plainExpire,
	"pexpireat": plainExpire,
	"persist":   always,
	"incr":      always,
	"incrby":    always,
	"decr":      always,
	"decrby":    always,
	"append":    always,
	"hset":      always,
	"hmset":     always,
	"hdel":      always,
	"hincrby":   always,
}

// repeatables hold the writes that may be repeated and the others that may not,
// against what their class says. Left out although they may look harmless: HSET,
// DEL, SADD, ZADD, PERSIST (the reply tells what was new), LSET and LTRIM (an
// index may mean another element by then), RENAME (its source is gone), the
// STORE family (the destination may be among the sources).
var repeatables = map[string]func(args [][]byte) bool{
	"set":       repeatableSet,
	"setex":     always,
	"psetex":    always,
	"mset":      always,
	"hmset":     always,
	"setrange":  always,
	"pfmerge":   always,
	"expire":    repeatableExpire,
	"pexpire":   repeatableExpire,
	"expireat":  repeatableExpire,
	"pexpireat": repeatableExpire,

	"client|kill":    never, // replies how many it found
	"client|unblock": never, // replies whether it found one
	"client|pause":   never, // begins again
}

func always([][]byte) bool { return true }

func never([][]byte) bool { return false }

// servedReads are the reads that the overlay answers.
const servedReads = "get mget exists type ttl pttl strlen hget hmget hgetall hlen hexists"

// keyspaceReads name no key and read over all of them.
const keyspaceReads = "keys scan dbsize randomkey"

// replicaNames are the read-only twins of commands of which Redis takes every
// form for a write, so that a replica refuses even those that only read.
var replicaNames = map[string]string{
	"sort":              "sort_ro",
	"bitfield":          "bitfield_ro",
	"georadius":         "georadius_ro",
	"georadiusbymember": "georadiusbymember_ro",
	"getex":             "get",
}

// index joins the lists of this file to the generated table and returns it by
// name.
func index() map[string]*Spec {
	class := make(map[string]Class)
	for c, names := range classes {
		for name := range strings.FieldsSeq(names) {
			class[name] = c
		}
	}
	served, keyspace := set(servedReads), set(keyspaceReads)

	join := func(s *Spec) {
		s.class = class[s.Name]
		if s.class == ClassUnknown && s.flags&flagReadOnly != 0 {
			s.class = ClassRead
		}
		s.classify = classifiers[s.Name]
		s.findKeys = keyFinders[s.Name]
		s.deferrable = deferrables[s.Name]
		s.repeatable = repeatables[s.Name]
		s.canonical = rewrites[s.Name]
		s.replicaName = replicaNames[s.Name]
		s.served = served[s.Name]
		s.keyspace = keyspace[s.Name]
		s.mayWrite = s.flags&flagWrite != 0 || (s.class != ClassRead && s.class != ClassPassthrough)
	}
	names := make(map[string]*Spec, len(table))
	for i := range table {
		s := &table[i]
		join(s)
		for j := range s.subs {
			join(&s.subs[j])
			s.mayWrite = s.mayWrite || s.subs[j].mayWrite
		}
		names[s.Name] = s
	}
	return names
}

func set(names string) map[string]bool {
	m := make(map[string]bool)
	for name := range strings.FieldsSeq(names) {
		m[name] = true
	}
	return m
}
