package workload

import "strconv"

func geo(g *Generator) []string {
	k := g.Key("g")
	switch g.IntN(14) {
	case 0, 1, 2:
		return geoAdd(g, k)
	case 3:
		return words("GEOPOS", k, g.Members())
	case 4:
		return words("GEOHASH", k, g.Members())
	case 5, 6:
		return words("GEODIST", k, g.Member(), g.Member(), g.Some(1, func() string { return geoUnit(g) }))
	case 7:
		return words(g.Pick("ZREM", "ZREM", "ZSCORE", "ZCARD"), k, g.Member())
	case 8:
		// Any score stands for some place.
		return words("ZADD", k, g.Float(), g.Member())
	case 9, 10:
		return geoRadius(g, k)
	case 11:
		if g.Chance(30) {
			return geoStoreDist(g, k)
		}
		return words("GEOSEARCHSTORE", g.Key("g"), k, geoFrom(g), geoBy(g), geoLimit(g))
	default:
		return words(g.Pick("GEOSEARCH", "geosearch"), k, geoFrom(g), geoBy(g), geoLimit(g), geoWith(g))
	}
}

func geoAdd(g *Generator, k string) []string {
	option := func() string {
		if g.options.Deferrable {
			return g.Pick("XX", "CH", "ch")
		}
		return g.Pick("NX", "XX", "CH", "ch")
	}
	w := words("GEOADD", k, g.Some(1, option))
	if g.Chance(5) {
		// Many, so that the server has a skip list.
		for i := range 140 {
			w = append(w, geoPlace(g)...)
			w = append(w, "place"+strconv.Itoa(i))
		}
		return w
	}
	for range 1 + g.IntN(4) {
		w = append(w, geoPlace(g)...)
		w = append(w, g.Member())
	}
	return w
}

// geoPlace is a longitude and a latitude: in a town, in a country or anywhere, and
// now and then at an edge of the map.
func geoPlace(g *Generator) []string {
	f := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	switch g.IntN(10) {
	case 0:
		return words(g.Pick("180", "-180", "179.999999", "0", "181"), g.Pick("0", "85.05112878", "-85.05112878", "84.9", "-66.5", "85.06"))
	case 1, 2:
		return words(f(13.36+g.Float64()/100), f(38.11+g.Float64()/100))
	case 3, 4, 5:
		return words(f(5+g.Float64()*10), f(45+g.Float64()*10))
	case 6:
		return words(f(179.9+g.Float64()/10), f(g.Float64()*2-1))
	default:
		return words(f(g.Float64()*360-180), f(g.Float64()*170-85))
	}
}

func geoUnit(g *Generator) string { return g.Pick("m", "km", "km", "ft", "mi", "KM", "yd") }

func geoLength(g *Generator) string {
	switch g.IntN(8) {
	case 0:
		return g.Pick("0", "0.5", "-1", "1e9", "40000", "inf")
	case 1, 2:
		return strconv.Itoa(g.IntN(30000))
	default:
		return strconv.Itoa(g.IntN(2000))
	}
}

func geoFrom(g *Generator) []string {
	if g.Chance(40) {
		return words("FROMMEMBER", g.Member())
	}
	return words("FROMLONLAT", geoPlace(g))
}

func geoBy(g *Generator) []string {
	if g.Chance(50) {
		return words("BYRADIUS", geoLength(g), geoUnit(g))
	}
	return words("BYBOX", geoLength(g), geoLength(g), geoUnit(g))
}

func geoLimit(g *Generator) []string {
	w := g.Some(1, func() string { return g.Pick("ASC", "DESC", "asc") })
	if g.Chance(30) {
		w = append(w, "COUNT", strconv.Itoa(g.IntN(8)))
		if g.Chance(40) {
			w = append(w, "ANY")
		}
	}
	return w
}

func geoWith(g *Generator) []string {
	return g.Some(3, func() string { return g.Pick("WITHDIST", "WITHCOORD", "WITHHASH", "withdist") })
}

// geoStoreDist stores distances that are 0 only. The last bit of others depends on
// the C library of the server and on its processor.
func geoStoreDist(g *Generator, k string) []string {
	g.intact = true
	if g.Chance(50) {
		return words("GEORADIUSBYMEMBER", k, g.Member(), "0", geoUnit(g), geoLimit(g), "STOREDIST", g.Key("g"))
	}
	return words("GEOSEARCHSTORE", g.Key("g"), k, "FROMMEMBER", g.Member(), "BYRADIUS", "0", geoUnit(g), geoLimit(g), "STOREDIST")
}

func geoRadius(g *Generator, k string) []string {
	var w []string
	if g.Chance(50) {
		w = words("GEORADIUS", k, geoPlace(g))
	} else {
		w = words("GEORADIUSBYMEMBER", k, g.Member())
	}
	w = words(w, geoLength(g), geoUnit(g), geoLimit(g))
	switch g.IntN(4) {
	case 0:
		return words(w, "STORE", g.Key("g"))
	case 1:
		w[0] += "_RO"
	}
	return words(w, geoWith(g))
}
