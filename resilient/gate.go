package resilient

import (
	"fmt"

	"github.com/holdfast-cache/holdfast/internal/topology"
)

// errPartitioned refuses a write beside a primary that others write to.
var errPartitioned = fmt.Errorf("%w: others go on writing", ErrNoPrimary)

// errRights refuses a write that could not be replayed.
var errRights = fmt.Errorf("%w: deferral is off, as rights are missing", ErrNoPrimary)

// partitioned reports whether there is a primary that others reach and we don't.
func (rt *route) partitioned() bool {
	return rt.write == nil && rt.view.Cause == topology.CausePartitioned
}

// mayDefer says why no write may be deferred at this time, if so. What was deferred
// before stays, and is read and replayed.
func (r *router) mayDefer(rt *route) error {
	if rt.partitioned() && !r.partition {
		return errPartitioned
	}
	if r.lacking.Load() != nil {
		return errRights
	}
	return nil
}
