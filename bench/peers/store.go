package main

import (
	"encoding/binary"
	"fmt"
)

// store is an open peer. append is safe for concurrent use; the rest is called
// by one goroutine.
type store interface {
	// append returns when record, which it copies, is durable.
	append(record []byte) error
	// appendGroup appends n records, record(0) to record(n-1), and returns when
	// they are durable. A record is valid until the next one is asked for.
	appendGroup(n int, record func(i int) []byte) error
	// scan yields all records in their order until yield returns false.
	scan(yield func(record []byte) bool) error
	close() error
}

// peer is one row of the comparison.
type peer struct {
	name string
	// open opens or makes the store in dir, for so many callers at a time.
	open func(dir string, callers int) (store, error)
}

// peers are what the journal is compared with, and the journal.
var peers = []peer{
	{name: "holdfast", open: openHoldfast},
	{name: "tidwall", open: openTidwall},
	{name: "bbolt", open: openBolt},
	{name: "pebble", open: openPebble},
}

// appenders are what is measured by appends of many callers.
var appenders = append([]peer{{name: rawGroupName, open: openRawGroup}}, peers...)

func peerNamed(among []peer, name string) (peer, error) {
	for _, p := range among {
		if p.name == name {
			return p, nil
		}
	}
	return peer{}, fmt.Errorf("no peer is called %q", name)
}

// sequenceKey is the key under which the ordered maps keep record n: their
// order is that of the bytes.
func sequenceKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
