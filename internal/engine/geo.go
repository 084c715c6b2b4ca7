package engine

import (
	"fmt"
	"math"
	"strconv"
)

// errors of the geo commands.
const (
	errGeoUnit   = "ERR unsupported unit provided. please use M, KM, FT, MI"
	errGeoMember = "ERR could not decode requested zset member"
)

func geoCommands() []Command {
	return []Command{
		{Name: "geoadd", Arity: -5, Write: true, needs: NeedValue, exec: execGeoAdd},
		{Name: "geopos", Arity: -2, needs: NeedValue, exec: execGeoPos},
		{Name: "geodist", Arity: -4, needs: NeedValue, exec: execGeoDist},
		{Name: "geohash", Arity: -2, needs: NeedValue, exec: execGeoHash},
		geoSearchCommand("geosearch", -7, geoForm{search: true}),
		geoSearchCommand("geosearchstore", -8, geoForm{search: true, store: true}),
		geoSearchCommand("georadius", -6, geoForm{mayStore: true}),
		geoSearchCommand("georadius_ro", -6, geoForm{}),
		geoSearchCommand("georadiusbymember", -5, geoForm{member: true, mayStore: true}),
		geoSearchCommand("georadiusbymember_ro", -5, geoForm{member: true}),
	}
}

func geoSearchCommand(name string, arity int, form geoForm) Command {
	return Command{
		Name: name, Arity: arity, Write: form.store || form.mayStore, needs: NeedValue,
		exec: func(c *Call) { c.geoSearch(form) },
	}
}

// parsePlace reads the longitude and the latitude at argument i.
func (c *Call) parsePlace(i int) (p geoPoint, ok bool) {
	var ok1, ok2 bool
	p.lon, ok1 = parseScore(c.args[i])
	p.lat, ok2 = parseScore(c.args[i+1])
	switch {
	case !ok1 || !ok2:
		c.Error(errNotFloat)
	case !p.valid():
		c.Error(fmt.Sprintf("ERR invalid longitude,latitude pair %s,%s", printF(p.lon), printF(p.lat)))
	default:
		return p, true
	}
	return p, false
}

// printF is C's %f.
func printF(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	return strconv.FormatFloat(f, 'f', 6, 64)
}

// parseUnit reads a unit of length: its metres.
func (c *Call) parseUnit(arg []byte) (metres float64, ok bool) {
	switch {
	case is(arg, "m"):
		return 1, true
	case is(arg, "km"):
		return 1000, true
	case is(arg, "ft"):
		return 0.3048, true
	case is(arg, "mi"):
		return 1609.34, true
	}
	c.Error(errGeoUnit)
	return 0, false
}

func execGeoAdd(c *Call) {
	var f zaddFlags
	i := 2
	for i < len(c.args) {
		arg := c.args[i]
		if !is(arg, "nx") && !is(arg, "xx") && !is(arg, "ch") {
			break
		}
		f.option(arg)
		i++
	}
	n := len(c.args) - i
	if n%3 != 0 || (f.nx && f.xx) {
		c.Error(errSyntax)
		return
	}
	var room [8]float64
	scores := room[:0]
	for j := i; j < len(c.args); j += 3 {
		p, ok := c.parsePlace(j)
		if !ok {
			return
		}
		scores = append(scores, geoScore(p))
	}
	if n == 0 {
		c.Error(errSyntax)
		return
	}
	c.zaddPairs(f, scores, i+2, 3)
}

func execGeoPos(c *Call) {
	o, z, ok := c.zsetAt(0)
	if !ok {
		return
	}
	c.Array(len(c.args) - 2)
	for _, member := range c.args[2:] {
		score, k := c.zscore(o, z, member)
		if k != present {
			c.NullArray()
			continue
		}
		c.place(geoPlace(score))
	}
}

// place replies with a place. Redis 8 prints coordinates as other numbers, earlier
// ones and Valkey with 17 digits after the point, without the zeros at the end.
func (c *Call) place(p geoPoint) {
	c.Array(2)
	for _, f := range [2]float64{p.lon, p.lat} {
		if !c.server.Valkey && c.server.AtLeast(80000) {
			c.Double(f)
			continue
		}
		var room [40]byte
		text := strconv.AppendFloat(room[:0], f, 'f', 17, 64)
		for text[len(text)-1] == '0' {
			text = text[:len(text)-1]
		}
		if text[len(text)-1] == '.' {
			text = text[:len(text)-1]
		}
		if string(text) == "-0" {
			text = text[1:]
		}
		c.doubleText(text)
	}
}

// doubleText replies with a number that is printed already.
func (c *Call) doubleText(text []byte) {
	if c.proto != 3 {
		c.Bulk(text)
		return
	}
	c.reply = append(append(append(c.reply, ','), text...), '\r', '\n')
}

// distance replies with a distance: a string with four digits after the point,
// in both protocols.
func (c *Call) distance(d float64) {
	var room [40]byte
	if c.server.AtLeast(70200) {
		d = math.RoundToEven(d*1e4) / 1e4
	}
	c.Bulk(strconv.AppendFloat(room[:0], d, 'f', 4, 64))
}

func execGeoDist(c *Call) {
	unit, ok := 1.0, true
	switch {
	case len(c.args) == 5:
		if unit, ok = c.parseUnit(c.args[4]); !ok {
			return
		}
	case len(c.args) > 5:
		c.Error(errSyntax)
		return
	}
	o, z, ok := c.zsetAt(0)
	if !ok {
		return
	}
	a, k1 := c.zscore(o, z, c.args[2])
	b, k2 := c.zscore(o, z, c.args[3])
	if k1 != present || k2 != present {
		c.Null()
		return
	}
	c.distance(geoDistance(geoPlace(a), geoPlace(b)) / unit)
}

func execGeoHash(c *Call) {
	o, z, ok := c.zsetAt(0)
	if !ok {
		return
	}
	c.Array(len(c.args) - 2)
	for _, member := range c.args[2:] {
		score, k := c.zscore(o, z, member)
		if k != present {
			c.Null()
			continue
		}
		var room [16]byte
		c.Bulk(appendGeoHash(room[:0], geoPlace(score)))
	}
}
