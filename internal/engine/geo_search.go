package engine

import (
	"cmp"
	"slices"
)

// geoForm is what the name of a search says.
type geoForm struct {
	search   bool // GEOSEARCH and GEOSEARCHSTORE: centre and shape are options
	member   bool // GEORADIUSBYMEMBER
	store    bool // the first key is a destination
	mayStore bool // a destination may be among the options
}

// geoQuery is a search.
type geoQuery struct {
	geoForm
	source *Object
	z      *zset // nil when there is none
	shape  geoShape

	centered, shaped   bool
	coord, dist, hash  bool // what to reply with beside the member
	order              int  // 1 is from the nearest, -1 from the farthest, 0 as found
	count              int64
	any                bool // the first found do
	into               *Object
	stores, storesDist bool
	refused            bool // a destination that the call was not told of
}

// geoHit is what a search found.
type geoHit struct {
	zitem
	place geoPoint
	dist  float64 // in the unit of the search
}

// geoSearch is GEOSEARCH, GEORADIUS and their relatives.
func (c *Call) geoSearch(form geoForm) {
	q := geoQuery{geoForm: form}
	first, source := 0, 0
	if form.store {
		source = 1
	}
	var ok bool
	if q.source, q.z, ok = c.wholeZSetAt(source); !ok {
		return
	}
	switch {
	case form.store:
		first, q.stores, q.into = 3, true, c.Key(0)
	case form.search:
		first = 2
	default:
		if first, ok = c.geoCenter(&q); !ok {
			return
		}
	}
	if !c.geoOptions(&q, first) || !c.geoCheck(&q) {
		return
	}
	if q.refused {
		c.notServed("with several destinations")
		return
	}
	var hits []geoHit
	if q.z != nil {
		hits = q.find()
	}
	if q.stores {
		c.geoStore(&q, hits)
		return
	}
	c.geoReply(&q, hits)
}

// geoCenter reads the arguments before the options of GEORADIUS and
// GEORADIUSBYMEMBER; of the latter nothing counts where there is no sorted set.
func (c *Call) geoCenter(q *geoQuery) (first int, ok bool) {
	if !q.member {
		if q.shape.center, ok = c.parsePlace(2); !ok {
			return 0, false
		}
		return 6, c.geoRadius(q, 4)
	}
	if q.z == nil {
		return 5, true
	}
	return 5, c.geoMember(q, c.args[2]) && c.geoRadius(q, 3)
}

// geoMember centres the search on a member.
func (c *Call) geoMember(q *geoQuery, member []byte) bool {
	score, k := q.z.lookup(member)
	if k != present {
		c.Error(errGeoMember)
		return false
	}
	q.shape.center = geoPlace(score)
	return true
}

// geoRadius reads a radius and its unit.
func (c *Call) geoRadius(q *geoQuery, i int) (ok bool) {
	if q.shape.radius, ok = parseScore(c.args[i]); !ok {
		c.Error("ERR need numeric radius")
		return false
	}
	if q.shape.radius < 0 {
		c.Error("ERR radius cannot be negative")
		return false
	}
	q.shape.unit, ok = c.parseUnit(c.args[i+1])
	return ok
}

// geoBox reads a width, a height and their unit.
func (c *Call) geoBox(q *geoQuery, i int) (ok bool) {
	q.shape.box = true
	if q.shape.width, ok = parseScore(c.args[i]); !ok {
		c.Error("ERR need numeric width")
		return false
	}
	if q.shape.height, ok = parseScore(c.args[i+1]); !ok {
		c.Error("ERR need numeric height")
		return false
	}
	if q.shape.width < 0 || q.shape.height < 0 {
		c.Error("ERR height or width cannot be negative")
		return false
	}
	q.shape.unit, ok = c.parseUnit(c.args[i+2])
	return ok
}

func (c *Call) geoOptions(q *geoQuery, i int) bool {
	for i < len(c.args) {
		arg, more := c.args[i], len(c.args)-i-1
		used := 1
		switch {
		case is(arg, "withdist"):
			q.dist = true
		case is(arg, "withhash"):
			q.hash = true
		case is(arg, "withcoord"):
			q.coord = true
		case is(arg, "any"):
			q.any = true
		case is(arg, "asc"):
			q.order = 1
		case is(arg, "desc"):
			q.order = -1
		case is(arg, "count") && more > 0:
			n, ok := parseInt(c.args[i+1])
			if !ok {
				c.Error(errNotInteger)
				return false
			}
			if n <= 0 {
				c.Error("ERR COUNT must be > 0")
				return false
			}
			q.count, used = n, 2
		case q.mayStore && more > 0 && (is(arg, "store") || is(arg, "storedist")):
			q.stores, q.storesDist, used = true, is(arg, "storedist"), 2
			q.into = c.keyAt(i + 1)
			q.refused = q.into == nil
		case q.store && is(arg, "storedist"):
			q.storesDist = true
		default:
			ok := false
			if used, ok = c.geoSearchOption(q, i, more); !ok {
				return false
			}
		}
		i += used
	}
	return true
}

