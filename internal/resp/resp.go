// Package resp encodes and decodes RESP, the Redis serialization protocol, on
// bytes. It knows both RESP2 and RESP3 and nothing about what commands mean.
//
// The Append functions follow the convention of strconv: they add the encoding
// to dst and return the extended slice, so that a hot path can reuse one
// buffer. Functions whose encoding differs between the protocol versions take
// the version as proto: 3 means RESP3, anything else RESP2.
package resp

import "strconv"

// AppendCommand appends a command: an array of bulk strings, the only form in
// which clients send requests.
func AppendCommand(dst []byte, args ...[]byte) []byte {
	dst = AppendArray(dst, len(args))
	for _, arg := range args {
		dst = AppendBulk(dst, arg)
	}
	return dst
}

// AppendCommandStrings is AppendCommand for arguments held as strings.
func AppendCommandStrings(dst []byte, args ...string) []byte {
	dst = AppendArray(dst, len(args))
	for _, arg := range args {
		dst = AppendBulkString(dst, arg)
	}
	return dst
}

// AppendArray appends the header of an array of n elements; the elements must
// follow.
func AppendArray(dst []byte, n int) []byte {
	return appendHeader(dst, '*', int64(n))
}

// AppendMap appends the header of a map of n pairs; 2n values must follow.
// RESP2 has no maps and gets a flat array.
func AppendMap(dst []byte, n, proto int) []byte {
	if proto == 3 {
		return appendHeader(dst, '%', int64(n))
	}
	return AppendArray(dst, 2*n)
}

// AppendBulk appends a bulk string.
func AppendBulk(dst, b []byte) []byte {
	dst = appendHeader(dst, '$', int64(len(b)))
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

// AppendBulkString is AppendBulk for a string.
func AppendBulkString(dst []byte, s string) []byte {
	dst = appendHeader(dst, '$', int64(len(s)))
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendInt appends an integer.
func AppendInt(dst []byte, n int64) []byte {
	return appendHeader(dst, ':', n)
}

// AppendSimple appends a simple string such as OK. s must not hold CR or LF.
func AppendSimple(dst []byte, s string) []byte {
	dst = append(dst, '+')
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendError appends an error. By convention s begins with an upper-case code,
// as in "ERR syntax error". CR and LF, which would break the framing, become
// spaces, as in Redis.
func AppendError(dst []byte, s string) []byte {
	dst = append(dst, '-')
	for i := range len(s) {
		c := s[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, '\r', '\n')
}

// AppendNull appends the null that stands for a missing value: the null bulk
// string of RESP2, the null of RESP3.
func AppendNull(dst []byte, proto int) []byte {
	if proto == 3 {
		return append(dst, "_\r\n"...)
	}
	return append(dst, "$-1\r\n"...)
}

// AppendNullArray appends the null that stands for a missing array, such as the
// reply of an aborted EXEC.
func AppendNullArray(dst []byte, proto int) []byte {
	if proto == 3 {
		return append(dst, "_\r\n"...)
	}
	return append(dst, "*-1\r\n"...)
}

func appendHeader(dst []byte, kind byte, n int64) []byte {
	dst = append(dst, kind)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '\r', '\n')
}
