package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// EnvServer names the environment variable that holds the path of the
// redis-server program to use instead of the one in PATH.
const EnvServer = "HOLDFAST_REDIS_SERVER"

// ErrNoServer says that a Redis program was not found. Errors that wrap it name
// the program.
var ErrNoServer = errors.New("redistest: no Redis server program: " +
	"install it (Debian: apt-get install redis-server redis-sentinel) or set " + EnvServer + " to its path")

// Find returns the path of the Redis program with the given name, such as
// "redis-server" or "redis-sentinel". PATH is searched, but the variable
// EnvServer, if it is set, decides for redis-server. The error wraps ErrNoServer.
func Find(name string) (string, error) {
	if env := os.Getenv(EnvServer); env != "" && name == "redis-server" {
		path, err := exec.LookPath(env)
		if err != nil {
			return "", fmt.Errorf("%w (%s is set: %w)", ErrNoServer, EnvServer, err)
		}
		return path, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w (%w)", ErrNoServer, err)
	}
	return path, nil
}
