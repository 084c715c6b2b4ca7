package engine

import (
	"strconv"

	"github.com/holdfast-cache/holdfast/internal/resp"
)

// Error replies, word for word those of Redis.
const (
	errWrongType     = "WRONGTYPE Operation against a key holding the wrong kind of value"
	errSyntax        = "ERR syntax error"
	errNotInteger    = "ERR value is not an integer or out of range"
	errNotFloat      = "ERR value is not a valid float"
	errOverflow      = "ERR increment or decrement would overflow"
	errNoSuchKey     = "ERR no such key"
	errIndexRange    = "ERR index out of range"
	errOffsetRange   = "ERR offset is out of range"
	errStringTooLong = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
)

func errArity(name string) string {
	return "ERR wrong number of arguments for '" + name + "' command"
}

func errExpireTime(name string) string {
	return "ERR invalid expire time in '" + name + "' command"
}

// Error replies with an error: its text with the code word, without the minus.
// It takes back what the call has written and changed so far.
func (c *Call) Error(text string) {
	if c.dirty {
		c.Revert()
	}
	c.failed = true
	c.reply = resp.AppendError(c.reply, text)
}

// OK replies with the status OK.
func (c *Call) OK() { c.reply = append(c.reply, "+OK\r\n"...) }

// Simple replies with a status.
func (c *Call) Simple(text string) { c.reply = resp.AppendSimple(c.reply, text) }

// Int replies with an integer.
func (c *Call) Int(n int64) { c.reply = resp.AppendInt(c.reply, n) }

// Bool replies with 1 or 0.
func (c *Call) Bool(b bool) {
	if b {
		c.Int(1)
	} else {
		c.Int(0)
	}
}

// Bulk replies with a string.
func (c *Call) Bulk(b []byte) { c.reply = resp.AppendBulk(c.reply, b) }

// BulkString replies with a string.
func (c *Call) BulkString(s string) { c.reply = resp.AppendBulkString(c.reply, s) }

// Null replies with the null of a string.
func (c *Call) Null() { c.reply = resp.AppendNull(c.reply, c.proto) }

// NullArray replies with the null of an array, which RESP2 tells from that of a
// string.
func (c *Call) NullArray() {
	if c.proto == 3 {
		c.Null()
		return
	}
	c.reply = append(c.reply, "*-1\r\n"...)
}

// Array begins an array of n elements, which must follow.
func (c *Call) Array(n int) { c.reply = resp.AppendArray(c.reply, n) }

// Map begins a map of n pairs, which must follow; in RESP2 a flat array.
func (c *Call) Map(n int) { c.reply = resp.AppendMap(c.reply, n, c.proto) }

// Set begins a set of n elements, which must follow; in RESP2 an array.
func (c *Call) Set(n int) {
	if c.proto == 3 {
		c.reply = append(strconv.AppendInt(append(c.reply, '~'), int64(n), 10), '\r', '\n')
		return
	}
	c.Array(n)
}

// Double replies with a number: in RESP3 a double, in RESP2 a string.
func (c *Call) Double(f float64) {
	var room [40]byte
	text := c.appendFloat(room[:0], f)
	if c.proto == 3 {
		c.reply = append(append(append(c.reply, ','), text...), '\r', '\n')
		return
	}
	c.Bulk(text)
}

// open remembers a place for the header of an aggregate whose length is not yet
// known; closeArray and its like put it there.
func (c *Call) open() int { return len(c.reply) }

func (c *Call) closeArray(at, n int) {
	var room [24]byte
	header := resp.AppendArray(room[:0], n)
	c.reply = append(c.reply, header...)
	copy(c.reply[at+len(header):], c.reply[at:])
	copy(c.reply[at:], header)
}

// appendStrings appends an encoded command.
func appendStrings(dst []byte, args ...string) []byte { return resp.AppendCommandStrings(dst, args...) }

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
