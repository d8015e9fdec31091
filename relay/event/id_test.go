package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// worked has keys out of order, keys that only UTF-16 would order otherwise, escapes of every kind, and numbers of
// every kind.
const worked = `{ "z" : 1, "a":{"\u00e9":"x","b":[true,false,null,1.0,-0.5]}, "waybill_code":777005949070187, ` +
	`"context":"\u6b63\u5728\u6d3e\u4ef6 \/ \"\\ \u007f\u2028\u000b\b\n\ud83d\ude9a <&>" , "\uffee":1, "\ud83d\ude9a":2}`

// TestIDIsWhatPythonComputes holds ID to a hash that was computed without it, `worked` being in the file item.json:
//
//	python3 -c 'import json,hashlib; v=["express_sub_msg","sto","777005949070187",json.load(open("item.json"))]
//	text=json.dumps(v,sort_keys=True,separators=(",",":"),ensure_ascii=False)
//	print("evt_"+hashlib.sha256(text.encode()).hexdigest())'
func TestIDIsWhatPythonComputes(t *testing.T) {
	t.Parallel()
	const want = "evt_f08c8bdbdf25db14be470da72eada0646719d12c14cb18d68d884ca327a58fd1"
	if got := mustID(t, worked); got != want {
		t.Errorf("ID = %s, want %s", got, want)
	}
}

func TestIDIgnoresKeyOrderWhiteSpaceAndEscapes(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{`{"a":1,"b":2}`, `{"b":2,"a":1}`, " {\t\"a\" :\r\n1 , \"b\":2 }\n"},
		{`{"a":{"y":[{"c":1,"b":2}],"x":0}}`, `{"a":{"x":0,"y":[{"b":2,"c":1}]}}`},
		{`{"k":"派件"}`, `{"k":"\u6d3e\u4EF6"}`, `{"\u006b":"派\u4ef6"}`},
		{`{"k":"/\b\t\n\f\r\"\\"}`, `{"k":"\/\u0008\u0009\u000a\u000c\u000D\u0022\u005c"}`},
		{`{"k":"🚚"}`, `{"k":"\ud83d\ude9a"}`, `{"k":"\uD83D\uDE9A"}`},
		{`{"k":"\u001f"}`, `{"k":"\u001F"}`},
		{`{"a\"b":1,"a!b":2}`, `{"a!b":2,"a\u0022b":1}`},
		{`{}`, ` { } `},
		{`[]`, "[\n]"},
		{`{"":{},"a":[]}`, `{"a":[ ],"":{ }}`},
	} {
		for _, item := range same[1:] {
			if mustID(t, item) != mustID(t, same[0]) {
				t.Errorf("%s and %s have different ids", same[0], item)
			}
		}
	}
}

func TestIDTellsEveryChangeOfContent(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, item := range []string{
		`1`, `1.0`, `1e0`, `1E0`, `10e-1`, `-1`, `0`, `-0`, `"1"`, `"1.0"`, `777005949070187`, `777005949070187.0`,
		`777005949070187000000000000001`, `777005949070187000000000000002`,
		`true`, `false`, `null`, `"true"`, `"null"`, `""`, `" "`, `"é"`, `"e\u0301"`, `"\\u00e9"`, `"a"`, `"A"`,
		`{}`, `[]`, `[[]]`, `[{}]`, `{"a":1}`, `{"a":"1"}`, `{"A":1}`, `{"a":null}`, `{"a":[1]}`, `{"a":{"b":1}}`,
		`{"a":1,"b":1}`,
		`{"b":1}`, `{"a":1,"b":2}`, `{"a":2,"b":1}`, `[1,2]`, `[2,1]`, `[1,2,2]`, `[12]`, `["1,2"]`, `["1","2"]`,
		`["1\",\"2"]`,
	} {
		id := mustID(t, item)
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s have the same id", item, other)
		}
		seen[id] = item
	}
}

