package main

import (
	"os"
	"strings"
	"testing"
)

// TestREADME: what the README shows is what compiles here.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, ok := strings.Cut(string(readme), "```go\n")
	shown, _, closed := strings.Cut(shown, "```")
	if !ok || !closed {
		t.Fatal("the README has no Go block")
	}
	if n := strings.Count(shown, "\n"); n > 16 {
		t.Errorf("the example has %d lines", n)
	}
	if !strings.HasSuffix(string(source), shown) {
		t.Error("the README's example is not the end of main.go")
	}
}
