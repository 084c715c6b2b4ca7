package resilient_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The test binary starts itself again as a program that can be killed: this
// variable tells it what to be.
const roleVariable = "HOLDFAST_TEST_ROLE"

var roles = map[string]func() error{"writer": crashWriter, "successor": crashSuccessor, "adopter": crashAdopter}

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	run, ok := roles[role]
	switch {
	case ok:
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, role, "failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	case role != "":
		fmt.Fprintln(os.Stderr, "no such role:", role)
		os.Exit(2)
	}
	goleak.VerifyTestMain(m)
}
