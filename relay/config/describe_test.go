package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
)

func TestEveryKeyIsDescribed(t *testing.T) {
	t.Parallel()
	keys := knownKeys("", schema(&loading{config: defaults()}).fields)
	for _, key := range keys {
		from := inherited(key)
		if docs[key] == "" && docs[from] == "" {
			t.Errorf("docs lacks %s", key)
		}
		if from != "" && !slices.Contains(keys, from) {
			t.Errorf("%s is said to inherit from %s, which is no key", key, from)
		}
	}
	for key := range docs {
		if !slices.Contains(keys, key) {
			t.Errorf("docs describes %s, which is no key", key)
		}
	}
}

// The defaults that the schema shows are those of Load: a file that writes all of them out is read as one without.
func TestTheSchemaShowsTheDefaults(t *testing.T) {
	t.Parallel()
	text, err := JSONSchema(false)
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	shown := 0
	var written func(s map[string]any) any
	written = func(s map[string]any) any {
		properties, isSection := s["properties"].(map[string]any)
		if !isSection {
			return s["default"]
		}
		out := map[string]any{}
		for name, key := range properties {
			if v := written(key.(map[string]any)); v != nil {
				out[name] = v
				shown++
			}
		}
		return out
	}
	file := written(s).(map[string]any)
	file["callback"].(map[string]any)["tokens"] = []string{"long-enough"}
	delete(file, "tenants_dir") // a folder that is named has to exist
	all, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}

	want, err := load("x.yaml", []byte("callback: {tokens: [long-enough]}"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := load("x.yaml", all, Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, all)
	}
	got.Fingerprint, got.Files, got.Production = want.Fingerprint, want.Files, want.Production
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the defaults that are shown are read as\n%+v\nwant\n%+v", got, want)
	}
	if shown < 50 {
		t.Errorf("only %d defaults are shown", shown)
	}
}
