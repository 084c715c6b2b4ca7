package overlay

import "github.com/holdfast-cache/holdfast/internal/basis"

// fresh reports whether the call is the first to write a key: what it holds is then
// what the server does.
func (r *ref) fresh() bool { return r.role&roleWritten != 0 && !r.e.held() }

// requireBases claims the seeds of the keys that have no deferred write yet.
func (x *call) requireBases() {
	for i := range x.refs {
		if x.refs[i].fresh() {
			x.know(i)
		}
	}
}

// noteBases notes what those keys hold, before the first step changes it.
func (x *call) noteBases() {
	x.bases = x.bases[:0]
	for i := range x.refs {
		r := &x.refs[i]
		if !r.fresh() {
			continue
		}
		var b basis.Basis
		if r.e.is(flagKnown) {
			r.e.obj.Expire(x.now)
			b = r.e.obj.Basis()
		}
		x.bases = append(x.bases, KeyBasis{Name: r.name, Basis: b})
	}
}
