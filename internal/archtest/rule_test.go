package archtest

import (
	"fmt"
	"slices"
	"strings"
)

const modulePath = "github.com/holdfast-cache/holdfast"

// node is a package as `go list -json` describes it.
type node struct {
	ImportPath   string
	Name         string
	Dir          string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// rule says what a package of ours may import, by paths below modulePath ("."
// is the root package). A package without a rule is an error: who adds one
// decides where it stands.
type rule struct {
	// code are the edges of the package itself.
	code []string
	// test are those that its tests have besides code, the package itself and
	// testSupport.
	test []string
}

// rules is the import graph. One direction: resilient wires the leaves, which do
// not know each other; backlog alone joins two of them, for both who replay. command,
// resp and slot know nothing of ours.
var rules = map[string]rule{
	".": {test: []string{"resilient"}},
	"resilient": {
		code: []string{
			"internal/backlog", "internal/basis", "internal/command", "internal/entry", "internal/journal", "internal/overlay",
			"internal/replay", "internal/resp", "internal/slot", "internal/topology", "internal/engine",
		},
		test: []string{"internal/semantics", "internal/workload"},
	},
	"resilient/journalctl": {
		code: []string{
			"internal/backlog", "internal/command", "internal/entry", "internal/journal", "internal/replay", "internal/resp",
		},
		test: []string{"resilient"},
	},
	"internal/archtest": {},
	"internal/coalesce": {code: []string{"internal/resp"}},
	"internal/basis":    {},
	"internal/backlog": {
		code: []string{
			"internal/basis", "internal/command", "internal/entry", "internal/journal", "internal/replay", "internal/resp", "internal/slot",
		},
	},
	"internal/command":     {test: []string{"internal/resp"}},
	"internal/command/gen": {code: []string{"internal/command", "internal/resp"}},
	"internal/journal":     {},
	"internal/entry":       {code: []string{"internal/basis", "internal/resp"}},
	"internal/engine":      {code: []string{"internal/basis", "internal/resp"}, test: []string{"internal/command", "internal/workload"}},
	"internal/overlay":     {code: []string{"internal/basis", "internal/engine", "internal/resp", "internal/slot"}, test: []string{"internal/command", "internal/workload"}},
	"internal/redistest":   {code: []string{"internal/resp"}},
	"internal/replay":      {code: []string{"internal/basis", "internal/coalesce", "internal/resp", "internal/slot"}},
	"internal/resp":        {},
	"internal/slot":        {},
	"internal/semantics":   {code: []string{"internal/command"}},
	"internal/tmpfs":       {},
	"internal/topology":    {},
	"internal/workload":    {code: []string{"internal/resp"}},
	// The examples see what a user sees, and the servers that the tests see.
	"examples/...": {code: []string{".", "resilient", "internal/redistest"}},
}

// testSupport may be imported by every test, and by no library package.
var testSupport = []string{"internal/redistest", "internal/tmpfs"}

// libraryModules are the foreign import paths, with everything below them, that
// the library may use; docs/adr/0001-dependencies.md gives the reasons.
var libraryModules = []string{
	"github.com/cenkalti/backoff/v4",
	"github.com/redis/go-redis/v9",
	"github.com/sony/gobreaker/v2",
	"go.opentelemetry.io/otel",
	"golang.org/x/sys",
}

// libraryModulesNot are exceptions below libraryModules: OpenTelemetry's SDK is
// the application's choice.
var libraryModulesNot = []string{"go.opentelemetry.io/otel/sdk"}

// testModules are those that only tests may use.
var testModules = []string{
	"github.com/anishathalye/porcupine",
	"github.com/cockroachdb/datadriven",
	"go.opentelemetry.io/otel/sdk",
	"go.uber.org/goleak",
	"pgregory.net/rapid",
}

// check returns one sentence for each import that the rules don't allow.
func check(nodes []node, rules map[string]rule) []string {
	var faults []string
	for _, n := range nodes {
		path := relative(n.ImportPath)
		r, ok := find(rules, path)
		if !ok {
			faults = append(faults, fmt.Sprintf("%s has no rule: say in this package's rules what it may import", path))
			continue
		}
		example := strings.HasPrefix(path, "examples/")
		for _, imp := range n.Imports {
			switch {
			case standard(imp):
			case ours(imp):
				if !slices.Contains(r.code, relative(imp)) {
					faults = append(faults, fmt.Sprintf("%s imports %s, which its rule does not allow", path, relative(imp)))
				}
			case !example && !libraryModule(imp):
				faults = append(faults, fmt.Sprintf("%s imports %s, which is no dependency of the library", path, imp))
			}
		}
		for _, imp := range slices.Concat(n.TestImports, n.XTestImports) {
			switch {
			case standard(imp):
			case ours(imp):
				if to := relative(imp); to != path && !slices.Contains(slices.Concat(r.code, r.test, testSupport), to) {
					faults = append(faults, fmt.Sprintf("a test of %s imports %s, which its rule does not allow", path, to))
				}
			case !example && !libraryModule(imp) && !below(imp, testModules):
				faults = append(faults, fmt.Sprintf("a test of %s imports %s, which is no dependency of the tests", path, imp))
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// find returns the rule for a path: its own, or that of a parent that ends in
// "/...".
func find(rules map[string]rule, path string) (rule, bool) {
	if r, ok := rules[path]; ok {
		return r, true
	}
	for parent := path; ; {
		i := strings.LastIndexByte(parent, '/')
		if i < 0 {
			return rule{}, false
		}
		parent = parent[:i]
		if r, ok := rules[parent+"/..."]; ok {
			return r, true
		}
	}
}

func ours(imp string) bool { return below(imp, []string{modulePath}) }

// relative turns an import path of ours into one below modulePath.
func relative(imp string) string {
	if imp == modulePath {
		return "."
	}
	return strings.TrimPrefix(imp, modulePath+"/")
}

// standard reports whether imp is of the standard library, whose paths don't
// begin with a domain. "C" is cgo, which the library does not use: it is foreign.
func standard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return imp != "C" && !strings.Contains(first, ".")
}

func libraryModule(imp string) bool {
	return below(imp, libraryModules) && !below(imp, libraryModulesNot)
}

// below reports whether path is one of roots or inside one.
func below(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return path == root || strings.HasPrefix(path, root+"/")
	})
}
