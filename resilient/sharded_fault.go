package resilient

import (
	"errors"
	"net"

	"github.com/holdfast-cache/holdfast/internal/topology"
)

// faultOf is the package's, or faultOfShard where a client chooses the server by
// itself, as over a Cluster; there a slot that is on the move is a fault, too.
func (r *router) faultOf(err error) fault {
	f := fault(0)
	if r.laneOf == nil {
		f = faultOf(err)
	} else if f = faultOfShard(err); f == faultNone && err != nil && passes(err) {
		return faultMoving
	}
	if f == faultNone && r.overload && overloadOf(err) != topology.OverloadNone {
		return faultOverload
	}
	return f
}

// misleading are servers whose client may send what is meant for the primary at addr to
// another server of the shard.
type misleading interface{ misleads(addr string) bool }

// concerns reports whether a fault tells of the server at addr. A Cluster client whose
// map of slots is old asks a server that is no primary any more, or is gone.
func (r *router) concerns(addr string, f fault, err error) bool {
	var op *net.OpError
	if m, can := r.nodes.(misleading); can && f == faultNotWritable && m.misleads(addr) {
		return false
	}
	if r.laneOf == nil || f != faultUnsent || !errors.As(err, &op) || op.Addr == nil {
		return true
	}
	return op.Addr.String() == addr
}
