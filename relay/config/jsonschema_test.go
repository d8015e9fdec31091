package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// compile reads a JSON Schema.
func compile(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("https://kuairelay.test/schema", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("https://kuairelay.test/schema")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// seen is a YAML text as an editor gives it to a schema.
func seen(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// shows says what an editor has against a text in quotes, and without them where it is no other kind of value then.
func (f form[T]) shows(t *testing.T, in string) error {
	t.Helper()
	text, err := json.Marshal(f.shape)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if yaml.Unmarshal([]byte(in), &plain) != nil || plain == nil {
		plain = in
	}
	if _, isNumber := plain.(int); !isNumber {
		plain = in
	}
	return compile(t, text).Validate(plain)
}

func schemaOf(t *testing.T, tenant bool) *jsonschema.Schema {
	t.Helper()
	text, err := JSONSchema(tenant)
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, text)
}

func TestTheSchemaTakesWhatLoadTakes(t *testing.T) {
	t.Parallel()
	for _, file := range []string{example, "testdata/full.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := schemaOf(t, false).Validate(seen(t, text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	text, err := os.ReadFile("testdata/full.d/filed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := schemaOf(t, true).Validate(seen(t, text)); err != nil {
		t.Errorf("a tenant's file: %v", err)
	}
}

func TestTheSchemaKnowsEveryKeyAndNoOther(t *testing.T) {
	t.Parallel()
	config, tenant := schemaOf(t, false), schemaOf(t, true)
	for _, text := range []string{
		"callback: {tokens: [long-enough]}\ntenants: [{name: a, endpoint: []}]",
		"callback: {tokens: [long-enough]}\ndelivery: {order: any}",
		"callback: {tokens: [long-enough]}\ndelivery: {max_in_flight: 0}",
		"callback: {tokens: [long-enough]}\nretention: 5",
		"callback: {tokens: [short]}",
		"callback: {}",
		"{}",
	} {
		if config.Validate(seen(t, []byte(text))) == nil {
			t.Errorf("the schema takes\n%s", text)
		}
	}
	for _, text := range []string{"name: a\nroutes: [{match: {status: x}}]", "name: a\ntenants: []", "routes: []"} {
		if tenant.Validate(seen(t, []byte(text))) == nil {
			t.Errorf("the schema of a tenant takes\n%s", text)
		}
	}
	text, err := JSONSchema(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range knownKeys("", schema(&loading{config: defaults()}).fields) {
		name := key[strings.LastIndex(key, ".")+1:]
		if !bytes.Contains(text, []byte(`"`+name+`": {`)) {
			t.Errorf("the schema lacks %s", key)
		}
	}
}

// TestTheSchemaFindsMistakesOfShape goes through the fixtures: the schema knows less than Load, but not nothing.
func TestTheSchemaFindsMistakesOfShape(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	refused := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if yaml.Unmarshal(text, &v) != nil {
			continue // no editor gets as far as the schema
		}
		if _, err := json.Marshal(v); err != nil {
			continue
		}
		if schemaOf(t, false).Validate(seen(t, text)) != nil {
			refused++
		}
	}
	if refused < len(files)/4 {
		t.Errorf("the schema refuses only %d of %d files of mistakes", refused, len(files))
	}
}
