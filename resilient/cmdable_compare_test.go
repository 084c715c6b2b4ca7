package resilient_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// unordered are the commands whose elements come in the order of a hash table, which
// says nothing, or were all drawn in a random order; how many elements belong
// together depends on the method.
var unordered = map[string]string{
	"smembers":     "the order of a hash table",
	"sinter":       "the order of a hash table",
	"sunion":       "the order of a hash table",
	"sdiff":        "the order of a hash table",
	"hkeys":        "the order of a hash table",
	"hvals":        "the order of a hash table",
	"keys":         "the order of a hash table",
	"scan":         "the order of a hash table",
	"sscan":        "the order of a hash table",
	"hscan":        "the order of a hash table",
	"zscan":        "the order of a hash table",
	"command|list": "the order of a hash table",
	"acl|cat":      "the order of a hash table",
	"srandmember":  "as many as there are, in a random order",
	"hrandfield":   "as many as there are, in a random order",
	"zrandmember":  "as many as there are, in a random order",
}

// pairs are the methods whose elements belong together by two.
var pairs = map[string]bool{"HScan": true, "ZScan": true}

// measured are the calls whose results two servers can't have in common: they must be
// of the same type, and something where the other is something.
var measured = map[string]string{
	"RandomKey":        "drawn at random",
	"SRandMember":      "drawn at random",
	"ACLGenPass":       "drawn at random",
	"ClientID":         "of each server's own connections",
	"ClientInfo":       "of each server's own connections",
	"ClientList":       "of each server's own connections",
	"Time":             "each server's own clock",
	"LastSave":         "each server's own clock",
	"Info":             "each server speaks of itself",
	"InfoMap":          "each server speaks of itself",
	"XAdd generated":   "each server's own clock",
	"VInfo":            "on how many levels a vector is was drawn at random",
	"VLinks":           "on how many levels a vector is was drawn at random",
	"VLinksWithScores": "on how many levels a vector is was drawn at random",
	"VRandMember":      "drawn at random",
	"VRandMemberCount": "drawn at random",
}

// incidental are the calls whose results may be empty on one server only.
var incidental = map[string]string{
	"SlowLogGet": "how long a server took for something depends on the machine",
	"SlowLogLen": "how long a server took for something depends on the machine",
	"Latency":    "how long a server took for something depends on the machine",

	"ObjectIdleTime": "each server's own clock, which may not have ticked yet",
}

// passing are the fields of results that tell a time that has passed since something,
// or how the server keeps a stream; they are of no account.
var passing = map[string]bool{
	"Idle": true, "Inactive": true, "SeenTime": true, "ActiveTime": true, "DeliveryTime": true,
	"RadixTreeKeys": true, "RadixTreeNodes": true,
}

// lifetimes are the commands whose results are times to live, which shrink between
// two calls.
var lifetimes = map[string]bool{"ttl": true, "pttl": true, "httl": true, "hpttl": true}

// lifetime is how far two readings of one time to live may lie apart.
const lifetime = 20 * time.Second

// compare says how the outcome of ours differs from that of a healthy server where it
// must not.
func (c *typedCall) compare(want, got outcome) error {
	switch {
	case want.panicked != nil:
		return fmt.Errorf("go-redis itself panics: %v", want.panicked)
	case fmt.Sprint(want.err) != fmt.Sprint(got.err) || errors.Is(want.err, redis.Nil) != errors.Is(got.err, redis.Nil):
		return errors.New("the errors differ")
	case len(want.values) != len(got.values):
		return errors.New("the numbers of results differ")
	case !reflect.DeepEqual(want.args, got.args):
		return errors.New("what they wrote into the arguments differs")
	}
	for i := range want.values {
		a, b := reflect.ValueOf(want.values[i]), reflect.ValueOf(got.values[i])
		if a.IsValid() != b.IsValid() {
			return errors.New("one of them is nil")
		}
		if a.IsValid() && (a.Type() != b.Type() || !c.same(a, b)) {
			return errors.New("the values differ")
		}
	}
	return nil
}

func (c *typedCall) same(a, b reflect.Value) bool {
	word := c.word()
	switch {
	case incidental[c.name] != "":
		return true
	case measured[c.name] != "":
		return isNothing(a) == isNothing(b)
	case lifetimes[word]:
		return closeBy(a, b)
	case unordered[word] != "" && a.Kind() == reflect.Slice:
		n := 1
		if pairs[c.method] {
			n = 2
		}
		return reflect.DeepEqual(inOrder(a, n), inOrder(b, n))
	}
	a, b = placed(a, strings.Clone), placed(b, strings.Clone)
	scrub(a)
	scrub(b)
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// closeBy compares times to live, or lists of them; those below 0 have a meaning.
func closeBy(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice {
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !closeBy(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
	x, y := a.Int(), b.Int()
	return x == y || min(x, y) > 0 && max(x-y, y-x) <= int64(lifetime)
}

// inOrder are the elements of a list, by n, in an order of their own.
func inOrder(list reflect.Value, n int) []string {
	if list.Len()%n != 0 {
		return []string{"not in groups of " + fmt.Sprint(n)}
	}
	var all []string
	for i := 0; i < list.Len(); i += n {
		all = append(all, fmt.Sprintf("%#v", list.Slice(i, i+n).Interface()))
	}
	slices.Sort(all)
	return all
}

// scrub takes what is passing out of a result that placed has made.
func scrub(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			scrub(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			scrub(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && passing[v.Type().Field(i).Name] {
				f.SetZero()
			} else {
				scrub(f)
			}
		}
	default:
	}
}

// show prints results with what pointers point to.
func show(values []any) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && !r.IsNil() {
			v = r.Elem().Interface()
		}
		text := fmt.Sprintf("%#v", v)
		b.WriteString(text[:min(len(text), 500)])
	}
	return b.String()
}
