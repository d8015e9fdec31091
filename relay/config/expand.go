package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxFile is the most that a file:PATH may hold, in bytes.
const maxFile = 1 << 20

// resolve turns a scalar as written into its text. For file:PATH this is the content of PATH without its last
// newline, and otherwise the scalar with its variables expanded. Text from the environment or a file is not expanded
// again: "file:" and "${" in it stand for themselves. The second result says what is wrong, without any expanded
// text.
func (v value) resolve() (string, []string) {
	var refused []string
	written, isFile := strings.CutPrefix(v.node.Value, "file:")
	text, problems := expand(written, func(name string) (string, bool) {
		if problem := v.mayUse(name); problem != "" {
			refused = append(refused, problem)
			return "", true
		}
		return v.src.options.LookupEnv(name)
	})

	mayLack := v.src.options.Placeholder != nil
	if found := unset(written, v.src.options.LookupEnv, problems); found != nil && mayLack {
		text, problems = expand(written, found)
		isFile = false
		v.lack()
	}

	problems = append(refused, problems...)
	if !isFile || len(problems) > 0 {
		return text, problems
	}

	content, err := v.readFile(text)
	if errors.Is(err, fs.ErrNotExist) && mayLack {
		return v.lack(), nil
	}
	if err != nil {
		return "", []string{fmt.Sprintf("cannot read %s: %v", quote(v.node.Value), err)}
	}

	content = strings.TrimSuffix(content, "\n")
	return strings.TrimSuffix(content, "\r"), nil
}

// mayUse notes that the value refers to a variable, and returns why it must not; empty: it may.
func (v value) mayUse(variable string) string {
	if v.src.permissions != nil {
		return v.src.permissions.refuse(variable, v)
	}

	if v.src.variables == nil {
		v.src.variables = map[string]bool{}
	}
	v.src.variables[variable] = true
	return ""
}

// readFile reads a small file; path is relative to the config file. The error does not name it, because it may be
// expanded.
func (v value) readFile(path string) (content string, err error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(v.src.dir, path)
	}

	// The file is read without links, so that it is the one that was allowed.
	resolved := path
	if v.src.permissions != nil {
		resolved, err = v.src.permissions.open(path, v)
	}
	if err == nil {
		content, err = readSmall(resolved)
	}

	// If the file changes, so does the config, even if the file cannot be read now.
	if v.src.read != nil {
		v.src.read(path, content)
	}
	return content, reason(err)
}

func readSmall(path string) (string, error) {
	// A pipe or a device would block, or never end.
	if info, err := os.Stat(path); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}

	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()

	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = errors.New("larger than 1MiB")
	}
	return string(content), err
}

var (
	variable  = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(:-)?`)
	errNested = `"${" without "}" (a default cannot hold ${…} itself)`
)

// expand replaces ${VAR} by the variable, ${VAR:-default} by the variable or, if that is unset or empty, by the
// default, and $$ by $. A $ before a letter is a mistake, because a brace was surely forgotten. Any other $ stands
// for itself.
func expand(s string, lookup func(string) (string, bool)) (string, []string) {
	var out strings.Builder
	var problems []string

	for {
		before, rest, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			return out.String(), problems
		}

		// The character after the $ says what it is.
		switch {
		case strings.HasPrefix(rest, "$"):
			out.WriteByte('$')
			s = rest[1:]
		case strings.HasPrefix(rest, "{"):
			reference, after, closed := strings.Cut(rest[1:], "}")
			if !closed {
				return "", append(problems, errNested)
			}
			text, wrong := dereference(reference, lookup)
			out.WriteString(text)
			problems = append(problems, wrong...)
			s = after
		case variable.MatchString(rest):
			problems = append(problems, "write ${NAME} for a variable, or $$ for a dollar sign")
			s = rest
		default:
			out.WriteByte('$')
			s = rest
		}
	}
}

// dereference returns the text that stands for ${reference}.
func dereference(reference string, lookup func(string) (string, bool)) (string, []string) {
	m := variable.FindStringSubmatch(reference)
	if m == nil || m[2] == "" && m[0] != reference {
		return "", []string{"a variable is ${NAME} or ${NAME:-default}, its name letters, digits and _"}
	}

	set, ok := lookup(m[1])
	if m[2] == "" {
		if !ok {
			return "", []string{notSet(m[1])}
		}
		return set, nil
	}
	// The default is checked even if it is not needed: a file must not be good or bad by the environment.
	fallback, problems := expand(reference[len(m[0]):], lookup)
	if set != "" {
		fallback = set
	}
	return fallback, problems
}
