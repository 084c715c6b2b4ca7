package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken from below the range (32768 and up on Linux) from which the
// kernel serves ":0" and outgoing connections. A port of that range could be
// gone when a killed server wants it back, and a client that keeps dialing a
// closed port of that range on loopback can end up connected to itself. The
// upper end leaves room for the bus of a Cluster node, at its port + 10000.
const (
	portLow  = 11000
	portHigh = 22000
)

const loopback = "127.0.0.1"

// ports are those in use by this program, including those of servers that are
// down at the moment and of proxies that refuse.
var ports struct {
	sync.Mutex
	taken map[int]bool // guarded by Mutex
}

// reservePort returns a port that nothing listens on and no other caller in
// this program has. Another program may still be faster: whoever listens on it
// must be ready to try another one. It stays reserved until releasePort.
func reservePort() (int, error) {
	const tries = 1000
	for range tries {
		port := portLow + rand.IntN(portHigh-portLow)
		if !claimPort(port) {
			continue
		}
		ln, err := net.Listen("tcp", address(port))
		if err == nil {
			ln.Close()
			return port, nil
		}
		releasePort(port)
	}
	return 0, errors.New("redistest: no free loopback port after " + strconv.Itoa(tries) + " tries")
}

func claimPort(port int) bool {
	ports.Lock()
	defer ports.Unlock()
	if ports.taken[port] {
		return false
	}
	if ports.taken == nil {
		ports.taken = make(map[int]bool)
	}
	ports.taken[port] = true
	return true
}

func releasePort(port int) {
	ports.Lock()
	defer ports.Unlock()
	delete(ports.taken, port)
}

// listen reserves a port and listens on it.
func listen() (net.Listener, int, error) {
	const tries = 20
	var last error
	for range tries {
		port, err := reservePort()
		if err != nil {
			return nil, 0, err
		}
		ln, err := net.Listen("tcp", address(port))
		if err == nil {
			return ln, port, nil
		}
		releasePort(port)
		last = err
	}
	return nil, 0, fmt.Errorf("redistest: can't listen on a loopback port: %w", last)
}

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }
