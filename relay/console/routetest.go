package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"kuairelay/relay/api"
)

// routeTest is a test of routes for the file of a tenant, as YAML.
type routeTest struct {
	Tenant, Text string
}

// The bounds of the tests that a page offers: of how many tenants, and with how large an event.
const (
	maxTests     = 5
	maxTestEvent = 16 << 10
)

// testsOf are tests for each tenant that gets an event of a sample: they hold as long as the routes decide so. A tenant
// that asks (own) has one also if none of its endpoints gets it. There is none if the sample is no JSON, or not all of
// it was explained.
func testsOf(x api.Explanations, own string, sample []byte) (all []routeTest) {
	var event bytes.Buffer
	whole := x.EventsLeft == 0 && len(x.Rejected) == 0 && len(x.Events) > 0
	if !whole || len(sample) > maxTestEvent || json.Compact(&event, sample) != nil {
		return nil
	}

	reached := make(map[string][]string)
	if own != "" {
		reached[own] = nil
	}
	for _, e := range x.Events {
		if e.EndpointsLeft > 0 {
			return nil
		}
		for _, ep := range e.Endpoints {
			tenant, name, _ := strings.Cut(ep.Endpoint, "/")
			matches := slices.ContainsFunc(ep.Routes, func(r api.ExplainedRoute) bool { return r.Matches })
			if matches && !slices.Contains(reached[tenant], name) {
				reached[tenant] = append(reached[tenant], name)
			}
		}
	}

	name := strings.TrimSpace(x.Events[0].CPCode + " " + x.Events[0].Status)
	for _, tenant := range slices.Sorted(maps.Keys(reached)) {
		if len(all) == maxTests {
			break
		}
		text := fmt.Sprintf("tests:\n  - name: %s\n    event: %s\n    reaches: [%s]\n",
			expandable(quoted(name)), expandable(quoted(event.String())), strings.Join(reached[tenant], ", "))
		all = append(all, routeTest{Tenant: tenant, Text: text})
	}
	return all
}

// quoted is a text as YAML has it in single quotes, on one line. What cannot be seen is written as JSON does, so that
// JSON stays the same.
func quoted(text string) string {
	var out strings.Builder
	out.WriteByte('\'')
	for _, r := range text {
		switch {
		case r == '\'':
			out.WriteString("''")
		case unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	out.WriteByte('\'')
	return out.String()
}

// expandable has the dollar signs of a text stand for themselves where the config expands variables.
func expandable(text string) string { return strings.ReplaceAll(text, "$", "$$") }
