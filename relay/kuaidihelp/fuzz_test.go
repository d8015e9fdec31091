package kuaidihelp

import (
	"bytes"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"kuairelay/relay/event"
)

func FuzzParse(f *testing.F) {
	add := func(contentType, body string) { f.Add(contentType, []byte(body)) }
	for _, data := range []string{
		"[" + sample + `,{"no":2}]`, sample, quote("[" + sample + "]"), quote(sample), "[]", "7",
		`[{"no":"1","no":"2"},{"no":"1\ud83d"},1,{"no":"3"}]`,
	} {
		add("application/json", `{"type":"express_sub_msg","data":`+data+`}`)
		add("application/x-www-form-urlencoded", "type=express_sub_msg&data="+url.QueryEscape(data))
		add(multipartType, multipartBody("type", "express_sub_msg", "data", data))
	}
	add("", "{")
	add("", " { ")
	add("", `{"type":"express_sub_msg","data":[{`)
	add("", `{"type":" express_sub_msg ","data":{"2":`+sample+`,"0":{"no":"1"}}}`)
	add("", "\uFEFF{\"type\":\"print\",\"x\":[1.0,\"\\u00e9\"]}")
	add("", "type=express_sub_msg&"+sampleBrackets+"&data[1][no]=2&data[1][l][]=%FF")
	add("", "type=express_sub_msg&"+strings.ReplaceAll(sampleBrackets, "data[0]", "data"))
	add("", "type=print&a[b][]=%22&a[b][]=2&c")
	add("", "{\"type\":\"express_sub_msg\",\"data\":[{\"no\":\"1\"},{\"no\":\"\xff\"}]}")

	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		before := bytes.Clone(body)
		got := Parse(contentType, body, at)
		if !bytes.Equal(before, body) {
			t.Fatal("Parse writes to the body")
		}
		if again := Parse(contentType, body, at); !reflect.DeepEqual(got, again) {
			t.Fatalf("two results:\n%+v\n%+v", got, again)
		}
		bound := len(body)
		if kindOf(trim(bytes.TrimPrefix(trim(body), []byte("\uFEFF")))) != object {
			bound = 6*len(body) + 2 // a control character in a form becomes an escape of six bytes
		}
		for _, e := range got.Events {
			checkEvent(t, e, bound)
		}
		for _, r := range got.Rejected {
			if len(r.Raw) > max(bound, len(body)) {
				t.Errorf("raw of %d bytes", len(r.Raw))
			}
			if r.Reason == "" || len(r.Reason) > 600 || strings.ContainsFunc(r.Reason, unicode.IsControl) ||
				!utf8.ValidString(r.Reason) {
				t.Errorf("reason %q", r.Reason)
			}
		}
		checkCount(t, body, got)
	})
}

func checkEvent(t *testing.T, e *event.Event, bound int) {
	t.Helper()
	if len(e.Data) > bound || !json.Valid(e.Data) || !utf8.Valid(e.Data) {
		t.Errorf("data %q, at most %d bytes", e.Data, bound)
	}
	if id, err := event.ID(e.Type, e.CPCode, e.WaybillCode, e.Data); err != nil || id != e.ID {
		t.Errorf("id %s, want %s, %v", e.ID, id, err)
	}
	if e.Type == "" || (e.Type == event.TypeWaybill) != (e.WaybillCode != "") || !isCode([]byte(e.Type)) ||
		!isCode([]byte(e.WaybillCode)) {
		t.Errorf("type %q, waybill %q", e.Type, e.WaybillCode)
	}
	if e.ReceivedAt != at || e.Bare == hasTime(e.Tracks) || Brand(e.CPCode) != e.CPCode || Status(e.Status) != e.Status {
		t.Errorf("event %+v", e)
	}
}

// checkCount checks that every item of a callback became one event or one rejection, if encoding/json understands the
// callback.
func checkCount(t *testing.T, body []byte, got Result) {
	t.Helper()
	var callback map[string]json.RawMessage
	var typ string
	var items []json.RawMessage
	if json.Unmarshal(body, &callback) != nil || json.Unmarshal(callback["type"], &typ) != nil ||
		typ != event.TypeWaybill {
		return
	}
	if json.Unmarshal(callback["data"], &items) != nil || items == nil || len(items) > maxRejected {
		return
	}
	if len(got.Events) == 0 && len(got.Rejected) == 1 && bytes.Equal(got.Rejected[0].Raw, body) {
		return // a key twice: encoding/json accepts it
	}
	if len(got.Events)+len(got.Rejected) != len(items) {
		t.Errorf("%d items, %d events, %d rejected", len(items), len(got.Events), len(got.Rejected))
	}
}

// FuzzUnquote compares unquote with encoding/json.
func FuzzUnquote(f *testing.F) {
	for _, seed := range []string{`"a\"b\\\/\b\f\n\r\t\u00e9\ud83d\ude9a"`, `"\ud83d"`, `"\x"`, `"a`, `"a"b"`, `a`,
		`"\u12"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		text, ok := unquote(raw)
		var want string
		if kindOf(raw) != str || json.Unmarshal(raw, &want) != nil || raw[len(raw)-1] != '"' {
			return // unquote may be more lenient, as with raw control characters
		}
		if !ok {
			t.Fatalf("%q is a string", raw)
		}
		if utf8.Valid(text) && string(text) != want {
			t.Fatalf("%q is %q, want %q", raw, text, want)
		}
		if !utf8.Valid(text) && !strings.ContainsRune(want, utf8.RuneError) {
			t.Fatalf("%q is %q, not Unicode", raw, text)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	track := `{"time":"2022-03-24 09:12:31","context":"【上海市】快件正在派件,请准备签收","status":"delivering"}`
	item := `{"waybill_code":"777005949070187","cp_code":"sto","status":"delivering","data":[` +
		strings.Repeat(track+",", 6) + track + `],"order":"desc","no":"777005949070187","brand":"sto"}`
	const head = `{"type":"express_sub_msg","data":[`
	brackets := strings.ReplaceAll("type=express_sub_msg&"+sampleBrackets, "[", "%5B")
	for _, c := range []struct{ name, contentType, body string }{
		{"json 1KB", "application/json", head + item + "]}"},
		{"json 1KB twice", "application/json", head + item + "," + item + "]}"},
		{"json 3000 items", "application/json", head + strings.Repeat(item+",", 2999) + item + "]}"},
		{"json string", "application/json", `{"type":"express_sub_msg","data":` + quote("["+item+"]") + "}"},
		{"form", "application/x-www-form-urlencoded", "type=express_sub_msg&data=" + url.QueryEscape("["+item+"]")},
		{"brackets", "application/x-www-form-urlencoded", brackets},
		{"multipart", multipartType, multipartBody("type", "express_sub_msg", "data", "["+item+"]")},
	} {
		b.Run(c.name, func(b *testing.B) {
			body := []byte(c.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if got := Parse(c.contentType, body, at); len(got.Events) == 0 || len(got.Rejected) > 0 {
					b.Fatal(got)
				}
			}
		})
	}
}
