package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ExtraRoute is a path of the public API that another part serves.
type ExtraRoute struct {
	Method  string
	Path    string // with parameters in braces
	Summary string
	// Body and Answer are zero values of the types that are read and answered. Tags named doc describe their fields.
	Body, Answer any
	// Params are the parameters of the query, and what each means.
	Params map[string]string
	// Problems are the meanings of further answers, by status.
	Problems map[int]string
}

const description = "Events with their deliveries and attempts, the health of endpoints, and ways to act on them. " +
	"/v1 is on the public listener and shows a tenant its own; " +
	"/admin/v1 is on the private one and shows the operator everything."

// openAPI gives the OpenAPI 3.1 document of the API. It is made from the table of routes and from the types that
// handlers read and give, so that it always agrees with them.
func openAPI(version string, extra []ExtraRoute, webhooks map[string]any) []byte {
	d := document{paths: map[string]map[string]any{}, schemas: map[string]any{}}
	for _, r := range routes() {
		if r.tenant && !r.pagesOnly {
			d.add("/v1"+r.path, r.method, d.operation(r, r.path, "tenant"))
		}
		if r.operator {
			path := strings.Replace(r.path, "{endpoint}", "{tenant}/{endpoint}", 1)
			d.add("/admin/v1"+path, r.method, d.operation(r, path, "operator"))
		}
	}

	// Paths of other parts are described like tenants' routes.
	for _, x := range extra {
		path := strings.TrimPrefix(x.Path, "/v1")
		r := route{
			method:   x.Method,
			path:     path,
			summary:  x.Summary,
			body:     x.Body,
			problems: x.Problems,
			handler:  handler{answer: x.Answer},
		}
		for _, name := range slices.Sorted(maps.Keys(x.Params)) {
			r.params = append(r.params, param{name: name, kind: "string", doc: x.Params[name]})
		}
		d.add(x.Path, x.Method, d.operation(r, path, "tenant"))
	}

	// Anyone may read the document itself.
	d.add("/v1/openapi.json", http.MethodGet, map[string]any{
		"summary":     "The OpenAPI 3.1 document of this API",
		"operationId": "openapi",
		"security":    []any{},
		"responses": map[string]any{"200": map[string]any{
			"description": "An OpenAPI 3.1 document",
			"content":     content("application/json", map[string]any{"type": "object"}),
		}},
	})
	d.schemas["Problem"] = problemSchema()

	text, err := json.Marshal(map[string]any{
		"openapi":    "3.1.0",
		"info":       map[string]any{"title": "kuairelay", "version": version, "description": description},
		"paths":      d.paths,
		"webhooks":   webhooks,
		"components": map[string]any{"schemas": d.schemas, "securitySchemes": securitySchemes()},
	})
	if err != nil {
		panic(err) // never: maps and strings only
	}
	return text
}

func securitySchemes() map[string]any {
	bearer := func(description string) map[string]any {
		return map[string]any{"type": "http", "scheme": "bearer", "description": description}
	}
	return map[string]any{
		"tenant":   bearer("one of the tenant's api_keys"),
		"operator": bearer("admin.token of the config"),
	}
}

func problemSchema() map[string]any {
	text := func(description string) map[string]any {
		return map[string]any{"type": "string", "description": description}
	}
	return map[string]any{
		"type":        "object",
		"description": "RFC 9457",
		"properties": map[string]any{
			"type":   text("about:blank: the status tells problems apart"),
			"title":  text("name of the status"),
			"status": map[string]any{"type": "integer", "description": "HTTP status"},
			"detail": text("what is wrong"),
			"errors": map[string]any{
				"type": "array", "items": map[string]any{"type": "string"},
				"description": "of a config that was not reloaded: every mistake, with its file and line",
			},
		},
		"required":             []string{"type", "title", "status"},
		"additionalProperties": false,
	}
}

// document is an OpenAPI document that is being made.
type document struct {
	paths   map[string]map[string]any // operations by path and method
	schemas map[string]any            // by the name of their type
}

func (d *document) add(path, method string, operation map[string]any) {
	if d.paths[path] == nil {
		d.paths[path] = make(map[string]any)
	}
	d.paths[path][strings.ToLower(method)] = operation
}

