package kuaidihelp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// sample is the item of a callback as the provider's query API gives it. It has white space, a number and an escape
// that rewriting would change.
const sample = `{"waybill_code":"777005949070187", "cp_code":"sto","status":"delivering",
  "data":[{"time":"2022-03-24 09:12:31","context":"\u6b63\u5728派件 \/ 1","status":"delivering"},
          {"time":"2022-03-23 20:01:10","context":"已发往","status":"sending"}],
  "order":"desc","no":"777005949070187","brand":"sto","weight":1.50}`

// sampleBrackets is the sample (all strings) as PHP writes it, and flat the JSON that it means.
const (
	sampleBrackets = "data[0][waybill_code]=777005949070187&data[0][cp_code]=sto&data[0][status]=delivering" +
		"&data[0][data][0][time]=2022-03-24+09%3A12%3A31&data[0][data][0][context]=%E6%AD%A3%E5%9C%A8%E6%B4%BE%E4%BB%B6&" +
		"data[0][data][0][status]=delivering" +
		"&data[0][data][1][time]=2022-03-23+20%3A01%3A10&data[0][data][1][context]=%E5%B7%B2%E5%8F%91%E5%BE%80&" +
		"data[0][data][1][status]=sending" +
		"&data[0][order]=desc&data[0][no]=777005949070187&data[0][brand]=sto"
	flat = `{"waybill_code":"777005949070187","cp_code":"sto","status":"delivering",` +
		`"data":[{"time":"2022-03-24 09:12:31","context":"正在派件","status":"delivering"},` +
		`{"time":"2022-03-23 20:01:10","context":"已发往","status":"sending"}],` +
		`"order":"desc","no":"777005949070187","brand":"sto"}`
)

