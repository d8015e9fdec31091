package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// openAPI is a document, as far as the page of the API needs it.
type openAPI struct {
	Paths      map[string]map[string]operation
	Webhooks   map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	Summary     string
	Security    []map[string]any
	Parameters  []parameter
	RequestBody *content
	Responses   map[string]content
}

type parameter struct {
	Name, In, Description string
	Schema                schema
}

type content struct {
	Description string
	Content     map[string]struct{ Schema schema }
}

// schema returns what a body of JSON is; nil: there is none.
func (c *content) schema() *schema {
	if c == nil {
		return nil
	}
	for kind, of := range c.Content {
		if kind == "application/json" {
			return &of.Schema
		}
	}
	return nil
}

type schema struct {
	Title, Description, Format, Pattern string
	Type                                any
	Ref                                 string `json:"$ref"`
	Const                               any
	Enum                                []string
	Examples                            []string
	Items                               *schema
	Properties                          map[string]schema
	Required                            []string
	AllOf, AnyOf                        []schema
	AdditionalProperties                any
}

// resources are the parts of the page, by the first word of the paths.
var resources = []struct{ path, title string }{
	{"status", "Status"},
	{"system", "System"},
	{"config", "Config"},
	{"events", "Events"},
	{"waybills", "Waybills"},
	{"find", "Find"},
	{"explain", "Explain"},
	{"endpoints", "Endpoints"},
	{"stats", "Statistics"},
	{"dead-letters", "Dead letters"},
	{"replays", "Replays"},
	{"subscriptions", "Subscriptions"},
	{"quarantine", "Quarantine"},
	{"audit", "Audit"},
	{"notices", "Notices"},
	{"openapi.json", "The OpenAPI document"},
}

// apiExamples are the ends of the examples' commands: values of the path's parameters, a query, or a body. The intro of
// the page sets the variables.
var apiExamples = map[string]string{
	"GET /v1/events":                               "?waybill_code=777005949070187&limit=10",
	"GET /v1/events/{id}":                          "$EVENT",
	"GET /v1/waybills/{waybill}":                   "777005949070187",
	"GET /v1/find":                                 "?q=777005949070187",
	"POST /v1/explain":                             `{"event":{"waybill_code":"77","cp_code":"sto","status":"signed"}}`,
	"GET /v1/endpoints":                            "?state=ok",
	"GET /v1/stats":                                "?endpoint=orders&since=6h",
	"GET /admin/v1/stats":                          "?of=callbacks",
	"GET /v1/endpoints/{endpoint}":                 "orders",
	"POST /v1/endpoints/{endpoint}/pause":          "orders",
	"POST /v1/endpoints/{endpoint}/resume":         "orders",
	"POST /v1/endpoints/{endpoint}/test":           "orders",
	"GET /v1/dead-letters":                         "?since=2d",
	"POST /v1/dead-letters/redrive":                `{"all":true,"filter":{"endpoint":"orders"}}`,
	"POST /v1/dead-letters/dismiss":                `{"dead_letters":[{"event_id":"'$EVENT'","endpoint":"shop/orders"}]}`,
	"POST /v1/replays":                             `{"endpoint":"orders","since":"2026-11-24T08:00:00Z","dry_run":true}`,
	"GET /v1/replays/{id}":                         "$REPLAY",
	"DELETE /v1/replays/{id}":                      "$REPLAY",
	"POST /v1/subscriptions":                       `{"cp_code":"zt","waybill_codes":["777005949070187"]}`,
	"GET /v1/subscriptions/{cp_code}/{waybill}":    "zt/777005949070187",
	"DELETE /v1/subscriptions/{cp_code}/{waybill}": "zt/777005949070187",
	"GET /admin/v1/subscriptions":                  "?tenant=shop",
	"POST /admin/v1/subscriptions":                 `{"tenant":"shop","cp_code":"zt","waybill_codes":["777005949070187"]}`,
	"GET /v1/audit":                                "?since=1d",
	"POST /v1/notices/test":                        `{}`,
	"GET /admin/v1/quarantine":                     "?group=reason",
	"GET /admin/v1/quarantine/{id}":                "$QUARANTINED",
	"POST /admin/v1/quarantine/dismiss":            `{"ids":["'$QUARANTINED'"]}`,
	"POST /admin/v1/quarantine/replay":             `{"all":true}`,
}

