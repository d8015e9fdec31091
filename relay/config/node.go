package config

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// source is one file while it is read.
type source struct {
	path        string // as given to Load; it stands in every Position
	dir         string // what a file:PATH is relative to
	options     Options
	permissions *permissions // nil: the operator's, which are all
	mistakes    []found
	warnings    []found
	// lacking are the scalars of which something is not here.
	lacking map[*yaml.Node]bool
	// variables are those that the file refers to.
	variables map[string]bool
	// read is called with what the config depends on; nil: it is not called.
	read func(path, content string)
}

// value is one node of a file.
type value struct {
	src  *source
	node *yaml.Node
	path string     // the keys that lead to it, like "tenants[0].name"
	at   *yaml.Node // where its mistakes are: a mapping or list begins, for people, in the line of its key
}

// child is another node of v's file, at a path of its own.
func (v value) child(node *yaml.Node, path string) value {
	return value{src: v.src, node: node, path: path, at: node}
}

// nowhere is a value without a file, to see which keys a schema reads.
var nowhere = value{src: &source{}, at: &yaml.Node{}}

// text returns the value's text with everything expanded. It returns false after a mistake.
func (v value) text() (string, bool) {
	if !v.usable() {
		return "", false
	}

	if v.node.Kind != yaml.ScalarNode {
		v.mistake("must be a single value, not %s", v.kind())
		return "", false
	}

	s, problems := v.resolve()
	for _, p := range problems {
		v.mistake("%s", p)
	}
	return s, len(problems) == 0
}

// items returns the items of a list.
func (v value) items() []value {
	if !v.usable() {
		return nil
	}

	if v.node.Kind != yaml.SequenceNode {
		v.mistake("must be a list, not %s", v.kind())
		return nil
	}

	items := make([]value, len(v.node.Content))
	for i, n := range v.node.Content {
		items[i] = v.child(n, fmt.Sprintf("%s[%d]", v.path, i))
	}
	return items
}

func (v value) someItems() []value {
	items := v.items()
	if len(items) == 0 && v.node.Kind == yaml.SequenceNode {
		v.mistake("must not be empty")
	}
	return items
}

func (v value) oneOrMore() []value {
	if v.node.Kind == yaml.SequenceNode {
		return v.someItems()
	}
	return []value{v}
}

// entries returns the values of a mapping's known keys by key. Unknown and repeated keys are mistakes.
func (v value) entries(known []field) (map[string]value, bool) {
	if !v.usable() {
		return nil, false
	}

	if v.node.Kind != yaml.MappingNode {
		v.mistake("must be a mapping of keys to values, not %s", v.kind())
		return nil, false
	}

	entries := map[string]value{}
	lines := map[string]int{}
	for pair := range slices.Chunk(v.node.Content, 2) {
		key := v.child(pair[0], v.path)
		name := key.node.Value

		if key.node.Kind != yaml.ScalarNode || key.node.Anchor != "" || key.node.Style&yaml.TaggedStyle != 0 {
			key.mistake("a key must be a plain word")
			continue
		}

		// The first of several keys counts.
		if line, dup := lines[name]; dup {
			key.mistake("key %s is already set in line %d", quote(name), line)
			continue
		}
		lines[name] = key.node.Line

		if name == "<<" {
			key.mistake("YAML merges (<<) are not accepted; write the keys out")
			continue
		}

		if !slices.ContainsFunc(known, func(f field) bool { return f.name == name }) {
			key.mistake("unknown key %s%s", quote(name), suggestKey(name, known))
			continue
		}

		entry := v.child(pair[1], v.join(name))
		if entry.node.Kind != yaml.ScalarNode {
			entry.at = key.node
		}
		entries[name] = entry
	}
	return entries, true
}

func suggestKey(name string, known []field) string {
	var names []string
	for _, f := range known {
		names = append(names, f.name)
	}

	if guess := didYouMean(name, names); guess != "" {
		return guess
	}

	return "; the keys here are " + strings.Join(names, ", ")
}

// usable notes forms of YAML that are never right in this file. It returns false if nothing of the value is left to
// read.
func (v value) usable() bool {
	n := v.node
	switch {
	case n.Kind == yaml.AliasNode:
		v.mistake("YAML aliases are not accepted; quote a value that begins with *")
		return false
	case n.Anchor != "":
		v.mistake("YAML anchors are not accepted; quote a value that begins with &")
	case n.Style&yaml.TaggedStyle != 0:
		v.mistake("YAML tags are not accepted; quote a value that begins with !")
	case v.isNull():
		v.mistake("has no value; give it one, or leave it out")
		return false
	default:
		return true
	}

	// A mapping or list is read on, for the mistakes in it.
	return n.Kind != yaml.ScalarNode
}

func (v value) isNull() bool {
	return v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!null"
}

func (v value) isEmptyMapping() bool {
	return v.node.Kind == yaml.MappingNode && len(v.node.Content) == 0
}

func (v value) kind() string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

// absent returns a value for a section that v leaves out.
func (v value) absent(name string) value {
	return value{src: v.src, node: &yaml.Node{Kind: yaml.MappingNode}, path: v.join(name), at: v.at}
}

func (v value) join(name string) string {
	return strings.TrimPrefix(v.path+"."+name, ".")
}

func (v value) position() Position {
	return Position{File: v.src.path, Line: v.at.Line}
}

// mistake notes what is wrong with the value. The arguments must not hold an expanded value.
func (v value) mistake(format string, args ...any) {
	m := newMistake(v.position(), format, args...)
	if v.path != "" {
		m.Msg = v.path + ": " + m.Msg
	}

	v.src.mistakes = append(v.src.mistakes, found{Mistake: m, column: v.at.Column})
}

// warn notes what is legal, but probably a mistake. The arguments must not hold an expanded value.
func (v value) warn(format string, args ...any) {
	msg := v.path + ": " + fmt.Sprintf(format, args...)
	v.src.warnings = append(v.src.warnings, found{Mistake: Mistake{Pos: v.position(), Msg: msg}, column: v.at.Column})
}

// checked notes the error of a check from outside this package. The error may quote the value, so its first line is
// shown only if nothing in the value was expanded; otherwise instead is shown.
func (v value) checked(err error, instead string) {
	switch {
	case err == nil:
	case v.expanded():
		v.mistake("%s (after expansion)", instead)
	default:
		line, _, _ := strings.Cut(err.Error(), "\n")
		v.mistake("%s", line)
	}
}

// expanded says whether text in the value comes from a variable or a file.
func (v value) expanded() bool {
	for _, n := range v.node.Content {
		if (value{node: n}).expanded() {
			return true
		}
	}
	return strings.Contains(v.node.Value, "${") || strings.HasPrefix(v.node.Value, "file:")
}
