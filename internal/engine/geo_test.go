package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

func TestGeoAsTheServer(t *testing.T) { random(t, 4000, "geo") }
func TestGeoTakenBack(t *testing.T)   { takenBack(t, 800, "geo") }

func TestGeoEdges(t *testing.T) {
	zsetLines(t, `
		GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
		GEOADD g NX XX 1 1 a
		GEOADD g NX CH 1
		GEOADD g 1 1
		GEOADD g 181 1 a
		GEOADD g 1 85.06 a
		GEOADD g inf 1 a
		GEOADD g x 1 a
		GEOADD g XX CH 13.4 38.1 Palermo 1 1 none
		GEOPOS g Palermo none Catania
		GEOPOS none a
		GEOPOS g
		GEOHASH g Palermo none
		GEODIST g Palermo Catania
		GEODIST g Palermo Catania MI
		GEODIST g Palermo Catania yd
		GEODIST g Palermo none
		GEODIST none a b
		GEODIST g a b km x
		GEOADD g 180 85.05112878 ne -180 -85.05112878 sw
		GEOPOS g ne sw
		GEOHASH g ne sw
		ZADD g -5 minus 1e300 huge 1.5 part inf endless
		GEOPOS g minus huge part endless
		GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC WITHDIST WITHCOORD WITHHASH
		GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km DESC WITHCOORD
		GEOSEARCH g FROMLONLAT 15 37 FROMMEMBER Palermo BYRADIUS 200 km
		GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km BYBOX 400 400 km
		geosearch g BYBOX 400 400 km ASC
		GeoSearch g FROMLONLAT 15 37 ASC DESC
		GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ANY
		GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 0
		GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT x
		GEOSEARCH g FROMLONLAT 15 37 BYRADIUS x km
		GEOSEARCH g FROMLONLAT 15 37 BYRADIUS -1 km
		GEOSEARCH g FROMLONLAT 15 37 BYBOX x 1 km
		GEOSEARCH g FROMLONLAT 15 37 BYBOX 1 x km
		GEOSEARCH g FROMLONLAT 15 37 BYBOX 1 -1 km
		GEOSEARCH g FROMMEMBER none BYRADIUS 1 km
		GEOSEARCH none FROMMEMBER none BYRADIUS 1 km
		GEOSEARCH none FROMMEMBER none BYRADIUS 1 yd
		GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST
		GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km WITHDIST
		GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km
		ZRANGE d 0 -1 WITHSCORES
		GEOSEARCHSTORE d g FROMMEMBER Palermo BYRADIUS 0 km STOREDIST
		ZRANGE d 0 -1 WITHSCORES
		GEOSEARCHSTORE d none FROMMEMBER Palermo BYRADIUS 0 km
		EXISTS d
		GEORADIUS g 15 37 200 km STORE d WITHDIST
		GEORADIUS g 15 37 200 km STORE d COUNT 1
		GEORADIUS_RO g 15 37 200 km STORE d
		GEORADIUSBYMEMBER g none 200 km
		GEORADIUSBYMEMBER none none x yd
		GEORADIUSBYMEMBER none none x yd STORE d
		EXISTS d
		GEORADIUSBYMEMBER_RO g Palermo 200 km WITHDIST ASC
		SET s v
		GEOADD s x y z
		GEOADD s 1 1 z
		GEOSEARCH s x
		GEOSEARCH s x x x x x x
		GEORADIUS s 500 1 1 km
	`)
}

// TestGeoDistancesAsTheServer compares stored distances, of which all but the last
// bit is certain.
func TestGeoDistancesAsTheServer(t *testing.T) {
	o := startOracle(t, 2)
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 500 {
		o.lines(fmt.Sprintf("GEOADD g %v %v m%d", rnd.Float64()*360-180, rnd.Float64()*170-85, i))
	}
	differ, total := 0, 0
	for range 12 {
		o.lines(fmt.Sprintf("GEOSEARCHSTORE d g FROMLONLAT %v %v BYRADIUS 9000 km STOREDIST", rnd.Float64()*360-180, rnd.Float64()*170-85))
		want := o.server(split("ZRANGE d 0 -1 WITHSCORES"))
		got, _ := o.model.do(split("ZRANGE d 0 -1 WITHSCORES"), 2)
		a, b := elements(t, want), elements(t, got)
		if len(a) != len(b) {
			t.Fatalf("%d places, want %d", len(b)/2, len(a)/2)
		}
		for i := 0; i < len(a); i += 2 {
			x, _ := strconv.ParseFloat(a[i+1], 64)
			y, _ := strconv.ParseFloat(b[i+1], 64)
			if a[i] != b[i] || math.Abs(x-y) > x*1e-15 {
				t.Fatalf("%s is %v away, want %s, %v", b[i], y, a[i], x)
			}
			total++
			if x != y {
				differ++
			}
		}
	}
	if total < 500 || differ*50 > total {
		t.Fatalf("%d of %d distances differ in the last bit", differ, total)
	}
}

// elements are those of an array of strings.
func elements(t *testing.T, reply []byte) []string {
	t.Helper()
	v, err := resp.NewReader(strings.NewReader(string(reply))).ReadValue()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(v.Elems))
	for i, e := range v.Elems {
		out[i] = e.Text()
	}
	return out
}