func TestEveryEncodingOfACallbackIsUnderstood(t *testing.T) {
	t.Parallel()
	const (
		jsonType, formType = "application/json; charset=utf-8", "application/x-www-form-urlencoded; charset=UTF-8"
		second             = `{"no":"2"}`
	)
	envelope := func(data string) string { return `{"type":"express_sub_msg","data":` + data + `}` }
	form := func(data string) string { return "type=express_sub_msg&data=" + url.QueryEscape(data) }
	one, two := []string{sample}, []string{sample, second}
	for name, c := range map[string]struct {
		contentType, body string
		want              []string
	}{
		"json array":               {jsonType, envelope("[" + sample + "," + second + "]"), two},
		"json object":              {jsonType, envelope(sample), one},
		"json string of an array":  {jsonType, envelope(quote("[" + sample + "," + second + "]")), two},
		"json string of an object": {jsonType, envelope(quote(sample)), one},
		"json string twice":        {jsonType, envelope(quote(quote("[" + sample + "]"))), one},
		"data before type":         {jsonType, `{"data":[` + sample + `],"type":"express_sub_msg"}`, one},
		"unknown keys around": {jsonType, `{"a":[{"x":"]}"}],"type":"express_sub_msg","b":"\"}","data":[` + sample +
			`],"c":null}`, one},
		"escaped keys and type": {jsonType, `{"t\u0079pe":"express\u005fsub_msg","\u0064ata":[` + sample + `]}`, one},
		"white space everywhere": {jsonType, "\r\n { \"type\" : \"express_sub_msg\" ,\t\"data\" : [ " + sample + " , " +
			second + " ] } \n", two},
		"type with space around":    {jsonType, `{"type":" express_sub_msg\t","data":[` + sample + `]}`, one},
		"a list with a gap":         {jsonType, envelope(`{"0":` + sample + `,"2":` + second + `}`), two},
		"a list out of order":       {jsonType, envelope(`{"10":` + second + `, "9":` + sample + `}`), two},
		"a list with a gap, string": {jsonType, envelope(quote(`{"1":` + sample + `}`)), one},
		"a list with a gap, form":   {formType, form(`{"1":` + sample + `}`), one},
		"json with byte order mark": {jsonType, "\uFEFF" + envelope("["+sample+"]"), one},
		"json without content type": {"", envelope("[" + sample + "]"), one},
		"json as a form":            {formType, envelope("[" + sample + "]"), one},
		"json as plain text":        {"text/plain", envelope("[" + sample + "]"), one},
		"json as multipart":         {"multipart/form-data; boundary=x", envelope("[" + sample + "]"), one},
		"json as a broken type":     {"application/json; charset", envelope("[" + sample + "]"), one},
		"form array":                {formType, form("[" + sample + "," + second + "]"), two},
		"form object":               {formType, form(sample), one},
		"form string of an array":   {formType, form(quote("[" + sample + "," + second + "]")), two},
		"form without content type": {"", form("[" + sample + "]"), one},
		"form as json":              {jsonType, form("[" + sample + "]"), one},
		"form as multipart":         {"multipart/form-data; boundary=x", form("[" + sample + "]"), one},
		"form with byte order mark": {formType, "\uFEFF" + form("["+sample+"]"), one},
		"form with space around":    {formType, "\n" + form(" ["+sample+"] ") + "\r\n", one},
		"form with empty pairs":     {formType, "&&" + form("["+sample+"]") + "&", one},
		"form, not all escaped": {formType, "type=express_sub_msg&data=[{\"no\":\"5\",\"p\":\"100%\"}]",
			[]string{`{"no":"5","p":"100%"}`}},
		"brackets": {formType, "type=express_sub_msg&" + sampleBrackets, []string{flat}},
		"brackets, escaped": {formType, "type=express_sub_msg&" +
			strings.NewReplacer("[", "%5B", "]", "%5d").Replace(sampleBrackets), []string{flat}},
		"brackets without type": {"", sampleBrackets + "&type=express_sub_msg", []string{flat}},
		"brackets, one object": {formType, "type=express_sub_msg&" +
			strings.ReplaceAll(sampleBrackets, "data[0]", "data"), []string{flat}},
		"brackets, two items": {formType, "type=express_sub_msg&" + sampleBrackets + "&data[1][no]=2",
			[]string{flat, second}},
		"brackets, mixed": {formType, "data[1][no]=2&data[0][no]=1&type=express_sub_msg&data[1][x]=y",
			[]string{`{"no":"1"}`, `{"no":"2","x":"y"}`}},
		"brackets with gaps": {formType, "type=express_sub_msg&data[10][no]=10&data[9][no]=9&data[2][no]=2",
			[]string{second, `{"no":"9"}`, `{"no":"10"}`}},
		"brackets without numbers": {formType, "type=express_sub_msg&data[][no]=1&data[][no]=2",
			[]string{`{"no":"1"}`, second}},
		"multipart array": {multipartType,
			multipartBody("type", "express_sub_msg", "data", "["+sample+","+second+"]"), two},
		"multipart object": {multipartType, multipartBody("data", sample, "type", "express_sub_msg"), one},
		"multipart brackets": {multipartType,
			multipartBody("type", "express_sub_msg", "data[0][no]", "1", "data[1][no]", "2"), []string{`{"no":"1"}`, second}},
		"multipart, sloppy parameter": {multipartType + "; charset", multipartBody("type", "express_sub_msg", "data", sample),
			one},
		"no items":                 {jsonType, envelope("[]"), nil},
		"no items, spaced":         {jsonType, envelope("[ \n]"), nil},
		"no items in a form":       {formType, form("[]"), nil},
		"multipart without header": {"", multipartBody("type", "express_sub_msg", "data", sample), one},
		"multipart, wrong boundary": {"multipart/form-data; boundary=other",
			multipartBody("type", "express_sub_msg", "data", sample), one},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Parse(c.contentType, []byte(c.body), at)
			if len(got.Rejected) > 0 || len(got.Events) != len(c.want) {
				t.Fatalf("%d events, rejected %q", len(got.Events), got.Rejected)
			}
			for i, e := range got.Events {
				if string(e.Data) != c.want[i] {
					t.Errorf("item %d is\n%s\nwant\n%s", i, e.Data, c.want[i])
				}
			}
		})
	}
}

