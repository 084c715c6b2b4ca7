package slot

import "bytes"

// Tagged is the part of a key that its slot is made of: its hash tag, the part between
// the first { and the next }, if there is one that is not empty, else the whole key.
func Tagged(key []byte) []byte {
	open := bytes.IndexByte(key, '{')
	if open < 0 {
		return key
	}
	if end := bytes.IndexByte(key[open+1:], '}'); end > 0 {
		return key[open+1 : open+1+end]
	}
	return key
}
