package kuaidihelp

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// worstBodies are bodies of about this many bytes, made to take much memory.
func worstBodies(size int) map[string]struct{ contentType, body string } {
	const (
		head      = `{"type":"express_sub_msg","data":`
		form      = "type=express_sub_msg&"
		multipart = "multipart/form-data; boundary=b"
	)
	repeat := func(head, unit, tail string) string {
		return head + strings.Repeat(unit, (size-len(head)-len(tail))/len(unit)) + tail
	}
	count := func(head, format, tail string) string {
		var b strings.Builder
		b.WriteString(head)
		for n := 0; b.Len() < size; n++ {
			fmt.Fprintf(&b, format, n)
		}
		return b.String() + tail
	}
	nested := repeat("[", `{"no":1},`, `{"no":1}]`)
	for range maxUnwraps {
		nested = quote(nested)
	}
	return map[string]struct{ contentType, body string }{
		"one plain item":         {"", repeat(head+`[{"no":"1","x":"`, "a", `"}]}`)},
		"escapes":                {"", repeat(head+`[{"no":"1","x":"`, `\u0000`, `"}]}`)},
		"items of a number":      {"", repeat(head+"[", `{"no":1},`, `{"no":1}]}`)},
		"items of a text":        {"", repeat(head+"[", `{"no":"12"},`, `{"no":1}]}`)},
		"empty items":            {"", repeat(head+"[", `{},`, `{}]}`)},
		"items with a key twice": {"", repeat(head+"[", `{"a":1,"a":1},`, `{}]}`)},
		"numbers for items":      {"", repeat(head+"[", `1,`, `1]}`)},
		"items in a string":      {"", head + nested + "}"},
		"numbered items":         {"", count(head+"{", `"%d":{},`, `"0":{}}}`)},
		"the same number":        {"", repeat(head+"{", `"1":1,`, `"1":1}}`)},
		"empty tracks":           {"", repeat(head+`[{"no":"1","data":[`, `{},`, `{}]}]}`)},
		"tracks":                 {"", repeat(head+`[{"no":"1","data":[`, `{"time":"12","context":"ab"},`, `{}]}]}`)},
		"items of many tracks": {"", repeat(head+"[", `{"no":"1","data":[`+strings.Repeat("{},", maxTracks)+`{}]},`,
			"1]}")},
		"tracks without a time": {"", repeat(head+"[", `{"no":"1","data":[`+
			strings.Repeat(`{"time":"2026-13-01 1"},`, maxTracks)+`{}]},`, "1]}")},
		"numbered tracks":    {"", count(head+`[{"no":"1","data":{`, `"%d":{},`, `"0":{}}}]}`)},
		"tracks in a string": {"", repeat(head+`[{"no":"1","data":"[`, `{},`, `{}]"}]}`)},
		"braces in a track": {"", repeat(head+"[", `{"no":"1","data":[{"time":"`+strings.Repeat("{", maxTracks)+
			`"}]},`, "1]}")},
		"members of an item":       {"", count(head+`[{"no":"1"`, `,"%d":1`, `}]}`)},
		"members of many items":    {"", repeat(head+"[", count2(`{"no":"1"`, 200)+"},", "1]}")},
		"members of the callback":  {"", count(`{"type":"x"`, `,"%d":1`, `}`)},
		"members of another type":  {"", count(`{"type":"x","y":{"no":"1"`, `,"%d":1`, `}}`)},
		"list of another type":     {"", repeat(`{"type":"x","data":[`, `1,`, `1]}`)},
		"deep":                     {"", repeat(head, `{"data":`, "")},
		"fields":                   {"", repeat(form, "a&", "")},
		"fields, counted":          {"", count(form, "%d&", "")},
		"fields of another type":   {"", count("type=x", "&%07d", "")},
		"pairs of brackets":        {"", repeat(form, "data[][]=1&", "")},
		"items in brackets":        {"", repeat(form, "data[][no]=1&", "")},
		"real fields":              {"", count(form, "data%%5B%[1]d%%5D%%5Bno%%5D=%[1]d&", "")},
		"huge indices":             {"", count(form, "data[9%08d]=1&", "")},
		"indices beyond numbers":   {"", count(form, "data[9%018d]=1&", "")},
		"deep names":               {"", repeat(form, "a[b][c][d][e][f][g][h][i][j][k][l][m]&", "")},
		"deep names of an item":    {"", count(form, "data[0]"+strings.Repeat("[%[1]d]", 20)+"=1&", "")},
		"control characters":       {"", repeat(form+"data[no]=1&data[x]=", "\x01", "")},
		"control characters apart": {"", repeat(form+"data[no]=1", "&data[][x]=\x01\x01\x01\x01\x01\x01", "")},
		"control characters, type": {"", repeat("type=x&y=", "\x01", "")},
		"percent":                  {"", repeat(form+"data=", "%5b", "")},
		"parts":                    {multipart, repeat("", "--b\r\n\r\n\r\n", "--b--")},
		"parts with a name":        {multipart, repeat("", "--b\nContent-Disposition:form-data;name=\n\n\n", "--b--")},
		"parts in brackets": {multipart,
			repeat("", "--b\nContent-Disposition:form-data;name=data[][no]\n\n1\n", "--b--")},
		"quoted-printable parts": {multipart, repeat("", "--b\nContent-Transfer-Encoding:quoted-printable\n\n\n", "--b--")},
		"headers of a part":      {multipart, repeat("--b\r\n", "a:\r\n", "\r\n--b--")},
		"a boundary":             {"", repeat("--", "b", "")},
	}
}

// count2 has so many members.
func count2(head string, n int) string {
	for i := range n {
		head += `,"` + strconv.Itoa(i) + `":1`
	}
	return head
}

func TestParsingAllocatesAtMostTenTimesTheBody(t *testing.T) {
	times, sizes := 10, []int{1 << 20, 100 << 10, 10 << 10}
	if racing { // pools then keep less, and libraries allocate more often
		times, sizes = 16, sizes[:1]
	}
	for _, size := range sizes {
		for name, c := range worstBodies(size) {
			body := []byte(c.body)
			most := times*len(body) + 2<<20
			got := allocate(c.contentType, body)
			if got.part > most {
				t.Errorf("%s, %d bytes: %d bytes allocated, %.1f times the body", name, len(body), got.part,
					float64(got.part)/float64(len(body)))
			}
			if got.waybills > most {
				t.Errorf("%s, %d bytes: %d bytes allocated for waybills", name, len(body), got.waybills)
			}
			t.Logf("%-26s %8d bytes: at most %5.1f times that in each of %d parts, %d events; waybills %.1f",
				name, len(body), float64(got.part)/float64(len(body)), got.parts, got.events,
				float64(got.waybills)/float64(len(body)))
		}
	}
}

// allocations are the bytes that reading a callback allocates: for its largest part, and for its waybills.
type allocations struct {
	part, waybills, parts, events int
}

func allocate(contentType string, body []byte) (got allocations) {
	last := allocatedSoFar()
	for part := range ParseParts(contentType, body, at, Limit{Items: 500, Bytes: 1 << 20}) {
		got.part = max(got.part, allocatedSoFar()-last)
		got.parts++
		got.events += len(part.Events)
		last = allocatedSoFar()
	}

	last = allocatedSoFar()
	for range Waybills(contentType, body) {
		continue
	}
	got.waybills = allocatedSoFar() - last
	return got
}

// allocatedSoFar gives how many bytes the process has ever allocated. A test that asks must not be parallel.
func allocatedSoFar() int {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.TotalAlloc)
}