// geoSearchOption reads the options that only GEOSEARCH and GEOSEARCHSTORE have:
// used is how many arguments it took.
func (c *Call) geoSearchOption(q *geoQuery, i, more int) (used int, ok bool) {
	arg := c.args[i]
	switch {
	case !q.search:
	case is(arg, "frommember") && more > 0 && !q.centered:
		q.centered = true
		return 2, q.z == nil || c.geoMember(q, c.args[i+1])
	case is(arg, "fromlonlat") && more > 1 && !q.centered:
		q.centered = true
		q.shape.center, ok = c.parsePlace(i + 1)
		return 3, ok
	case is(arg, "byradius") && more > 1 && !q.shaped:
		q.shaped = true
		return 3, c.geoRadius(q, i+1)
	case is(arg, "bybox") && more > 2 && !q.shaped:
		q.shaped = true
		return 4, c.geoBox(q, i+1)
	case is(arg, "bypolygon") && c.server.Valkey && c.server.Version >= 90000:
		c.notServed("with a polygon")
		return 0, false
	}
	c.Error(errSyntax)
	return 0, false
}

// geoCheck checks how the options go together.
func (c *Call) geoCheck(q *geoQuery) bool {
	switch {
	case q.stores && (q.dist || q.hash || q.coord):
		name := "STORE option in GEORADIUS"
		if q.store {
			name = "GEOSEARCHSTORE"
		}
		c.Error("ERR " + name + " is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
	case q.search && !q.centered:
		c.Error("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for " + string(cString(c.args[0])))
	case q.search && !q.shaped:
		c.Error("ERR exactly one of BYRADIUS and BYBOX can be specified for " + string(cString(c.args[0])))
	case q.any && q.count == 0:
		c.Error("ERR the ANY argument requires COUNT argument")
	default:
		return true
	}
	return false
}

// find looks for what lies within the shape, puts it in order and keeps as much as
// is wanted. Places equally far away stay in the order in which they were found.
func (q *geoQuery) find() []geoHit {
	if q.count > 0 && q.order == 0 && !q.any {
		q.order = 1
	}
	var hits []geoHit
	enough := func() bool { return q.any && int64(len(hits)) >= q.count }
	for _, cell := range q.shape.cells() {
		if enough() {
			break
		}
		low, high := cell.scores()
		b := zbound{by: zByScore, score: low}
		for cu := q.z.at(q.z.rank(&b)); ; {
			it := cu.next()
			if it == nil || it.score >= high || enough() {
				break
			}
			place := geoPlace(it.score)
			if d, ok := q.shape.distance(place); ok {
				hits = append(hits, geoHit{zitem: *it, place: place, dist: d})
			}
		}
	}
	n := len(hits)
	if q.count > 0 && int64(n) > q.count {
		n = int(q.count)
	}
	switch {
	case q.order == 0:
	case n == len(hits):
		slices.SortStableFunc(hits, q.compare)
	default:
		q.partialSort(hits, 0, n)
	}
	hits = hits[:n]
	for i := range hits {
		hits[i].dist /= q.shape.unit
	}
	return hits
}

func (q *geoQuery) compare(a, b geoHit) int { return q.order * cmp.Compare(a.dist, b.dist) }

// geoStore puts what was found into the destination.
func (c *Call) geoStore(q *geoQuery, hits []geoHit) {
	items := make([]zitem, len(hits))
	for i := range hits {
		items[i] = hits[i].zitem
		if q.storesDist {
			items[i].score = hits[i].dist
		}
	}
	c.zsetStoreItems(q.into, items)
}

func (c *Call) geoReply(q *geoQuery, hits []geoHit) {
	parts := 1
	for _, with := range [...]bool{q.dist, q.hash, q.coord} {
		if with {
			parts++
		}
	}
	c.Array(len(hits))
	for i := range hits {
		hit := &hits[i]
		if parts > 1 {
			c.Array(parts)
		}
		c.BulkString(hit.member)
		if q.dist {
			c.distance(hit.dist)
		}
		if q.hash {
			c.Int(int64(hit.score))
		}
		if q.coord {
			c.place(hit.place)
		}
	}
}
