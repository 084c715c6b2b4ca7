package resilient

// Shards tells what the client believes about each of its shards, in the order of
// their names: one for a standalone group, one for each owner of slots over a Cluster.
// Of a Cluster that no server has told anything of it is empty.
func (c *Client) Shards() []ShardState { return c.backend.states() }

func (l *lifecycle) states() []ShardState { return []ShardState{l.state()} }
