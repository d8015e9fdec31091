package config

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Files are those of a config as they were read, to show what is in use, also when the files have changed since.
type Files struct {
	all        []readFile
	parseBytes int64
}

// Format writes "<files>" for every verb: they hold secrets.
func (Files) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "<files>") }

// readFile is one of them.
type readFile struct {
	path   string
	tenant bool // it is one of tenants_dir
	text   []byte
}

// OfTenants lists the files of tenants_dir: each holds one tenant, and nothing else.
func (f Files) OfTenants() (paths []string) {
	for _, file := range f.all {
		if file.tenant {
			paths = append(paths, file.path)
		}
	}
	return paths
}

// Effective is a config as YAML: what the files say, with the defaults of what they leave out. Secrets are "<secret>",
// with where they come from. What comes from a variable or a file is shown as it is written.
type Effective struct {
	head    []byte
	tenants []effectiveTenant
}

type effectiveTenant struct {
	name string
	text []byte
}

const (
	effectiveHead = "# What is in use: the files, with the defaults of what they leave out (# default). " +
		"What an endpoint or\n# a tenant leaves out is as in delivery, limits and subscriptions.\n"
	tenantHead = "# Your part of what is in use. What an endpoint leaves out is as in the operator's file.\n"
)

// Text returns all of it (empty: the operator) or a tenant's part; nil: there is no such tenant.
func (e *Effective) Text(tenant string) []byte {
	if tenant != "" {
		i := slices.IndexFunc(e.tenants, func(t effectiveTenant) bool { return t.name == tenant })
		if i < 0 {
			return nil
		}
		return slices.Concat([]byte(tenantHead), e.tenants[i].text)
	}

	out := bytes.NewBuffer(slices.Concat([]byte(effectiveHead), e.head))
	if len(e.tenants) > 0 {
		out.WriteString("tenants:\n")
	}
	for _, t := range e.tenants {
		sign := "  - "
		for line := range bytes.Lines(t.text) {
			out.WriteString(sign)
			out.Write(line)
			sign = "    "
		}
	}
	return out.Bytes()
}

// Effective makes it. It costs about as much as reading the config.
func (f Files) Effective() (*Effective, error) {
	l := &loading{config: defaults()}
	l.config.Limits.ParseBytes = f.parseBytes
	all := schema(l).fields
	tenant := l.tenant(nowhere, new(Tenant)).fields

	e := &Effective{}
	for _, file := range f.all {
		root, _, err := documents(file.text)
		if err != nil || root == nil {
			return nil, fmt.Errorf("read %s again: it is no YAML any more", file.path)
		}
		if file.tenant {
			err = e.add(tenant, root, file.path)
		} else {
			err = e.addMain(all, tenant, root, file.path)
		}
		if err != nil {
			return nil, err
		}
	}
	return e, nil
}

// addMain adds the operator's file, with the tenants in it.
func (e *Effective) addMain(fields, tenant []field, root *yaml.Node, path string) (err error) {
	own := slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return f.name == "tenants" })
	e.head, err = inText(shownMapping(own, root, ""))
	if err != nil {
		return err
	}
	tenants := entryOf(root, "tenants")
	if tenants == nil {
		return nil
	}
	for _, item := range tenants.Content {
		if err := e.add(tenant, item, path); err != nil {
			return err
		}
	}
	return nil
}

// add adds a tenant.
func (e *Effective) add(fields []field, root *yaml.Node, path string) error {
	shown := shownMapping(fields, root, "tenants.")
	name := ""
	if of := entryOf(root, "name"); of != nil {
		name = of.Value
	}
	if len(shown.Content) > 1 {
		shown.Content[1].LineComment = "# " + path
	}
	text, err := inText(shown)
	if err != nil {
		return err
	}
	e.tenants = append(e.tenants, effectiveTenant{name: name, text: text})
	return nil
}

func inText(node *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return nil, fmt.Errorf("write a config as YAML: %w", err)
	}
	return out.Bytes(), nil
}

// entryOf returns the value of a key in a mapping; nil: it has none.
func entryOf(mapping *yaml.Node, key string) *yaml.Node {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil
	}
	for pair := range slices.Chunk(mapping.Content, 2) {
		if pair[0].Value == key {
			return pair[1]
		}
	}
	return nil
}

// shownMapping is a mapping as it may be shown; given is what the file has of it, nil if nothing. path is what the
// paths of its keys begin with.
func shownMapping(fields []field, given *yaml.Node, path string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields {
		if shown := f.shown(entryOf(given, f.name), path+f.name); shown != nil {
			out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.name}, shown)
		}
	}
	return out
}

