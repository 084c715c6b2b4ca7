package command

import "strings"

// classes lists every command and subcommand that does not simply have the
// server's readonly flag, which means ClassRead. Nothing is taken from the write
// flag: whether a write may be deferred is for a person to decide, and a new
// command must not get an answer by accident.
//
// The commands that classifiers lists too have their plain form's class here.
var classes = map[Class]string{
	ClassRead: "bless|scan",

	ClassBlind: "set setex psetex mset msetex",

	// The writes of vector sets, arrays, fieldsets and modules are here for their
	// name; deferrables has none of them.
	ClassAccumulating: `
		del unlink expire pexpire expireat pexpireat persist rename
		getex append setrange incr incrby decr decrby incrbyfloat setbit bitfield bitop
		hset hmset hdel hincrby hincrbyfloat
		hexpire hpexpire hexpireat hpexpireat hpersist hgetex hsetex
		lpush rpush lpushx rpushx lset linsert lrem ltrim
		sadd srem sinterstore sunionstore sdiffstore
		zadd zincrby zrem zremrangebylex zremrangebyrank zremrangebyscore
		zrangestore zunionstore zinterstore zdiffstore
		xadd xdel xdelex xtrim xack xidmprecord
		pfadd pfmerge
		geoadd geosearchstore georadius georadiusbymember
		sort
		bless|clear bless|set
		vadd vrem vsetattr
		ardel ardelrange arinsert armset arring arseek arset
		json.arrappend json.arrinsert json.arrtrim json.clear json.del json.forget json.merge
		json.mset json.numincrby json.nummultby json.numpowby json.set json.strappend json.toggle
		ft.sugadd ft.sugdel
		ts.add ts.alter ts.create ts.createrule ts.decrby ts.del ts.deleterule ts.incrby ts.madd
		bf.add bf.insert bf.loadchunk bf.madd bf.reserve
		cf.add cf.addnx cf.del cf.insert cf.insertnx cf.loadchunk cf.reserve
		cms.incrby cms.initbydim cms.initbyprob cms.merge
		tdigest.add tdigest.create tdigest.merge tdigest.reset
		topk.add topk.incrby topk.reserve`,

	ClassClaiming: `
		setnx getset getdel delex delifeq msetnx increx renamenx copy hsetnx hgetdel
		lpop rpop lmpop rpoplpush lmove lmovem blpop brpop blmpop brpoplpush blmove blmovem
		spop smove
		zpopmin zpopmax zmpop bzpopmin bzpopmax bzmpop
		xreadgroup xclaim xautoclaim xackdel xnack xsetid xcfgset
		xgroup|create xgroup|createconsumer xgroup|delconsumer xgroup|destroy xgroup|setid
		json.arrpop`,

	ClassScript: "eval evalsha fcall",

	ClassPublish: "publish spublish",

	ClassAdmin: `
		flushdb flushall swapdb sflush trimslots move migrate restore restore-asking
		wait waitaof failover replicaof slaveof shutdown debug
		save bgsave bgrewriteaof pfdebug pfselftest
		backup|abort backup|cleanup backup|seal backup|start
		config|set config|rewrite config|resetstat
		hotkeys|start hotkeys|stop
		script|flush script|kill
		function|delete function|flush function|kill function|load function|restore
		acl|deluser acl|load acl|save acl|setuser
		module|load module|loadex module|unload
		memory|purge
		cluster|addslots cluster|addslotsrange cluster|bumpepoch cluster|cancelslotmigrations
		cluster|delslots cluster|delslotsrange cluster|failover cluster|flushslot cluster|flushslots
		cluster|forget cluster|meet cluster|migrateslots cluster|migration cluster|replicate
		cluster|reset cluster|saveconfig cluster|set-config-epoch cluster|setslot cluster|syncslots
		ft.aliasadd ft.aliasdel ft.aliasupdate ft.alter ft.config ft.create ft.dictadd ft.dictdel
		ft.dropindex ft.synupdate`,

	// CLIENT REPLY and its like alter how one connection answers: on a pooled one
	// they would put every later caller out of step. A fieldset belongs to one
	// connection too.
	ClassSession: `
		watch unwatch multi exec discard select auth hello reset quit
		asking readonly readwrite
		subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe
		monitor sync psync replconf
		client|reply client|tracking client|caching client|capa client|import-source
		himport|prepare himport|set himport|discard himport|discardall
		script|debug`,

	// The bare names of containers are here because the server answers them with
	// an error, but for COMMAND.
	ClassPassthrough: `
		ping echo info time role lastsave lolwut
		acl backup bless client cluster command commandlog config function himport hotkeys latency
		memory module object pubsub script slowlog xgroup xinfo
		acl|cat acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|log acl|users acl|whoami
		backup|help backup|list backup|status
		bless|help
		client|getname client|getredir client|help client|id client|info client|kill client|list
		client|no-evict client|no-touch client|pause client|setinfo client|setname client|trackinginfo
		client|unblock client|unpause
		cluster|count-failure-reports cluster|countkeysinslot cluster|getkeysinslot
		cluster|getslotmigrations cluster|help cluster|info cluster|keyslot cluster|links cluster|myid
		cluster|myshardid cluster|nodes cluster|replicas cluster|shards cluster|slaves cluster|slot-stats
		cluster|slots
		command|count command|docs command|getkeys command|getkeysandflags command|help
		command|info command|list
		commandlog|get commandlog|help commandlog|len commandlog|reset
		config|get config|help
		function|dump function|help function|list function|stats
		himport|help
		hotkeys|get hotkeys|help hotkeys|reset
		latency|doctor latency|graph latency|help latency|histogram latency|history
		latency|latest latency|reset
		memory|doctor memory|help memory|malloc-stats memory|stats
		module|help module|list
		object|help
		pubsub|channels pubsub|help pubsub|numpat pubsub|numsub pubsub|shardchannels pubsub|shardnumsub
		script|exists script|help script|load script|show
		slowlog|get slowlog|help slowlog|len slowlog|reset
		xgroup|help xinfo|help`,
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
	"msetex":    repeatableMSetEx,
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
	"ft.cursor":      never, // the next rows each time
}