// apiPage makes docs/reference/api.md from the OpenAPI document of a relay.
func apiPage() (string, error) {
	r, err := exampleRelay()
	if err != nil {
		return "", err
	}
	var d openAPI
	if err := json.Unmarshal(r.OpenAPI(), &d); err != nil {
		return "", err
	}

	w := &apiWriter{document: d, met: map[string]bool{}}
	w.WriteString(intro("api"))
	seen := 0
	for _, r := range resources {
		fmt.Fprintf(w, "\n## %s\n", r.title)
		for _, base := range []string{"/v1/", "/admin/v1/"} {
			for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
				first, _, _ := strings.Cut(strings.TrimPrefix(path, base), "/")
				if first != r.path {
					continue
				}
				for _, method := range []string{"get", "post", "delete"} {
					if op, ok := d.Paths[path][method]; ok {
						seen++
						w.operation(strings.ToUpper(method), path, op)
					}
				}
			}
		}
	}
	all := 0
	for _, methods := range d.Paths {
		all += len(methods)
	}
	if seen != all {
		return "", fmt.Errorf("%d of %d operations have a place on the page: add to resources", seen, all)
	}

	if len(w.met) != len(usual) {
		return "", fmt.Errorf("the document gives the usual problems another meaning than test/docs and its intro: %v", usual)
	}

	w.webhooks()
	w.objects()
	return w.String(), nil
}

type apiWriter struct {
	strings.Builder
	document openAPI
	met      map[string]bool // the usual problems that an operation has, by status
}

// operatorPath is the operator's path beside a tenant's.
func operatorPath(path string) string {
	path = strings.Replace(path, "{endpoint}", "{tenant}/{endpoint}", 1)
	return strings.Replace(path, "/v1/", "/admin/v1/", 1)
}

// tenantHas says whether an operator's operation is described with the tenant's.
func (w *apiWriter) tenantHas(method, path string, op operation) bool {
	for own, methods := range w.document.Paths {
		o, ok := methods[strings.ToLower(method)]
		if ok && own != path && operatorPath(own) == path && o.Summary == op.Summary {
			return true
		}
	}
	return false
}

func (w *apiWriter) operation(method, path string, op operation) {
	if w.tenantHas(method, path, op) {
		return
	}
	fmt.Fprintf(w, "\n### %s %s\n\n%s.", method, path, op.Summary)
	also := operatorPath(path)
	o, both := w.document.Paths[also][strings.ToLower(method)]
	switch {
	case len(op.Security) == 0:
		fmt.Fprintln(w, " Open to all.")
	case strings.HasPrefix(path, "/admin"):
		fmt.Fprintln(w, " For the operator.")
	case both && o.Summary == op.Summary:
		fmt.Fprintf(w, " For a tenant; the operator has `%s %s`.\n", method, also)
	default:
		fmt.Fprintln(w, " For a tenant.")
	}

	var rows []string
	for _, p := range op.Parameters {
		if p.In == "query" {
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |", p.Name, w.kind(p.Schema), cell(p.Description)))
		}
	}
	w.rows("| parameter | type | meaning |\n|---|---|---|", rows)
	if body := op.RequestBody.schema(); body != nil {
		fmt.Fprintf(w, "\nBody: %s.\n", w.kind(*body))
	}
	w.answers(op)
	w.example(method, path, len(op.Security) > 0)
}

func (w *apiWriter) rows(head string, rows []string) {
	if len(rows) > 0 {
		fmt.Fprintf(w, "\n%s\n%s\n", head, strings.Join(rows, "\n"))
	}
}

// usual are the problems that every operation may answer, as the intro says them.
var usual = map[string]string{
	"400": "The request is wrong; detail says why",
	"401": "No key, or a wrong one",
	"404": "There is no such thing, or it is another tenant's",
	"429": "Too many requests a second, or at one time; Retry-After says when to try again",
	"503": "Redis does not answer, or the operator's API is off",
}

func (w *apiWriter) answers(op operation) {
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		answer := op.Responses[status]
		switch body := answer.schema(); {
		case status[0] == '2' && body == nil:
			fmt.Fprintf(w, "\nAnswer: %s, without a body.\n", status)
		case status[0] == '2' && body.Ref != "":
			fmt.Fprintf(w, "\nAnswer: %s, %s.\n", status, w.kind(*body))
		case status[0] == '2':
			fmt.Fprintf(w, "\nAnswer: %s.\n", status)
		}
	}
	var rows []string
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		answer := op.Responses[status]
		if usual[status] == answer.Description {
			w.met[status] = true
			continue
		}
		if status[0] != '2' {
			rows = append(rows, fmt.Sprintf("| %s | %s |", status, cell(answer.Description)))
		}
	}
	w.rows("| other answers | |\n|---|---|", rows)
}

