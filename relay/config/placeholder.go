package config

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

// forVariable stands for a variable that is not set, inside of a value that has more in it: in most texts, and in
// numbers, it is good.
const forVariable = "1"

// unset returns a lookup that has a text for the variables that are not set, if problems of expanding say that these
// are needed; nil: none is.
func unset(text string, lookup func(string) (string, bool), problems []string) func(string) (string, bool) {
	var names []string
	_, _ = expand(text, func(name string) (string, bool) {
		set, ok := lookup(name)
		if !ok && slices.Contains(problems, notSet(name)) {
			names = append(names, name)
		}
		return set, ok
	})
	if len(names) == 0 {
		return nil
	}
	return func(name string) (string, bool) {
		if slices.Contains(names, name) {
			return forVariable, true
		}
		return lookup(name)
	}
}

func notSet(variable string) string { return fmt.Sprintf("variable %s is not set", variable) }

// lacks says whether text in the value, which was read before, comes from a variable or a file that is not here, so
// that a placeholder stands for it.
func (v value) lacks() bool { return len(v.src.lacking) > 0 && anyOf(v.node, v.src.lacking) }

// anyOf says whether a node, or one below it, is one of a set.
func anyOf(n *yaml.Node, set map[*yaml.Node]bool) bool {
	return set[n] || slices.ContainsFunc(n.Content, func(below *yaml.Node) bool { return anyOf(below, set) })
}

// lack notes that something of the value is not here, and returns the text that stands for it.
func (v value) lack() string {
	if v.src.lacking == nil {
		v.src.lacking = make(map[*yaml.Node]bool)
	}
	v.src.lacking[v.node] = true
	return forVariable
}

// placeholder is a value of a form, in place of a text that is not here; false: no placeholder has this form, and the
// value is left out. No two values have the same.
func placeholder[T any](v value, f form[T], text string) (T, bool) {
	v.src.options.Placeholder()
	sum := sha256.Sum256([]byte(v.src.path + ":" + v.path))
	word := base64.RawURLEncoding.EncodeToString(sum[:18])
	port := 1024 + (int(sum[0])<<8|int(sum[1]))%60_000

	candidates := []string{
		text, word, "whsec_" + base64.StdEncoding.EncodeToString(sum[:]),
		"https://" + fmt.Sprintf("%x", sum[:8]) + ".example.com", "redis://redis.example.com",
		fmt.Sprintf("127.0.0.1:%d", port), "192.0.2.0/24", "1s", "1h", "1MiB", "1GiB", "true", "2099-12-31T00:00:00Z", "UTC",
	}
	for _, candidate := range candidates {
		if got, err := f.parse(candidate); err == nil {
			return got, true
		}
	}
	var none T
	return none, false
}
