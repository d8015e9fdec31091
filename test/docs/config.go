package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"kuairelay/relay"
	"kuairelay/relay/config"
)

// configPage makes docs/reference/config.md from the schema of the config.
func configPage() (string, error) {
	root, err := readSchema()
	if err != nil {
		return "", err
	}

	p := &configWriter{restart: relay.RestartKeys()}
	p.WriteString(intro("config"))
	for _, name := range slices.Sorted(maps.Keys(root.Properties)) {
		p.section(2, name, root.Properties[name], slices.Contains(root.Required, name))
	}
	return p.String(), p.err
}

// readSchema returns the schema of the config.
func readSchema() (root configKey, err error) {
	text, err := config.JSONSchema(false)
	if err != nil {
		return root, err
	}
	return root, json.Unmarshal(text, &root)
}

// find returns a key by its path.
func (k configKey) find(path string) (configKey, bool) {
	for name := range strings.SplitSeq(path, ".") {
		below, ok := k.Properties[name]
		if !ok {
			return k, false
		}
		k = below
	}
	return k, true
}

// configKey is a JSON Schema, as far as the config's goes.
type configKey struct {
	Description string
	Default     any
	Properties  map[string]configKey
	Required    []string
	Items       *configKey
	AnyOf       []configKey

	Type             any
	Enum             []string
	Const            any
	Pattern          string
	MinLength        int
	MinItems         int
	Minimum, Maximum *float64
	ExclusiveMinimum *float64
	Ref              string `json:"$ref"`
}

// mapping returns the key itself, or the mapping that its items are or may be; nil: it holds no mapping.
func (k configKey) mapping() *configKey {
	switch {
	case k.Properties != nil:
		return &k
	case k.Items != nil:
		return k.Items.mapping()
	}
	for _, x := range k.AnyOf {
		if m := x.mapping(); m != nil {
			return m
		}
	}
	return nil
}

type configWriter struct {
	strings.Builder
	restart []string
	err     error
}

// section writes a key under a heading: a mapping with a table of its keys, which are sections of their own if they are
// mappings again.
func (w *configWriter) section(level int, path string, k configKey, required bool) {
	who := "Set by the operator."
	if strings.HasPrefix(path+".", "tenants.") {
		who = "Set by the operator, or in a file of [`tenants_dir`](#tenants_dir)."
	}
	fmt.Fprintf(w, "\n%s %s\n\n", strings.Repeat("#", level), path)
	m := k.mapping()
	if m == nil {
		fmt.Fprintf(w, "%s\n\n", who)
		w.table(path, map[string]configKey{"": k}, nil)
		return
	}

	about := k.Description
	if k.Properties == nil {
		about += " A list."
	}
	if required {
		about += " Required."
	}
	fmt.Fprintln(w, about, who)
	if rows := withMappings(m.Properties, false); len(rows) > 0 {
		fmt.Fprintln(w)
		w.table(path, rows, m.Required)
	}
	below := withMappings(m.Properties, true)
	for _, name := range slices.Sorted(maps.Keys(below)) {
		w.section(min(level+1, 3), path+"."+name, below[name], slices.Contains(m.Required, name))
	}
}

func withMappings(keys map[string]configKey, want bool) map[string]configKey {
	out := maps.Clone(keys)
	maps.DeleteFunc(out, func(_ string, k configKey) bool { return (k.mapping() != nil) != want })
	return out
}

func (w *configWriter) table(path string, keys map[string]configKey, required []string) {
	fmt.Fprint(w, "| key | type | default | meaning |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		k, full := keys[name], strings.TrimSuffix(path+"."+name, ".")
		fallback := "none"
		inherits := ""
		about := k.Description
		if before, after, ok := strings.Cut(about, " Default: `"); ok {
			about, inherits = before, strings.TrimSuffix(after, "`.")
		}
		switch {
		case inherits != "":
			fallback = fmt.Sprintf("[`%s`](#%[1]s)", inherits)
		case slices.Contains(required, name):
			fallback = "required"
		case k.Default != nil:
			text, err := json.Marshal(k.Default)
			if err != nil {
				w.err = err
			}
			fallback = "`" + strings.ReplaceAll(strings.Trim(string(text), `"`), `","`, `", "`) + "`"
			fallback = strings.ReplaceAll(fallback, `"`, "")
		}
		if slices.Contains(w.restart, full) {
			about += " *restart*"
		}
		fmt.Fprintf(w, "| <a id=%q></a>`%s` | %s | %s | %s |\n", full, full, w.kind(full, k), fallback, cell(about))
	}
}

// cell makes a text fit into a cell of a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// kind says what a value is, in words.
func (w *configWriter) kind(path string, k configKey) string {
	const reference = "#/$defs/reference"
	switch {
	case len(k.AnyOf) == 2 && k.AnyOf[1].Ref == reference:
		return w.kind(path, k.AnyOf[0])
	case len(k.AnyOf) == 2 && k.AnyOf[0].Const != nil:
		return "0 or " + w.kind(path, k.AnyOf[1])
	case len(k.AnyOf) == 2 && k.AnyOf[1].Items != nil:
		return w.kind(path, k.AnyOf[0]) + ", or a list"
	case len(k.Enum) > 0:
		return "`" + strings.Join(k.Enum, "` or `") + "`"
	case k.Const != nil:
		return fmt.Sprintf("`%v`", k.Const)
	case k.Items != nil && k.MinItems > 0:
		return fmt.Sprintf("list of %s, at least %d", plural(w.kind(path, *k.Items)), k.MinItems)
	case k.Items != nil:
		return "list of " + plural(w.kind(path, *k.Items))
	case k.Minimum != nil || k.ExclusiveMinimum != nil:
		return w.number(k)
	case k.Pattern != "":
		return w.pattern(path, k.Pattern)
	case fmt.Sprint(k.Type) == "object":
		return "mapping"
	case fmt.Sprint(k.Type) == "[object string]":
		return "mapping or text"
	}
	return "text"
}

// plural is that of a kind.
func plural(kind string) string {
	if kind == variableName {
		return "names of variables"
	}
	return kind + "s"
}

func (w *configWriter) number(k configKey) string {
	switch {
	case k.ExclusiveMinimum != nil:
		return fmt.Sprintf("number above %v, at most %v", *k.ExclusiveMinimum, *k.Maximum)
	case k.Type == "integer":
		return fmt.Sprintf("whole number, %s to %s", grouped(*k.Minimum), grouped(*k.Maximum))
	}
	return fmt.Sprintf("number, %s to %s", grouped(*k.Minimum), grouped(*k.Maximum))
}

// grouped writes a whole number with a comma before each three digits.
func grouped(f float64) string {
	text := strconv.FormatInt(int64(f), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

const variableName = "name of a variable"

// pattern names a form by what it looks like. A new form is to be named here.
func (w *configWriter) pattern(path, pattern string) string {
	for part, name := range map[string]string{
		"(ns|us":      "duration",
		"KiB":         "size",
		":[0-9]+$":    "`host:port`",
		"rediss":      "URL",
		"[Hh][Tt]":    "URL",
		"socks5":      "URL",
		"whsec_":      "secret",
		"{4}-":        "time (RFC 3339)",
		"A-Za-z0-9_":  variableName,
		"0-9A-Fa-f.:": "network",
	} {
		if strings.Contains(pattern, part) {
			return name
		}
	}
	w.err = fmt.Errorf("%s: name the form %s in test/docs", path, pattern)
	return ""
}