func TestIDCoversTypeBrandAndWaybill(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, a := range [][3]string{
		{"t", "b", "w"}, {"u", "b", "w"}, {"t", "c", "w"}, {"t", "b", "x"}, {"t", "b", ""}, {"t", "", "b"},
		{`t","b`, "", "w"}, {"t", `b","`, "w"},
	} {
		id, err := ID(a[0], a[1], a[2], []byte(`{}`))
		if err != nil || seen[id] {
			t.Errorf("ID(%q) = %s, %v: not an id of its own", a, id, err)
		}
		seen[id] = true
	}
	if _, err := ID("t", "b\xff", "w", []byte(`{}`)); err == nil {
		t.Error("a brand that is not UTF-8 has an id")
	}
}

func TestIDRefusesWhatHasSeveralReadings(t *testing.T) {
	t.Parallel()
	const syntax, twice, utf, half, deep = "invalid JSON", "duplicate key", "invalid UTF-8", "surrogate", "levels"
	for item, want := range map[string]string{
		``: syntax, ` `: syntax, `{`: syntax, `{"a":1`: syntax, `{"a":1}}`: syntax, `{"a":1} {}`: syntax, `{"a":1,}`: syntax,
		`[1,]`: syntax, `[,1]`: syntax,
		`{'a':1}`: syntax, `{a:1}`: syntax, `{"a":01}`: syntax, `{"a":+1}`: syntax, `{"a":.5}`: syntax, `{"a":NaN}`: syntax,
		`{"a":tru}`: syntax,
		`{1:2}`:     syntax, "{\"a\":\"\n\"}": syntax, `{"a":"\x"}`: syntax, `{"a":"\u12g4"}`: syntax, `{"a":"x}`: syntax,
		"\uFEFF{}":        syntax,
		`{"no":1,"no":1}`: twice, `{"a":{"no":1,"b":2,"no":3}}`: twice, `{"no":1,"n\u006f":1}`: twice, `[{"":1,"":2}]`: twice,
		"{\"a\":\"\xff\"}": utf, "{\"\xc0\xaf\":1}": utf, "{\"a\":\"\xed\xa0\x80\"}": utf,
		`{"a":"\ud83d"}`: half, `{"a":"\ude9a\ud83d"}`: half, `{"\ud83dx":1}`: half, `{"a":"\ud83d\u0041"}`: half,
		nested(65): deep, `{"a":` + nested(64) + `}`: deep, strings.Repeat("[", 5<<20): deep,
		strings.Repeat(`{"a":`, 1<<20): deep,
	} {
		id, err := ID("t", "b", "w", []byte(item))
		if err == nil || !strings.Contains(err.Error(), want) || id != "" {
			t.Errorf("ID of %.40q = %q, %v; want an error with %q", item, id, err, want)
		}
	}
	mustID(t, nested(64))
}

func TestErrorsOfIDQuoteNothingButKeys(t *testing.T) {
	t.Parallel()
	for _, item := range []string{`{"a":"13800000000","b":13800000000x}`, `{"a":"13800000000\x"}`,
		"{\"a\":\"13800000000\xff\"}", `{"a":13800000000,"a":13800000000}`} {
		if _, err := ID("t", "b", "w", []byte(item)); err == nil || strings.Contains(err.Error(), "138") {
			t.Errorf("ID of %q: %v", item, err)
		}
	}
	_, err := ID("t", "b", "w", []byte(`{"`+strings.Repeat("k", 1000)+`":1,"`+strings.Repeat("k", 1000)+`":1}`))
	if err == nil || len(err.Error()) > 200 {
		t.Errorf("the error of a long key is not cut: %v", err)
	}
}

