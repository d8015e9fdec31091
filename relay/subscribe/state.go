package subscribe

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// This file says how waybills stand, to tenants that have subscribed them.

// States describes POST /v1/waybills/states.
func States() Route {
	return Route{
		Method:  http.MethodPost,
		Path:    statesPath,
		Summary: "How waybills stand that the tenant has subscribed, at most 1000; any other is in no answer",
		Body:    subscribeRequest{},
		Answer:  parcelStates{},
		Params:  map[string]string{maxAgeParam: MaxAge},
		Problems: map[int]string{
			http.StatusRequestEntityTooLarge: "The body is larger than 256 KiB",
		},
	}
}

const statesPath = "/v1/waybills/states"

// maxAgeParam is the parameter of a request for states, and MaxAge what it means.
const (
	maxAgeParam = "max_age"
	MaxAge      = "have kuaidihelp asked if nothing was heard of it for longer, like 10m; " +
		"where that may not be, or fails, the state is stale"
)

// parcelStates is the answer to a request for the states of waybills.
type parcelStates struct {
	States []ledger.ParcelState `json:"states" doc:"one for each waybill that the tenant has subscribed, in their order"`
}

// states answers POST /v1/waybills/states.
func (p *Proxy) states(c echo.Context, t *Tenant) error {
	maxAge, err := ledger.ReadMaxAge(c.QueryParam(maxAgeParam))
	if err != nil {
		return echo.NewHTTPError(http.StatusBadRequest, maxAgeParam+": "+err.Error())
	}
	brand, codes, err := p.readRequest(c)
	if err != nil {
		return err
	}
	waybills := make([]event.Waybill, len(codes))
	for i, code := range codes {
		waybills[i] = event.Waybill{CPCode: brand, Code: code}
	}

	found, err := p.fresh(c.Request().Context(), t, waybills, maxAge, false)
	if err != nil {
		c.Response().Header().Set(echo.HeaderRetryAfter, "1")
		if c.Request().Context().Err() == nil && p.unread.Allow(time.Minute) {
			p.o.Logger.Error("the states of waybills cannot be read", zap.String("tenant", t.Name), zap.Error(err))
		}
		return errDown
	}
	out := parcelStates{States: make([]ledger.ParcelState, len(found))}
	for i := range found {
		out.States[i] = found[i].state
	}
	return c.JSON(http.StatusOK, out)
}

// StatesOf says how those of the waybills stand that a tenant has subscribed (empty: any tenant), each with its tracks.
// It has the provider asked for those of which nothing was heard for maxAge, unless that is ledger.AnyAge.
func (p *Proxy) StatesOf(ctx context.Context, tenant string, waybills []event.Waybill, maxAge time.Duration) (
	[]ledger.ParcelState, error,
) {
	found, err := p.fresh(ctx, p.current.Load().tenant(tenant), waybills, maxAge, true)
	if err != nil {
		return nil, err
	}
	out := make([]ledger.ParcelState, len(found))
	for i := range found {
		out[i] = found[i].state
		out[i].Tracks = p.tracksOf(ctx, &found[i].Parcel)
	}
	return out, nil
}

// parcel is a waybill with how it stands, as its tenants are told.
type parcel struct {
	ledger.Parcel
	state ledger.ParcelState
}

// fresh reads how waybills stand, and has the provider asked for those of which nothing was heard for maxAge. What then
// is older still is stale.
func (p *Proxy) fresh(
	ctx context.Context, t *Tenant, waybills []event.Waybill, maxAge time.Duration, data bool,
) ([]parcel, error) {
	since := p.o.Store.Now().Add(-max(0, maxAge)).Truncate(time.Millisecond) // the ledger has milliseconds
	found, err := p.parcels(ctx, t, waybills, data)
	if err != nil {
		return nil, err
	}
	old := func(x *ledger.Parcel) bool {
		return maxAge != ledger.AnyAge && !x.Signed && x.HeardAt.Before(since)
	}

	var why map[event.Waybill]string
	var ask []event.Waybill
	for i := range found {
		if old(&found[i]) && found[i].Subscription == ledger.Live {
			ask = append(ask, found[i].Waybill)
		}
	}
	if len(ask) > 0 {
		found = nil // many may wait at the same time
		waiting, cancel := context.WithTimeout(ctx, p.o.Budget)
		var began time.Time
		why, began = p.refresh(waiting, t.Name, ask)
		cancel()
		since = earlier(since, began.Truncate(time.Millisecond))
		if found, err = p.parcels(ctx, t, waybills, data); err != nil {
			return nil, err
		}
	}

	out := make([]parcel, len(found))
	for i := range found {
		out[i] = parcel{Parcel: found[i], state: showParcel(&found[i])}
		if old(&found[i]) {
			out[i].state.Stale = true
			out[i].state.StaleBecause = cmp.Or(why[found[i].Waybill], string(ledger.LeaveInactive))
		}
	}
	return out, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// parcels reads how waybills stand. A tenant reads few at the same time: a thousand take many turns at the store, and
// other readers wait for these turns, too.
func (p *Proxy) parcels(ctx context.Context, t *Tenant, waybills []event.Waybill, data bool) ([]ledger.Parcel, error) {
	select {
	case t.reading <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-t.reading }()
	return p.o.Store.Parcels(ctx, t.Name, waybills, data)
}

// showParcel gives a parcel as its tenants are told of it.
func showParcel(parcel *ledger.Parcel) ledger.ParcelState {
	s := ledger.ParcelState{
		WaybillCode:  parcel.Code,
		CPCode:       parcel.CPCode,
		Subscription: parcel.Subscription,
		HeardAt:      utc(parcel.HeardAt),
	}
	if last := parcel.Last; last != nil {
		s.Status = last.Status
		s.Sequence = last.Sequence
		s.ChangedAt = utc(last.AcceptedAt)
	}
	switch {
	case parcel.HeardAt.IsZero():
	case parcel.Queried:
		s.Source = "query"
	default:
		s.Source = "push"
	}
	return s
}

// utc is a time as it is shown.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// tracksOf reads the tracks of a parcel's last update.
func (p *Proxy) tracksOf(ctx context.Context, parcel *ledger.Parcel) (out []ledger.Track) {
	if parcel.Last == nil || len(parcel.Last.Data) == 0 {
		return nil
	}
	end := p.o.Store.Aside(ctx) // to parse a large item takes time
	defer end()
	for _, t := range kuaidihelp.Reread(*parcel.Last).Tracks {
		out = append(out, ledger.Track(t))
	}
	return out
}
