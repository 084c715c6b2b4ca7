package semantics

import (
	_ "embed" // for intro
	"fmt"
	"strings"

	"github.com/holdfast-cache/holdfast/internal/command"
)

//go:embed intro.md
var intro string

// Document is the text of docs/semantics.md.
func Document() (string, error) {
	forms, err := Forms()
	if err != nil {
		return "", err
	}
	names := make(map[string]bool)
	for _, f := range forms {
		names[f.Name()] = true
	}
	var b strings.Builder
	fmt.Fprintf(&b, intro, len(names), len(forms))
	group := ""
	for _, f := range forms {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&b, "\n## %s\n\n| command | class | since | healthy | no primary | replaying |\n"+
				"| --- | --- | --- | --- | --- | --- |\n", group)
		}
		do := f.Behave()
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n",
			strings.ReplaceAll(f.Pattern(), "|", `\|`), f.Class(), since(f.origins),
			do.Healthy, do.WithoutPrimary(), do.Replaying)
	}
	return b.String(), nil
}

// firstValkey is the version in which Valkey took over what Redis had.
const firstValkey = "7.2.0"

// since tells who has a command since when, in few words.
func since(origins []command.Origin) string {
	var out []string
	for _, o := range origins {
		switch {
		case o.Server == command.ServerValkey && o.Since == firstValkey:
			out = append(out, o.Server)
		default:
			out = append(out, o.Server+" "+strings.TrimSuffix(o.Since, ".0"))
		}
	}
	return strings.Join(out, ", ")
}
