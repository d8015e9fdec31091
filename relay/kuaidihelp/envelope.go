package kuaidihelp

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Envelope is the provider's answer to a call.
type Envelope struct {
	// Code is 0 for success, otherwise one of those in codes.go or another.
	Code int `json:"code"`
	// Msg is for people, at most 300 characters.
	Msg string `json:"msg"`
	// Data is raw JSON; the provider's page calls it a string, its samples show an object.
	Data json.RawMessage `json:"data"`
	// UID names the request at the provider, in at most 300 characters.
	UID string `json:"uid"`
}

// readAnswer makes an Envelope from an answer. If there is none, the error says what came, and whether to ask again:
//
//	an envelope, except as in the next two lines    an answer
//	an envelope of HTTP 5xx, 408, 425 or 429        no answer, ask again: something before the provider may have made it
//	success in an envelope of another HTTP status   no answer: it cannot be trusted
//	nothing, with HTTP 200                          no answer, ask again: it was lost
//	anything else with HTTP 5xx, 408, 425 or 429    no answer, ask again
//	anything else                                   no answer: a page, a redirect, JSON of another kind
func readAnswer(resp *http.Response, body []byte, secrets *scrubber) (Envelope, error) {
	body, odd := unpack(resp, body)
	e, isEnvelope := readEnvelope(body)
	good := resp.StatusCode/100 == 2
	again := mayPass(resp.StatusCode)
	if isEnvelope && !again && (good || e.Code != CodeSuccess) {
		return e.scrubbed(secrets), nil
	}

	said := fmt.Sprintf("kuaidihelp answers HTTP %d", resp.StatusCode)
	switch {
	case odd != "":
		said += odd
	case isEnvelope:
		said += fmt.Sprintf(" with code %d: %s", e.Code, secrets.brief(e.Msg))
	case resp.StatusCode/100 == 3:
		said += ", a redirect" + target(resp, secrets) + ", which is not followed"
	case len(body) == 0:
		said += " without a body"
		again = again || good
	default:
		start := bytes.ToValidUTF8(body[:min(len(body), 4<<10)], []byte("?"))
		said += " without its envelope, but with " + strconv.Quote(secrets.brief(string(start)))
	}
	return Envelope{}, &ErrNoAnswer{Refused: !again, Said: said}
}

// mayPass says whether a status is temporary.
func mayPass(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// target names the host that a redirect leads to.
func target(resp *http.Response, secrets *scrubber) string {
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || u.Host == "" {
		return ""
	}
	return " to " + secrets.brief(u.Host)
}

// unpack decodes gzip that was not asked for, and cuts off spaces and a byte order mark. odd says what is wrong with
// the answer; empty: nothing.
func unpack(resp *http.Response, body []byte) (out []byte, odd string) {
	if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		plain, err := gunzip(body)
		if err != nil {
			return nil, " with a broken gzip body"
		}
		body = plain
	} else if coding := resp.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, fmt.Sprintf(" in the content-encoding %.20q, which is not read", coding)
	}
	if len(body) > maxAnswer {
		return nil, " with more than 1 MiB"
	}
	return trim(bytes.TrimPrefix(trim(body), []byte("\uFEFF"))), ""
}

func gunzip(body []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxAnswer+1))
}

// readEnvelope reads an envelope. Its code may be a number, or a string of digits.
func readEnvelope(body []byte) (Envelope, bool) {
	var raw struct {
		Code *json.RawMessage `json:"code"`
		Msg  json.RawMessage  `json:"msg"`
		Data json.RawMessage  `json:"data"`
		UID  json.RawMessage  `json:"uid"`
	}
	if json.Unmarshal(body, &raw) != nil || raw.Code == nil {
		return Envelope{}, false
	}
	code, err := strconv.Atoi(string(trim([]byte(readText(trim(*raw.Code))))))
	if err != nil {
		return Envelope{}, false
	}
	return Envelope{Code: code, Msg: readText(raw.Msg), Data: raw.Data, UID: readText(raw.UID)}, true
}

// scrubbed is the envelope without the account's secrets, and with texts of bounded length.
func (e Envelope) scrubbed(secrets *scrubber) Envelope {
	e.Msg = secrets.brief(e.Msg)
	e.UID = secrets.brief(e.UID)
	e.Data = secrets.json(e.Data)
	return e
}
