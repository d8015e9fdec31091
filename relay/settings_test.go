package relay

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/config"
	"kuairelay/relay/deliver"
	"kuairelay/relay/kuaidihelp"
)

// A key that is added to a match has to reach the routes of the table.
func TestEveryKeyOfAMatchReachesTheTable(t *testing.T) {
	t.Parallel()
	all := reflect.TypeFor[config.Match]()
	for i := range all.NumField() {
		name := all.Field(i).Name
		if name == "Written" {
			continue
		}
		var m config.Match
		set(t, name, reflect.ValueOf(&m).Elem().Field(i))
		if reflect.ValueOf(matchOf(&m)).IsZero() {
			t.Errorf("Match.%s is not handed to the table", name)
		}
	}
}

// A key that is added to a section of the config has to be handed to a part.
func TestEveryKeyOfTheConfigIsHandedOn(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	source := ""
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source += string(text)
	}
	before, rest, found := strings.Cut(source, "func newRestartKeys(") // which only names keys
	_, after, _ := strings.Cut(rest, "\n}\n")
	if !found {
		t.Fatal("newRestartKeys is not found")
	}

	elsewhere := []string{
		"Delivery", "Subscriptions.Limits", "Limits.Allowance", // the defaults of endpoints and tenants, which have them
		"TenantsDir", "TenantsEnv", "TenantsFiles", "Egress.TenantCIDRs", // read by config itself
		"Admin.Token", "Admin.Tokens", // handed on by Operators
		"Files", "Production", // handed on as a whole, to be shown
	}
	var walk func(name string, of reflect.Type)
	walk = func(name string, of reflect.Type) {
		if slices.Contains(elsewhere, name) {
			return
		}
		if of.Kind() == reflect.Struct {
			for i := range of.NumField() {
				walk(name+"."+of.Field(i).Name, of.Field(i).Type)
			}
			return
		}
		if !strings.Contains(before+after, "."+name) {
			t.Errorf("the config has %s, and no part is told of it", name)
		}
	}
	for i := range reflect.TypeFor[config.Config]().NumField() {
		walk(reflect.TypeFor[config.Config]().Field(i).Name, reflect.TypeFor[config.Config]().Field(i).Type)
	}
}

// A setting that is added to an endpoint has to change what the pool, the store or the routes are told of it.
func TestEverySettingOfAnEndpointIsHandedOn(t *testing.T) {
	t.Parallel()
	plain := config.Endpoint{ID: "shop/orders", Name: "orders"}
	told := func(e config.Endpoint) []any {
		tenants := []config.Tenant{{Name: "shop", Endpoints: []config.Endpoint{e}}}
		ep, err := endpoint(e)
		if err != nil {
			t.Fatal(err)
		}
		set := apiSettings(&config.Config{Tenants: tenants}, nil, nil, nil)
		return []any{*ep, pacing(tenants), ordered(tenants), set.Tenants}
	}
	elsewhere := []string{
		"Name",                 // a part of ID
		"Pos",                  // for mistakes
		"Secrets",              // parsed, see TestSecretsRotateAndEachSigns
		"Delivery.OrphanGrace", // of all endpoints: deliver.Settings
	}

	var walk func(name string, index []int)
	walk = func(name string, index []int) {
		e := plain
		v := reflect.ValueOf(&e).Elem().FieldByIndex(index)
		if slices.Contains(elsewhere, name) {
			return
		}
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(name+"."+v.Type().Field(i).Name, append(slices.Clone(index), i))
			}
			return
		}
		if name == "Delivery.Order" {
			v.SetString("none")
		} else {
			set(t, name, v)
		}
		if reflect.DeepEqual(told(e), told(plain)) {
			t.Errorf("%s of an endpoint changes nothing: nobody is told of it", name)
		}
	}
	for i := range reflect.TypeFor[config.Endpoint]().NumField() {
		walk(reflect.TypeFor[config.Endpoint]().Field(i).Name, []int{i})
	}
}

// set gives a field of a config a value that is not its zero.
func set(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		if v.Index(0).Kind() == reflect.String {
			v.Index(0).SetString("x")
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	default:
		t.Fatalf("%s is a %s: give it a value here", name, v.Kind())
	}
}

// The config takes the formats that there are, and each has a body of its own.
func TestTheConfigTakesEveryFormatThatThereIs(t *testing.T) {
	t.Parallel()
	text, err := config.JSONSchema(true)
	if err != nil {
		t.Fatal(err)
	}
	formats, err := json.Marshal(deliver.Formats())
	if err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if err := json.Compact(&plain, text); err != nil {
		t.Fatal(err)
	}
	if want := `"enum":` + string(formats); !bytes.Contains(plain.Bytes(), []byte(want)) {
		t.Errorf("the schema of a tenant's file has no %s", want)
	}

	callback := `{"type":"express_sub_msg","data":[{"waybill_code":"1","status":"signed"}]}`
	e := kuaidihelp.Parse("application/json", []byte(callback), time.Now()).Events[0]
	bodies := make(map[string]string)
	for _, format := range deliver.Formats() {
		body := string(deliver.Body(format, e))
		if other, known := bodies[body]; known {
			t.Errorf("the formats %s and %s have the same body", format, other)
		}
		bodies[body] = format
	}
}
