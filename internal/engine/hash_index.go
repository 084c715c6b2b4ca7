package engine

import (
	"hash/maphash"
	"math/bits"
)

// hashIndex finds the slot of a field by its name. It is a table of slot numbers,
// hashed, with linear probing.
//
// Entries are never taken out: that of a slot which has died or now holds another
// field leads to a name that is not the one looked for, and is passed over. When
// the table is full of them it is made anew.
type hashIndex struct {
	table []uint32 // 1 + slot; 0 is empty. Its length is a power of two.
	used  int
}

var hashSeed = maphash.MakeSeed()

// newHashIndex makes an index of what the slots hold, with room for more.
func newHashIndex(slots []hashSlot) *hashIndex {
	named := 0
	for i := range slots {
		if slots[i].kind != slotDead {
			named++
		}
	}
	want := max(named+named/2, hashSmall)
	x := &hashIndex{table: make([]uint32, 1<<bits.Len(uint(want)))}
	for i := range slots {
		if slots[i].kind != slotDead {
			x.enter(slots, i)
		}
	}
	return x
}

func (x *hashIndex) find(slots []hashSlot, name []byte) int {
	mask := uint64(len(x.table) - 1)
	for i := maphash.Bytes(hashSeed, name) & mask; x.table[i] != 0; i = (i + 1) & mask {
		at := int(x.table[i] - 1)
		if at >= len(slots) {
			continue
		}
		s := &slots[at]
		if int(s.n) == len(name) && s.kind != slotDead && s.data[:s.n] == string(name) {
			return at
		}
	}
	return -1
}

// enter sees to it that the slot is found by the name it holds. It reports false
// when the index has to be made anew instead.
func (x *hashIndex) enter(slots []hashSlot, at int) bool {
	mask := uint64(len(x.table) - 1)
	entry := uint32(at + 1)
	i := maphash.String(hashSeed, slots[at].name()) & mask
	for ; x.table[i] != 0; i = (i + 1) & mask {
		if x.table[i] == entry {
			return true
		}
	}
	if x.used >= len(x.table)-len(x.table)/4 {
		return false
	}
	x.table[i] = entry
	x.used++
	return true
}
