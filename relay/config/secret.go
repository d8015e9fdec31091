package config

import (
	"fmt"
	"io"
)

const hidden = "<secret>"

// Secret is text that prints as "<secret>" everywhere: by every verb of fmt, in JSON, YAML and any text encoding. Only
// Reveal gives it away. Go leaves two gaps: do not print a struct with a Secret in an unexported field (fmt then sees a
// mere string), and do not make a Secret the key of a map (encoding/json then does).
type Secret string

// Reveal gives the text itself.
func (s Secret) Reveal() string { return string(s) }

// String is "<secret>".
func (Secret) String() string { return hidden }

// GoString is "<secret>".
func (Secret) GoString() string { return hidden }

// Format writes "<secret>", whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText gives "<secret>".
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON gives "<secret>".
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// MarshalYAML gives "<secret>".
func (Secret) MarshalYAML() (any, error) { return hidden, nil }
