package engine

// How many entries a group has read, and has yet to read, the server estimates
// from what it knows of deleted entries: the greatest id that XDEL has taken, and
// the first entry. The rules were mended several times, also in bug-fix releases.

// lagRules are the rules of a server.
type lagRules struct {
	// strictTombstones: a deleted entry behind a group's position makes its counter
	// invalid even if it lies before the first entry.
	strictTombstones bool
	// trimmedLag: of a group whose position, with all deleted entries, lies before
	// the first entry, all that is there is to be read; of an empty stream nothing.
	trimmedLag bool
	// trimmedRead: such a group's counter is estimated anew when it reads.
	trimmedRead bool
}

func (s Server) lagRules() lagRules {
	v := s.Version
	if s.Valkey {
		mended := v >= 80101 || (v >= 80003 && v < 80100) || (v >= 70209 && v < 80000)
		return lagRules{strictTombstones: mended, trimmedLag: v >= 90000, trimmedRead: mended}
	}
	mended := v >= 70401 || (v >= 70206 && v < 70400)
	return lagRules{strictTombstones: mended, trimmedLag: mended, trimmedRead: v >= 80001}
}

// lag is how many entries a group has yet to read, where that can be told.
func (s *stream) lag(c *Call, g *streamGroup) (int64, bool) {
	rules, first := c.server.lagRules(), s.firstID()
	switch {
	case s.added == 0 || (rules.trimmedLag && s.length == 0):
		return 0, true
	case rules.trimmedLag && g.lastID.less(first) && s.maxDeleted.less(first):
		return s.length, true
	case g.read != -1 && !s.tombstonesFrom(g.lastID, rules):
		return s.added - g.read, true
	}
	if read := s.positionOf(g.lastID, rules); read != -1 {
		return s.added - read, true
	}
	return 0, false
}

// advance moves a group on to an entry that it reads.
func (s *stream) advance(c *Call, g *streamGroup, id StreamID) {
	rules, from := c.server.lagRules(), id
	if rules.strictTombstones {
		from = g.lastID
	}
	stale := rules.trimmedRead && g.lastID.less(s.firstID())
	switch {
	case g.read != -1 && !stale && !s.tombstonesFrom(from, rules):
		g.read++
	case s.added != 0:
		g.read = s.positionOf(id, rules)
	}
	g.lastID = id
}

// tombstonesFrom reports whether an entry from id on was deleted, as far as is
// known.
func (s *stream) tombstonesFrom(id StreamID, rules lagRules) bool {
	if s.length == 0 || s.maxDeleted == (StreamID{}) {
		return false
	}
	if !rules.strictTombstones && s.maxDeleted.less(s.firstID()) {
		return false
	}
	return id.atMost(s.maxDeleted)
}

// positionOf is the number of the entries added up to id, -1 when that is unknown.
func (s *stream) positionOf(id StreamID, rules lagRules) int64 {
	first := s.firstID()
	switch {
	case s.added == 0:
		return 0
	case s.length == 0 && id.atMost(s.lastID):
		return s.added
	case rules.strictTombstones && id != (StreamID{}) && id.less(s.maxDeleted):
		return -1
	case id == s.lastID:
		return s.added
	case s.lastID.less(id):
		return -1
	case s.maxDeleted != (StreamID{}) && !s.maxDeleted.less(first):
		return -1
	case id.less(first):
		return s.added - s.length
	case id == first:
		return s.added - s.length + 1
	}
	return -1
}
