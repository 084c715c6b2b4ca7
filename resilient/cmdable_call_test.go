package resilient_test

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// typedCall is one call of a method of redis.Cmdable, with keys of its own.
type typedCall struct {
	name   string // of the method, and which of its calls
	method string
	args   []any    // after the context, as in dataCalls
	prefix string   // of its keys
	keys   []string // as the arguments have them: s:1, missing:2, w:*

	wire [][]byte      // what go-redis sends for it
	spec *command.Spec // of that
}

func (c *typedCall) String() string { return c.name }

// typedCalls makes the calls of all methods of redis.Cmdable, for one occasion. It
// fails the test for a method of which nobody has decided how to call it.
func typedCalls(t *testing.T, occasion string) []*typedCall {
	t.Helper()
	table := map[string][]any{}
	for _, part := range []map[string][]any{dataCalls, listCalls, sortedSetCalls, streamCalls, serverCalls, moduleCalls} {
		for name, args := range part {
			if _, twice := table[name]; twice {
				t.Errorf("%s is in two tables", name)
			}
			table[name] = args
		}
	}
	byMethod := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		method, _, _ := strings.Cut(name, " ")
		byMethod[method] = append(byMethod[method], name)
	}
	recorder := redis.NewClient(&redis.Options{Addr: "nowhere:0"})
	recorder.AddHook(recordHook{})
	defer func() { _ = recorder.Close() }() // it never had a connection
	all := reflect.TypeFor[redis.Cmdable]()
	var calls []*typedCall
	for i := range all.NumMethod() {
		m := all.Method(i)
		names := byMethod[m.Name]
		delete(byMethod, m.Name)
		_, without := leftOut[m.Name]
		_, other := otherMethods[m.Name]
		module := slices.ContainsFunc(modules, func(prefix string) bool { return strings.HasPrefix(m.Name, prefix) })
		switch decided := len(names) > 0; {
		case without, other:
			if decided || without == other {
				t.Errorf("redis.Cmdable.%s has a call as well as a reason to be left out", m.Name)
			}
			continue
		case !decided && module:
			table[m.Name] = defaultArgs(m.Type)
			names = []string{m.Name}
		case !decided:
			t.Errorf("redis.Cmdable.%s is not called by this test: give it arguments, or a reason to be left out", m.Name)
		}
		for _, name := range names {
			calls = append(calls, newTypedCall(t, recorder, name, m.Name, table[name], fmt.Sprintf("%s%d:", occasion, len(calls))))
		}
	}
	for method := range byMethod {
		t.Errorf("redis.Cmdable has no method %s any more", method)
	}
	for method := range leftOut {
		if _, ok := all.MethodByName(method); !ok {
			t.Errorf("redis.Cmdable has no method %s any more", method)
		}
	}
	return calls
}

func newTypedCall(t *testing.T, recorder *redis.Client, name, method string, args []any, prefix string) *typedCall {
	t.Helper()
	c := &typedCall{name: name, method: method, args: args, prefix: prefix}
	for _, arg := range args {
		placed(reflect.ValueOf(arg), func(word string) string {
			if key, ok := strings.CutPrefix(word, "@"); ok && !slices.Contains(c.keys, key) {
				c.keys = append(c.keys, key)
			}
			return word
		})
	}
	var seen redis.Cmder
	out := c.run(context.WithValue(t.Context(), recordKey{}, &seen), t, recorder)
	if out.panicked != nil || seen == nil {
		t.Fatalf("%s: go-redis itself does not take these arguments: %v, %v", name, out.panicked, out.err)
	}
	c.wire, c.spec = wireWords(seen.Args()), command.Lookup(seen.Name())
	return c
}

// recordHook takes note of commands instead of sending them.
type recordHook struct{}

// recordKey is of the context's value that points to where the command is put.
type recordKey struct{}

func (recordHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (recordHook) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		*ctx.Value(recordKey{}).(*redis.Cmder) = cmd
		return errRecorded
	}
}

