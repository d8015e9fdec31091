package kuaidihelp

import (
	"reflect"
	"strings"
	"testing"

	"kuairelay/relay/event"
)

func TestTheWaybillCodeIsTheFirstThatSaysSomething(t *testing.T) {
	t.Parallel()
	for item, want := range map[string]string{
		`{"waybill_code":"1","no":"2","waybill_no":"3"}`:             "1",
		`{"waybill_no":"3","no":"2","waybill_code":"1"}`:             "1",
		`{"waybill_no":"3","no":"2"}`:                                "2",
		`{"waybill_no":"3"}`:                                         "3",
		`{"waybill_code":"","no":" \t","waybill_no":"3"}`:            "3",
		`{"waybill_code":null,"no":{"a":1},"waybill_no":"3"}`:        "3",
		`{"waybill_code":true,"no":["9"],"waybill_no":"3"}`:          "3",
		`{"waybill_code":" YT1 "}`:                                   "YT1",
		`{"waybill_code":"\u3000YT1\n"}`:                             "YT1",
		`{"waybill_code":777005949070187}`:                           "777005949070187",
		`{"no":12345678901234567890123}`:                             "12345678901234567890123",
		`{"waybill_code":0,"no":"2"}`:                                "0",
		`{"waybill_code":"00123"}`:                                   "00123",
		`{"w\u0061ybill_code":"\u0031\/2"}`:                          "1/2",
		`{"waybill_code":"` + strings.Repeat("9", 64) + `"}`:         strings.Repeat("9", 64),
		`{"waybill_code":"  ` + strings.Repeat("9", 64) + `  "}`:     strings.Repeat("9", 64),
		`{"data":[{"waybill_code":"8"}],"x":{"no":"9"},"no":"7"}`:    "7",
		`{"waybill_code":"单号1"}`:                                     "单号1",
		`{"a":"\"no\":\"1\"","b":"{[","no":"2","c":"\\","d":"\\\""}`: "2",
	} {
		if e := only(t, item); e.WaybillCode != want {
			t.Errorf("%s: waybill %q, want %q", item, e.WaybillCode, want)
		}
	}
}

func TestTheBrandIsCanonicalWhateverItsFieldIsCalled(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]string{
		`"cp_code":"sto"`: "sto",
		`"cp_code":"zt","brand":"sto","exp_company_code":"yd"`: "zt",
		`"exp_company_code":"yd","brand":"sto"`:                "sto",
		`"exp_company_code":"yd"`:                              "yd",
		`"cp_code":"","brand":" ","exp_company_code":"jt"`:     "jt",
		`"cp_code":null,"brand":7,"exp_company_code":"jt"`:     "jt",
		`"cp_code":"yt"`:             "ytsd",
		`"brand":" DP "`:             "dbkd",
		`"brand":"sf"`:               "sf",
		`"brand":" SF "`:             " SF ",
		`"x":1`:                      "",
		`"cp_code":{"cp_code":"zt"}`: "",
	} {
		e := only(t, `{"no":"1",`+fields+`}`)
		if e.CPCode != want {
			t.Errorf("%s: brand %q, want %q", fields, e.CPCode, want)
		}
		if id, _ := event.ID(event.TypeWaybill, want, "1", e.Data); e.ID != id {
			t.Errorf("%s: id %s, want %s", fields, e.ID, id)
		}
	}
}

func TestBrandGivesOneCodeForEachBrand(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"ytsd": "ytsd", "yt": "ytsd", "YT": "ytsd", "dbkd": "dbkd", "dp": "dbkd", "dpkd": "dbkd", " DpKd\n": "dbkd",
		"sto": "sto", "zt": "zt", "jt": "jt", "yd": "yd", " ZT": "zt",
		"": "", "sf": "sf", "SF ": "SF ", "ytx": "ytx", "sto,zt": "sto,zt",
	} {
		if got := Brand(code); got != want {
			t.Errorf("Brand(%q) = %q, want %q", code, got, want)
		}
	}
	for _, code := range Brands() {
		if Brand(code) != code {
			t.Errorf("Brands lists %q, which is not canonical", code)
		}
	}
}

