package main

import (
	"strings"
	"testing"
	"time"
)

func TestRenderTable(t *testing.T) {
	plain := tally{
		byKind: map[kind]row{
			kindLogin:      {attempted: 1200, accepted: 1190, refused: 10, lost: 10, slowest: 162400 * time.Microsecond},
			kindMessage:    {attempted: 5, accepted: 4, lost: 2, lostAccepted: 1, doubled: 3, slowest: time.Millisecond},
			kindAutomation: {},
		},
		all:    row{attempted: 1205, accepted: 1194, refused: 11, lost: 12, lostAccepted: 1, doubled: 3, slowest: 162400 * time.Microsecond},
		outage: row{attempted: 11, refused: 11, lost: 11, slowest: 162400 * time.Microsecond},
	}
	holdfast := tally{all: row{attempted: 1205, accepted: 1203, inDoubt: 2, unseen: 1, slowest: 900 * time.Microsecond}}
	want := strings.TrimPrefix(`
writes                   attempted  accepted  refused  in doubt  lost  lost though  doubled  read-your-writes   slowest
                                                                          accepted                 violations      call
plain go-redis
  logins                      1200      1190       10         0    10            0        0                 0  162.4 ms
  message sends                  5         4        0         0     2            1        3                 0    1.0 ms
  automation triggers            0         0        0         0     0            0        0                 0    0.0 ms
  all                         1205      1194       11         0    12            1        3                 0  162.4 ms
  of them in the outage         11         0       11         0    11            0        0                 0  162.4 ms
Holdfast
  logins                         0         0        0         0     0            0        0                 0    0.0 ms
  message sends                  0         0        0         0     0            0        0                 0    0.0 ms
  automation triggers            0         0        0         0     0            0        0                 0    0.0 ms
  all                         1205      1203        0         2     0            0        0                 1    0.9 ms
`, "\n")
	if got := renderTable(section{"plain go-redis", plain}, section{"Holdfast", holdfast}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
