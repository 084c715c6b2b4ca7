package journal

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// Segment header, 80 bytes:
//
//	 0  8  magic "HOLDFAST"
//	 8  2  format version, 1
//	10  2  kind: 1 records, 2 dead letters, 3 ledger
//	12  4  flags, 0
//	16 16  client id
//	32  8  base: the first sequence that may stand in this file
//	40  8  prev: the last sequence that counts before base
//	48  8  time of creation, Unix milliseconds; for people, never for order
//	56  8  salt, random and not 0
//	64 12  zero
//	76  4  checksum of bytes 0 to 75
//
// The magic, the version and the checksum keep their places in every version,
// so that an older reader can tell a newer file from a damaged one.
//
// Batch header, 32 bytes:
//
//	 0  8  salt of the segment
//	 8  4  length of the records that follow
//	12  4  number of the records, at least 1
//	16  8  sequence of the first; the others follow without a gap
//	24  4  flags, 0
//	28  4  checksum of bytes 0 to 27
//
// Record, 24 bytes and its data:
//
//	 0  4  checksum of the rest, seeded by sequence and salt
//	 4  4  length of meta and body
//	 8  4  database
//	12  2  flags, 0
//	14  2  length of meta
//	16  8  time of acceptance, Unix milliseconds
//	24     meta, then the body, which is never empty
const (
	formatVersion = 1

	headerSize = 80
	batchSize  = 32
	recordSize = 24

	kindRecords = 1
	kindDead    = 2

	// MaxMetaBytes is the most that a record's Meta may hold; a dead letter
	// keeps the reason beside it.
	MaxMetaBytes   = 60_000
	maxReasonBytes = 4 << 10
)

