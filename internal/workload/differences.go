package workload

// comparison is how two replies to one command are compared where their bytes
// differ. None of these lets a value differ: an unordered reply has the same
// elements, a random one is judged by what it was drawn from, and a time to live
// is the same deadline read at two moments.
type comparison uint8

const (
	compareBytes      comparison = iota
	compareUnordered             // elements, or field-value pairs, in any order
	comparePairs                 // as a flat array of pairs in any order
	compareRandom                // the same number of elements
	compareTime                  // within timeTolerance
	compareScan                  // the cursor does not count; elements, or pairs, in any order; of a part that they are in the other
	compareStreamInfo            // times within timeTolerance; radix-tree-keys and -nodes do not count
)

// timeTolerance is how far two readings of one deadline may lie apart, in
// milliseconds.
const timeTolerance = 20_000

// difference is an allowed difference and its reason.
type difference struct {
	commands string
	how      comparison
	reason   string
}

// differences are all that two right answers may differ in.
var differences = []difference{
	{
		"smembers sinter sunion sdiff hkeys hvals keys", compareUnordered,
		"Redis gives the elements of a hash table in the order of its buckets, which no client may rely on",
	},
	{"hgetall", comparePairs, "as above, field by field"},
	{"srandmember hrandfield zrandmember randomkey", compareRandom, "the reply is drawn at random"},
	{"ttl pttl", compareTime, "two processes look at their clocks at different moments"},
	{"httl hpttl", compareTime, "as above, field by field"},
	{"scan hscan sscan zscan", compareScan, "cursors are the server's own, and the order is not defined"},
	{
		"xpending xinfo", compareStreamInfo,
		"idle times are two readings of two clocks; radix-tree-keys and radix-tree-nodes tell where the server has cut " +
			"the stream into nodes, which a copy of the stream does not show (of a stream that grew here they are the same)",
	},
}
