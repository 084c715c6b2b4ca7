package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeConfig writes the server's configuration. The server rewrites it when
// its role is changed.
func (n *Node) writeConfig() error {
	listen := []string{fmt.Sprintf("port %d", n.port)}
	if n.opts.TLS != nil {
		var err error
		if listen, err = n.opts.TLS.install(n.dir, n.port); err != nil {
			return err
		}
	}
	lines := append(listen,
		"bind "+loopback,
		"daemonize no",
		`logfile ""`, // to standard output, where messages before the configuration is read go too
		"loglevel notice",
	)
	password := quote(n.opts.Password)
	switch {
	case n.opts.User != "":
		lines = append(lines, "user default off",
			fmt.Sprintf("user %s on %s ~* &* +@all", n.opts.User, quote(">"+n.opts.Password)))
	case n.opts.Password != "":
		lines = append(lines, "requirepass "+password)
	}
	if n.watch != nil {
		lines = append(lines, n.watch()...)
	} else {
		lines = append(lines, n.dataConfig()...)
	}
	text := strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(n.dir, configName), []byte(text), 0o600); err != nil {
		return fmt.Errorf("redistest: can't write the configuration of %v: %w", n, err)
	}
	return nil
}

// dataConfig are the settings that a Sentinel doesn't have.
func (n *Node) dataConfig() []string {
	lines := []string{
		`save ""`,
		"appendonly no",
		// By way of a file: after a diskless copy the primary sends no writes until
		// the replica's next acknowledgement, which comes once a second, and calls
		// it online all the same.
		"repl-diskless-sync no",
		"rdb-del-sync-files yes",
		"dbfilename " + snapshotName,
		"enable-debug-command yes",
	}
	if n.opts.Password != "" {
		lines = append(lines, "masterauth "+quote(n.opts.Password))
	}
	if n.opts.User != "" {
		lines = append(lines, "masteruser "+n.opts.User)
	}
	return lines
}

// Files in a node's directory.
const (
	configName   = "redis.conf"
	snapshotName = "dump.rdb"
)

// quote writes s as Redis reads it in a configuration file, whatever is in it.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	b.WriteByte('"')
	return b.String()
}
