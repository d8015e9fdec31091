package console

import (
	"maps"
	"net/http"
	"net/url"
	"slices"

	"kuairelay/relay/api"
)

type quarantineView struct {
	Rows []quarantineRow
	One  *quarantineOne // instead of the list
	Next string
}

// quarantineRow is a callback, or an item of one, that was not understood.
type quarantineRow struct {
	ID, Href, Bytes string
	Reason          said
	Received        moment
}

// quarantineOne is one of them, with its bytes.
type quarantineOne struct {
	quarantineRow
	Headers []header
	Data    payload
}

type header struct{ Name, Value string }

func (v *visit) quarantineRow(q api.Quarantined) quarantineRow {
	return quarantineRow{
		ID: q.ID, Href: v.path("/quarantine", url.Values{"id": {q.ID}}), Reason: v.say(q.Reason), Bytes: size(q.Bytes),
		Received: v.moment(q.ReceivedAt),
	}
}

func (v *visit) showQuarantine() error {
	if id := v.QueryParam("id"); id != "" {
		return v.showQuarantined(id)
	}
	q := v.query("cursor")
	q.Set("limit", "50")
	page, err := ask[api.QuarantineList](v, "GET /quarantine", q)
	if err != nil {
		return err
	}
	out := quarantineView{Next: v.nextPage("/quarantine", q, page.Next)}
	for _, x := range page.Quarantined {
		out.Rows = append(out.Rows, v.quarantineRow(x))
	}
	return v.render(http.StatusOK, "quarantine", out)
}

func (v *visit) showQuarantined(id string) error {
	x, err := ask[api.Quarantined](v, "GET /quarantine/{id}", nil, id)
	if err != nil {
		return err
	}
	one := &quarantineOne{quarantineRow: v.quarantineRow(x), Data: newPayload(x.Raw)}
	for _, name := range slices.Sorted(maps.Keys(x.Headers)) {
		one.Headers = append(one.Headers, header{visible(name), visible(x.Headers[name])})
	}
	return v.render(http.StatusOK, "quarantine", quarantineView{One: one})
}

// retake tries to take in again what was not understood.
func (v *visit) retake() error {
	result, err := send[api.QuarantineResult](v, "POST /quarantine/replay", nil,
		map[string]any{"ids": []string{v.FormValue("id")}})
	if err != nil {
		return err
	}
	if result.Released == 0 {
		return v.done("retake-failed", "")
	}
	return v.done("retake", count(result.Events))
}
