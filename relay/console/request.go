package console

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"kuairelay/relay/api"
)

// requestView is what an attempt of a delivery would send now.
type requestView struct {
	Endpoint    string
	Event       string // its page
	Line        string // method and URL
	Headers     []field
	Body        payload
	Changed     bool
	Curl        string
	CurlCopy    string // the same in base64
	Download    string
	EndpointRef string
}

func (r requestView) title(v *visit) string { return v.t("request.title", r.Endpoint) }

// hardlyEver is how often a page is asked for again that changes hardly ever, but for its frame.
const hardlyEver = 30 * time.Second

// request asks the API for the request of a delivery.
func (v *visit) request(id, endpoint string) (api.DeliveryRequest, error) {
	return ask[api.DeliveryRequest](v, "GET /events/{id}/request", url.Values{"endpoint": {endpoint}}, id)
}

// showRequest shows the request of a delivery: as a page, or as a part of the event's.
func (v *visit) showRequest() error {
	r, err := v.request(v.QueryParam("id"), v.QueryParam("endpoint"))
	if err != nil {
		return err
	}
	of := url.Values{"id": {r.EventID}, "endpoint": {r.Endpoint}}
	v.pollEvery(hardlyEver)
	curl := curlOf(r, v.t("curl.unsigned"), v.t("curl.without"))
	return v.render(http.StatusOK, "request", requestView{
		Endpoint: r.Endpoint, Event: v.eventPath(r.EventID),
		Line: visible(r.Method + " " + r.URL), Headers: headerRows(r.Headers), Body: newPayload([]byte(r.Body)),
		Changed: r.ChangedSince, Curl: visible(curl), CurlCopy: base64.StdEncoding.EncodeToString([]byte(curl)),
		Download: v.path("/event/data", of), EndpointRef: v.endpointPath(r.Endpoint),
	})
}

// headerRows are the fields of a head by name.
func headerRows(fields map[string]string) (out []field) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		out = append(out, field{Name: visible(name), Value: visible(fields[name])})
	}
	return out
}

// longBody is from how many bytes on a body is not an argument of curl's, for which systems have bounds.
const longBody = 8 << 10

// notShown are marks of the values that the API does not show.
var notShown = []string{"(hidden)", "(signature)", "(unix time"}

// curlOf writes a request as a command for sh. It signs nothing: unsigned says so in a comment, and without names the
// fields whose values a page does not have.
func curlOf(r api.DeliveryRequest, unsigned, without string) string {
	var left []string
	fields := []string{}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		value := r.Headers[name]
		switch {
		case strings.EqualFold(name, "Content-Length"), strings.EqualFold(name, "User-Agent"):
		case slices.ContainsFunc(notShown, func(mark string) bool { return strings.Contains(value, mark) }):
			left = append(left, name)
		default:
			fields = append(fields, "-H "+quote(name+": "+value))
		}
	}

	lines := []string{"# " + comment(unsigned)}
	if len(left) > 0 {
		lines = append(lines, "# "+comment(without)+" "+comment(strings.Join(left, ", ")))
	}
	command := "curl -sS -g -X " + quote(r.Method) + " --url " + quote(r.URL)
	for _, f := range fields {
		command += " \\\n  " + f
	}
	if len(r.Body) <= longBody {
		return strings.Join(append(lines, command+" \\\n  --data-raw "+quote(r.Body)), "\n") + "\n"
	}

	// A here-document ends with a newline that the body does not have: head takes what is before it.
	end := endOf(r.Body)
	first := fmt.Sprintf("head -c %d <<'%s' | %s \\\n  --data-binary @-", len(r.Body), end, command)
	return strings.Join(append(lines, first, r.Body, end), "\n") + "\n"
}

// quote makes a text one word of sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// comment makes a text fit for a line.
func comment(s string) string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(visible(s)) }

// endOf is a word that ends a here-document, and that no line of the text is.
func endOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	end := "BODY_" + hex.EncodeToString(sum[:6])
	for strings.Contains(text, end) {
		end += "_"
	}
	return end
}
