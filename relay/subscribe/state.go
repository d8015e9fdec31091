package subscribe

import (
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
		Problems: map[int]string{
			http.StatusRequestEntityTooLarge: "The body is larger than 256 KiB",
		},
	}
}

const statesPath = "/v1/waybills/states"

// parcelStates is the answer to a request for the states of waybills.
type parcelStates struct {
	States []ledger.ParcelState `json:"states" doc:"one for each waybill that the tenant has subscribed, in their order"`
}

// states answers POST /v1/waybills/states.
func (p *Proxy) states(c echo.Context, t *Tenant) error {
	brand, codes, err := p.readRequest(c)
	if err != nil {
		return err
	}
	waybills := make([]event.Waybill, len(codes))
	for i, code := range codes {
		waybills[i] = event.Waybill{CPCode: brand, Code: code}
	}
	parcels, err := p.parcels(c.Request().Context(), t, waybills, false)
	if err != nil {
		c.Response().Header().Set(echo.HeaderRetryAfter, "1")
		if c.Request().Context().Err() == nil && p.unread.Allow(time.Minute) {
			p.o.Logger.Error("the states of waybills cannot be read", zap.String("tenant", t.Name), zap.Error(err))
		}
		return errDown
	}

	out := parcelStates{States: make([]ledger.ParcelState, len(parcels))}
	for i := range parcels {
		out.States[i] = showParcel(&parcels[i])
	}
	return c.JSON(http.StatusOK, out)
}

// StatesOf says how those of the waybills stand that a tenant has subscribed (empty: any tenant), each with its tracks.
func (p *Proxy) StatesOf(ctx context.Context, tenant string, waybills []event.Waybill) ([]ledger.ParcelState, error) {
	parcels, err := p.parcels(ctx, p.current.Load().tenant(tenant), waybills, true)
	if err != nil {
		return nil, err
	}
	out := make([]ledger.ParcelState, len(parcels))
	for i := range parcels {
		out[i] = showParcel(&parcels[i])
		out[i].Tracks = p.tracksOf(ctx, &parcels[i])
	}
	return out, nil
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
