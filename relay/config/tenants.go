package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"gopkg.in/yaml.v3"
)

const defaultTenantsDir = "tenants.d"

// loading is a config while its files are read.
type loading struct {
	config     *Config
	options    Options
	sources    []*source
	names      map[string]Position // of tenants
	apiKeys    map[Secret]Position // of tenants
	tenantsDir value               // of the key; its node is nil if that is left out
	logins     []login             // keys that open pages, and are short
	examples   []value             // secrets that are those of config.example.yaml
	plain      []value             // secrets that stand in the files themselves
	places     places              // of the values that points are about
	points     []Point
	sum        hash.Hash // of what was read
}

// files are the paths of what was read, in this order.
func (l *loading) files() []string {
	files := make([]string, len(l.sources))
	for i, src := range l.sources {
		files[i] = src.path
	}
	return files
}

// read notes a file or folder that the config depends on.
func (l *loading) read(path, content string) {
	add(l.sum, path, content)
	if l.options.OnRead != nil {
		l.options.OnRead(path)
	}
}

func add(sum hash.Hash, path, content string) {
	fmt.Fprintf(sum, "%s %d ", filepath.Base(path), len(content))
	_, _ = io.WriteString(sum, content)
	_, _ = io.WriteString(sum, "\n")
}

func fingerprint(sum hash.Hash) string { return hex.EncodeToString(sum.Sum(nil)[:8]) }

// Same says whether Load would read a config with this fingerprint again, from the paths that OnRead was called with,
// in that order. It costs a small part of what Load does. If in doubt, it returns false.
func Same(read []string, as string) bool {
	sum := sha256.New()
	known := make(map[string]bool, len(read))

	for _, path := range read {
		known[path] = true
	}
	for _, path := range read {
		content, err := os.ReadFile(path)
		if err != nil { // a folder, or what was not there
			entries, _ := os.ReadDir(path)
			for _, e := range entries {
				if isTenant(e.Name()) && !known[filepath.Join(path, e.Name())] {
					return false
				}
			}
		}

		add(sum, path, string(content))
	}
	return fingerprint(sum) == as
}

// isTenant says whether a file of the folder of tenants is a tenant's. Names that begin with a dot are not: editors
// and Kubernetes (..data) keep files there.
func isTenant(name string) bool {
	ext := filepath.Ext(name)
	return !strings.HasPrefix(name, ".") && (ext == ".yaml" || ext == ".yml")
}

// file reads one file by a schema, and notes its mistakes in a source of its own.
func (l *loading) file(path string, text []byte, p *permissions, schema reader) {
	src := &source{path: path, dir: filepath.Dir(path), options: l.options, permissions: p, read: l.read}

	l.sources = append(l.sources, src)
	l.config.Files.all = append(l.config.Files.all, readFile{path: path, tenant: p != nil, text: text})
	l.read(path, string(text))
	if root := src.parse(text); root != nil {
		v := value{src: src, node: root, at: root}
		if p == nil {
			l.places.file = v
		}
		schema.read(v)
	}
}

// readTenantsDir reads every .yaml and .yml file of the folder as one tenant, by name. The default folder may be
// missing.
func (l *loading) readTenantsDir(beside string) {
	c := l.config
	if c.TenantsDir == "" { // the key has a mistake
		return
	}

	dir := c.TenantsDir
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(beside, dir)
	}

	// The folder itself is noted, so that a new file in it is a change.
	l.read(dir, "")
	entries, err := os.ReadDir(dir)

	main := l.sources[0]
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.TenantsDir == defaultTenantsDir:
		return
	case err != nil && l.tenantsDir.node != nil:
		l.tenantsDir.mistake("cannot read the folder: %v", reason(err))
	case err != nil:
		main.note(1, fmt.Sprintf("cannot read the folder %s beside this file: %v", defaultTenantsDir, reason(err)))
	}

	grants := l.newGrants(dir, beside)
	for _, entry := range entries {
		name := entry.Name()
		path := filepath.Join(dir, name)
		if !isTenant(name) {
			l.skipped(path, entry)
			continue
		}
		l.readTenant(path, grants)
	}

	l.checkOwners()
}

