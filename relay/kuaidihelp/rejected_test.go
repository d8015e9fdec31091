package kuaidihelp

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestACallbackThatIsNotUnderstoodIsRejectedWhole(t *testing.T) {
	t.Parallel()
	const item = `{"no":"1"}`
	for name, c := range map[string]struct{ contentType, body, want string }{
		"empty":                {"", "", "empty"},
		"space":                {"", " \r\n\t", "empty"},
		"byte order mark":      {"", "\uFEFF", "empty"},
		"text":                 {"text/plain", "hello", "neither JSON nor a form"},
		"binary":               {"", "\x00\x01\xff\xfe", "neither JSON nor a form"},
		"json null":            {"application/json", "null", "neither JSON nor a form"},
		"json array":           {"application/json", "[" + item + "]", "JSON array"},
		"open brackets":        {"application/json", strings.Repeat("[", 5<<20), "JSON array"},
		"one brace":            {"", "{", "not complete"},
		"one brace, spaced":    {"", " { ", "not complete"},
		"an open item":         {"", `{"type":"express_sub_msg","data":[{`, "not complete"},
		"a key alone":          {"", `{"a"`, "not complete"},
		"one bracket":          {"", "[", "JSON array"},
		"an open list":         {"", `{"type":"express_sub_msg","data":[`, "not complete"},
		"type of spaces":       {"", `{"type":" \n","data":[` + item + `]}`, "no type"},
		"open braces":          {"application/json", strings.Repeat(`{"data":`, 600_000), "not complete"},
		"truncated":            {"", `{"type":"express_sub_msg","data":[{"no":"1"},{"no":"2`, "not complete"},
		"truncated after item": {"", `{"type":"express_sub_msg","data":[{"no":"1"}`, "not complete"},
		"trailing text":        {"", `{"type":"express_sub_msg","data":[` + item + `]}x`, "not complete"},
		"two callbacks":        {"", `{"type":"express_sub_msg","data":[` + item + `]}{}`, "not complete"},
		"wrong bracket":        {"", `{"type":"express_sub_msg","data":[` + item + `]]`, "not complete"},
		"unquoted key":         {"", `{type:"express_sub_msg"}`, "not complete"},
		"bad key":              {"", `{"\x":1,"type":"express_sub_msg","data":[]}`, "not a JSON string"},
		"key not utf-8":        {"", "{\"\xff\":1,\"type\":\"express_sub_msg\",\"data\":[]}", "not a JSON string"},
		"no type":              {"", `{"data":[` + item + `]}`, "no type"},
		"empty type":           {"", `{"type":"","data":[` + item + `]}`, "no type"},
		"type null":            {"", `{"type":null,"data":[` + item + `]}`, "not a string"},
		"type number":          {"", `{"type":1,"data":[` + item + `]}`, "type is a number"},
		"type object":          {"", `{"type":{},"data":[` + item + `]}`, "type is an object"},
		"type broken":          {"", `{"type":"\x","data":[` + item + `]}`, "not a valid JSON string"},
		"type not utf-8":       {"", "{\"type\":\"\xff\",\"data\":[]}", "not plain text"},
		"type too long":        {"", `{"type":"` + strings.Repeat("t", 65) + `","data":[]}`, "longer than 64"},
		"type with control":    {"", `{"type":"a\u0000b"}`, "not plain text"},
		"type twice": {"", `{"type":"express_sub_msg","data":[],"type":"express_sub_msg"}`,
			`duplicate key "type"`},
		"data twice":         {"", `{"type":"express_sub_msg","data":[],"d\u0061ta":[]}`, `duplicate key "data"`},
		"other twice":        {"", `{"x":1,"type":"express_sub_msg","x":1,"data":[]}`, `duplicate key "x"`},
		"no data":            {"", `{"type":"express_sub_msg"}`, "no data"},
		"data null":          {"", `{"type":"express_sub_msg","data":null}`, "data is"},
		"data number":        {"", `{"type":"express_sub_msg","data":13800000000}`, "data is a number"},
		"data true":          {"", `{"type":"express_sub_msg","data":true}`, "data is"},
		"data empty string":  {"", `{"type":"express_sub_msg","data":""}`, "no data"},
		"data text":          {"", `{"type":"express_sub_msg","data":"text"}`, "data is"},
		"data broken string": {"", `{"type":"express_sub_msg","data":"\x"}`, "not a valid JSON string"},
		"data wrapped too often": {"", `{"type":"express_sub_msg","data":` + quote(quote(quote(quote("[]")))) + `}`,
			"data is a string"},
		"data string truncated": {"", `{"type":"express_sub_msg","data":"[{\"no\":\"1\"}"}`, "not a complete JSON array"},
		"data mismatched":       {"", `{"type":"express_sub_msg","data":[` + item + `}}`, "not a complete JSON array"},
		"data array and more":   {"", `{"type":"express_sub_msg","data":[` + item + `][]}`, "not a complete JSON array"},
		"other type, bad json":  {"", `{"type":"x","y":tru}`, "invalid JSON"},
		"other type, same key":  {"", `{"type":"x","y":{"z":1,"z":2}}`, `duplicate key "z"`},
		"other type, deep": {"", `{"type":"x","y":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`,
			"64 levels"},
		"form: no type":            {"", "data=%5B%5D", "neither JSON nor a form"},
		"form: empty type":         {"", "type=+&data=%5B%5D", "no type"},
		"form: type twice":         {"", "type=express_sub_msg&type=express_sub_msg&data=%5B%5D", `duplicate key "type"`},
		"form: data twice":         {"", "type=express_sub_msg&data=%5B%5D&data[0][no]=1", `duplicate key "data"`},
		"form: data twice, turned": {"", "type=express_sub_msg&data[0][no]=1&data=%5B%5D", `duplicate key "data"`},
		"form: type is a list":     {"", "type[]=express_sub_msg&data=%5B%5D", "not a string"},
		"form: no data":            {"", "type=express_sub_msg", "no data"},
		"form: empty data":         {"", "type=express_sub_msg&data=", "no data"},
		"form: data is text":       {"", "type=express_sub_msg&data=x", "data is"},
		"form: odd brackets":       {"", "type=express_sub_msg&data[0][no]=1&data[0][x=1", "field 2: brackets"},
		"form: text in brackets":   {"", "type=express_sub_msg&data[0]x[no]=1", "field 1: brackets"},
		"form: other, not utf-8":   {"", "type=x&y=%FF", "invalid UTF-8"},
		"multipart: truncated": {multipartType,
			strings.TrimSuffix(multipartBody("type", "express_sub_msg", "data", "[]"), "--frontier--\r\n"),
			"multipart body is broken"},
		"multipart: bad header": {multipartType, "--frontier\r\nnot a header\r\n\r\nx\r\n--frontier--\r\n",
			"multipart body is broken"},
		"multipart: no fields": {multipartType, "--frontier--\r\n", "neither JSON nor a form"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Parse(c.contentType, []byte(c.body), at)
			if len(got.Events) != 0 || len(got.Rejected) != 1 {
				t.Fatalf("%d events, %d rejected", len(got.Events), len(got.Rejected))
			}
			r := got.Rejected[0]
			if string(r.Raw) != c.body {
				t.Errorf("raw is %.60q", r.Raw)
			}
			if !strings.Contains(r.Reason, c.want) || strings.Contains(r.Reason, "item ") || strings.Contains(r.Reason, "138") {
				t.Errorf("reason %q, want %q", r.Reason, c.want)
			}
		})
	}
}

