package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/holdfast-cache/holdfast/internal/journal"
)

// blob is bytes in JSON: a string where they are text, else {"base64": "…"}.
type blob []byte

// MarshalJSON implements json.Marshaler.
func (b blob) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(b)})
}

// printJSON prints an object in a line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints columns of equal width. Its lines must all be printed before flush.
type table struct {
	*tabwriter.Writer
	rows int
}

func newTable(w io.Writer, head ...string) *table {
	t := &table{Writer: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t, strings.Join(head, "\t"))
	return t
}

func (t *table) row(cells ...any) {
	t.rows++
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(t, "\t")
		}
		fmt.Fprint(t, orDash(fmt.Sprint(cell)))
	}
	fmt.Fprintln(t)
}

// clock shows a time in a table; of the zero time nothing.
func (a *app) clock(t time.Time) string {
	if t.IsZero() || t.UnixMilli() == 0 {
		return ""
	}
	return t.In(a.zone).Format("2006-01-02 15:04:05.000")
}

// size shows a number of bytes.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := int64(unit), 0
	for m := n / unit; m >= unit && exp < 4; m /= unit {
		div *= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(div), "KMGTP"[exp])
}

// span shows a range of sequences.
func span(from, to uint64) string {
	switch {
	case from == 0 && to == 0:
		return ""
	case from == to:
		return fmt.Sprint(from)
	}
	return fmt.Sprintf("%d-%d", from, to)
}

// fateJSON is a fate as JSON.
type fateJSON struct {
	Journal string    `json:"journal,omitempty"`
	From    uint64    `json:"from"`
	To      uint64    `json:"to"`
	Outcome string    `json:"outcome"`
	Mended  bool      `json:"mended,omitempty"`
	At      time.Time `json:"at"`
	RunID   string    `json:"run_id,omitempty"`
	ReplID  string    `json:"repl_id,omitempty"`
	Detail  string    `json:"detail,omitempty"`
}

func jsonOf(f journal.Fate) *fateJSON {
	return &fateJSON{
		From: f.From, To: f.To, Outcome: f.Outcome.String(), Mended: f.Mended, At: f.At.UTC(),
		RunID: f.RunID, ReplID: f.ReplID, Detail: f.Detail,
	}
}

// outcome shows a fate in a word or two.
func outcome(f journal.Fate) string {
	if f.Mended {
		return f.Outcome.String() + " (mended)"
	}
	return f.Outcome.String()
}

// plural shows a number of things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// orDash is what a table shows of a cell.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// short is the beginning of an id.
func short(id string) string { return id[:min(len(id), 8)] }
