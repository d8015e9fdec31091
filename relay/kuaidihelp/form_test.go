package kuaidihelp

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// pair is a field of a form as a library reads it.
type pair struct{ name, value string }

// ourMultipart reads a body as readForm does.
func ourMultipart(boundary string, body []byte) ([]pair, error) {
	var fields []pair
	err := readMultipart(boundary, body, func(f field) error {
		fields = append(fields, pair{name: string(f.name), value: string(f.value)})
		return nil
	})
	return fields, err
}

// libraryMultipart reads a body as mime/multipart does.
func libraryMultipart(boundary string, body []byte) ([]pair, error) {
	var fields []pair
	for r := multipart.NewReader(bytes.NewReader(body), boundary); ; {
		part, err := r.NextPart()
		if err == io.EOF { // not errors.Is: a body that is cut off gives an error that wraps it
			return fields, nil
		}
		if err != nil {
			return nil, err
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		fields = append(fields, pair{name: part.FormName(), value: string(value)})
	}
}

// multipartSeeds are bodies with the boundary b, which both readers read alike.
func multipartSeeds() []string {
	const name = "Content-Disposition: form-data; name=\"a\"\r\n"
	return []string{
		"--b\r\n" + name + "\r\n1\r\n--b--\r\n",
		"--b\r\n" + name + "\r\n1\r\n--b--",
		"--b\n" + strings.ReplaceAll(name, "\r", "") + "\n1\n--b--\n",
		"--b\r\n" + name + "\r\n\r\n--b\r\n" + name + "\r\n2\n--b\n\r\n--b--\r\nepilogue",
		"preamble\r\n--b\r\n" + name + "\r\n1\r\n--b--",
		"--b \t\r\n" + name + "\r\n1\r\n--b--  \r\n",
		"--b\r\n" + name + "\r\n\r\n--bb\r\n\r\n--b--",
		"--b\r\n\r\n--b\r\n\r\n\r\n--b--",
		"--b\r\n\n--b--", // an empty part, whose headers end in LF alone
		"--b--\r\n",
		"--b\r\ncontent-disposition:form-data ;filename=x; NAME=\"a;\\\"b\\\\c:\\d\"\r\nX: y\r\n z\r\n\r\n1\r\n--b--",
		"--b\r\nContent-Disposition: form-data;\r\n\tname=a\r\n\r\n1\r\n--b--",
		"--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--b--",
		"--b\r\n" + name + "Content-Disposition: form-data; name=second\r\n\r\n1\r\n--b--",
		"--b\r\n" + name + "Content-Transfer-Encoding: Quoted-Printable\r\n\r\n=E4=B8=AD 1=\r\n2\r\n--b--",
		"--b\r\n" + name + "Content-Transfer-Encoding: base64\r\n\r\nMQ==\r\n--b--",
	}
}

func TestMultipartIsReadAsTheStandardLibraryReadsIt(t *testing.T) {
	t.Parallel()
	for _, body := range multipartSeeds() {
		got, err := ourMultipart("b", []byte(body))
		want, wantErr := libraryMultipart("b", []byte(body))
		if err != nil || wantErr != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q\nis  %q, %v\nnot %q, %v", body, got, err, want, wantErr)
		}
	}
}

func TestMultipartIsReadWhereTheStandardLibraryGivesUp(t *testing.T) {
	t.Parallel()
	part := func(headers string) string { return "--b\r\n" + headers + "\r\n\r\n1\r\n--b--" }
	for body, want := range map[string]string{
		part("Content-Disposition: form-data; name=data[0][no]"):              "data[0][no]", // no token
		part("Content-Disposition: form-data; name=a b"):                      "a b",
		part("Content-Disposition: form-data; x; name=\"a\""):                 "a",
		part("Content-Disposition: form-data; name=\"a\"; name=\"b\""):        "a", // twice
		part("Content-Disposition : form-data; name=\"a\""):                   "a", // a space before the colon
		part("X: \x00\r\nContent-Disposition: form-data; name=\"a\""):         "a", // a header that is none
		"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--": "a",
	} {
		got, err := ourMultipart("b", []byte(body))
		if err != nil || len(got) != 1 || got[0] != (pair{name: want, value: "1"}) {
			t.Errorf("%q is %q, %v", body, got, err)
		}
	}
	// A line that only begins like a delimiter is a part of the value.
	got, err := ourMultipart("b", []byte("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b 2\r\n--b--"))
	if want := (pair{name: "a", value: "1\r\n--b 2"}); err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%q, %v", got, err)
	}
	// Names of RFC 2231 are not read: RFC 7578 §4.2 forbids them in forms.
	got, err = ourMultipart("b", []byte(part("Content-Disposition: form-data; name*=utf-8''a")))
	if want := (pair{value: "1"}); err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzMultipart compares with mime/multipart: a body that it reads gives the same here.
