package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// ConfigState is the config that is served, and what is wrong with the files.
type ConfigState struct {
	Fingerprint string       `json:"fingerprint" doc:"of the config that is served: a hash of its files; replicas should agree"`
	Since       time.Time    `json:"since" doc:"when it came into use"`
	CheckedAt   time.Time    `json:"checked_at" doc:"when the files were last read without a mistake"`
	Reload      string       `json:"reload" doc:"ok, or failed: the files have mistakes, and the relay keeps the one from before"`
	RefusedAt   time.Time    `json:"refused_at,omitzero" doc:"since when the files have mistakes"`
	Mistakes    []ConfigNote `json:"mistakes" doc:"of the files, if the last reload failed; at most 100. A tenant sees those of its own file"`
	Warnings    []ConfigNote `json:"warnings" doc:"what is probably not meant in the config that is served; at most 100. A tenant sees those of its own file"`
	More        int          `json:"more,omitempty" doc:"how many more mistakes there are"`
	Restart     []string     `json:"restart,omitempty" doc:"keys that have changed since the start, and keep their values until a restart; for the operator only"`
	Tenants     int          `json:"tenants,omitempty" doc:"number of tenants; for the operator only"`
	Endpoints   int          `json:"endpoints" doc:"number of endpoints"`
}

// ConfigNote is something about a place in the files. It repeats no secret, and nothing that was expanded.
type ConfigNote struct {
	File string `json:"file,omitempty" doc:"as it was read; none: it is about no place"`
	Line int    `json:"line,omitempty" doc:"counted from 1"`
	Text string `json:"text" doc:"what is wrong, or what is probably not meant"`
}

// notesShown is how many mistakes, and how many warnings, an answer has.
const notesShown = 100

// Document is an answer that is no JSON.
type Document struct {
	Kind string // its media type
	Text []byte
}

// JSONSchema implements the shape of a document.
func (Document) JSONSchema() map[string]any { return map[string]any{"type": "string"} }

// ReloadResult is what came of reading the config again.
type ReloadResult struct {
	// Fingerprint is that of the config in use.
	Fingerprint string `json:"fingerprint" doc:"of the config in use"`
	// Changed is false if the files have the same content as before.
	Changed bool `json:"changed" doc:"whether it is another one than before"`
	// Restart has the keys that have changed since the start, and keep their values until a restart.
	Restart  []string `json:"restart,omitempty" doc:"keys that have changed since the start, and keep their values until a restart"`
	Warnings []string `json:"warnings,omitempty" doc:"file:line: what is probably not meant"`
}

// MistakesError says that the config was not reloaded, because of mistakes in it.
type MistakesError struct{ Mistakes []string }

// Error implements error.
func (*MistakesError) Error() string {
	return "the config was not reloaded: the relay keeps the one from before"
}

// readConfig gives the state of the config, as far as the caller may know it.
func readConfig(c *call) (ConfigState, error) {
	r := c.reader()
	if err := r.end(); err != nil {
		return ConfigState{}, err
	}

	out := c.o.ConfigState(c.tenant)
	out.Endpoints = len(c.settings.names)
	out.Tenants = len(c.settings.tenants)
	if c.tenant != "" {
		out.Endpoints = len(c.settings.endpointsOf(c.tenant))
		out.Tenants = 0
		out.Restart = nil
	}
	out.More = max(0, len(out.Mistakes)-notesShown)
	out.Mistakes = firstNotes(out.Mistakes)
	out.Warnings = firstNotes(out.Warnings)
	return out, nil
}

// firstNotes are the first ones, and never null.
func firstNotes(all []ConfigNote) []ConfigNote {
	return append([]ConfigNote{}, all[:min(notesShown, len(all))]...)
}

// readEffective gives the config that is served as YAML: a tenant gets its own part.
func readEffective(c *call) (Document, error) {
	r := c.reader()
	if err := r.end(); err != nil {
		return Document{}, err
	}
	text, err := c.o.Effective(c.tenant)
	if err != nil {
		return Document{}, err
	}
	if text == nil {
		return Document{}, echo.NewHTTPError(http.StatusNotFound, "the config in use is not known")
	}
	return Document{Kind: "application/yaml; charset=utf-8", Text: text}, nil
}

// reloadConfig has the config read again.
func reloadConfig(c *call) (ReloadResult, error) {
	out, err := c.o.Reload(c.ctx(), c.RealIP())
	if err == nil {
		return out, nil
	}
	if wrong, ok := errors.AsType[*MistakesError](err); ok {
		return ReloadResult{}, wrong
	}
	return ReloadResult{}, echo.NewHTTPError(http.StatusConflict, err.Error())
}
