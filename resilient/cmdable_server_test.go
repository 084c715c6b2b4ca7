package resilient_test

import (
	"time"

	"github.com/redis/go-redis/v9"
)

// The script "return 1", which the test loads everywhere.
const loadedScript = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"

// serverCalls are dataCalls of the methods of scripts, messages, connections and
// servers. Those that would do harm are refused, and therefore here.
var serverCalls = map[string][]any{
	"ACLCat":        {},
	"ACLCatArgs":    {&redis.ACLCatArgs{Category: "scripting"}},
	"ACLDelUser":    {"nobody"},
	"ACLDryRun":     {"default", "get", "@s:1"},
	"ACLGenPass":    {64},
	"ACLList":       {},
	"ACLLog":        {5},
	"ACLLogReset":   {},
	"ACLSetUser":    {"nobody", "off"},
	"ACLUsers":      {},
	"ACLWhoAmI":     {},
	"BgRewriteAOF":  {},
	"BgSave":        {},
	"ClientGetName": {},
	"ClientID":      {},
	"ClientInfo":    {},
	// There are no such connections.
	"ClientKill":                 {"127.0.0.1:1"},
	"ClientKillByFilter":         {"id", "999999999"},
	"ClientList":                 {},
	"ClientMaintNotifications":   {true, "none"},
	"ClientPause":                {time.Millisecond},
	"ClientTracking":             {true, &redis.ClientTrackingOptions{}},
	"ClientTrackingOff":          {},
	"ClientTrackingOn":           {&redis.ClientTrackingOptions{}},
	"ClientUnblock":              {999999999},
	"ClientUnblockWithError":     {999999999},
	"ClientUnpause":              {},
	"ClusterAddSlots":            {1},
	"ClusterAddSlotsRange":       {1, 2},
	"ClusterCountFailureReports": {"node"},
	"ClusterCountKeysInSlot":     {1},
	"ClusterDelSlots":            {1},
	"ClusterDelSlotsRange":       {1, 2},
	"ClusterFailover":            {},
	"ClusterForget":              {"node"},
	"ClusterGetKeysInSlot":       {1, 2},
	"ClusterInfo":                {},
	"ClusterKeySlot":             {"@s:1"},
	"ClusterLinks":               {},
	"ClusterMeet":                {"127.0.0.1", "1"},
	"ClusterMyID":                {},
	"ClusterMyShardID":           {},
	"ClusterNodes":               {},
	"ClusterReplicate":           {"node"},
	"ClusterResetHard":           {},
	"ClusterResetSoft":           {},
	"ClusterSaveConfig":          {},
	"ClusterShards":              {},
	"ClusterSlaves":              {"node"},
	"ClusterSlots":               {},
	"Command":                    {},
	"CommandGetKeys":             {"mset", "@s:1", "value", "@s:2", "value"},
	"CommandGetKeysAndFlags":     {"getset", "@s:1", "value"},
	"CommandList":                {&redis.FilterBy{Pattern: "x*"}},
	"ConfigGet":                  {"maxmemory*"},
	"ConfigResetStat":            {},
	"ConfigRewrite":              {},
	"ConfigSet":                  {"maxmemory", "0"},
	"DBSize":                     {},
	"DebugObject":                {"@s:1"},
	"Echo":                       {"message"},
	"Eval":                       {"return redis.call('get', KEYS[1])", []string{"@s:1"}, "argument"},
	"EvalRO":                     {"return {KEYS[1], ARGV[1], redis.call('get', KEYS[1])}", []string{"@s:1"}, "argument"},
	"EvalSha":                    {loadedScript, []string{"@s:1"}},
	"EvalShaRO":                  {loadedScript, []string{"@s:1"}},
	"EvalShaRO unknown":          {"ffffffffffffffffffffffffffffffffffffffff", []string{"@s:1"}},
	"FCall":                      {"none", []string{"@s:1"}},
	"FCallRO":                    {"none", []string{"@s:1"}},
	"FCallRo":                    {"none", []string{"@s:1"}},
	"FlushAll":                   {},
	"FlushAllAsync":              {},
	"FlushDB":                    {},
	"FlushDBAsync":               {},
	"FunctionDelete":             {"library"},
	"FunctionDump":               {},
	"FunctionFlush":              {},
	"FunctionFlushAsync":         {},
	"FunctionKill":               {},
	"FunctionList":               {redis.FunctionListQuery{WithCode: true}},
	"FunctionLoad":               {"#!lua name=library\n"},
	"FunctionLoadReplace":        {"#!lua name=library\n"},
	"FunctionRestore":            {"payload"},
	"FunctionStats":              {},
	"Info":                       {"replication"},
	"InfoMap":                    {"server"},
	"LastSave":                   {},
	"Latency":                    {},
	"LatencyReset":               {"none"},
	"MemoryUsage":                {"@s:1", 5},
	"ModuleLoadex":               {&redis.ModuleLoadexConfig{Path: "/none"}},
	"Ping":                       {},
	"PubSubChannels":             {"*"},
	"PubSubNumPat":               {},
	"PubSubNumSub":               {"channel"},
	"PubSubShardChannels":        {"*"},
	"PubSubShardNumSub":          {"channel"},
	"Publish":                    {"channel", "message"},
	"ReadOnly":                   {},
	"ReadWrite":                  {},
	"ReplicaOf":                  {"127.0.0.1", "1"},
	"SPublish":                   {"channel", "message"},
	"Save":                       {},
	"ScriptExists":               {loadedScript, "ffffffffffffffffffffffffffffffffffffffff"},
	"ScriptFlush":                {},
	"ScriptKill":                 {},
	"ScriptLoad":                 {"return 1"},
	"ShutdownNoSave":             {},
	"ShutdownSave":               {},
	"SlaveOf":                    {"127.0.0.1", "1"},
	"SlowLogGet":                 {5},
	"SlowLogLen":                 {},
	"SlowLogReset":               {},
	"Time":                       {},
}