var (
	magic      = [8]byte{'H', 'O', 'L', 'D', 'F', 'A', 'S', 'T'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// ClientID identifies the writer of a journal, for ever: the fence in Redis
// bears it. The zero value is invalid.
type ClientID [16]byte

// String is the id in 32 hexadecimal digits.
func (id ClientID) String() string { return hex.EncodeToString(id[:]) }

// parseClientID reads what String wrote.
func parseClientID(s string) (id ClientID, ok bool) {
	if len(s) != 2*len(id) {
		return ClientID{}, false
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil || id == (ClientID{}) {
		return ClientID{}, false
	}
	return id, id.String() == s
}

// Record is one deferred write.
type Record struct {
	// Seq is the record's place in the order; Append assigns it.
	Seq uint64
	// At is when the write was accepted, kept to the millisecond.
	At time.Time
	// DB is the Redis database, 0 or above.
	DB int
	// Meta is whatever the owner wants to keep beside the write, up to
	// MaxMetaBytes. The journal does not look at it.
	Meta []byte
	// Body is the write itself, never empty. The journal does not look at it.
	Body []byte
}

func (r *Record) encodedSize() int { return recordSize + len(r.Meta) + len(r.Body) }

// check says why r can't be written, if so.
func (r *Record) check() error {
	switch {
	case len(r.Body) == 0:
		return errors.New("journal: a record needs a body: append the encoded command")
	case r.DB < 0 || int64(r.DB) > 1<<31-1:
		return fmt.Errorf("journal: database %d is out of range: use 0 to %d", r.DB, 1<<31-1)
	case len(r.Meta) > MaxMetaBytes:
		return fmt.Errorf("%w: %d bytes of meta, the limit is %d", ErrTooBig, len(r.Meta), MaxMetaBytes)
	case len(r.Meta)+len(r.Body) > MaxRecordBytes:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooBig, len(r.Meta)+len(r.Body), MaxRecordBytes)
	}
	return nil
}

// recordSeed is the start value of a record's checksum. For equal data a
// different start always gives a different checksum.
func recordSeed(salt, seq uint64) uint32 {
	x := salt ^ seq*0x9e3779b97f4a7c15
	return uint32(x) ^ uint32(x>>32)
}

// appendRecord appends the encoding of r, which check has passed, as seq.
func appendRecord(dst []byte, salt, seq uint64, r *Record) []byte {
	start := len(dst)
	var head [recordSize]byte
	le.PutUint32(head[4:], uint32(len(r.Meta)+len(r.Body)))
	le.PutUint32(head[8:], uint32(r.DB))
	le.PutUint16(head[14:], uint16(len(r.Meta)))
	le.PutUint64(head[16:], uint64(r.At.UnixMilli()))
	dst = append(dst, head[:]...)
	dst = append(dst, r.Meta...)
	dst = append(dst, r.Body...)
	le.PutUint32(dst[start:], crc32.Update(recordSeed(salt, seq), castagnoli, dst[start+4:]))
	return dst
}

// recordLength is the whole length of the record that begins at b, which holds
// at least its header, or 0 when the header can't be one.
func recordLength(b []byte) int64 {
	length, meta := int64(le.Uint32(b[4:])), int64(le.Uint16(b[14:]))
	if length <= meta || length > MaxRecordBytes {
		return 0
	}
	return recordSize + length
}

// parseRecord decodes b, exactly one record by recordLength. The record
// aliases b.
func parseRecord(b []byte, salt, seq uint64) (r Record, ok bool) {
	if crc32.Update(recordSeed(salt, seq), castagnoli, b[4:]) != le.Uint32(b) {
		return Record{}, false
	}
	body := recordSize + int(le.Uint16(b[14:]))
	return Record{
		Seq:  seq,
		At:   time.UnixMilli(int64(le.Uint64(b[16:]))),
		DB:   int(le.Uint32(b[8:])),
		Meta: b[recordSize:body:body],
		Body: b[body:len(b):len(b)],
	}, true
}

// batchHeader is the header of one group commit.
type batchHeader struct {
	length, count uint32
	first         uint64
}

// put writes the header into b[:batchSize].
func (h batchHeader) put(b []byte, salt uint64) {
	le.PutUint64(b, salt)
	le.PutUint32(b[8:], h.length)
	le.PutUint32(b[12:], h.count)
	le.PutUint64(b[16:], h.first)
	le.PutUint32(b[24:], 0)
	le.PutUint32(b[28:], crc32.Checksum(b[:28], castagnoli))
}

// parseBatchHeader decodes b[:batchSize].
func parseBatchHeader(b []byte, salt uint64) (h batchHeader, ok bool) {
	if le.Uint64(b) != salt || le.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return batchHeader{}, false
	}
	h = batchHeader{length: le.Uint32(b[8:]), count: le.Uint32(b[12:]), first: le.Uint64(b[16:])}
	ok = h.count > 0 && h.first > 0 && int64(h.length) >= int64(h.count)*(recordSize+1)
	return h, ok && h.first+uint64(h.count) > h.first
}

// segmentHeader is the header of a segment or of a file of dead letters.
type segmentHeader struct {
	kind             uint16
	client           ClientID
	base, prev, salt uint64
	created          time.Time
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, magic[:])
	le.PutUint16(b[8:], formatVersion)
	le.PutUint16(b[10:], h.kind)
	copy(b[16:], h.client[:])
	le.PutUint64(b[32:], h.base)
	le.PutUint64(b[40:], h.prev)
	le.PutUint64(b[48:], uint64(h.created.UnixMilli()))
	le.PutUint64(b[56:], h.salt)
	le.PutUint32(b[76:], crc32.Checksum(b[:76], castagnoli))
	return b
}

// errBadHeader says that the bytes are not a header.
var errBadHeader = fmt.Errorf("%w: damaged header", ErrUnusable)

// parseSegmentHeader decodes b[:headerSize]. The error is errBadHeader or wraps
// ErrNewerFormat.
func parseSegmentHeader(b []byte) (h segmentHeader, err error) {
	if [8]byte(b) != magic || le.Uint32(b[76:]) != crc32.Checksum(b[:76], castagnoli) {
		return segmentHeader{}, errBadHeader
	}
	if v := le.Uint16(b[8:]); v > formatVersion {
		return segmentHeader{}, fmt.Errorf("%w: version %d, this release reads up to %d", ErrNewerFormat, v, formatVersion)
	}
	h = segmentHeader{
		kind:    le.Uint16(b[10:]),
		client:  ClientID(b[16:32]),
		base:    le.Uint64(b[32:]),
		prev:    le.Uint64(b[40:]),
		salt:    le.Uint64(b[56:]),
		created: time.UnixMilli(int64(le.Uint64(b[48:]))),
	}
	if h.salt == 0 || h.base == 0 || h.prev >= h.base {
		return segmentHeader{}, errBadHeader
	}
	return h, nil
}
