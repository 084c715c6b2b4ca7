package topology

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// defaultPriority is replica-priority where INFO does not tell it.
const defaultPriority = 100

// infoFields splits the text of an INFO section.
func infoFields(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			fields[key] = value
		}
	}
	return fields
}

func (n *NodeReport) readServer(text string) {
	f := infoFields(text)
	n.RunID = f["run_id"]
	n.Version = f["redis_version"]
	if v := f["valkey_version"]; v != "" {
		n.Version = "valkey " + v
	}
}

func (n *NodeReport) readPersistence(text string) {
	n.Loading = infoFields(text)["loading"] == "1"
}

// readReplication takes what INFO replication tells, and returns whether min-replicas-to-write is
// set: only then is the number of good replicas told.
func (n *NodeReport) readReplication(text string) bool {
	f := infoFields(text)
	switch f["role"] {
	case "master":
		n.Role = RoleMaster
		n.Offset = number(f["master_repl_offset"], 0)
	case "slave":
		n.Role = RoleReplica
		n.Offset = number(f["slave_repl_offset"], 0)
		n.Master = hostPort(f["master_host"], f["master_port"])
		n.LinkUp = f["master_link_status"] == "up"
		n.LastIO = time.Duration(number(f["master_last_io_seconds_ago"], -1)) * time.Second
		n.Writable = f["slave_read_only"] == "0"
		n.Priority = int(number(f["slave_priority"], defaultPriority))
	}
	n.ReplID, n.ReplID2 = f["master_replid"], f["master_replid2"]
	if strings.Trim(n.ReplID2, "0") == "" {
		n.ReplID2 = "" // forty zeros: there is none
	}
	n.Replicas = replicasOf(f)
	good, limited := f["min_slaves_good_slaves"]
	n.GoodReplicas = int(number(good, 0))
	return limited && n.Role == RoleMaster
}

// replicasOf reads the slaveN lines, "ip=127.0.0.1,port=6380,state=online,offset=14,lag=0".
func replicasOf(f map[string]string) []string {
	count := min(number(f["connected_slaves"], 0), rosterLimit)
	var out []string
	for i := range count {
		line := f["slave"+strconv.FormatInt(i, 10)]
		var ip, port string
		for part := range strings.SplitSeq(line, ",") {
			switch key, value, _ := strings.Cut(part, "="); key {
			case "ip":
				ip = value
			case "port":
				port = value
			}
		}
		if addr := hostPort(ip, port); addr != "" {
			out = append(out, addr)
		}
	}
	return out
}

// readRole takes ROLE's answer, which wins over INFO: it is made for this question.
func (n *NodeReport) readRole(reply any) {
	items, ok := reply.([]any)
	if !ok || len(items) == 0 {
		return
	}
	switch items[0] {
	case "master":
		n.Role = RoleMaster
	case "slave":
		n.Role = RoleReplica
		if n.Master == "" && len(items) >= 3 {
			host, _ := items[1].(string)
			port, _ := items[2].(int64)
			n.Master = hostPort(host, strconv.FormatInt(port, 10))
		}
	default:
		n.Role = RoleUnknown // a Sentinel
	}
}

// askMinReplicas learns min-replicas-to-write, which INFO does not tell. Where CONFIG is denied it is
// taken for 1, the least that it can be. Only failures of the connection are errors.
func (n *NodeReport) askMinReplicas(ctx context.Context, c *redis.Client) error {
	n.MinReplicas = 1
	config, err := c.ConfigGet(ctx, "min-replicas-to-write").Result()
	if err != nil && !isReply(err) {
		return err
	}
	n.MinReplicas = max(1, int(number(config["min-replicas-to-write"], 1)))
	return nil
}

// number reads an integer; anything else is def.
func number(text string, def int64) int64 {
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return def
	}
	return v
}

// hostPort joins an address; "" when a part is missing or senseless.
func hostPort(host, port string) string {
	if p := number(port, 0); host == "" || p <= 0 || p > 65535 {
		return ""
	}
	return net.JoinHostPort(host, port)
}