func TestKeysThatAreNoListAreAnItem(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`{"0":"a","no":"1"}`, `{"01":{},"no":"1"}`, `{"-1":{},"no":"1"}`,
		`{"no":"1","0":{"no":"2"}}`} {
		if e := only(t, data); e.WaybillCode != "1" {
			t.Errorf("%s: %+v", data, e)
		}
	}
	// Two entries of one number are two items, and keys of ten digits and more are no numbers.
	got := Parse("", []byte(`{"type":"express_sub_msg","data":{"1":{"no":"1"},"1":{"no":"2"}}}`), at)
	if len(got.Events) != 2 {
		t.Errorf("%d events, rejected %q", len(got.Events), got.Rejected)
	}
	got = Parse("", []byte(`{"type":"express_sub_msg","data":{"1234567890":{"no":"1"}}}`), at)
	if len(got.Events) != 0 || len(got.Rejected) != 1 || got.Rejected[0].Reason != "item 0: no waybill code" {
		t.Errorf("%d events, rejected %q", len(got.Events), got.Rejected)
	}
	got = Parse("", []byte("type=express_sub_msg&data[1234567890][no]=1&data[999999999][no]=2"), at)
	if len(got.Events) != 0 || len(got.Rejected) != 1 || got.Rejected[0].Reason != "item 0: no waybill code" {
		t.Errorf("brackets: %d events, rejected %q", len(got.Events), got.Rejected)
	}
}