func (w *apiWriter) example(method, path string, withKey bool) {
	with := apiExamples[method+" "+path]
	address, key := "http://127.0.0.1:8080", "$KEY"
	if strings.HasPrefix(path, "/admin") {
		address, key = "http://127.0.0.1:8081", "$TOKEN"
	}
	var body string
	switch open := strings.Index(path, "{"); {
	case strings.HasPrefix(with, "{"):
		body = " -d '" + with + "'"
	case strings.HasPrefix(with, "?"):
		address, path = "'"+address, path+with+"'"
	case open >= 0:
		path = path[:open] + with + path[strings.LastIndex(path, "}")+1:]
	}
	command := "curl -s " + address + path
	if method != "GET" && body == "" {
		command = strings.Replace(command, "-s", "-s -X "+method, 1)
	}
	if withKey {
		command += ` -H "Authorization: Bearer ` + key + `"`
	}
	if body != "" {
		command += " \\\n " + body
	}
	fmt.Fprintf(w, "\n```sh\n%s\n```\n", command)
}

func (w *apiWriter) webhooks() {
	fmt.Fprint(w, "\n## Webhooks\n\nWhat the relay posts to a tenant's endpoint, and to "+
		"receivers of notices (`problem`). [Receiving updates](../tenant/receiving.md) and "+
		"[Notices](../operator/notices.md) say what to do with it. An endpoint gets:\n")
	hook := w.document.Webhooks["waybill"]["post"]
	var rows []string
	for _, p := range hook.Parameters {
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |", p.Name, w.kind(p.Schema), cell(p.Description)))
	}
	w.rows("| header | type | meaning |\n|---|---|---|", rows)
	rows = nil
	for _, status := range slices.Sorted(maps.Keys(hook.Responses)) {
		rows = append(rows, fmt.Sprintf("| %s | %s |", status, cell(hook.Responses[status].Description)))
	}
	w.rows("| your answer | becomes of the delivery |\n|---|---|", rows)

	for _, name := range slices.Sorted(maps.Keys(w.document.Webhooks)) {
		hook := w.document.Webhooks[name]["post"]
		fmt.Fprintf(w, "\n### Webhook %s\n\n%s.\n", name, hook.Summary)
		for _, body := range hook.RequestBody.schema().AnyOf {
			fmt.Fprintf(w, "\nFormat `%s`:\n", body.Title)
			if len(body.AllOf) > 0 {
				body = body.AllOf[0]
			}
			w.fields(body)
		}
	}
}

func (w *apiWriter) objects() {
	fmt.Fprint(w, "\n## Objects\n\nA field that is not always there is left out if it is empty.\n")
	for _, name := range slices.Sorted(maps.Keys(w.document.Components.Schemas)) {
		s := w.document.Components.Schemas[name]
		fmt.Fprintf(w, "\n### %s object\n", name)
		if s.Description != "" {
			fmt.Fprintf(w, "\n%s.\n", s.Description)
		}
		w.fields(s)
	}
}

// fields writes the properties of an object, and those of objects in it that have no name.
func (w *apiWriter) fields(s schema) {
	rows := w.fieldRows("", s)
	if len(rows) == 0 {
		fmt.Fprintf(w, "\n%s.\n", strings.ToUpper(s.Description[:1])+s.Description[1:])
	}
	w.rows("| field | type | always | meaning |\n|---|---|---|---|", rows)
}

func (w *apiWriter) fieldRows(prefix string, s schema) (rows []string) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		always := ""
		if slices.Contains(s.Required, name) {
			always = "yes"
		}
		about := p.Description
		if len(p.Examples) > 0 {
			about += ": `" + strings.Join(p.Examples, "`, `") + "`"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |", prefix+name, w.kind(p), always, cell(about)))
		inner := p
		path := prefix + name + "."
		if p.Items != nil {
			inner, path = *p.Items, prefix+name+"[]."
		}
		rows = append(rows, w.fieldRows(path, inner)...)
	}
	return rows
}

// kind says what a value is, in words.
func (w *apiWriter) kind(s schema) string {
	switch {
	case s.Ref != "":
		name := s.Ref[strings.LastIndex(s.Ref, "/")+1:]
		return "[" + name + "](#" + strings.ToLower(name) + "-object)"
	case s.Const != nil:
		return fmt.Sprintf("`%v`", s.Const)
	case len(s.Enum) > 0:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case s.Items != nil:
		return "list of " + w.kind(*s.Items)
	case s.Type == "object" && s.AdditionalProperties != nil && s.Properties == nil:
		return "object"
	case s.Format == "date-time":
		return "time"
	case len(s.AnyOf) > 0:
		var kinds []string
		for _, x := range s.AnyOf {
			kinds = append(kinds, w.kind(x))
		}
		return strings.Join(kinds, ", or ")
	}
	switch t := s.Type.(type) {
	case string:
		if t == "object" && s.Description != "" && s.Properties == nil {
			return s.Description
		}
		return t
	case []any:
		var kinds []string
		for _, x := range t {
			kinds = append(kinds, fmt.Sprint(x))
		}
		return strings.Join(kinds, " or ")
	}
	return "any JSON"
}
