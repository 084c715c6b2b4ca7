package topology

import (
	"slices"
	"testing"
	"time"
)

const infoMaster = "# Replication\r\nrole:master\r\nconnected_slaves:3\r\nmin_slaves_good_slaves:1\r\n" +
	"slave0:ip=10.0.0.2,port=6380,state=online,offset=14,lag=0\r\n" +
	"slave1:ip=fe80::1,port=6381,state=online,offset=14,lag=1\r\n" +
	"slave2:ip=,port=0,state=wait_bgsave,offset=0,lag=0\r\n" +
	"master_failover_state:no-failover\r\nmaster_replid:6d4322784cf30085950d254062a90a95a2fa1904\r\n" +
	"master_replid2:0000000000000000000000000000000000000000\r\nmaster_repl_offset:1400\r\nsecond_repl_offset:-1\r\n"

const infoReplica = "# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:up\r\n" +
	"master_last_io_seconds_ago:17\r\nmaster_sync_in_progress:0\r\nslave_read_repl_offset:1410\r\nslave_repl_offset:1400\r\n" +
	"slave_priority:0\r\nslave_read_only:0\r\nreplica_announced:1\r\nconnected_slaves:0\r\n" +
	"master_replid:e80b912b81df5239b5e66dd6c78bf925fb8ad05d\r\nmaster_replid2:6d4322784cf30085950d254062a90a95a2fa1904\r\n" +
	"master_repl_offset:1400\r\nsecond_repl_offset:1200\r\n"

func TestReadReplicationOfAMaster(t *testing.T) {
	var n NodeReport
	if !n.readReplication(infoMaster) {
		t.Error("min-replicas-to-write was not noticed")
	}
	if n.Role != RoleMaster || n.Offset != 1400 || n.ReplID[:4] != "6d43" || n.ReplID2 != "" || n.GoodReplicas != 1 {
		t.Errorf("%+v", n)
	}
	if want := []string{"10.0.0.2:6380", "[fe80::1]:6381"}; !slices.Equal(n.Replicas, want) {
		t.Errorf("replicas %v, want %v", n.Replicas, want)
	}
}

func TestReadReplicationOfAReplica(t *testing.T) {
	var n NodeReport
	if n.readReplication(infoReplica) {
		t.Error("a replica has no min-replicas-to-write to ask for")
	}
	if n.Role != RoleReplica || n.Offset != 1400 || n.Master != "10.0.0.1:6379" || !n.LinkUp || n.LastIO != 17*time.Second ||
		!n.Writable || n.Priority != 0 || n.ReplID2[:4] != "6d43" {
		t.Errorf("%+v", n)
	}
}

func TestReadRole(t *testing.T) {
	for _, tc := range []struct {
		name   string
		info   string
		role   any
		want   Role
		master string
	}{
		{"agree", infoMaster, []any{"master", int64(1), []any{}}, RoleMaster, ""},
		{"info denied, master", "", []any{"master", int64(1), []any{}}, RoleMaster, ""},
		{"info denied, replica", "", []any{"slave", "h", int64(7), "connected", int64(1)}, RoleReplica, "h:7"},
		{"role denied", infoReplica, nil, RoleReplica, "10.0.0.1:6379"},
		{"changed between the two", infoReplica, []any{"master", int64(1), []any{}}, RoleMaster, "10.0.0.1:6379"},
		{"sentinel", "", []any{"sentinel", []any{"m"}}, RoleUnknown, ""},
		{"nonsense", "", []any{int64(3)}, RoleUnknown, ""},
		{"short", "", []any{"slave"}, RoleReplica, ""},
		{"wrong types", "", []any{"slave", int64(1), "x"}, RoleReplica, ""},
		{"empty", "", []any{}, RoleUnknown, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var n NodeReport
			n.readReplication(tc.info)
			n.readRole(tc.role)
			if n.Role != tc.want || n.Master != tc.master {
				t.Errorf("role %s master %q, want %s %q", n.Role, n.Master, tc.want, tc.master)
			}
		})
	}
}

func TestReadServerAndPersistence(t *testing.T) {
	var n NodeReport
	n.readServer("# Server\r\nredis_version:7.0.15\r\nrun_id:f772\r\n")
	n.readPersistence("# Persistence\r\nloading:1\r\nasync_loading:0\r\n")
	if n.Version != "7.0.15" || n.RunID != "f772" || !n.Loading {
		t.Errorf("%+v", n)
	}
	n.readServer("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\nrun_id:f773\r\n")
	n.readPersistence("loading:0\r\n")
	if n.Version != "valkey 8.0.1" || n.Loading {
		t.Errorf("%+v", n)
	}
}

// FuzzReadReplication: whatever a server sends, nothing panics and the bounds hold.
func FuzzReadReplication(f *testing.F) {
	f.Add(infoMaster)
	f.Add(infoReplica)
	f.Add("role:master\nconnected_slaves:99999999999999999999\nslave0:ip\n:\n")
	f.Fuzz(func(t *testing.T, text string) {
		var n NodeReport
		n.readReplication(text)
		if len(n.Replicas) > rosterLimit {
			t.Errorf("%d replicas", len(n.Replicas))
		}
	})
}