// shown is the value of a key as it may be shown; nil: there is none, and no default.
func (f field) shown(given *yaml.Node, path string) *yaml.Node {
	section := f.section && f.of == nil
	switch {
	case given == nil && section:
		if shown := shownMapping(f.fields, nil, path+"."); len(shown.Content) > 0 {
			return shown
		}
		return nil
	case given == nil:
		return f.shownDefault(path)
	case given.Kind == yaml.MappingNode && f.fields != nil:
		return shownMapping(f.fields, given, path+".")
	case given.Kind == yaml.SequenceNode && f.fields != nil:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range given.Content {
			if item.Kind == yaml.MappingNode {
				list.Content = append(list.Content, shownMapping(f.fields, item, path+"."))
			} else {
				list.Content = append(list.Content, shownValue(item, path))
			}
		}
		return list
	}
	return shownValue(given, path)
}

// shownDefault is the default of a key; nil: it has none of its own.
func (f field) shownDefault(path string) *yaml.Node {
	if f.fallback == nil || inherited(path) != "" {
		return nil
	}
	var out yaml.Node
	if out.Encode(f.fallback) != nil {
		return nil
	}
	out.LineComment = "# default"
	if out.Kind == yaml.SequenceNode {
		out.Style = yaml.FlowStyle
	}
	return &out
}

// secretKeys are the keys whose values are secrets, by their paths. So are the values of a mapping or list below them.
var secretKeys = []string{
	"admin.token", "admin.tokens", "redis.url", "egress.proxy", "kuaidihelp.app_id", "kuaidihelp.api_key",
	"callback.tokens",
	"tenants.api_keys", "tenants.endpoints.secrets", "tenants.endpoints.headers",
	"notices.to", "notices.secret", "tenants.notices.to", "tenants.notices.secret",
}

// openKeys are keys below one of secretKeys whose values are none.
var openKeys = []string{
	"admin.tokens.name", "admin.tokens.until", "callback.tokens.name", "callback.tokens.until",
	"tenants.api_keys.name", "tenants.api_keys.until", "tenants.endpoints.secrets.until",
}

// isSecret says whether the values at a path are secrets.
func isSecret(path string) bool {
	return !slices.Contains(openKeys, path) && slices.ContainsFunc(secretKeys, func(key string) bool {
		return path == key || strings.HasPrefix(path, key+".")
	})
}

// urlKeys are the keys whose values are URLs, which may have a secret in their queries.
var urlKeys = []string{"kuaidihelp.api_url", "tenants.endpoints.url"}

// shownValue is a value as it may be shown, without comments of the file, which may hold anything.
func shownValue(given *yaml.Node, path string) *yaml.Node {
	out := &yaml.Node{Kind: given.Kind, Tag: given.Tag, Style: given.Style, Value: given.Value}
	switch given.Kind {
	case yaml.MappingNode:
		for pair := range slices.Chunk(given.Content, 2) {
			key := &yaml.Node{Kind: yaml.ScalarNode, Value: pair[0].Value}
			out.Content = append(out.Content, key, shownValue(pair[1], path))
		}
	case yaml.SequenceNode:
		for _, item := range given.Content {
			out.Content = append(out.Content, shownValue(item, path))
		}
	default:
		return shownScalar(out, path)
	}

	// A comment ends its line, so there is one line for each.
	if slices.ContainsFunc(out.Content, func(n *yaml.Node) bool { return n.LineComment != "" }) {
		out.Style = 0
	}
	return out
}

// shownScalar is a single value as it may be shown.
func shownScalar(out *yaml.Node, path string) *yaml.Node {
	written := out.Value
	switch {
	case isSecret(path):
		return &yaml.Node{Kind: yaml.ScalarNode, Value: hidden, LineComment: "# " + whence(written)}
	case slices.Contains(urlKeys, path):
		out.Value, _, _ = strings.Cut(written, "?")
	}
	if (value{node: &yaml.Node{Value: written}}).expanded() {
		out.LineComment = "# as it is written"
	}
	return out
}

var variablesIn = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)`)

// whence says where a secret comes from. Of what is written itself, not even a default, it shows nothing.
func whence(written string) string {
	if strings.HasPrefix(written, "file:") {
		return "from " + strings.Join(strings.Fields(written), " ")
	}
	var names []string
	for _, m := range variablesIn.FindAllStringSubmatch(written, -1) {
		names = append(names, "${"+m[1]+"}")
	}
	if len(names) == 0 {
		return "written in the file"
	}
	return "from " + strings.Join(names, ", ")
}
