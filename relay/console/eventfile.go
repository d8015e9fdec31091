package console

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
)

// The formats of a list of events as a file.
const (
	formatNDJSON = "ndjson"
	formatCSV    = "csv"
)

// What one download holds and takes at most, and how many are made at the same time.
const (
	mostDownloaded = 10_000
	downloadBytes  = 32 << 20
	downloadFor    = 30 * time.Second
	downloadsInAll = 4 // one of a session
)

// downloadEvents gives the events of a filter as a file, the latest first. It ends early if they are too many: the name
// of the file says so.
func (v *visit) downloadEvents() error {
	filter, _, err := v.readEventFilter("/events/download")
	if err != nil {
		return err
	}
	leave, ok := v.downloads.take(v.token)
	if !ok {
		v.Response().Header().Set(echo.HeaderRetryAfter, "10")
		return echo.NewHTTPError(http.StatusTooManyRequests, v.t("download.one"))
	}
	defer leave()

	format := formatNDJSON
	var out eventWriter = &ndjsonWriter{}
	if v.QueryParam("format") == formatCSV {
		format = formatCSV
		out = newCSVWriter()
	}
	n, whole, err := v.writeEvents(filter, out)
	if err != nil {
		return err
	}
	name := "kuairelay-events-" + v.now.UTC().Format("20060102T150405Z")
	if !whole {
		name += "-latest-" + strconv.Itoa(n)
	}
	return v.download(name+"."+format, out.bytes())
}

// writeEvents writes all events of a filter, within bounds. whole is false if there are more.
func (v *visit) writeEvents(filter url.Values, out eventWriter) (n int, whole bool, err error) {
	q := maps.Clone(filter)
	for time.Since(v.now) < downloadFor {
		q.Set("limit", strconv.Itoa(min(500, mostDownloaded-n)))
		page, err := ask[api.Events](v, "GET /events", q)
		if err != nil && n > 0 && tooMany(err) {
			return n, false, nil // the file has what came until then
		}
		if err != nil {
			return n, false, err
		}
		for _, e := range page.Events {
			if err := out.write(e); err != nil {
				return n, false, err
			}
			n++
		}
		if page.Next == "" {
			return n, true, nil
		}
		if n >= mostDownloaded || len(out.bytes()) > downloadBytes {
			return n, false, nil
		}
		q.Set("cursor", page.Next)
	}
	return n, false, v.Request().Context().Err()
}

// eventWriter writes events into a file in memory.
type eventWriter interface {
	write(e api.Event) error
	bytes() []byte
}

// ndjsonWriter writes an event a line, as the API gives it.
type ndjsonWriter struct{ out bytes.Buffer }

func (w *ndjsonWriter) write(e api.Event) error { return json.NewEncoder(&w.out).Encode(e) }
func (w *ndjsonWriter) bytes() []byte           { return w.out.Bytes() }

// csvWriter writes a delivery a line, for spreadsheets.
type csvWriter struct {
	out bytes.Buffer
	csv *csv.Writer
}

func newCSVWriter() *csvWriter {
	w := &csvWriter{}
	w.out.WriteString("\ufeff") // without this mark, Excel takes the text for one of an old encoding
	w.csv = csv.NewWriter(&w.out)
	_ = w.csv.Write([]string{"accepted_at", "received_at", "event_id", "type", "brand", "status", "waybill_code",
		"sequence", "repeats", "endpoint", "state", "attempts", "last_status", "last_duration_ms", "why"}) // to memory
	return w
}

func (w *csvWriter) write(e api.Event) error {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	of := []string{at(e.AcceptedAt), at(e.ReceivedAt), e.ID, plain(e.Type), plain(e.CPCode), plain(e.Status),
		plain(e.WaybillCode), strconv.FormatInt(e.Sequence, 10), strconv.Itoa(e.Repeats)}
	if len(e.Deliveries) == 0 {
		return w.csv.Write(append(of, "", e.State, "", "", "", ""))
	}
	for _, d := range e.Deliveries {
		status, took := "", ""
		if n := len(d.Tries); n > 0 {
			status = strconv.Itoa(d.Tries[n-1].Status)
			took = strconv.FormatInt(d.Tries[n-1].DurationMS, 10)
		}
		row := append(slices.Clone(of),
			plain(d.Endpoint), string(d.State), strconv.Itoa(d.Attempts), status, took, plain(d.Why))
		if err := w.csv.Write(row); err != nil {
			return fmt.Errorf("write a row: %w", err)
		}
	}
	return nil
}

func (w *csvWriter) bytes() []byte {
	w.csv.Flush()
	return w.out.Bytes()
}

// plain is a text of somebody else that no spreadsheet takes for a formula.
func plain(s string) string {
	s = visible(s)
	if s != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(s)[0]) {
		return "'" + s
	}
	return s
}
