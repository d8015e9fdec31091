package subscribe

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// This file answers the provider's express.info.get from what the relay knows.

// queryLike does what the provider's express.info.get does, for waybills that the tenant has subscribed: it answers
// their last updates as they came. The provider has no record of any other.
func (p *Proxy) queryLike(c echo.Context, t *Tenant, data string) envelope {
	waybills, ascending, err := p.readQueryLike(c, data)
	maxAge := ledger.AnyAge
	if err == nil {
		if maxAge, err = ledger.ReadMaxAge(c.QueryParam(maxAgeParam)); err != nil {
			err = fmt.Errorf("%s: %w", maxAgeParam, err)
		}
	}
	if err != nil {
		return p.counted(t, "invalid", refuse(kuaidihelp.CodeBadParameters, "请求参数错误: %v", err))
	}
	if e := p.admitted(c, t, 0); e != nil {
		return *e
	}
	found, err := p.fresh(c.Request().Context(), t, waybills, maxAge, true)
	if err != nil {
		return *asEnvelope(c, p.unavailable(c, t, err))
	}
	return p.foundLike(c, found, ascending)
}

// readQueryLike reads the waybills of a call. Without a brand, they may be of any that the provider lists. ascending
// says that the oldest track is to come first.
func (p *Proxy) readQueryLike(c echo.Context, data string) (waybills []event.Waybill, ascending bool, err error) {
	end := p.o.Store.Aside(c.Request().Context())
	defer end()
	w, err := decodeSubscribeRequest([]byte(data), false)
	if err != nil {
		return nil, false, fmt.Errorf("data: %w", err)
	}
	brands := []string{w.CPCode}
	if strings.TrimSpace(w.CPCode) == "" {
		brands = kuaidihelp.Brands()
	}
	w.CPCode = cmp.Or(strings.TrimSpace(w.CPCode), brands[0])
	brand, codes, err := checkSubscribeRequest(w)
	if err == nil && len(codes) > kuaidihelp.MaxPerCall {
		err = fmt.Errorf("waybill_codes has %d codes, and %d is the most", len(codes), kuaidihelp.MaxPerCall)
	}
	if err != nil {
		return nil, false, fmt.Errorf("data: %w", err)
	}

	if len(brands) == 1 {
		brands[0] = brand
	}
	for _, code := range codes {
		for _, brand := range brands {
			waybills = append(waybills, event.Waybill{CPCode: brand, Code: code})
		}
	}
	var sort struct {
		Of json.RawMessage `json:"result_sort"`
	}
	_ = json.Unmarshal([]byte(data), &sort) // it was read before
	return waybills, strings.Trim(string(sort.Of), `"`) == "1", nil
}

// foundLike gives the last updates of parcels in the provider's envelope. msg names those that are stale.
func (p *Proxy) foundLike(c echo.Context, found []parcel, ascending bool) envelope {
	end := p.o.Store.Aside(c.Request().Context())
	defer end()
	var items []json.RawMessage
	var stale []string
	for _, x := range found {
		if x.Last == nil || len(x.Last.Data) == 0 {
			continue
		}
		items = append(items, inOrder(x.Last.Data, ascending))
		if x.state.Stale {
			stale = append(stale, x.Code)
		}
	}
	if len(items) == 0 {
		return refuse(kuaidihelp.CodeNoRecord, "查询暂无记录")
	}

	data, err := json.Marshal(items)
	if err != nil {
		return refuse(kuaidihelp.CodeSystem, "the updates cannot be written: %v", err)
	}
	e := envelope{Msg: "成功", Data: data}
	if len(stale) > 0 {
		e.Msg += fmt.Sprintf(" (older than max_age: %s)", someOf(stale))
	}
	return e
}

// inOrder turns the tracks of an item round, if they are not in the order wanted. What cannot be read stays as it is.
func inOrder(item []byte, ascending bool) json.RawMessage {
	var fields map[string]json.RawMessage
	var tracks []json.RawMessage
	var order string
	if json.Unmarshal(item, &fields) != nil || json.Unmarshal(fields["data"], &tracks) != nil {
		return item
	}
	_ = json.Unmarshal(fields["order"], &order) // without one, the newest is first
	if ascending == (order == "asc") {
		return item
	}

	slices.Reverse(tracks)
	data, err := json.Marshal(tracks)
	if err != nil {
		return item
	}
	fields["data"] = data
	fields["order"] = json.RawMessage(`"desc"`)
	if ascending {
		fields["order"] = json.RawMessage(`"asc"`)
	}
	turned, err := json.Marshal(fields)
	if err != nil {
		return item
	}
	return turned
}
