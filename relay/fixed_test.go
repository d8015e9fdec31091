package relay

import (
	"reflect"
	"slices"
	"testing"

	"kuairelay/relay/config"
)

// applied are the fields of a config that a reload takes at once: use hands them on.
var applied = []string{
	"Admin.Token", "Admin.Tokens",
	"Kuaidihelp.APIURL", "Kuaidihelp.AppID", "Kuaidihelp.APIKey", "Kuaidihelp.Methods", "Kuaidihelp.Rate",
	"Kuaidihelp.Timeout", "Kuaidihelp.Query",
	"Subscriptions", "Callback", "Dedupe", "Retention", "DeadLetterRetention", "Delivery", "Egress", "Limits.Allowance",
	"Console.Tenants", "Console.Session", "Console.Timezone", "Console.Language", "Console.History",
	"Notices", "TenantsDir", "TenantsEnv", "TenantsFiles", "Tenants",
	"Fingerprint", "Warnings", "Files", "Production",
}

// A key that is added to the config has to be said to need a restart, or to be applied by a reload.
func TestEveryKeyIsEitherAppliedByAReloadOrNeedsARestart(t *testing.T) {
	t.Parallel()
	var names []string
	var walk func(name string, field func(*config.Config) reflect.Value)
	walk = func(name string, field func(*config.Config) reflect.Value) {
		if slices.Contains(applied, name) {
			names = append(names, name)
			return
		}
		var c config.Config
		if v := field(&c); v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(name+"."+v.Type().Field(i).Name, func(c *config.Config) reflect.Value { return field(c).Field(i) })
			}
			return
		}
		before := newRestartKeys(&c)
		switch v := field(&c); v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Int, reflect.Int64:
			v.SetInt(7)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		default:
			t.Fatalf("%s is a %s", name, v.Kind())
		}
		if got := before.changed(&c); len(got) != 1 {
			t.Errorf("%s is neither applied by a reload nor said to need a restart: %q", name, got)
		}
	}
	root := reflect.TypeFor[config.Config]()
	for i := range root.NumField() {
		walk(root.Field(i).Name, func(c *config.Config) reflect.Value { return reflect.ValueOf(c).Elem().Field(i) })
	}
	for _, name := range applied {
		if !slices.Contains(names, name) {
			t.Errorf("%s is no field of the config", name)
		}
	}
}
