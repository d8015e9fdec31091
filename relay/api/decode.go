package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// maxBody is the largest body of a request, in bytes.
const maxBody = 1 << 20

// newDecoder reads JSON up to maxBody, and refuses unknown keys.
func newDecoder(r io.Reader) *json.Decoder {
	d := json.NewDecoder(io.LimitReader(r, maxBody))
	d.DisallowUnknownFields()
	return d
}

// describe says what is wrong with a body.
func describe(err error) string {
	var kind *json.UnmarshalTypeError
	var when *time.ParseError

	switch {
	case errors.As(err, &kind):
		return fmt.Sprintf("%s must be %s", kind.Field, kinds[kind.Type.Kind().String()])
	case errors.As(err, &when):
		return "since and until must be times like 2026-11-24T08:00:00Z"
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		return "there is no key " + strings.TrimPrefix(err.Error(), "json: unknown field ")
	}
	return "it is not valid JSON"
}

// kinds names the JSON type of each kind of Go.
var kinds = map[string]string{
	"string":  "a string",
	"bool":    "true or false",
	"int":     "a whole number",
	"float64": "a number",
	"slice":   "an array",
	"struct":  "an object",
}
