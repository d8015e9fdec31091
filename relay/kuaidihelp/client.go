package kuaidihelp

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// MethodSubscribe is the provider's method to subscribe waybills (its page for express.sub.msg), and MethodQuery the
// one to ask how they stand now (express.info.get). MaxPerCall is the most waybills that one call of either takes.
const (
	MethodSubscribe = "express.sub.msg"
	MethodQuery     = "express.info.get"
	MaxPerCall      = 10
)

// The largest body and the largest headers of an answer that are read, in bytes.
const (
	maxAnswer  = 1 << 20
	maxHeaders = 64 << 10
)

// Sign makes the `sign` of a call: the lower-case hex MD5 of app_id, method, ts and api_key, one after the other, as
// the provider's page has it. It does not cover the data.
func Sign(appID, method, ts, apiKey string) string {
	sum := md5.Sum([]byte(appID + method + ts + apiKey))
	return hex.EncodeToString(sum[:])
}

// Client makes calls with the account's credentials. The API key leaves it only in signatures.
type Client struct {
	// URL of the API, https://kop.kuaidihelp.com/api.
	URL string
	// AppID and APIKey are the account's.
	AppID, APIKey string
	// Timeout of one call. Default 5 s.
	Timeout time.Duration
	// HTTP makes the requests; it must not follow redirects. Default: a client of its own.
	HTTP *http.Client
	// Now gives the time for signatures. Default time.Now.
	Now func() time.Time
}

// NewHTTP makes a client that keeps this many connections. It follows no redirect and reads no HTTP_PROXY or the like:
// a signed call is for kuaidihelp's address only.
func NewHTTP(connections int) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.MaxIdleConnsPerHost = connections
	t.MaxResponseHeaderBytes = maxHeaders
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ErrNoAnswer is the type of every error of Call. It is not known whether the provider has done what was asked. Asking
// again does no harm.
type ErrNoAnswer struct {
	// Refused says that asking again is of no use.
	Refused bool
	// Said is a text for people, also tenants, about what came instead of an answer; empty: nothing came.
	Said string

	text  string
	cause error
}

// Error says what came instead of an answer. It has nothing from the request.
func (e *ErrNoAnswer) Error() string { return cmp.Or(e.Said, e.text) }

// Unwrap gives the network error, if there was one.
func (e *ErrNoAnswer) Unwrap() error { return e.cause }

// Call asks the provider once. It signs with the present time. data is the method's `data`, a JSON text. An answer in
// the provider's envelope is returned, with any code; anything else is an *ErrNoAnswer. Neither holds the API key, its
// MD5 or the sign, even if the provider repeats them in another spelling.
func (c *Client) Call(ctx context.Context, method string, data []byte) (Envelope, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, 5*time.Second))
	defer cancel()

	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	ts := strconv.FormatInt(now().Unix(), 10)
	sign := Sign(c.AppID, method, ts, c.APIKey)
	secrets := newScrubber(c.APIKey, sign)

	form := url.Values{"app_id": {c.AppID}, "method": {method}, "ts": {ts}, "sign": {sign}, "data": {string(data)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return Envelope{}, &ErrNoAnswer{Refused: true, text: "kuaidihelp.api_url is not a valid URL"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")

	// An error of the client holds the address, which is left out.
	client := c.HTTP
	if client == nil {
		client = NewHTTP(4)
	}
	resp, err := client.Do(req)
	if err != nil {
		if withURL, ok := errors.AsType[*url.Error](err); ok {
			err = withURL.Err
		}
		return Envelope{}, &ErrNoAnswer{text: "kuaidihelp does not answer: " + secrets.brief(err.Error()), cause: err}
	}
	defer func() { _ = resp.Body.Close() }()

	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return Envelope{}, &ErrNoAnswer{text: "kuaidihelp's answer broke off: " + secrets.brief(err.Error()), cause: err}
	}
	return readAnswer(resp, body, secrets)
}

// CallData makes the `data` of MethodSubscribe and of MethodQuery: at most MaxPerCall waybills of one brand.
func CallData(cpCode string, codes []string) []byte {
	data, err := json.Marshal(map[string]string{"waybill_codes": strings.Join(codes, ","), "cp_code": cpCode})
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return data
}