func FuzzMultipart(f *testing.F) {
	for _, body := range multipartSeeds() {
		f.Add([]byte(body))
	}
	f.Add([]byte("--b\nContent-Disposition: form-data; name=\"a\n b\"\n\n--b--"))
	f.Fuzz(func(t *testing.T, body []byte) {
		want, wantErr := libraryMultipart("b", body)
		got, err := ourMultipart("b", body)
		// If a body is cut off in the headers of a part, or has no delimiter, the library takes that for the end.
		if wantErr != nil || err != nil && len(got) == len(want) {
			return
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
		for i := range want {
			if got[i].value != want[i].value {
				t.Errorf("value %q, want %q", got[i].value, want[i].value)
			}
			// The library gives no name if the header is not in order. A name with an asterisk is one of RFC 2231. A name that
			// is folded over lines keeps its line breaks here.
			if want[i].name == "" || bytes.Contains(body, []byte("*")) || strings.Contains(got[i].name, "\n") {
				continue
			}
			if got[i].name != want[i].name {
				t.Errorf("name %q, want %q", got[i].name, want[i].name)
			}
		}
	})
}

// ourURLEncoded reads a body as readForm does.
func ourURLEncoded(body []byte) url.Values {
	fields := make(url.Values)
	_ = readURLEncoded(body, func(f field) error {
		name := string(appendDecoded(nil, f.name))
		fields[name] = append(fields[name], string(appendDecoded(nil, f.value)))
		return nil
	})
	return fields
}

func TestAFormIsReadWhereTheStandardLibraryGivesUp(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"a=5% off&b=1": "map[a:[5% off] b:[1]]", "a=%zz": "map[a:[%zz]]", "a=%4": "map[a:[%4]]", "%=1": "map[%:[1]]",
		"a=b;c=d": "map[a:[b;c=d]]", "a;b": "map[a;b:[]]", // a semicolon has not parted fields since HTML 5
	} {
		if _, err := url.ParseQuery(body); err == nil {
			t.Errorf("the library reads %q", body)
		}
		if got := fmt.Sprint(ourURLEncoded([]byte(body))); got != want {
			t.Errorf("%q is %s, want %s", body, got, want)
		}
	}
}

// FuzzURLEncoded compares with net/url: a form that it reads gives the same here.
func FuzzURLEncoded(f *testing.F) {
	for _, body := range []string{"a=1&b=2&a=3", "a&=&&=b&c==d", "a+b=%E4%B8%AD+%2b&%5B%5d=", "a=%", "a;b=c"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want, err := url.ParseQuery(string(body))
		got := ourURLEncoded(body)
		if err != nil {
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// FuzzTree checks that the tree of a form has every value once, in the order it came, with any names.
func FuzzTree(f *testing.F) {
	for _, body := range []string{sampleBrackets, "data[][no]=1&data[][no]=2", "a[b]=1&a[b][c]=2&a[1]=3&a[0]=4&a=5",
		"a[b[c]=1&[x]=2&a[[]]=3"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		form, err := readForm("", body)
		if err != nil || boundaryOf("", body) != "" {
			return
		}
		var want []string
		_ = readURLEncoded(body, func(f field) error {
			want = append(want, string(appendDecoded(nil, f.value)))
			return nil
		})
		var got []string
		var walk func(n int32)
		walk = func(n int32) {
			for child := form.nodes[n].first; child > 0; child = form.nodes[child].next {
				walk(child)
			}
			if n > 0 && form.isValue(n) {
				got = append(got, string(form.valueOf(n)))
			}
		}
		walk(root)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if json := form.appendObject(nil, root); len(want) > 0 && len(json) > form.size(root) {
			t.Errorf("JSON of %d bytes, size says %d", len(json), form.size(root))
		}
	})
}