// badItems are items that are not understood, each with its reason.
func badItems() map[string]string {
	return map[string]string{
		`1`: "not an object", `null`: "not an object", `"{}"`: "not an object", `[{"no":"1"}]`: "not an object",
		`{}x`:                             "invalid JSON",
		``:                                "not an object",
		`{}`:                              "no waybill code",
		`{"waybill_code":""}`:             "no waybill code",
		`{"waybill_code":null,"no":true}`: "no waybill code",
		`{"data":[{"no":"1"}]}`:           "no waybill code",
		`{"waybill_code":7.77e14}`:        "not only digits",
		`{"waybill_code":1.0,"no":"2"}`:   "not only digits",
		`{"waybill_code":-1}`:             "not only digits",
		`{"waybill_code":1E5}`:            "not only digits",
		`{"no":"1\u00002"}`:               "control characters",
		`{"no":"1\n2"}`:                   "control characters",
		`{"no":"1\u00852"}`:               "control characters",
		`{"no":"` + strings.Repeat("1", 65) + `"}`:                                       "longer than 64",
		`{"no":"1","no":"1"}`:                                                            `duplicate key "no"`,
		`{"no":"1","data":[{"time":"a","tim\u0065":"b"}]}`:                               `duplicate key "time"`,
		`{"no":"","waybill_no":"","no":""}`:                                              `duplicate key "no"`,
		"{\"no\":\"1\",\"x\":\"\xff13800000000\"}":                                       "invalid UTF-8",
		"{\"no\":\"1\xc3\"}":                                                             "invalid UTF-8",
		"{\"no\":\"1\",\"cp_code\":\"\xc3\"}":                                            "invalid UTF-8",
		`{"no":"1","x":"\ud83d"}`:                                                        "surrogate",
		`{"no":"1","x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`:       "64 levels",
		`{"no":"1","x":` + strings.Repeat("[", 1<<16) + strings.Repeat("]", 1<<16) + `}`: "64 levels",
		`{"no":"1","x":tru}`:                                                             "invalid JSON",
		`{"no":"1",}`:                                                                    "invalid JSON",
		`{"no" "1"}`:                                                                     "invalid JSON",
		`{no:"1"}`:                                                                       "invalid JSON",
		`{"no":01}`:                                                                      "invalid JSON",
		`{"no":"1"]`:                                                                     "invalid JSON",
		"{\"no\":\"1\n\"}":                                                               "invalid JSON",
		`{"no":"1","x":"13800000000\x"}`:                                                 "invalid JSON",
	}
}

