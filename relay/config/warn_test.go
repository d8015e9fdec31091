package config

import (
	"reflect"
	"testing"
)

// A key that is added to Match has to be known to covers. Otherwise check says of a route that it adds nothing,
// although the other one leaves events out.
func TestARouteCoversNoOtherThatItLeavesEventsOutOf(t *testing.T) {
	t.Parallel()
	all := reflect.TypeFor[Match]()
	for i := range all.NumField() {
		name := all.Field(i).Name
		if name == "Written" {
			continue
		}
		limited, same, other := &Match{}, &Match{}, &Match{Type: []string{"t"}, CPCode: []string{"zt"}}
		for _, m := range []*Match{limited, same} {
			switch v := reflect.ValueOf(m).Elem().Field(i); v.Kind() {
			case reflect.String:
				v.SetString("x")
			case reflect.Bool:
				v.SetBool(true)
			case reflect.Slice:
				v.Set(reflect.ValueOf([]string{"x"}))
			default:
				t.Fatalf("Match.%s is a %s: what is one that leaves events out?", name, v.Kind())
			}
		}
		if (Route{Match: limited}).covers(Route{Match: other}) {
			t.Errorf("a route with Match.%s covers one without: covers does not know the key", name)
		}
		if !(Route{Match: limited}).covers(Route{Match: same}) {
			t.Errorf("a route with Match.%s does not cover another with the same", name)
		}
	}
}
