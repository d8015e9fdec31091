package kuaidihelp

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// MethodSubscribe is the provider's method to subscribe waybills (its page for express.sub.msg), MaxPerCall how many of them one
// call takes.
const (
	MethodSubscribe = "express.sub.msg"
	MaxPerCall      = 10
)

// maxEnvelope is how much of an answer is read, in bytes.
const maxEnvelope = 1 << 20

// Sign makes the `sign` of a call: the lower-case hex MD5 of app_id, method, ts and api_key, one after the other, as the provider's
// page has it. It does not cover the data.
func Sign(appID, method, ts, apiKey string) string {
	sum := md5.Sum([]byte(appID + method + ts + apiKey))
	return hex.EncodeToString(sum[:])
}

// Client makes calls with the account's credentials, which leave it in no other way than signed.
type Client struct {
	// URL of the API, https://kop.kuaidihelp.com/api.
	URL string
	// AppID and APIKey are the account's.
	AppID, APIKey string
	// Timeout of one call. Default 5 s.
	Timeout time.Duration
	// HTTP makes the requests; it must not follow redirects. Default: a client of its own.
	HTTP *http.Client
	// Now is the clock that calls are signed by. Default time.Now.
	Now func() time.Time
}

// NewHTTP makes a client that keeps so many connections, and follows no redirect: what is signed is for one address only.
func NewHTTP(connections int) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = connections
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Envelope is the provider's answer to a call.
type Envelope struct {
	// Code is 0 for success, or one of the codes in codes.go, or another.
	Code int `json:"code"`
	// Msg is for people.
	Msg string `json:"msg"`
	// Data is raw JSON; the provider's page calls it a string, its samples show an object.
	Data json.RawMessage `json:"data"`
	// UID names the request at the provider.
	UID string `json:"uid"`
}

// ErrNoAnswer is what every error of Call is: the provider may have done what was asked, or not. Asking again does no harm.
// Refused says that asking again is of no use.
type ErrNoAnswer struct {
	Refused bool
	what    string
	cause   error
}

// Error says what came instead of an answer, and nothing of the request.
func (e *ErrNoAnswer) Error() string {
	if e.cause != nil {
		return e.what + ": " + e.cause.Error()
	}
	return e.what
}

// Unwrap gives the network error, if it was one.
func (e *ErrNoAnswer) Unwrap() error { return e.cause }

// Call asks the provider once. It signs with the time of this moment. data is the method's `data`, a JSON text. Whatever the
// provider answers in its envelope is an answer; anything else is an *ErrNoAnswer. Neither holds the API key, its MD5 or the sign,
// even if the provider should repeat them.
func (c *Client) Call(ctx context.Context, method string, data []byte) (Envelope, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	ts := strconv.FormatInt(now().Unix(), 10)
	sign := Sign(c.AppID, method, ts, c.APIKey)
	form := url.Values{"app_id": {c.AppID}, "method": {method}, "ts": {ts}, "sign": {sign}, "data": {string(data)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return Envelope{}, &ErrNoAnswer{Refused: true, what: "kuaidihelp.api_url is not an address that can be posted to"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	client := c.HTTP
	if client == nil {
		client = NewHTTP(4)
	}
	resp, err := client.Do(req)
	if err != nil {
		if withURL, ok := errors.AsType[*url.Error](err); ok {
			err = withURL.Err
		}
		return Envelope{}, &ErrNoAnswer{what: "kuaidihelp does not answer", cause: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxEnvelope))
	if err != nil {
		return Envelope{}, &ErrNoAnswer{what: "kuaidihelp's answer broke off", cause: err}
	}
	if resp.StatusCode >= 500 {
		return Envelope{}, &ErrNoAnswer{what: fmt.Sprintf("kuaidihelp answers HTTP %d", resp.StatusCode)}
	}
	e, ok := readEnvelope(c.scrub(body, sign))
	if !ok {
		return Envelope{}, &ErrNoAnswer{Refused: resp.StatusCode != http.StatusOK, what: fmt.Sprintf("kuaidihelp answers HTTP %d without its envelope", resp.StatusCode)}
	}
	return e, nil
}

// scrub takes out of an answer what must not leave the relay.
func (c *Client) scrub(body []byte, sign string) []byte {
	sum := md5.Sum([]byte(c.APIKey))
	digest := hex.EncodeToString(sum[:])
	for _, secret := range []string{c.APIKey, digest, strings.ToUpper(digest), sign, strings.ToUpper(sign)} {
		if secret != "" {
			body = bytes.ReplaceAll(body, []byte(secret), []byte("***"))
		}
	}
	return body
}

// readEnvelope takes a code that is a number, or the digits of one.
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
	code, err := strconv.Atoi(readText(trim(*raw.Code)))
	if err != nil {
		return Envelope{}, false
	}
	return Envelope{Code: code, Msg: readText(raw.Msg), Data: raw.Data, UID: readText(raw.UID)}, true
}

// SubscribeData makes the `data` of MethodSubscribe: at most MaxPerCall waybills of one brand.
func SubscribeData(cpCode string, codes []string) []byte {
	data, err := json.Marshal(map[string]string{"waybill_codes": strings.Join(codes, ","), "cp_code": cpCode})
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return data
}
