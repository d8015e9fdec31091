package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ExtraRoute is a path of the public API that another part serves.
type ExtraRoute struct {
	Method  string
	Path    string // with parameters in braces
	Summary string
	// Body and Answer are zero values of what is read and answered. Tags named doc describe their fields.
	Body, Answer any
	// Problems are other answers, with what they mean, beside 400, 401, 404 and 503.
	Problems map[int]string
}

// openAPI gives the OpenAPI 3.1 document of the API: made from the table of routes, and from the types that handlers read and
// answer, so that it cannot say anything else than they do.
func openAPI(version string, extra []ExtraRoute) []byte {
	d := document{schemas: map[string]any{}}
	paths := map[string]any{}
	add := func(path, method string, operation map[string]any) {
		item, _ := paths[path].(map[string]any)
		if item == nil {
			item = map[string]any{}
			paths[path] = item
		}
		item[strings.ToLower(method)] = operation
	}
	for _, r := range routes() {
		if r.tenant {
			add("/v1"+r.path, r.method, d.operation(r, r.path, "tenant"))
		}
		if r.operator {
			path := strings.Replace(r.path, "{endpoint}", "{tenant}/{endpoint}", 1)
			add("/admin/v1"+path, r.method, d.operation(r, path, "operator"))
		}
	}
	for _, o := range extra {
		path := strings.TrimPrefix(o.Path, "/v1")
		r := route{method: o.Method, path: path, summary: o.Summary, body: o.Body, handler: handler{answer: o.Answer}, problems: o.Problems}
		add(o.Path, o.Method, d.operation(r, path, "tenant"))
	}
	add("/v1/openapi.json", http.MethodGet, map[string]any{
		"summary": "This document", "operationId": "openapi", "security": []any{},
		"responses": map[string]any{"200": map[string]any{"description": "It", "content": content("application/json", map[string]any{"type": "object"})}},
	})
	d.schemas["Problem"] = map[string]any{"type": "object", "description": "RFC 9457",
		"properties": map[string]any{
			"type": map[string]any{"type": "string"}, "title": map[string]any{"type": "string"},
			"status": map[string]any{"type": "integer"}, "detail": map[string]any{"type": "string", "description": "what is wrong"},
		}, "required": []string{"type", "title", "status"}, "additionalProperties": false}
	text, err := json.Marshal(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{"title": "kuairelay", "version": version,
			"description": "What became of every event, how the endpoints do, and what a person does about it. /v1 is on the public listener and shows a tenant its own; /admin/v1 is on the private one and shows the operator everything."},
		"paths": paths,
		"components": map[string]any{"schemas": d.schemas, "securitySchemes": map[string]any{
			"tenant":   map[string]any{"type": "http", "scheme": "bearer", "description": "one of the tenant's api_keys"},
			"operator": map[string]any{"type": "http", "scheme": "bearer", "description": "admin.token of the config"},
		}},
	})
	if err != nil {
		panic(err) // of maps and strings alone
	}
	return text
}

type document struct{ schemas map[string]any }

var inPath = regexp.MustCompile(`\{(\w+)\}`)

func (d *document) operation(r route, path, who string) map[string]any {
	params := []any{}
	for _, m := range inPath.FindAllStringSubmatch(path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, p := range r.params {
		params = append(params, map[string]any{"name": p.name, "in": "query", "description": p.doc, "schema": map[string]any{"type": p.kind}})
	}
	good := map[string]any{"description": "Good"}
	if answer := r.handler.answer; answer != nil {
		good["content"] = content("application/json", d.schema(reflect.TypeOf(answer)))
	}
	responses := map[string]any{
		strconv.Itoa(r.good()): good,
		"400":                  problemResponse("The request is wrong; detail names what"),
		"401":                  problemResponse("No key, or a wrong one"),
		"429":                  problemResponse("Too many requests, a second or at one time; Retry-After says when to come again"),
		"404":                  problemResponse("There is no such thing, or it is another tenant's"),
		"503":                  problemResponse("Redis does not answer, or the operator's API is off"),
	}
	for status, meaning := range r.problems {
		responses[strconv.Itoa(status)] = problemResponse(meaning)
	}
	out := map[string]any{
		"summary":     r.summary,
		"operationId": who + strings.Join(strings.FieldsFunc(" "+strings.ToLower(r.method)+r.path, func(c rune) bool { return strings.ContainsRune(" /{}-", c) }), "_"),
		"security":    []any{map[string]any{who: []string{}}},
		"parameters":  params,
		"responses":   responses,
	}
	if r.body != nil {
		out["requestBody"] = map[string]any{"content": content("application/json", d.schema(reflect.TypeOf(r.body)))}
	}
	return out
}

func problemResponse(description string) map[string]any {
	return map[string]any{"description": description, "content": content("application/problem+json", map[string]any{"$ref": "#/components/schemas/Problem"})}
}

func content(kind string, schema any) map[string]any {
	return map[string]any{kind: map[string]any{"schema": schema}}
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

// schema gives the JSON Schema of a type; one that has a name stands in components.
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
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if _, known := d.schemas[name]; !known {
			d.schemas[name] = nil // it may hold itself
			d.schemas[name] = d.object(t)
		}
		return map[string]any{"$ref": "#/components/schemas/" + name}
	}
	panic("no schema for " + t.String())
}

func (d *document) object(t reflect.Type) any {
	properties, required := map[string]any{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" {
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
	return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}
