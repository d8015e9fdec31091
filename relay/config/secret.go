package config

import (
	"fmt"
	"io"
)

const hidden = "<secret>"

// Secret is text that prints as "<secret>" everywhere: with every verb of fmt, in JSON, YAML and any text encoding.
// Only Reveal returns it. Go leaves two gaps. Do not print a struct with a Secret in an unexported field, because fmt
// sees a plain string there. Do not make a Secret the key of a map, because encoding/json writes it then.
type Secret string

// Reveal gives the text itself.
func (s Secret) Reveal() string { return string(s) }

// String is "<secret>".
func (Secret) String() string { return hidden }

// GoString is "<secret>".
func (Secret) GoString() string { return hidden }

// Format writes "<secret>" for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText gives "<secret>".
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON gives "<secret>".
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// MarshalYAML gives "<secret>".
func (Secret) MarshalYAML() (any, error) { return hidden, nil }
