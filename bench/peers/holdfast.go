package main

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-cache/holdfast/internal/journal"
)

// holdfast is the journal of this repository.
type holdfast struct{ j *journal.Journal }

func openHoldfast(dir string, _ int) (store, error) {
	j, _, err := journal.Open(journal.Options{Dir: dir, MaxBytes: -1, MaxEntries: -1})
	if err != nil {
		return nil, err
	}
	return holdfast{j}, nil
}

func (h holdfast) append(record []byte) error {
	ticket, err := h.j.Append(journal.Record{At: time.Now(), Body: record})
	if err != nil {
		return err
	}
	return ticket.Wait(context.Background())
}

func (h holdfast) appendGroup(n int, record func(i int) []byte) error {
	var last journal.Ticket
	for i := range n {
		ticket, err := h.j.Append(journal.Record{At: time.Now(), Body: record(i)})
		if err != nil {
			return err
		}
		last = ticket
	}
	return last.Wait(context.Background()) // a failed commit fails all later ones
}

func (h holdfast) scan(yield func(record []byte) bool) (err error) {
	r := h.j.NewReader(1)
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		records, err := r.Next(context.Background(), 1000, 1<<20)
		if err != nil || len(records) == 0 {
			return err
		}
		for _, record := range records {
			if !yield(record.Body) {
				return nil
			}
		}
	}
}

func (h holdfast) close() error { return h.j.Close() }
