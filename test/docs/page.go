package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// A kind is what is done with a step of a page.
type kind int

const (
	run        kind = iota // the commands have to succeed
	fails                  // the last of the commands has to fail
	background             // the commands go on until the end of the page
	skip                   // the commands are not run
	file                   // the text is written to a file
)

// step is a fenced block of a page that something is done with.
type step struct {
	kind   kind
	root   bool // the commands change the machine, as root
	line   int  // of the block's first line in the page
	text   string
	path   string // of file
	reason string // of skip
	prints []expected
}

// commands returns the commands of a block, in their order.
func (s *step) commands() []command {
	return split(s.line, strings.Split(strings.TrimSuffix(s.text, "\n"), "\n"))
}

// command is what a reader types at once: a line, and those that belong to it.
type command struct {
	line int
	text string
}

// expected is a line that the commands of a step print. "…" stands for anything in it.
type expected struct {
	line int
	text string
}

// page is what a test does with a Markdown page.
type page struct {
	path  string
	relay bool // a receiver and a relay run before the first step
	steps []step
}

// setupRelay stands in one of a page's first lines if it begins with a running relay.
const setupRelay = "<!-- setup: relay -->"

var (
	fence     = regexp.MustCompile("^( *)(```+)(.*)$")
	attribute = regexp.MustCompile(`^(\w+)="?([^"]*)"?$`)
	words     = regexp.MustCompile(`\w+="[^"]*"|\S+`)
)

// parsePage finds the steps of a page. The info string of a block says what it is, see the package's comment.
func parsePage(path, text string) (*page, error) {
	p := &page{path: path}
	lines := strings.Split(text, "\n")
	p.relay = strings.Contains(strings.Join(lines[:min(5, len(lines))], "\n"), setupRelay)

	last := -1 // the line in which the block before ended, if it is one of commands
	for i := 0; i < len(lines); i++ {
		open := fence.FindStringSubmatch(lines[i])
		if open == nil {
			if strings.TrimSpace(lines[i]) != "" {
				last = -1
			}
			continue
		}
		start := i + 1
		for i++; i < len(lines) && strings.TrimRight(lines[i], " ") != open[1]+open[2]; i++ {
		}
		if i == len(lines) {
			return nil, fmt.Errorf("%s:%d: the block has no end", path, start)
		}
		body := lines[start:i]
		for j := range body {
			body[j] = strings.TrimPrefix(body[j], open[1])
		}
		commands, err := p.add(start+1, open[3], body, last >= 0)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, start, err)
		}
		last = -1
		if commands {
			last = i
		}
	}

	for _, s := range p.steps {
		if s.kind == background && s.prints == nil {
			return nil, fmt.Errorf("%s:%d: a text block after it has to say what it prints when it is at work", path, s.line)
		}
	}
	return p, nil
}

// add adds a block, whose first line is the given one. It returns whether the block has commands, whose output the next
// block may be.
func (p *page) add(line int, info string, body []string, after bool) (commands bool, err error) {
	fields := words.FindAllString(info, -1)
	if len(fields) == 0 {
		return false, nil
	}
	s := step{line: line, text: strings.Join(body, "\n") + "\n"}
	for _, field := range fields[1:] {
		name, value := field, ""
		if m := attribute.FindStringSubmatch(field); m != nil {
			name, value = m[1], m[2]
		}
		switch {
		case name == "file" && value != "":
			s.kind, s.path = file, value
		case fields[0] == "sh" && name == "skip" && value != "":
			s.kind, s.reason = skip, value
		case fields[0] == "sh" && name == "fails" && value == "":
			s.kind = fails
		case fields[0] == "sh" && name == "background" && value == "":
			s.kind = background
		case fields[0] == "sh" && name == "root" && value == "":
			s.root = true
		default:
			return false, fmt.Errorf("nothing is known of %q after %q", field, fields[0])
		}
	}

	switch {
	case s.kind == file:
		p.steps = append(p.steps, s)
	case fields[0] == "sh":
		p.steps = append(p.steps, s)
		return true, nil
	case fields[0] == "text" && after:
		p.expect(line, body)
	case fields[0] == "bash" || fields[0] == "shell" || fields[0] == "console":
		return false, fmt.Errorf("write sh instead of %s", fields[0])
	}
	return false, nil
}

// expect adds the lines to what the last step prints.
func (p *page) expect(line int, body []string) {
	s := &p.steps[len(p.steps)-1]
	for i, text := range body {
		if text = strings.Join(strings.Fields(text), " "); text != "" && text != "…" {
			s.prints = append(s.prints, expected{line + i, text})
		}
	}
}

// split finds the commands of a block, whose first line is the given one. A line goes on with the command before if it
// begins with a space, or the command is not complete: it ends with a backslash, or within quotes, a here-document, or
// a loop.
func split(line int, body []string) []command {
	var commands []command
	complete := true
	for i, text := range body {
		last := len(commands) - 1
		switch {
		case !complete, last >= 0 && text != "" && text[0] == ' ':
			commands[last].text += "\n" + text
		case strings.TrimSpace(text) == "", text[0] == '#':
			continue
		default:
			commands = append(commands, command{line + i, text})
			last++
		}
		complete = isComplete(commands[last].text)
	}
	return commands
}

// isComplete asks bash whether a command is complete.
func isComplete(text string) bool {
	if strings.HasSuffix(text, `\`) {
		return false
	}
	cmd := exec.Command("bash", "-n")
	cmd.Stdin = strings.NewReader(text + "\n")
	output, err := cmd.CombinedOutput()
	return err == nil && len(output) == 0 // of a here-document without its end, bash only warns
}

// missing returns the first of the lines that the output does not have, in their order. A line of the output has it if
// the two are equal but for the number of spaces.
func missing(output string, lines []expected) *expected {
	rest := strings.Split(output, "\n")
	for _, want := range lines {
		pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(want.text), "…", ".*") + "$")
		found := false
		for len(rest) > 0 && !found {
			found = pattern.MatchString(strings.Join(strings.Fields(rest[0]), " "))
			rest = rest[1:]
		}
		if !found {
			return &want
		}
	}
	return nil
}