func TestTheStatusIsAnOpenSet(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]string{
		`"status":"collected"`: "collected", `"status":"sending"`: "sending", `"status":"delivering"`: "delivering",
		`"status":"allograph"`: "allograph", `"status":"allorgraph"`: "allograph", `"status":"signed"`: "signed",
		`"status":"question"`: "question",
		`"status":"returned"`: "returned", `"status":"退回"`: "退回", `"status":"sign\u0065d"`: "signed", `"status":""`: "",
		`"status":"SIGNED"`: "signed", `"status":" Signed\n"`: "signed", `"status":" AllorGraph"`: "allograph",
		`"status":"Returned"`: "returned",
		`"status":3`:          "3", `"status":"3"`: "3", `"status":" "`: "",
		`"status":"` + strings.Repeat("s", 64) + `"`: strings.Repeat("s", 64),
		`"status":"` + strings.Repeat("s", 65) + `"`: "", `"status":"a\u0000b"`: "",
		`"status":null`: "", `"status":{"a":"signed"}`: "", `"status":["signed"]`: "", `"x":1`: "",
	} {
		if e := only(t, `{"no":"1",`+field+`}`); e.Status != want {
			t.Errorf("%s: status %q, want %q", field, e.Status, want)
		}
	}
}

func TestTracksAreReadAsFarAsTheyCanBe(t *testing.T) {
	t.Parallel()
	type tracks = []event.Track
	for data, c := range map[string]struct {
		want tracks
		bare bool
	}{
		`[{"time":"t","context":"c","status":"s"}]`: {tracks{{Time: "t", Context: "c", Status: "s"}},
			false},
		`[{"context":"c"},{"x":{"time":"9"},"time":"t"}]`:     {tracks{{Context: "c"}, {Time: "t"}}, false},
		`[{"time":" "},{"time":""},{}]`:                       {tracks{{Time: " "}, {}, {}}, true},
		`[{"time":1648084351,"context":null,"status":false}]`: {tracks{{Time: "1648084351"}}, false},
		`[ { "time" : "\u4e0a\u5348 9:00" , "status" : "allorgraph"}]`: {tracks{{Time: "上午 9:00", Status: "allorgraph"}},
			false},
		`"[{\"time\":\"t\"}]"`:                {tracks{{Time: "t"}}, false},
		`[{"context":"派件"}]`:                  {tracks{{Context: "派件"}}, true},
		`[]`:                                  {nil, true},
		`null`:                                {nil, true},
		`"text"`:                              {nil, true},
		`"[{\"time\":"`:                       {nil, true},
		`7`:                                   {nil, true},
		`{"time":"t"}`:                        {nil, true},
		`{"2":{"time":"b"},"0":{"time":"a"}}`: {tracks{{Time: "a"}, {Time: "b"}}, false},
		`"{\"3\":{\"time\":\"a\"}}"`:          {tracks{{Time: "a"}}, false},
		`{"0":{"time":"a"},"x":{"time":"b"}}`: {nil, true},
		`{"0":{"time":"a"},"1":"b"}`:          {nil, true},
		`{}`:                                  {nil, true},
		`[{"time":"t"},"x"]`:                  {nil, true},
		`["x",{"time":"t"}]`:                  {nil, true},
		`[[{"time":"t"}]]`:                    {nil, true},
		`[null]`:                              {nil, true},
		`"{\"time\":\"t\"}"`:                  {nil, true},
		`"[{\"time\":\"t\"]"`:                 {nil, true},
	} {
		e := only(t, `{"no":"1","data":`+data+`}`)
		if !reflect.DeepEqual(e.Tracks, c.want) || e.Bare != c.bare {
			t.Errorf("%s: tracks %#v, bare %v", data, e.Tracks, e.Bare)
		}
	}
	many := strings.Repeat(`{"time":"2026-01-01 00:00:00"},`, maxTracks)
	if e := only(t, `{"no":"1","data":[`+many+`{"time":"last"}]}`); len(e.Tracks) != maxTracks {
		t.Errorf("%d tracks", len(e.Tracks))
	}
	if e := only(t, `{"no":"1","data":[`+many+`7]}`); e.Tracks != nil {
		t.Errorf("%d tracks of a list that is none", len(e.Tracks))
	}
	form := Parse("", []byte("type=express_sub_msg&data[0][no]=1&data[0][data][2][time]=b&data[0][data][0][time]=a"), at)
	if len(form.Events) != 1 || !reflect.DeepEqual(form.Events[0].Tracks, tracks{{Time: "a"}, {Time: "b"}}) {
		t.Errorf("brackets with a gap: %+v", form)
	}
	if e := only(t, `{"no":"1"}`); e.Tracks != nil || !e.Bare {
		t.Errorf("an item without data: tracks %#v, bare %v", e.Tracks, e.Bare)
	}
}

