package semantics

import (
	"flag"
	"os"
	"testing"
)

var writeDocs = flag.Bool("write-docs", false, "write docs/semantics.md instead of comparing it")

// TestDocument holds docs/semantics.md against the tables that the code runs on.
func TestDocument(t *testing.T) {
	const path = "../../docs/semantics.md"
	want, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	if *writeDocs {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Error("docs/semantics.md is not what the tables say; run make generate")
	}
}
