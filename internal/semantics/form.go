package semantics

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/holdfast-cache/holdfast/internal/command"
)

// The files of this folder are read in the order of their names. In them
//
//	# …                       is a comment,
//	== Streams                begins a group, a section of the document,
//	claiming  SET s:1 value NX  ; Redis 2.6.12, Valkey 7.2.0
//
// and is a form: the class that it is expected to have, by its first word; the
// command, whose words in capitals are meant literally; and, where the form is newer
// than the command, who has it since when. A word in quotes is read as Go reads it.
//
// Keys are a type and a number: s a string, n a whole number, f a fraction, e a string
// with a deadline, b a bitmap, h a hash, l a list, t a set, z a sorted set, y one
// whose scores are all equal, x a stream, p a HyperLogLog, g places, v a vector set.
// There are further letters for types of modules. A key "missing" does not exist, and
// a pattern of keys ends in an asterisk, as in w:*.
//
//go:embed forms/*.txt
var folder embed.FS

// Form is one way to call a command, as an example with concrete arguments.
type Form struct {
	// Group is the section of the document that the form belongs to, such as "Hashes".
	Group string
	// Args are the command's words, the name first.
	Args []string
	// Expected is the first word of the class that the form should have.
	Expected string

	spec    *command.Spec // of the first word
	sub     *command.Spec // of the subcommand, or else spec
	origins []command.Origin
	bytes   [][]byte // Args, as the command table takes them
}

// Forms are all forms, in the order of the document. The slices belong to this
// package and must not be changed. The error says which line is not a form.
func Forms() ([]Form, error) { return read() }

var read = sync.OnceValues(func() ([]Form, error) {
	names, err := fs.Glob(folder, "forms/*.txt")
	if err != nil {
		return nil, fmt.Errorf("semantics: %w", err)
	}
	var forms []Form
	for _, name := range names {
		text, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, fmt.Errorf("semantics: %w", err)
		}
		more, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("semantics: %s: %w", name, err)
		}
		forms = append(forms, more...)
	}
	return forms, nil
})

// parse reads one file.
func parse(text string) ([]Form, error) {
	var forms []Form
	group := ""
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		title, isTitle := strings.CutPrefix(line, "== ")
		switch {
		case line == "" || line[0] == '#':
			continue
		case isTitle:
			group = title
			continue
		}
		f, err := parseForm(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		f.Group = group
		forms = append(forms, f)
	}
	return forms, nil
}

func parseForm(line string) (Form, error) {
	class, rest, _ := strings.Cut(line, " ")
	line, since, hasSince := strings.Cut(rest, " ; ")
	args, err := words(line)
	if err != nil {
		return Form{}, err
	}
	f := Form{Args: args, Expected: class}
	for _, arg := range args {
		f.bytes = append(f.bytes, []byte(arg))
	}
	if f.spec = command.Lookup(args[0]); f.spec == nil {
		return Form{}, fmt.Errorf("%s is not in the command table", args[0])
	}
	f.sub = f.spec
	if f.spec.Container() && len(args) > 1 {
		if f.sub = find(f.spec.Name + "|" + strings.ToLower(args[1])); f.sub == nil {
			return Form{}, fmt.Errorf("%s %s is not in the command table", args[0], args[1])
		}
	}
	f.origins = f.sub.Servers()
	if hasSince {
		f.origins, err = parseOrigins(since)
	}
	return f, err
}

var errNoWords = errors.New("there is no command in it")

// words splits a line at its spaces, but for those in quotes.
func words(line string) ([]string, error) {
	var args []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] != '"' {
			word, rest, _ := strings.Cut(line, " ")
			args, line = append(args, word), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, fmt.Errorf("the quotes in %s: %w", line, err)
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("the quotes in %s: %w", line, err)
		}
		args, line = append(args, word), line[len(quoted):]
	}
	if len(args) == 0 {
		return nil, errNoWords
	}
	return args, nil
}

// find returns the subcommand of that full name, nil when there is none.
func find(name string) *command.Spec {
	for s := range command.All() {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func parseOrigins(text string) ([]command.Origin, error) {
	var origins []command.Origin
	for one := range strings.SplitSeq(text, ",") {
		server, since, ok := strings.Cut(strings.TrimSpace(one), " ")
		if !ok || server != command.ServerRedis && server != command.ServerValkey {
			return nil, fmt.Errorf("%q is no server and version", one)
		}
		origins = append(origins, command.Origin{Server: server, Since: since})
	}
	return origins, nil
}

// Name is the command's full name in lower case, as in "xgroup|create".
func (f Form) Name() string { return f.sub.Name }

// Class is what the command table says of the form.
func (f Form) Class() command.Class { return f.spec.Class(f.bytes) }

// Servers tells which servers have the form, and since when.
func (f Form) Servers() []command.Origin { return slices.Clone(f.origins) }

// Keys are the indexes of the arguments that are keys.
func (f Form) Keys() ([]int, error) {
	return f.spec.AppendKeys(nil, len(f.Args), func(i int) string { return f.Args[i] })
}

// String is the form as it stands in its file.
func (f Form) String() string {
	out := make([]string, len(f.Args))
	for i, arg := range f.Args {
		out[i] = arg
		if arg == "" || strings.ContainsAny(arg, " \"\n") {
			out[i] = strconv.Quote(arg)
		}
	}
	return strings.Join(out, " ")
}

var (
	keyWord     = regexp.MustCompile(`^([a-z]|missing):\d+$`)
	patternWord = regexp.MustCompile(`^[a-z]:\*$`)
)

// IsKey reports whether a word is written as a key, and IsPattern whether it is
// written as a pattern of keys.
func IsKey(word string) bool { return keyWord.MatchString(word) }

// IsPattern reports whether a word is written as a pattern of keys.
func IsPattern(word string) bool { return patternWord.MatchString(word) }

// Pattern is the form as the document shows it: keys are called key, key2 and so on.
func (f Form) Pattern() string {
	names := make(map[string]string)
	shown := Form{Args: slices.Clone(f.Args)}
	for i, arg := range f.Args {
		switch {
		case IsPattern(arg):
			shown.Args[i] = "pattern"
		case IsKey(arg):
			if names[arg] == "" {
				names[arg] = "key"
				if n := len(names); n > 1 {
					names[arg] += strconv.Itoa(n)
				}
			}
			shown.Args[i] = names[arg]
		}
	}
	return shown.String()
}
