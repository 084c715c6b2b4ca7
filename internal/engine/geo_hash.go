package engine

import "math"

// The ranges in which Redis has coordinates, and the radius it takes the earth to
// have, in metres.
const (
	geoMaxLon   = 180.0
	geoMaxLat   = 85.05112878
	earthRadius = 6372797.560856
	mercatorMax = 20037726.37
	geoSteps    = 26 // bits of either coordinate in a score
)

// geoPoint is a place, in degrees.
type geoPoint struct{ lon, lat float64 }

func (p geoPoint) valid() bool {
	return -geoMaxLon <= p.lon && p.lon <= geoMaxLon && -geoMaxLat <= p.lat && p.lat <= geoMaxLat
}

// geoCell is one of the 4^step rectangles into which the map is cut: its column
// from the west and its row from the south. A place at the very edge of the map
// lies one beyond the last.
type geoCell struct {
	col, row uint32
	step     int // 0 is no cell
}

// cellOf is the cell in which a place lies on a map up to this latitude.
func cellOf(p geoPoint, maxLat float64, step int) geoCell {
	n := float64(uint64(1) << step)
	return geoCell{
		col:  uint32((p.lon + geoMaxLon) / (2 * geoMaxLon) * n),
		row:  uint32((p.lat + maxLat) / (2 * maxLat) * n),
		step: step,
	}
}

// bits is the hash: the bits of column and row in turn, a column's first.
func (c geoCell) bits() uint64 { return spread(c.row) | spread(c.col)<<1 }

func (c geoCell) moved(east, north int) geoCell {
	mask := uint32(1)<<c.step - 1
	if east != 0 {
		c.col = (c.col + uint32(east)) & mask
	}
	if north != 0 {
		c.row = (c.row + uint32(north)) & mask
	}
	return c
}

// area is the south-western and the north-eastern corner. The conversions keep a
// compiler from fusing operations, which would round otherwise than servers do.
func (c geoCell) area() (low, high geoPoint) {
	n := float64(uint64(1) << c.step)
	edge := func(i, most float64) float64 { return -most + float64(i/n*(2*most)) }
	return geoPoint{edge(float64(c.col), geoMaxLon), edge(float64(c.row), geoMaxLat)},
		geoPoint{edge(float64(c.col)+1, geoMaxLon), edge(float64(c.row)+1, geoMaxLat)}
}

// spread puts a zero before each bit.
func spread(v uint32) uint64 {
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	x = (x | x<<2) & 0x3333333333333333
	return (x | x<<1) & 0x5555555555555555
}

// gather takes every other bit.
func gather(x uint64) uint32 {
	x &= 0x5555555555555555
	x = (x | x>>1) & 0x3333333333333333
	x = (x | x>>2) & 0x0f0f0f0f0f0f0f0f
	x = (x | x>>4) & 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return uint32(x | x>>16)
}

// geoScore is the score of a place.
func geoScore(p geoPoint) float64 { return float64(cellOf(p, geoMaxLat, geoSteps).bits()) }

// geoPlace is the middle of the cell that a score stands for.
func geoPlace(score float64) geoPoint {
	bits := scoreBits(score)
	low, high := geoCell{col: gather(bits >> 1), row: gather(bits), step: geoSteps}.area()
	return geoPoint{
		lon: max(-geoMaxLon, min(geoMaxLon, (low.lon+high.lon)/2)),
		lat: max(-geoMaxLat, min(geoMaxLat, (low.lat+high.lat)/2)),
	}
}

// scoreBits is the score as an integer. Scores that are no places are converted
// as amd64 does: what does not fit has the highest bit only, or none.
func scoreBits(f float64) uint64 {
	const edge = 1 << 63
	switch {
	case f < edge && f >= -edge:
		return uint64(int64(f))
	case f >= edge && f < 2*edge:
		return uint64(int64(f-edge)) ^ edge
	case f > 0:
		return 0
	}
	return edge
}

// degree is in radians, and like the server's the quotient of two doubles.
const degree = float64(math.Pi) / 180

func radians(degrees float64) float64 { return degrees * degree }
func degrees(radians float64) float64 { return radians / degree }

// latDistance is the distance between two latitudes, in metres.
func latDistance(a, b float64) float64 {
	return earthRadius * math.Abs(radians(b)-radians(a))
}

// geoDistance is the distance of two places, in metres, by the haversine formula.
func geoDistance(p, q geoPoint) float64 {
	v := sin((radians(q.lon) - radians(p.lon)) / 2)
	if v == 0 {
		return latDistance(p.lat, q.lat)
	}
	lat1, lat2 := radians(p.lat), radians(q.lat)
	u := sin((lat2 - lat1) / 2)
	a := float64(u*u) + float64(float64(float64(cos(lat1)*cos(lat2))*v)*v)
	return 2 * earthRadius * asin(math.Sqrt(a))
}

const geoAlphabet = "0123456789bcdefghjkmnpqrstuvwxyz"

// appendGeoHash writes the hash of a place as the rest of the world has it, which
// knows latitudes up to 90. The 52 bits fill ten characters; Redis adds an
// eleventh.
func appendGeoHash(dst []byte, p geoPoint) []byte {
	bits := cellOf(p, 90, geoSteps).bits()
	for shift := 2*geoSteps - 5; shift >= 0; shift -= 5 {
		dst = append(dst, geoAlphabet[bits>>shift&31])
	}
	return append(dst, '0')
}