func TestBracketsMakeTheItemThatPHPMeant(t *testing.T) {
	t.Parallel()
	for form, want := range map[string]string{
		"data[0][no]=1&data[0][b]=2&data[0][a]=3":                    `{"no":"1","b":"2","a":"3"}`,
		"data[0][no]=1&data[0][l][]=x&data[0][l][]=y":                `{"no":"1","l":["x","y"]}`,
		"data[0][no]=1&data[0][l][1]=y&data[0][l][0]=x":              `{"no":"1","l":["x","y"]}`,
		"data[0][no]=1&data[0][l][0]=x&data[0][l][2]=y":              `{"no":"1","l":{"0":"x","2":"y"}}`,
		"data[0][no]=1&data[0][l][1]=x":                              `{"no":"1","l":{"1":"x"}}`,
		"data[0][no]=1&data[0][l][00]=x":                             `{"no":"1","l":{"00":"x"}}`,
		"data[0][no]=1&data[0][l][0]=x&data[0][l][k]=y":              `{"no":"1","l":{"0":"x","k":"y"}}`,
		"data[0][no]=1&data[0][l][5]=x&data[0][l][]=y":               `{"no":"1","l":{"5":"x","6":"y"}}`,
		"data[0][no]=1&data[0][e]=":                                  `{"no":"1","e":""}`,
		"data[0][no]=1&data[0][e]":                                   `{"no":"1","e":""}`,
		"data[0][no]=1&data[0][q]=a%22b%5Cc%01%0A/<&data[0][%22]=x":  `{"no":"1","q":"a\"b\\c\u0001\u000a/<","\"":"x"}`,
		"data[0][no]=1&data[0][n][a][b][0][c]=d":                     `{"no":"1","n":{"a":{"b":[{"c":"d"}]}}}`,
		"data[0][no]=1&data[0][n][a]=1&data[0][x]=2&data[0][n][b]=3": `{"no":"1","n":{"a":"1","b":"3"},"x":"2"}`,
		"data[no]=1&data[0]=zero":                                    `{"no":"1","0":"zero"}`,
		"data[0][no]=1&data[0][p]=100%&data[0][r]=%zz%4":             `{"no":"1","p":"100%","r":"%zz%4"}`,
		"other[x=1&data[0][no]=1&[y]=2":                              `{"no":"1"}`,
	} {
		got := Parse("", []byte("type=express_sub_msg&"+form), at)
		if len(got.Events) != 1 || len(got.Rejected) != 0 {
			t.Errorf("%s: %d events, rejected %q", form, len(got.Events), got.Rejected)
			continue
		}
		if e := got.Events[0]; string(e.Data) != want || e.WaybillCode != "1" {
			t.Errorf("%s: waybill %s, data\n%s, want\n%s", form, e.WaybillCode, e.Data, want)
		}
	}
}

// An item may have more tracks than any parcel has. Memory is allocated only for those that are kept.
func TestTracksTakeNoMoreMemoryThanTheyAre(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{3: 3, 40: 40, maxTracks: maxTracks, 3 * maxTracks: maxTracks} {
		list := "[" + strings.Repeat(`{"time":"2026-11-23 09:12:31","context":"x"},`, n-1) + `{"context":"y"}]`
		if tracks := readTracks([]byte(list)); len(tracks) != want || cap(tracks) != want {
			t.Errorf("%d: %d tracks with room for %d", n, len(tracks), cap(tracks))
		}
	}
}
