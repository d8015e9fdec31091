package kuaidihelp

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestAnAnswerToAQueryIsReadAsLenientlyAsACallback(t *testing.T) {
	t.Parallel()
	item := func(code string) string {
		return `{"waybill_code":"` + code + `","cp_code":"zt","status":"sending","data":[{"time":"2026-01-01 00:00:00"}]}`
	}
	quoted, _ := json.Marshal("[" + item("1") + "," + item("2") + "]")
	for data, want := range map[string]string{
		"":                                 "",
		"null":                             "",
		"{}":                               "",
		"[]":                               "",
		`""`:                               "",
		item("1"):                          "1",
		"[" + item("1") + "]":              "1",
		string(quoted):                     "1 2",
		`{"0":` + item("7") + `}`:          "7",
		`[{"no":8,"data":[{"time":"x"}]}]`: "8",
		`[{"waybill_code":"9","data":[]}]`: "", // no record
		`[{"waybill_code":"9"},` + item("1") + "]": "1",
		`[{"data":[1]},` + item("1") + "]":         "? 1", // not understood
		"17":                                       "!",
		`"no JSON"`:                                "!",
		"[" + item("1"):                            "!",
	} {
		var got []string
		items, ok := QueryItems(json.RawMessage(data))
		for _, x := range items {
			code := x.Code
			if code == "" {
				code = "?"
			}
			got = append(got, code)
			if r := Parse("application/json", x.Body, time.Now()); len(r.Events)+len(r.Rejected) != 1 {
				t.Errorf("%s: the body of %s has %d items", data, code, len(r.Events)+len(r.Rejected))
			}
		}
		if text := strings.Join(got, " "); (!ok && want != "!") || (ok && text != want) {
			t.Errorf("%s: %q, %v, want %q", data, text, ok, want)
		}
	}
}

func TestAnAnswerToAQueryGivesTheEventOfTheCallback(t *testing.T) {
	t.Parallel()
	item := `{"waybill_code":"1","cp_code":"zt","status":"sending","data":[{"time":"2026-01-01 00:00:00","context":"x"}]}`
	pushed := Parse("application/json", fmt.Appendf(nil, `{"type":"express_sub_msg","data":[%s]}`, item), time.Now())
	items, ok := QueryItems(json.RawMessage("[" + item + "]"))
	if !ok || len(items) != 1 {
		t.Fatalf("%d items, %v", len(items), ok)
	}
	asked := Parse("application/json", items[0].Body, time.Now())
	if asked.Events[0].ID != pushed.Events[0].ID {
		t.Errorf("the same content has the ids %s and %s", asked.Events[0].ID, pushed.Events[0].ID)
	}
}
