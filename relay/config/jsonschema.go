package config

import (
	"encoding/json"
	"maps"
)

// shape is a JSON Schema.
type shape map[string]any

// form says what a scalar may be: how its text is parsed, and what the text looks like to an editor. The errors of
// parse must not repeat the text: it may be a secret.
type form[T any] struct {
	parse func(string) (T, error)
	shape shape
}

// scalar returns the shape of a scalar of this form. It may also be written with ${VAR} or as file:PATH.
func (f form[T]) scalar() shape {
	return shape{"anyOf": []any{f.shape, shape{"$ref": "#/$defs/reference"}}}
}

// anyScalar is any single value: YAML takes 0123, yes and 2024-01-01 for other things than text, and this project
// does not.
var anyScalar = shape{"type": []string{"string", "number", "boolean"}}

func pattern(p string) shape { return shape{"type": "string", "pattern": p} }

func listOf(item shape, least int) shape {
	s := shape{"type": "array", "items": item}
	if least > 0 {
		s["minItems"] = least
	}
	return s
}

func oneOrListOf(item shape) shape { return shape{"anyOf": []any{item, listOf(item, 1)}} }

// schema returns the shape of what the reader reads. path is what the paths of its fields begin with.
func (r reader) schema(path string) shape {
	if r.fields == nil {
		return r.shape
	}

	properties := shape{}
	var needed []string
	for _, f := range r.fields {
		of := f.describe(path + f.name)
		properties[f.name] = of
		if f.required || f.section && of["required"] != nil {
			needed = append(needed, f.name)
		}
	}

	s := shape{"type": "object", "properties": properties, "additionalProperties": false}
	if len(needed) > 0 {
		s["required"] = needed
	}
	if r.of != nil {
		return r.of(s)
	}
	return s
}

// JSONSchema returns the JSON Schema (draft 2020-12) of a config file or, with tenant, of a file in tenants_dir, for
// editors, with what each key is for and its default. It is made from the table that Load reads by. Load checks more
// than the schema can say, such as names that have to exist.
func JSONSchema(tenant bool) ([]byte, error) {
	l := &loading{config: defaults()}
	r := schema(l)
	title, path := "The configuration of kuairelay", ""
	if tenant {
		path = "tenants."
		r = l.tenant(nowhere, new(Tenant))
		title = "A tenant of kuairelay, as a file of tenants_dir"
	}

	s := shape{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   title,
		"$defs":   shape{"reference": pattern(`^file:|\$\{`)},
	}
	maps.Copy(s, r.schema(path))
	return json.MarshalIndent(s, "", "  ")
}
