package fake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/url"
	"strconv"
	"strings"

	"kuairelay/relay/event"
)

// Item is one item of a callback's data, as the provider's query API express.info.get gives it.
type Item struct {
	WaybillCode string
	CPCode      string
	Status      string
	Tracks      []event.Track // the newest first
}

// The encodings that a callback may have.
const (
	JSON       = "json"        // a JSON body
	Object     = "object"      // a JSON body whose data is one object; for one item only
	JSONString = "json-string" // a JSON body whose data is a string that holds the JSON array
	Form       = "form"        // a urlencoded form whose data is the JSON array
	PHP        = "php"         // a urlencoded form with brackets, as PHP's http_build_query writes it
	Multipart  = "multipart"   // multipart/form-data with the fields of Form
)

// Encodings lists all encodings.
func Encodings() []string { return []string{JSON, Object, JSONString, Form, PHP, Multipart} }

// Encode writes a callback with these items, and gives its body and Content-Type. It fails for an unknown encoding, and
// for Object if there is not exactly one item.
//
// All values of an Item are strings, so kuaidihelp.Parse reads the same events, with the same ids, from every encoding.
// There is one exception: brackets cannot describe an empty list. With PHP, an item without tracks has no `data`, and
// another id.
func Encode(encoding string, items []Item) (contentType string, body []byte, err error) {
	const formType = "application/x-www-form-urlencoded"
	switch encoding {
	case JSON:
		return "application/json", envelope(marshal(wires(items))), nil
	case Object:
		if len(items) != 1 {
			return "", nil, fmt.Errorf("encode callback: %q holds one item, not %d", encoding, len(items))
		}
		return "application/json", envelope(marshal(items[0].wire())), nil
	case JSONString:
		return "application/json", envelope(marshal(string(marshal(wires(items))))), nil
	case Form:
		form := url.Values{"type": {event.TypeWaybill}, "data": {string(marshal(wires(items)))}}
		return formType, []byte(form.Encode()), nil
	case PHP:
		return formType, brackets(items), nil
	case Multipart:
		contentType, body = multipartForm(marshal(wires(items)))
		return contentType, body, nil
	}
	known := strings.Join(Encodings(), ", ")
	return "", nil, fmt.Errorf("encode callback: unknown encoding %q; known are %s", encoding, known)
}

// wire is an Item as JSON. Like the platform, it repeats the waybill code and the brand under their aliases.
type wire struct {
	WaybillCode string      `json:"waybill_code"`
	CPCode      string      `json:"cp_code"`
	Status      string      `json:"status"`
	Data        []wireTrack `json:"data"`
	Order       string      `json:"order"`
	No          string      `json:"no"`
	Brand       string      `json:"brand"`
}

type wireTrack struct {
	Time    string `json:"time"`
	Context string `json:"context"`
	Status  string `json:"status"`
}

func (item Item) wire() wire {
	w := wire{
		WaybillCode: item.WaybillCode, CPCode: item.CPCode, Status: item.Status, Data: []wireTrack{},
		Order: "desc", No: item.WaybillCode, Brand: item.CPCode,
	}
	for _, t := range item.Tracks {
		w.Data = append(w.Data, wireTrack(t))
	}
	return w
}

func wires(items []Item) []wire {
	ws := []wire{}
	for _, item := range items {
		ws = append(ws, item.wire())
	}
	return ws
}

// marshal cannot fail: a wire has only strings.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func envelope(data []byte) []byte {
	return fmt.Appendf(nil, `{"type":%q,"data":%s}`, event.TypeWaybill, data)
}

// brackets writes the fields in the order of the JSON, so that both give the same item.
func brackets(items []Item) []byte {
	body := []byte("type=" + event.TypeWaybill)
	add := func(name, value string) {
		body = fmt.Appendf(body, "&%s=%s", url.QueryEscape(name), url.QueryEscape(value))
	}
	for i, item := range items {
		w, at := item.wire(), "data["+strconv.Itoa(i)+"]"
		add(at+"[waybill_code]", w.WaybillCode)
		add(at+"[cp_code]", w.CPCode)
		add(at+"[status]", w.Status)
		for j, t := range w.Data {
			track := at + "[data][" + strconv.Itoa(j) + "]"
			add(track+"[time]", t.Time)
			add(track+"[context]", t.Context)
			add(track+"[status]", t.Status)
		}
		add(at+"[order]", w.Order)
		add(at+"[no]", w.No)
		add(at+"[brand]", w.Brand)
	}
	return body
}

// multipartForm writes into memory, so no write fails. The boundary is fixed, so that the same items give the same
// bytes.
func multipartForm(data []byte) (contentType string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.SetBoundary("kuairelay-2f1b6c0d9e8a47f3")
	_ = w.WriteField("type", event.TypeWaybill)
	_ = w.WriteField("data", string(data))
	_ = w.Close()
	return w.FormDataContentType(), b.Bytes()
}