func TestABadItemIsRejectedAloneAndItsSiblingsGoOn(t *testing.T) {
	t.Parallel()
	for bad, reason := range badItems() {
		array := `[{"no":"a"}, ` + bad + ` ,{"no":"b"}]`
		for encoding, body := range map[string]string{
			"json":        `{"type":"express_sub_msg","data":` + array + `}`,
			"json string": `{"type":"express_sub_msg","data":` + quoteRaw(array) + `}`,
			"form":        "type=express_sub_msg&data=" + percentEncode(array),
		} {
			got := Parse("", []byte(body), at)
			if len(got.Events) != 2 || len(got.Rejected) != 1 {
				t.Errorf("%s, %.60q: %d events, rejected %.200q", encoding, bad, len(got.Events), got.Rejected)
				continue
			}
			if got.Events[0].WaybillCode != "a" || got.Events[1].WaybillCode != "b" {
				t.Errorf("%s, %.60q: the siblings are %+v, %+v", encoding, bad, got.Events[0], got.Events[1])
			}
			r := got.Rejected[0]
			if string(r.Raw) != bad {
				t.Errorf("%s, %.60q: raw is %.60q", encoding, bad, r.Raw)
			}
			if !strings.HasPrefix(r.Reason, "item 1: ") || !strings.Contains(r.Reason, reason) ||
				strings.Contains(r.Reason, "138") {
				t.Errorf("%s, %.60q: reason %q, want %q", encoding, bad, r.Reason, reason)
			}
		}
	}
}

func TestALoneSurrogateInsideAStringOfItemsCostsOneItem(t *testing.T) {
	t.Parallel()
	body := `{"type":"express_sub_msg","data":"[{\"no\":\"1\"},{\"no\":\"2\",\"x\":\"\ud83d\"},` +
		`{\"no\":\"3\",\"x\":\"\ud83d\ude9a\"}]"}`
	got := Parse("", []byte(body), at)
	if len(got.Events) != 2 || len(got.Rejected) != 1 || got.Rejected[0].Reason != "item 1: invalid UTF-8" {
		t.Fatalf("%d events, rejected %q", len(got.Events), got.Rejected)
	}
	if data := string(got.Events[1].Data); data != `{"no":"3","x":"🚚"}` {
		t.Errorf("data %s", data)
	}
}

func TestABadItemInBracketsIsRejectedAlone(t *testing.T) {
	t.Parallel()
	deep := "data[1][x]" + strings.Repeat("[y]", 100)
	for bad, reason := range map[string]string{
		"data[1][no]=1&data[1][no]=2":                               `duplicate key "no"`,
		"data[1][no]=1&data[1][x]=2&data[1][x][y]=3":                `duplicate key "x"`,
		"data[1][no]=1&data[1][x][y]=3&data[1][x]=2":                `duplicate key "x"`,
		"data[1][no]=1&data[1][l][0]=2&data[1][l][0]=2":             `duplicate key "0"`,
		"data[1][no]=1&data[1][x]=%FF":                              "invalid UTF-8",
		"data[1][no]=1&data[1][%C3]=x":                              "invalid UTF-8",
		"data[1][no]=%00":                                           "control characters",
		"data[1][x]=1":                                              "no waybill code",
		"data[1]=x":                                                 "not an object",
		"data[1][]=x":                                               "not an object",
		"data[1][no]=1&" + deep + "=z":                              "64 levels",
		"data[1][no]=1&" + strings.ReplaceAll(deep, "y", "") + "=z": "64 levels",
	} {
		got := Parse("", []byte("data[0][no]=a&"+bad+"&type=express_sub_msg&data[2][no]=b"), at)
		if len(got.Events) != 2 || len(got.Rejected) != 1 {
			t.Errorf("%.60s: %d events, rejected %q", bad, len(got.Events), got.Rejected)
			continue
		}
		if r := got.Rejected[0]; !strings.HasPrefix(r.Reason, "item 1: ") || !strings.Contains(r.Reason, reason) {
			t.Errorf("%.60s: reason %q, want %q", bad, r.Reason, reason)
		}
	}
	// More than nine digits are a name: as a number they would not fit.
	got := Parse("", []byte("type=express_sub_msg&data[no]=1&data[x][4294967296]=a"), at)
	if len(got.Events) != 1 || !strings.Contains(string(got.Events[0].Data), `"x":{"4294967296":"a"}`) {
		t.Errorf("large keys: %s", got.Events[0].Data)
	}
	if len(Parse("", []byte("type=express_sub_msg&data[no]=1&data[x]"+strings.Repeat("[y]", 63)+"=z"), at).Events) != 1 {
		t.Error("64 levels of brackets are too many")
	}
	if len(Parse("", []byte("type=express_sub_msg&data[no]=1&data[x]"+strings.Repeat("[y]", 64)+"=z"), at).Rejected) != 1 {
		t.Error("65 levels of brackets are not too many")
	}
}