var inPath = regexp.MustCompile(`\{(\w+)\}`)

// operation describes a route under a path. who is tenant or operator.
func (d *document) operation(r route, path, who string) map[string]any {
	params := []any{}
	for _, m := range inPath.FindAllStringSubmatch(path, -1) {
		params = append(params, map[string]any{
			"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"},
		})
	}
	for _, p := range r.params {
		params = append(params, map[string]any{
			"name": p.name, "in": "query", "description": p.doc, "schema": map[string]any{"type": p.kind},
		})
	}

	out := map[string]any{
		"summary":     r.summary,
		"operationId": operationID(r, who),
		"security":    []any{map[string]any{who: []string{}}},
		"parameters":  params,
		"responses":   d.responses(r),
	}
	if r.body != nil {
		out["requestBody"] = map[string]any{"content": content("application/json", d.schema(reflect.TypeOf(r.body)))}
	}
	return out
}

// operationID is like tenant_get_events_id.
func operationID(r route, who string) string {
	between := func(c rune) bool { return strings.ContainsRune(" /{}-", c) }
	words := strings.FieldsFunc(" "+strings.ToLower(r.method)+r.path, between)
	return who + strings.Join(words, "_")
}

// responses are the good answer and the problems, by status.
func (d *document) responses(r route) map[string]any {
	good := map[string]any{"description": "Success"}
	if answer := r.handler.answer; answer != nil {
		kind := "application/json"
		if _, own := answer.(Document); own {
			kind = "application/yaml"
		}
		good["content"] = content(kind, d.schema(reflect.TypeOf(answer)))
	}
	out := map[string]any{strconv.Itoa(r.good()): good}
	if _, ok := r.handler.answer.(tagged); ok {
		out[strconv.Itoa(http.StatusNotModified)] = map[string]any{
			"description": "If-None-Match has the ETag of the answer: it is what the client has",
		}
	}
	for status, meaning := range problems {
		out[strconv.Itoa(status)] = problemResponse(meaning)
	}
	for status, meaning := range r.problems {
		out[strconv.Itoa(status)] = problemResponse(meaning)
	}
	return out
}

// problems are the meanings of other answers, unless a route gives its own.
var problems = map[int]string{
	http.StatusBadRequest:         "The request is wrong; detail says why",
	http.StatusUnauthorized:       "No key, or a wrong one",
	http.StatusNotFound:           "There is no such thing, or it is another tenant's",
	http.StatusTooManyRequests:    "Too many requests a second, or at one time; Retry-After says when to try again",
	http.StatusServiceUnavailable: "Redis does not answer, or the operator's API is off",
}

func problemResponse(description string) map[string]any {
	problem := map[string]any{"$ref": "#/components/schemas/Problem"}
	return map[string]any{"description": description, "content": content("application/problem+json", problem)}
}

func content(kind string, schema any) map[string]any {
	return map[string]any{kind: map[string]any{"schema": schema}}
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

// schema gives the JSON Schema of a type. That of a struct is in components.
func (d *document) schema(t reflect.Type) any {
	if own, ok := reflect.Zero(t).Interface().(interface{ JSONSchema() map[string]any }); ok {
		return own.JSONSchema()
	}
	switch {
	case t == timeType:
		return map[string]any{"type": "string", "format": "date-time"}
	case t == rawType:
		return map[string]any{}
	}

	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "string", "contentEncoding": "base64"}
		}
		return map[string]any{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Struct:
		// Its name in the document has a capital. It is entered before its fields, because it may contain itself.
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if _, known := d.schemas[name]; !known {
			d.schemas[name] = nil
			d.schemas[name] = d.object(t)
		}
		return map[string]any{"$ref": "#/components/schemas/" + name}
	}
	panic("no schema for " + t.String())
}

// object is the schema of a struct. A field is required unless its tag lets it be left out.
func (d *document) object(t reflect.Type) any {
	properties := map[string]any{}
	required := []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" || name == "-" {
			continue
		}
		s := d.schema(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			m, _ := s.(map[string]any)
			m["description"] = doc
		}

		properties[name] = s
		if !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	return map[string]any{
		"type":                 "object",
		"properties":           properties,
		"required":             required,
		"additionalProperties": false,
	}
}
