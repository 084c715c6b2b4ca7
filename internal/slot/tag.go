package slot

import "sync"

// maxTag is the length of the longest tag: all slots have one of so few digits.
const maxTag = 4

// tag is a word of digits and lower case letters, padded with zero bytes.
type tag [maxTag]byte

func (t tag) len() int {
	n := 0
	for n < maxTag && t[n] != 0 {
		n++
	}
	return n
}

// Tag is a short word that hashes to the slot: a key with "{word}" in it, and no
// other brace before, is in that slot. It is the same for ever, as keys are named by
// it. The first call costs some milliseconds. A slot from Count on stands for the
// remainder. It is safe for concurrent use.
func Tag(slot uint16) string {
	t := tags()[slot%Count]
	return string(t[:t.len()])
}

// tags finds the shortest tag of each slot, the first by the alphabet among equals.
var tags = sync.OnceValue(func() *[Count]tag {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	var found [Count]tag
	left := Count
	words := []tag{{}} // of the length before
	for length := range maxTag {
		var longer []tag
		for _, w := range words {
			for i := range len(digits) {
				w[length] = digits[i]
				if s := Of(w[:length+1]); found[s][0] == 0 {
					found[s] = w
					left--
				}
				if left == 0 {
					return &found
				}
				if length+1 < maxTag {
					longer = append(longer, w)
				}
			}
		}
		words = longer
	}
	return &found
})
