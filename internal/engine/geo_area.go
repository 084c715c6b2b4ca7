package engine

import "math"

// geoShape is what a search looks into: a circle, or a rectangle when height is
// not negative. Its lengths are in its unit.
type geoShape struct {
	center        geoPoint
	box           bool
	radius        float64
	width, height float64
	unit          float64 // in metres
}

// distance is how far a place is from the centre, in metres, if it lies within.
func (s *geoShape) distance(p geoPoint) (d float64, ok bool) {
	if !s.box {
		d = geoDistance(s.center, p)
		return d, d <= s.radius*s.unit
	}
	if latDistance(p.lat, s.center.lat) > s.height*s.unit/2 {
		return 0, false
	}
	if geoDistance(geoPoint{p.lon, p.lat}, geoPoint{s.center.lon, p.lat}) > s.width*s.unit/2 {
		return 0, false
	}
	return geoDistance(s.center, p), true
}

// bounds is a rectangle around the shape. The side that is nearer to a pole
// counts in each hemisphere.
func (s *geoShape) bounds() (low, high geoPoint) {
	height, width := s.unit*s.radius, s.unit*s.radius
	if s.box {
		height, width = s.unit*(s.height/2), s.unit*(s.width/2)
	}
	lat := degrees(height / earthRadius)
	widest := s.center.lat + lat
	if s.center.lat < 0 {
		widest = s.center.lat - lat
	}
	lon := degrees(width / earthRadius / cos(radians(widest)))
	return geoPoint{s.center.lon - lon, s.center.lat - lat}, geoPoint{s.center.lon + lon, s.center.lat + lat}
}

// step is how fine the cells may be for nine of them to cover the shape.
func (s *geoShape) step() int {
	reach := s.radius
	if s.box {
		reach = math.Sqrt(float64(s.width/2*(s.width/2)) + float64(s.height/2*(s.height/2)))
	}
	reach *= s.unit
	if reach == 0 {
		return geoSteps
	}
	step := 1
	for ; reach < mercatorMax; step++ {
		reach *= 2
	}
	step -= 2 // so that the shape is covered wherever in its cell the centre is
	if lat := math.Abs(s.center.lat); lat > 80 {
		step -= 2
	} else if lat > 66 {
		step--
	}
	return max(1, min(step, geoSteps))
}

// cells are those that may have places within the shape, in the order in which
// Redis looks into them. Where it leaves one out, so do we.
func (s *geoShape) cells() []geoCell {
	low, high := s.bounds()
	step := s.step()
	cell := cellOf(s.center, geoMaxLat, step)
	if step > 1 && !covers(cell, low, high) {
		step--
		cell = cellOf(s.center, geoMaxLat, step)
	}
	var west, east, south, north bool // whether to look there
	west, east, south, north = true, true, true, true
	if step >= 2 {
		cellLow, cellHigh := cell.area()
		south, north = cellLow.lat >= low.lat, cellHigh.lat <= high.lat
		west, east = cellLow.lon >= low.lon, cellHigh.lon <= high.lon
	}
	var cells []geoCell
	add := func(wanted bool, toEast, toNorth int) {
		if !wanted {
			return
		}
		c := cell.moved(toEast, toNorth)
		// Of few cells some are neighbours on both sides. Redis sees it when they
		// follow each other, but not against the one in the middle.
		if n := len(cells); n > 1 && cells[n-1].bits() == c.bits() {
			return
		}
		cells = append(cells, c)
	}
	add(true, 0, 0)
	add(north, 0, 1)
	add(south, 0, -1)
	add(east, 1, 0)
	add(west, -1, 0)
	add(north && east, 1, 1)
	add(north && west, -1, 1)
	add(south && east, 1, -1)
	add(south && west, -1, -1)
	return cells
}

// covers reports whether the cells next to this one reach as far as the bounds.
func covers(cell geoCell, low, high geoPoint) bool {
	_, north := cell.moved(0, 1).area()
	south, _ := cell.moved(0, -1).area()
	_, east := cell.moved(1, 0).area()
	west, _ := cell.moved(-1, 0).area()
	return north.lat >= high.lat && south.lat <= low.lat && east.lon >= high.lon && west.lon <= low.lon
}

// scores is the range of scores of the places in a cell: from low up to, but not
// with, high.
func (c geoCell) scores() (low, high float64) {
	shift := 2 * (geoSteps - c.step)
	return float64(c.bits() << shift), float64((c.bits() + 1) << shift)
}