func (recordHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

var errRecorded = errors.New("recorded, not sent")

// wireWords are arguments as go-redis writes them.
func wireWords(args []any) [][]byte {
	words := make([][]byte, len(args))
	for i, arg := range args {
		text := ""
		switch v := arg.(type) {
		case []byte:
			text = string(v)
		case float64:
			text = strconv.FormatFloat(v, 'f', -1, 64)
		case bool:
			text = map[bool]string{false: "0", true: "1"}[v]
		case time.Duration:
			text = strconv.FormatInt(int64(v), 10)
		case encoding.BinaryMarshaler:
			b, _ := v.MarshalBinary() // of tests' own values
			text = string(b)
		default:
			text = fmt.Sprint(v)
		}
		words[i] = []byte(text)
	}
	return words
}

// row has the call's keys, for what makes and changes them.
func (c *typedCall) row() *row { return &row{prefix: c.prefix, keys: c.keys} }

// class is what the command table says of the call.
func (c *typedCall) class() command.Class { return c.spec.Class(c.wire) }

// word is the command's name as commands are listed, of a container with its subcommand.
func (c *typedCall) word() string {
	if c.spec.Container() && len(c.wire) > 1 {
		return strings.ToLower(string(c.wire[0]) + "|" + string(c.wire[1]))
	}
	return strings.ToLower(string(c.wire[0]))
}

// outcome of one call.
type outcome struct {
	values   []any // what Val gives
	err      error
	panicked any
	args     []any // as they are afterwards: a method may write into them
}

func (o outcome) String() string { return fmt.Sprintf("%s, %v", show(o.values), o.err) }

// hangs is after which time a call counts as hanging. Nothing here takes longer than
// the servers' answers to it.
const hangs = 20 * time.Second

// run calls the method on a client. A panic is told in the outcome; a call that does
// not come back ends the test.
func (c *typedCall) run(ctx context.Context, t *testing.T, client redis.Cmdable) outcome {
	t.Helper()
	method := reflect.ValueOf(client).MethodByName(c.method)
	args := c.values(t, method.Type())
	done := make(chan outcome, 1)
	go func() {
		var out outcome
		defer func() {
			out.panicked = recover()
			done <- out
		}()
		in := append([]reflect.Value{reflect.ValueOf(ctx)}, args...)
		result := method.Call(in)[0]
		for _, v := range result.MethodByName("Val").Call(nil) {
			out.values = append(out.values, v.Interface())
		}
		out.err = result.Interface().(redis.Cmder).Err()
		for _, arg := range args {
			out.args = append(out.args, arg.Interface())
		}
	}()
	select {
	case out := <-done:
		return out
	case <-time.After(hangs):
		t.Fatalf("%s hangs", c)
		return outcome{}
	}
}

// values are the arguments of the call in the types of the method, in memory of
// their own, and with the keys' prefix in its place.
func (c *typedCall) values(t *testing.T, method reflect.Type) []reflect.Value {
	t.Helper()
	out := make([]reflect.Value, len(c.args))
	for i, arg := range c.args {
		param := paramOf(method, i+1)
		if arg == nil {
			out[i] = reflect.Zero(param)
			continue
		}
		v := placed(reflect.ValueOf(arg), func(word string) string {
			if key, ok := strings.CutPrefix(word, "@"); ok {
				return c.prefix + key
			}
			return word
		})
		if !v.Type().AssignableTo(param) {
			if v.Kind() == reflect.String || !v.CanConvert(param) {
				t.Fatalf("%s: argument %d is a %v, and must be a %v", c, i+1, v.Type(), param)
			}
			v = v.Convert(param)
		}
		out[i] = v
	}
	return out
}

// paramOf is the type of an argument of a method, the context counted.
func paramOf(method reflect.Type, i int) reflect.Type {
	if last := method.NumIn() - 1; method.IsVariadic() && i >= last {
		return method.In(last).Elem()
	}
	return method.In(i)
}

// placed is a copy of v in which change has been asked about every string.
func placed(v reflect.Value, change func(string) string) reflect.Value {
	if !v.IsValid() || v.Type() == reflect.TypeFor[time.Time]() {
		return v
	}
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		out.SetString(change(v.String()))
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(placed(v.Index(i), change))
		}
	case reflect.Struct:
		out.Set(v) // what is not exported stays as it is
		for i := range v.NumField() {
			if out.Field(i).CanSet() {
				out.Field(i).Set(placed(v.Field(i), change))
			}
		}
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return v
		}
		inner := placed(v.Elem(), change)
		if v.Kind() == reflect.Interface {
			out.Set(inner)
			break
		}
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(inner)
	default:
		out.Set(v)
	}
	return out
}

// defaultArgs are arguments of the method's types: the first string is a key that does
// not exist, and nothing is nil.
func defaultArgs(method reflect.Type) []any {
	var args []any
	key := false
	for i := 1; i < method.NumIn(); i++ {
		param := paramOf(method, i)
		if param.Kind() == reflect.String && !key {
			key = true
			args = append(args, "@missing:1")
			continue
		}
		args = append(args, defaultArg(param))
	}
	return args
}

func defaultArg(param reflect.Type) any {
	v := reflect.New(param).Elem()
	switch param.Kind() {
	case reflect.String:
		v.SetString("value")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(param.Elem()))
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.ValueOf(defaultArg(param.Elem()))))
	case reflect.Map:
		v.Set(reflect.MakeMap(param))
		v.SetMapIndex(reflect.ValueOf(defaultArg(param.Key())), reflect.ValueOf(defaultArg(param.Elem())))
	case reflect.Interface:
		if param == reflect.TypeFor[redis.Vector]() {
			return vector
		}
		return "value"
	default: // structs and the like: their zero value
	}
	return v.Interface()
}
