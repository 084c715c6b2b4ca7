package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// lineWidth is where the narration's lines are broken: the table's width.
const lineWidth = 118

// colour is the code of a terminal's text colour.
type colour string

const (
	colourRed    colour = "31"
	colourGreen  colour = "32"
	colourYellow colour = "33"
	colourBold   colour = "1"
)

// printer writes whole lines from many goroutines to one place. One goroutine
// of its own does the writing, so that nobody waits for a slow terminal while
// holding anything. Close it.
type printer struct {
	out      io.Writer
	coloured bool
	begin    time.Time
	lines    chan string
	stop     chan struct{} // closed by close
	done     chan struct{} // closed when everything is written
}

func newPrinter(out io.Writer) *printer {
	p := &printer{
		out:      out,
		coloured: isTerminal(out),
		begin:    time.Now(),
		lines:    make(chan string, 64),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	go p.write()
	return p
}

// isTerminal reports whether out shows colours.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p *printer) write() {
	defer close(p.done)
	for {
		select {
		case line := <-p.lines:
			fmt.Fprintln(p.out, line)
		case <-p.stop:
			for {
				select {
				case line := <-p.lines:
					fmt.Fprintln(p.out, line)
				default:
					return
				}
			}
		}
	}
}

// print writes text as it is. After close it does nothing.
func (p *printer) print(text string) {
	select {
	case p.lines <- text:
	case <-p.done:
	}
}

// say tells a step of the story, with the time.
func (p *printer) say(format string, args ...any) {
	p.print(p.paint(colourBold, fmt.Sprintf("%s  -- %s", p.now(), fmt.Sprintf(format, args...))))
}

// event tells what Holdfast reports, with the time.
func (p *printer) event(format string, args ...any) {
	p.print(wrap(fmt.Sprintf("%s     Holdfast: %s", p.now(), fmt.Sprintf(format, args...)), strings.Repeat(" ", 22)))
}

// wrap breaks lines between words where they get longer than lineWidth, if
// they can be broken there, and indents what follows.
func wrap(text, indent string) string {
	var b strings.Builder
	width, gap := 0, ""
	for word := range strings.SplitSeq(text, " ") {
		if gap != "" && width+len(gap)+len(word) > lineWidth {
			gap = "\n" + indent
			width = len(indent) - len(gap)
		}
		b.WriteString(gap + word)
		width += len(gap) + len(word)
		if i := strings.LastIndexByte(word, '\n'); i >= 0 {
			width = len(word) - i - 1
		}
		gap = " "
	}
	return b.String()
}

// now is the time since the story began, as the timeline's first column.
func (p *printer) now() string {
	return fmt.Sprintf("%6.1fs", time.Since(p.begin).Seconds())
}

func (p *printer) paint(c colour, text string) string {
	if !p.coloured || strings.TrimSpace(text) == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// close returns when everything printed before has been written. Call it once.
func (p *printer) close() {
	close(p.stop)
	<-p.done
}