func TestIDIsTheSameFromManyGoroutinesAndAfterFailures(t *testing.T) {
	t.Parallel()
	want := mustID(t, worked)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				_, _ = ID("t", "b", "w", []byte(`{"z":{"y":{"x":"\u1234`))
				if id, err := ID("express_sub_msg", "sto", "777005949070187", []byte(worked)); id != want || err != nil {
					t.Errorf("ID = %s, %v; want %s", id, err, want)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzID compares ID with an oracle that works on decoded values, and asks that encoding/json's rewriting changes no
// id.
func FuzzID(f *testing.F) {
	for _, seed := range []string{worked, nested(64), nested(65), `{"b":1,"a":{"d":"\u00e9\/","c":[1e0,{}]}}`,
		`{"a":1,"\u0061":2}`, `"\ud83d"`, "\"\xff\"", `{"a":`, `[1,2] 3`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, item []byte) {
		before := bytes.Clone(item)
		id, err := ID("t", "b", "w", item)
		if !bytes.Equal(item, before) {
			t.Fatal("ID writes to the item")
		}
		v, decodeErr := decode(item)
		if err != nil {
			if id != "" {
				t.Fatalf("id %s with error %v", id, err)
			}
			return
		}
		if decodeErr != nil || !utf8.Valid(item) {
			t.Fatalf("%q has an id, but is no JSON: %v", item, decodeErr)
		}
		sum := sha256.Sum256([]byte(`["t","b","w",` + oracle(v) + `]`))
		if want := "evt_" + hex.EncodeToString(sum[:]); id != want {
			t.Fatalf("ID of %q = %s, want %s", item, id, want)
		}
		rewritten, err := json.MarshalIndent(v, " ", "\t") // sorts keys, escapes < > & U+2028
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ID("t", "b", "w", rewritten); again != id || err != nil {
			t.Fatalf("%q and %q: %s and %s, %v", item, rewritten, id, again, err)
		}
		backwards := reversed(v)
		if again, err := ID("t", "b", "w", []byte(backwards)); again != id || err != nil {
			t.Fatalf("%q and %q: %s and %s, %v", item, backwards, id, again, err)
		}
	})
}

func BenchmarkID(b *testing.B) {
	track := `{"time":"2022-03-24 09:12:31","context":"【上海市】快件正在派件,请准备签收","status":"delivering"}`
	item := []byte(`{"waybill_code":"777005949070187","cp_code":"sto","status":"delivering","data":[` +
		strings.Repeat(track+",", 6) + track + `],"order":"desc","no":"777005949070187","brand":"sto"}`)
	escaped := strings.ReplaceAll(strconv.QuoteToASCII(string(item)), `\"`, `"`) // as PHP's json_encode writes it
	for name, item := range map[string][]byte{"1KB": item, "1KB as PHP escapes it": []byte(escaped[1 : len(escaped)-1])} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(item)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ID("express_sub_msg", "sto", "777005949070187", item); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func mustID(t *testing.T, item string) string {
	t.Helper()
	id, err := ID("express_sub_msg", "sto", "777005949070187", []byte(item))
	if err != nil {
		t.Fatalf("ID of %.60q: %v", item, err)
	}
	return id
}

func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

func decode(item []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(item))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return v, nil
}

// oracle writes the canonical form of ID's doc comment, as plainly as can be.
func oracle(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, oracle(key)+":"+oracle(v[key]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, oracle(e))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case string:
		pairs := []string{`"`, `\"`, `\`, `\\`, "\b", `\b`, "\t", `\t`, "\n", `\n`, "\f", `\f`, "\r", `\r`}
		for c := range rune(' ') {
			pairs = append(pairs, string(c), fmt.Sprintf(`\u%04x`, c)) // the first that fits counts
		}
		return `"` + strings.NewReplacer(pairs...).Replace(v) + `"`
	default:
		b, _ := json.Marshal(v) // json.Number is written as it came
		return string(b)
	}
}

// reversed writes every object's keys backwards, and every character as an escape where that can be done with four
// digits.
func reversed(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, key := range slices.Backward(slices.Sorted(maps.Keys(v))) {
			parts = append(parts, reversed(key)+" : "+reversed(v[key]))
		}
		return "{ " + strings.Join(parts, " , ") + " }"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, reversed(e))
		}
		return "[ " + strings.Join(parts, " , ") + "\n]"
	case string:
		var b strings.Builder
		for _, r := range v {
			if r > 0xFFFF {
				b.WriteRune(r)
			} else {
				fmt.Fprintf(&b, `\u%04X`, r)
			}
		}
		return `"` + b.String() + `"`
	default:
		return oracle(v)
	}
}