// readTenant reads a file of the folder of tenants. If it cannot be read, that is its mistake.
func (l *loading) readTenant(path string, grants *grants) {
	resolved, _, err := grants.locate(path)
	var text string
	if err == nil {
		text, err = readSmall(resolved)
	}

	if err != nil {
		l.read(path, "")
		src := &source{path: path}
		src.note(1, "cannot read the file: "+reason(err).Error())
		l.sources = append(l.sources, src)
		return
	}

	var t Tenant
	l.file(path, []byte(text), &permissions{grants: grants}, reader{read: func(v value) { l.tenant(v, &t).read(v) }})
	l.config.Tenants = append(l.config.Tenants, t)
}

// skipped warns of a file or folder that looks like a tenant's file and is not read. Names that begin with .. are
// Kubernetes'.
func (l *loading) skipped(path string, entry fs.DirEntry) {
	name := entry.Name()
	src := &source{path: path}
	switch ext := strings.ToLower(filepath.Ext(name)); {
	case strings.HasPrefix(name, ".."):
		return
	case entry.IsDir():
		inside, _ := os.ReadDir(path)
		if slices.ContainsFunc(inside, func(e fs.DirEntry) bool { return isTenant(e.Name()) }) {
			src.caution("the folder holds .yaml files, which are not read: tenants' files stand in tenants_dir itself")
		}
	case ext != ".yaml" && ext != ".yml":
		return
	case strings.HasPrefix(name, "."):
		src.caution("the file is not read: its name begins with a dot")
	default:
		src.caution("the file is not read: the name of a tenant's file ends in .yaml or .yml")
	}

	l.sources = append(l.sources, src)
}

func (s *source) caution(msg string) {
	s.warnings = append(s.warnings, found{Mistake: Mistake{Pos: Position{File: s.path, Line: 1}, Msg: msg}})
}

// reason returns an I/O error without its path, which may be expanded.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// sample reads the event of a test: JSON as one text, which may be file:PATH, or the item written in YAML.
func sample(x *Test) reader {
	return reader{shape: shape{"type": []string{"object", "string"}}, read: func(v value) {
		x.Expanded = v.expanded()
		if v.node.Kind == yaml.MappingNode {
			x.Event = v.appendJSON(nil)
			if v.lacks() {
				v.src.options.Placeholder()
			}
		} else if s, ok := scalar(v, text); ok {
			x.Event = []byte(s)
		}
		x.lacks = v.lacks()
	}}
}

// appendJSON appends the value as JSON. A scalar without quotes that is a number, true or false in JSON stays that,
// and every other scalar becomes a string.
func (v value) appendJSON(out []byte) []byte {
	if !v.usable() {
		return out
	}

	switch v.node.Kind {
	case yaml.SequenceNode:
		out = append(out, '[')
		for i, item := range v.items() {
			if i > 0 {
				out = append(out, ',')
			}
			out = item.appendJSON(out)
		}
		return append(out, ']')
	case yaml.MappingNode:
		out = append(out, '{')
		for i := 0; i < len(v.node.Content); i += 2 {
			if i > 0 {
				out = append(out, ',')
			}

			key, item := v.node.Content[i], v.node.Content[i+1]
			out, _ = jsontext.AppendQuote(out, key.Value)
			out = v.child(item, v.join(key.Value)).appendJSON(append(out, ':'))
		}
		return append(out, '}')
	}

	// Quoted text stays text, also if it looks like a number.
	s, ok := v.text()
	if literal := jsontext.Value(s); ok && v.node.Style == 0 && literal.IsValid() && literal.Kind() != '"' {
		return append(out, s...)
	}
	out, _ = jsontext.AppendQuote(out, s)
	return out
}
