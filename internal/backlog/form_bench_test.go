package backlog

import (
	"testing"
	"time"

	"github.com/holdfast-cache/holdfast/internal/entry"
	"github.com/holdfast-cache/holdfast/internal/journal"
	"github.com/holdfast-cache/holdfast/internal/resp"
)

// BenchmarkFormOf is what the replay spends on finding out what to send for a record.
func BenchmarkFormOf(b *testing.B) {
	now := time.UnixMilli(1_700_000_000_000)
	set := resp.AppendCommandStrings(nil, "SET", "user:1234567890", "a value of some forty bytes, as they often are")
	tx := resp.AppendCommandStrings(nil, "INCR", "hits")
	tx = resp.AppendCommandStrings(tx, "HSET", "user:1", "seen", "now")
	tx = resp.AppendCommandStrings(tx, "PEXPIREAT", "hits", "1893456000000")
	for _, c := range []struct {
		name string
		e    entry.Entry
		want Kind
	}{
		{"write", entry.Entry{Write: set, Class: entry.ClassBlind, Reply: 7}, KindWrite},
		{"write traced", entry.Entry{Write: set, Class: entry.ClassBlind, Reply: 7, Trace: entry.Trace{1}}, KindWrite},
		{"transaction", entry.Entry{Write: tx, Class: entry.ClassTransaction, Reply: 7}, KindWrite},
		{"restore", entry.Entry{Write: set, Restore: tx, Until: 1, Reply: 7}, KindRestore},
		{"expired", entry.Entry{Write: set, Lapses: 1, Sets: true, Reply: 7}, KindExpired},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := journal.Record{Seq: 1, At: now, Meta: c.e.AppendMeta(nil), Body: c.e.Body()}
			b.ReportAllocs()
			for b.Loop() {
				if f := FormOf(r, now); f.Kind != c.want {
					b.Fatal(f.Kind)
				}
			}
		})
	}
}
