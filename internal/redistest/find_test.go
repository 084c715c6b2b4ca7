package redistest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"redis-server", "redis-sentinel", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(dir, "other")
	for _, c := range []struct {
		about, path, env, name string
		want                   string // empty: ErrNoServer
		says                   string
	}{
		{about: "server in PATH", path: dir, name: "redis-server", want: filepath.Join(dir, "redis-server")},
		{about: "sentinel in PATH", path: dir, name: "redis-sentinel", want: filepath.Join(dir, "redis-sentinel")},
		{about: "variable before PATH", path: dir, env: other, name: "redis-server", want: other},
		{about: "variable without PATH", path: "", env: other, name: "redis-server", want: other},
		{about: "variable is for the server", path: dir, env: other, name: "redis-sentinel", want: filepath.Join(dir, "redis-sentinel")},
		{about: "nowhere", path: "", name: "redis-server", says: "apt-get install"},
		{about: "sentinel nowhere", path: "", name: "redis-sentinel", says: "redis-sentinel"},
		{about: "variable wrong", path: dir, env: filepath.Join(dir, "missing"), name: "redis-server", says: EnvServer + " is set"},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Setenv("PATH", c.path)
			t.Setenv(EnvServer, c.env)
			got, err := Find(c.name)
			if got != c.want {
				t.Errorf("Find = %q, want %q", got, c.want)
			}
			if (c.want == "") != errors.Is(err, ErrNoServer) {
				t.Errorf("error %v, want ErrNoServer: %t", err, c.want == "")
			}
			if c.says != "" && !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q does not say %q", err, c.says)
			}
		})
	}
}