func TestATrailingCommaCostsNoItem(t *testing.T) {
	t.Parallel()
	got := Parse("", []byte(`{"type":"express_sub_msg","data":[{"no":"1"},{"no":"2"},]}`), at)
	if len(got.Events) != 2 || len(got.Rejected) != 1 || len(got.Rejected[0].Raw) != 0 {
		t.Errorf("%d events, rejected %q", len(got.Events), got.Rejected)
	}
}

func TestHostileBodiesTakeLinearTime(t *testing.T) {
	t.Parallel()
	const head = `{"type":"express_sub_msg","data":`
	part, _, _ := strings.Cut(multipartBody("a", "1"), "--frontier--")
	for name, c := range map[string]struct{ head, unit, tail string }{
		"tiny items":         {head + "[", "1,", "1]}"},
		"empty items":        {head + "[", ",", "]}"},
		"empty objects":      {head + "[", "{},", "{}]}"},
		"brackets in item":   {head + `[{"no":"1","x":`, "[", "]}"},
		"backslashes":        {head + `["`, `\`, `"]}`},
		"escaped quotes":     {head + `["`, `\"`, `"]}`},
		"same keys":          {"{", `"a":1,`, `"b":1}`},
		"members of an item": {head + `[{"no":"1"`, `,"k":1`, `}]}`},
		"string of escapes":  {head + `"`, `\u0020`, `[]"}`},
		"form fields":        {"type=express_sub_msg", "&a=1", ""},
		"form items":         {"type=express_sub_msg", "&data[][no]=1", ""},
		"form nesting":       {"type=express_sub_msg&data", "[x]", "=1"},
		"form list nesting":  {"type=express_sub_msg&data", "[]", "=1"},
		"form deep fields":   {"type=express_sub_msg", "&data" + strings.Repeat("[]", 70) + "=1", ""},
		"form open brackets": {"type=express_sub_msg&data", "[", "=1"},
		"form percent":       {"type=express_sub_msg&data=", "%", ""},
		"multipart parts":    {"", part, "--frontier--"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shortest := func(before time.Duration, size int) time.Duration {
				body := []byte(c.head + strings.Repeat(c.unit, size/len(c.unit)) + c.tail)
				began := time.Now()
				Parse(multipartType, body, at)
				return min(before, time.Since(began))
			}

			// For eight times the body, a quadratic parser takes 64 times as long, and ours about eight times. A busy machine
			// makes runs longer, never shorter. So one run of each without interruption is enough, and the test waits for it.
			small, big := time.Hour, time.Hour
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
				small = shortest(small, 16<<10)
				big = shortest(big, 128<<10)
				if big < 32*small {
					return
				}
			}
			t.Errorf("16 KiB took %s, 128 KiB took %s", small, big)
		})
	}
}

func TestAFormCannotMakeAnEndlessTree(t *testing.T) {
	t.Parallel()
	body := "type=express_sub_msg" + strings.Repeat("&data"+strings.Repeat("[]", 60)+"=1", 10_000)
	got := Parse("", []byte(body), at)
	if len(got.Events) != 0 || len(got.Rejected) != 1 ||
		!strings.Contains(got.Rejected[0].Reason, "more fields and brackets") {
		t.Errorf("%d events, %d rejected", len(got.Events), len(got.Rejected))
	}
}

func TestRejectionsBeyondTheLimitAreOneThatHoldsEverything(t *testing.T) {
	t.Parallel()
	const bad = `{"waybill_code":"","x":"` + "1234567890123456789012345678901234567890" + `"},`
	body := `{"type":"express_sub_msg","data":[` + strings.Repeat(bad, maxRejected+4) + `{"no":"last"}]}`
	got := Parse("", []byte(body), at)
	if len(got.Events) != 1 || len(got.Rejected) != maxRejected+1 {
		t.Fatalf("%d events, %d rejected", len(got.Events), len(got.Rejected))
	}
	last := got.Rejected[maxRejected]
	if string(last.Raw) != body || last.Reason != "4 more items like these" {
		t.Errorf("the last rejection is %q, %d bytes", last.Reason, len(last.Raw))
	}
}

// quoteRaw is quote for text that need not be UTF-8.
func quoteRaw(s string) string { return string(appendString(nil, []byte(s))) }

func percentEncode(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}