func TestAnItemBecomesAnEvent(t *testing.T) {
	t.Parallel()
	got := only(t, sample)
	id, err := event.ID("express_sub_msg", "sto", "777005949070187", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	want := &event.Event{
		ID: id, Type: "express_sub_msg", WaybillCode: "777005949070187", CPCode: "sto", Status: "delivering",
		Tracks: []event.Track{
			{Time: "2022-03-24 09:12:31", Context: "正在派件 / 1", Status: "delivering"},
			{Time: "2022-03-23 20:01:10", Context: "已发往", Status: "sending"},
		},
		TrackedAt: time.Date(2022, 3, 24, 9, 12, 31, 0, event.China), Data: []byte(sample), ReceivedAt: at, Item: 1,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAnEventSaysWhichItemOfItsCallbackItWas(t *testing.T) {
	t.Parallel()
	items := `{"no":"1"},{},{"no":"3"},7,{"no":"5"}`
	multipart := "--x\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\nexpress_sub_msg\r\n" +
		"--x\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n[" + items + "]\r\n--x--\r\n"
	for _, x := range []struct {
		contentType, body, form string
		at                      []int
		items                   int
	}{
		{body: `{"type":"express_sub_msg","data":[` + items + `]}`, form: event.FormJSON, at: []int{1, 3, 5}, items: 5},
		{body: "\uFEFF {\"type\":\"express_sub_msg\",\"data\":{\"no\":1}}", form: event.FormJSON, at: []int{1}, items: 1},
		{contentType: "application/json", body: `type=express_sub_msg&data=[` + items + `]`, form: event.FormURLEncoded,
			at: []int{1, 3, 5}, items: 5},
		{body: `type=express_sub_msg&data[0][no]=1&data[7][x]=2&data[9][no]=3`, form: event.FormURLEncoded,
			at: []int{1, 3}, items: 3},
		{contentType: "multipart/form-data; boundary=x", body: multipart, form: event.FormMultipart,
			at: []int{1, 3, 5}, items: 5},
		{body: `{"type":"another","data":[1,2]}`, form: event.FormJSON, at: []int{1}, items: 1},
		{body: `{"type":"express_sub_msg","data":[]}`, form: event.FormJSON},
		{body: `{"type":"express_sub_msg","data":[1`},
	} {
		got := Parse(x.contentType, []byte(x.body), at)
		var where []int
		for _, e := range got.Events {
			where = append(where, e.Item)
		}
		if got.Form != x.form || got.Items != x.items || !slices.Equal(where, x.at) {
			t.Errorf("%s: %s, events at %v of %d, want %s, %v of %d", x.body, got.Form, where, got.Items, x.form, x.at, x.items)
		}
	}
}

func TestAnotherTypeIsOneEventOfTheWholeCallback(t *testing.T) {
	t.Parallel()
	const whole = `{"type":"print_status", "data":{"a":[1.0]},"ts":1}`
	for name, c := range map[string]struct{ contentType, body, want string }{
		"json":      {"application/json", whole, whole},
		"json, bom": {"", "\uFEFF " + whole + "\n", whole},
		"form": {"", "type=print_status&data=%7B%22a%22%3A1%7D&x=%22%5C%0A&empty&list[]=1&list[]=2&o[k]=v",
			`{"type":"print_status","data":"{\"a\":1}","x":"\"\\\u000a","empty":"","list":["1","2"],"o":{"k":"v"}}`},
		"multipart": {multipartType, multipartBody("type", "print_status", "0", "zero"),
			`{"type":"print_status","0":"zero"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Parse(c.contentType, []byte(c.body), at)
			if len(got.Events) != 1 || len(got.Rejected) != 0 {
				t.Fatalf("got %+v", got)
			}
			id, err := event.ID("print_status", "", "", []byte(c.want))
			if err != nil {
				t.Fatal(err)
			}
			want := &event.Event{ID: id, Type: "print_status", Bare: true, Data: []byte(c.want), ReceivedAt: at, Item: 1}
			if !reflect.DeepEqual(got.Events[0], want) {
				t.Errorf("got %+v\n%s", got.Events[0], got.Events[0].Data)
			}
		})
	}
}

func TestAnEventOfManyDoesNotHoldTheWholeBody(t *testing.T) {
	t.Parallel()
	body := []byte(`{"type":"express_sub_msg","data":[{"no":"1"},{"no":"2"},{"bad":3}]}`)
	got := Parse("", body, at)
	for i := range body {
		body[i] = '!'
	}
	if string(got.Events[1].Data) != `{"no":"2"}` || string(got.Rejected[0].Raw) != `{"bad":3}` {
		t.Errorf("data %s, raw %s", got.Events[1].Data, got.Rejected[0].Raw)
	}
}

func TestThreeThousandItemsStayInOrder(t *testing.T) {
	t.Parallel()
	var items []string
	var form strings.Builder
	for i := range 3000 {
		items = append(items, fmt.Sprintf(`{"no":"%d","data":[{"time":"t"}]}`, i))
		fmt.Fprintf(&form, "&data[%d][no]=%d&data[%d][data][0][time]=t", i, i, i)
	}
	for _, body := range []string{
		`{"type":"express_sub_msg","data":[` + strings.Join(items, ",") + `]}`,
		"type=express_sub_msg" + form.String(),
	} {
		got := Parse("", []byte(body), at)
		if len(got.Events) != 3000 || len(got.Rejected) != 0 {
			t.Fatalf("%d events, %d rejected", len(got.Events), len(got.Rejected))
		}
		for i, e := range got.Events {
			if e.WaybillCode != strconv.Itoa(i) || string(e.Data) != items[i] {
				t.Fatalf("event %d is %s", i, e.Data)
			}
		}
	}
}

const multipartType = "multipart/form-data; boundary=frontier"

func multipartBody(fields ...string) string {
	var b strings.Builder
	for i := 0; i < len(fields); i += 2 {
		fmt.Fprintf(&b, "--frontier\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", fields[i], fields[i+1])
	}
	return b.String() + "--frontier--\r\n"
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// only parses a callback with one item, and gives its event.
func only(t *testing.T, item string) *event.Event {
	t.Helper()
	got := Parse("application/json", []byte(`{"type":"express_sub_msg","data":[`+item+`]}`), at)
	if len(got.Events) != 1 || len(got.Rejected) != 0 {
		t.Fatalf("%s: %d events, rejected %q", item, len(got.Events), got.Rejected)
	}
	if !bytes.Equal(got.Events[0].Data, []byte(item)) {
		t.Fatalf("data %s, want %s", got.Events[0].Data, item)
	}
	return got.Events[0]
}
