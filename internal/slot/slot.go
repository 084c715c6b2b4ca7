// Package slot knows the hash slots of a Redis Cluster.
package slot

// Count is the number of slots that the servers of a Cluster share.
const Count = 16384

// Of is the hash slot of a key: CRC16 of the key, or of its hash tag, the part between
// the first { and the next }, if that is not empty (Redis Cluster specification).
func Of[T string | []byte](key T) uint16 {
	from, to := 0, len(key)
	for open := range len(key) {
		if key[open] != '{' {
			continue
		}
		for i := open + 1; i < len(key); i++ {
			if key[i] == '}' {
				if i > open+1 {
					from, to = open+1, i
				}
				break
			}
		}
		break
	}
	var crc uint16
	for i := from; i < to; i++ {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^key[i]]
	}
	return crc % Count
}

// crcTable is that of CRC16-CCITT (XMODEM), the one of Redis Cluster.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