func always([][]byte) bool { return true }

func never([][]byte) bool { return false }

// servedReads are the commands whose reads the overlay answers. Not among them:
// those that tell how a server keeps a value (OBJECT, MEMORY, DUMP), scripts, and
// those of modules.
const servedReads = `
	exists type touch ttl pttl expiretime pexpiretime
	get mget getex strlen getrange substr lcs
	getbit bitcount bitpos bitfield bitfield_ro
	hget hmget hgetall hkeys hvals hlen hstrlen hexists hrandfield hscan
	httl hpttl hexpiretime hpexpiretime
	lrange lindex llen lpos
	smembers sismember smismember scard srandmember sinter sunion sdiff
	sintercard sscan
	zcard zcount zdiff zinter zintercard zlexcount zmscore zrandmember zrange zrangebylex
	zrangebyscore zrank zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion
	xrange xrevrange xlen xread xpending xinfo|stream xinfo|groups xinfo|consumers
	pfcount
	geodist geohash geopos geosearch georadius georadius_ro georadiusbymember georadiusbymember_ro
	sort sort_ro`

// keyspaceReads name no key and read over all of them, or over what an index has
// of them.
const keyspaceReads = `
	keys scan dbsize randomkey clusterscan
	ft.search ft.aggregate ft.hybrid ft.profile ft.tagvals ft.spellcheck
	ts.mget ts.mrange ts.mrevrange ts.queryindex ts.querylabels`

// counters are the commands whose replies are used as identities and limits, so
// that a reply which is only an estimate does harm.
const counters = "incr incrby decr decrby hincrby incrbyfloat hincrbyfloat"

// flushes change or drop keys that they do not name.
const flushes = "flushall flushdb swapdb sflush trimslots cluster|flushslot"

// replicaNames are the read-only twins of commands of which Redis takes every
// form for a write, so that a replica refuses even those that only read.
var replicaNames = map[string]string{
	"sort":              "sort_ro",
	"bitfield":          "bitfield_ro",
	"georadius":         "georadius_ro",
	"georadiusbymember": "georadiusbymember_ro",
	"getex":             "get",
}

// index joins the lists of this package to the generated table and returns it by
// name.
func index() map[string]*Spec {
	class := make(map[string]Class)
	for c, names := range classes {
		for name := range strings.FieldsSeq(names) {
			class[name] = c
		}
	}
	var (
		deferred = defers()
		served   = set(servedReads)
		keyspace = set(keyspaceReads)
		counter  = set(counters)
		flushing = set(flushes)
	)
	join := func(s *Spec) {
		s.class = class[s.Name]
		if s.class == ClassUnknown && s.flags&flagReadOnly != 0 {
			s.class = ClassRead
		}
		s.classify = classifiers[s.Name]
		s.findKeys = keyFinders[s.Name]
		s.deferrable = deferred[s.Name]
		s.repeatable = repeatables[s.Name]
		s.canonical = rewrites[s.Name]
		s.estimated = estimates[s.Name]
		s.replicaName = replicaNames[s.Name]
		s.served = served[s.Name]
		s.keyspace = keyspace[s.Name]
		s.counter = counter[s.Name]
		s.flushes = flushing[s.Name]
		s.mayWrite = s.flags&flagWrite != 0 || (s.class != ClassRead && s.class != ClassPassthrough)
	}
	names := make(map[string]*Spec, len(table))
	for i := range table {
		s := &table[i]
		join(s)
		servedSubs, keyedSubs := 0, 0
		for j := range s.subs {
			sub := &s.subs[j]
			join(sub)
			s.mayWrite = s.mayWrite || sub.mayWrite
			if len(sub.keys) > 0 {
				keyedSubs++
			}
			if sub.served {
				servedSubs++
			}
		}
		s.served = s.served || (servedSubs > 0 && servedSubs == keyedSubs)
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
