package redistest

import (
	"strings"
	"testing"
)

func TestFollows(t *testing.T) {
	const primaryAddr, self = "127.0.0.1:1", "127.0.0.1:2"
	primary := status{role: roleMaster, replid: "p", offset: 10, offline: map[string]bool{}}
	good := status{role: roleReplica, replid: "p", source: primaryAddr, linkUp: true, offset: 10}
	for _, c := range []struct {
		about  string
		change func(replica, primary *status)
		want   string // empty: it follows
	}{
		{"level", func(*status, *status) {}, ""},
		{"ahead of what the primary had", func(r, _ *status) { r.offset = 11 }, ""},
		{"at second hand", func(r, p *status) { r.source = "127.0.0.1:3"; p.offline[self] = true }, ""},
		{"behind", func(r, _ *status) { r.offset = 9 }, "it is at offset 9, the primary at 10"},
		{"primary", func(r, _ *status) { r.role = roleMaster }, "it is a primary itself"},
		{"no link", func(r, _ *status) { r.linkUp = false }, "its link is down"},
		{"another history", func(r, _ *status) { r.replid = "q" }, "another history"},
		{"not fed", func(_, p *status) { p.offline[self] = true }, "does not feed it"},
	} {
		t.Run(c.about, func(t *testing.T) {
			r, p := good, primary
			p.offline = map[string]bool{}
			c.change(&r, &p)
			err := r.follows(p, primaryAddr, self)
			if c.want == "" && err != nil {
				t.Errorf("follows = %v", err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("follows = %v, want that %s", err, c.want)
			}
		})
	}
}

func TestParseStatus(t *testing.T) {
	s, err := parseStatus(parseInfo("# Replication\r\nrole:master\r\nmaster_replid:p\r\nmaster_repl_offset:7\r\n" +
		"slave0:ip=127.0.0.1,port=2,state=online,offset=7,lag=0\r\n" +
		"slave1:ip=127.0.0.1,port=3,state=wait_bgsave,offset=0,lag=0\r\n"))
	must(t, err)
	if s.role != roleMaster || s.replid != "p" || s.offset != 7 || s.source != "" ||
		len(s.offline) != 1 || !s.offline["127.0.0.1:3"] {
		t.Errorf("a primary: %+v", s)
	}
	s, err = parseStatus(parseInfo("role:slave\r\nmaster_host:h\r\nmaster_port:1\r\nmaster_link_status:up\r\n" +
		"slave_repl_offset:5\r\nmaster_repl_offset:6\r\n"))
	must(t, err)
	if s.role != roleReplica || s.source != "h:1" || !s.linkUp || s.offset != 5 {
		t.Errorf("a replica: %+v", s)
	}
	if _, err := parseStatus(parseInfo("role:slave\r\n")); err == nil {
		t.Error("no error without an offset")
	}
}