// moduleCalls are dataCalls of methods that need more than defaultArgs, or of which
// the installed server may have the command.
var moduleCalls = map[string][]any{
	"ARGrep":           {"@missing:1", "-", "+", predicates},
	"ARGrepWithValues": {"@missing:1", "-", "+", predicates},
	"FTCreate": {
		"index", &redis.FTCreateOptions{OnHash: true, Prefix: []any{"@h:"}},
		&redis.FieldSchema{FieldName: "field", FieldType: redis.SearchFieldTypeText},
	},
	"FTHybrid":            {"index", "*", "vector", &redis.VectorFP32{Val: []byte("\x00\x00\x80?")}},
	"JSONMGet":            {"$", "@missing:1"},
	"JSONMSet":            {"@missing:1", "$", "1"},
	"JSONMSetArgs":        {[]redis.JSONSetArgs{{Key: "@missing:1", Path: "$", Value: "1"}}},
	"JSONSetMode":         {"@missing:1", "$", "1", "NX"},
	"JSONSetWithArgs":     {"@missing:1", "$", "1", &redis.JSONSetArgsOptions{Mode: "NX"}},
	"TSMAdd":              {[][]any{{"@missing:1", 1, 0.5}}},
	"TSNRange":            {[]string{"@missing:1"}, 1, 9},
	"TSNRangeWithArgs":    {[]string{"@missing:1"}, 1, 9, &redis.TSNRangeOptions{}},
	"TSNRevRange":         {[]string{"@missing:1"}, 1, 9},
	"TSNRevRangeWithArgs": {[]string{"@missing:1"}, 1, 9, &redis.TSNRevRangeOptions{}},

	"VAdd":                              {"@v:1", "new", vector},
	"VAddWithArgs":                      {"@v:1", "new", vector, &redis.VAddArgs{NoQuant: true}},
	"VCard":                             {"@v:1"},
	"VClearAttributes":                  {"@v:1", "element"},
	"VDim":                              {"@v:1"},
	"VEmb":                              {"@v:1", "element", false},
	"VGetAttr":                          {"@v:1", "element"},
	"VInfo":                             {"@v:1"},
	"VIsMember":                         {"@v:1", "element"},
	"VLinks":                            {"@v:1", "element"},
	"VLinksWithScores":                  {"@v:1", "element"},
	"VRandMember":                       {"@v:1"},
	"VRandMemberCount":                  {"@v:1", 1},
	"VRange":                            {"@v:1", "-", "+", 5},
	"VRem":                              {"@v:1", "element"},
	"VSetAttr":                          {"@v:1", "element", `{"year":1950}`},
	"VSim":                              {"@v:1", vector},
	"VSimWithArgs":                      {"@v:1", vector, &redis.VSimArgs{Count: 3}},
	"VSimWithArgsWithAttribs":           {"@v:1", vector, &redis.VSimArgs{Count: 3}},
	"VSimWithArgsWithScores":            {"@v:1", vector, &redis.VSimArgs{Count: 3}},
	"VSimWithArgsWithScoresWithAttribs": {"@v:1", vector, &redis.VSimArgs{Count: 3}},
	"VSimWithScores":                    {"@v:1", vector},
}

var (
	predicates = &redis.ARGrepArgs{Predicates: []redis.ARGrepPredicate{{Type: redis.ARGrepMatch, Value: "value"}}}
	vector     = &redis.VectorValues{Val: []float64{1, 2, 3}}
)

// modules are the families of methods whose commands the overlay does not know: a
// method with one of these prefixes is called with defaultArgs, if it has no call of
// its own.
var modules = []string{"AR", "BF", "CF", "CMS", "FT", "JSON", "TDigest", "TS", "TopK", "V"}

// leftOut are the methods that are not called, with the reasons. There must be no
// others: a method that go-redis gets anew fails the test until somebody has given it
// a call, or a reason.
var leftOut = map[string]string{
	"Shutdown":        "the Client has a method of its own by that name, which replays and closes",
	"Quit":            "go-redis panics: not implemented",
	"JSONDebugMemory": "go-redis panics: not implemented",
}
