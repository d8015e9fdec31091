package api

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/ledger"
)

// Subscription says that a tenant gets the updates of a waybill.
type Subscription struct {
	Tenant string `json:"tenant" doc:"name of the tenant"`
	OwnSubscription
}

// Subscriptions is a page.
type Subscriptions struct {
	Subscriptions []Subscription `json:"subscriptions" doc:"those that end last first"`
	Next          string         `json:"next,omitempty" doc:"cursor of the next page; none: this is the end"`
}

// subscriptionFilter is what a list of subscriptions is limited to.
type subscriptionFilter struct {
	waybill string       // empty: any
	state   ledger.State // empty: any
}

// readSubscriptionState reads the state of a filter.
func readSubscriptionState(text string) (ledger.State, error) {
	state := ledger.State(text)
	if !slices.Contains([]ledger.State{ledger.Pending, ledger.Live, ledger.Failed}, state) {
		return "", errors.New("must be pending, live or failed")
	}
	return state, nil
}

// subscriptionsLooked is how many subscriptions one answer looks at at most, as long as the filter takes none of them.
const subscriptionsLooked = 2000

// filteredSubscriptions gives a page of the subscriptions of a tenant, and the cursor of the next. It may give nothing,
// and a cursor. Those of a waybill come on one page; then no tenant means all of them.
func (c *call) filteredSubscriptions(tenant, cursor string, limit int, f subscriptionFilter) (
	taken []ledger.Subscription, next string, err error,
) {
	take := func(found []ledger.Subscription) {
		for _, s := range found {
			if f.state == "" || s.State == f.state {
				taken = append(taken, s)
			}
		}
	}
	if f.waybill != "" {
		found, err := c.subscriptions.WaybillSubscriptions(c.ctx(), f.waybill, kuaidihelp.Brands(), tenant)
		take(found)
		return taken, "", err
	}

	next = cursor
	for looked := 0; looked < subscriptionsLooked && len(taken) == 0; looked += limit {
		var found []ledger.Subscription
		found, next, err = c.subscriptions.Subscriptions(c.ctx(), tenant, next, limit)
		if err != nil {
			return nil, "", err
		}
		take(found)
		if next == "" {
			break
		}
	}
	return taken, next, nil
}

// listSubscriptions gives a page of the subscriptions of one tenant, or of one waybill.
func listSubscriptions(c *call) (Subscriptions, error) {
	r := c.reader()
	limit := r.limit()
	cursor := r.param("cursor")
	by := subscriptionFilter{waybill: r.param("waybill_code"), state: one(r, "state", "", readSubscriptionState)}
	f := r.filterOf("tenant")
	if r.err == nil && f.Tenant == "" && by.waybill == "" {
		r.err = badf("tenant: this parameter is required, or waybill_code")
	}
	if err := r.end(); err != nil {
		return Subscriptions{}, err
	}

	found, next, err := c.filteredSubscriptions(f.Tenant, cursor, limit, by)
	if err != nil {
		return Subscriptions{}, c.failed("list subscriptions", err)
	}

	out := Subscriptions{Subscriptions: []Subscription{}, Next: next}
	for _, s := range found {
		out.Subscriptions = append(out.Subscriptions, showSubscription(s))
	}
	return out, nil
}

func showSubscription(s ledger.Subscription) Subscription {
	return Subscription{Tenant: s.Tenant, OwnSubscription: showOwnSubscription(s)}
}

// OwnSubscription is a subscription as its tenant sees it.
type OwnSubscription struct {
	CPCode      string       `json:"cp_code" doc:"brand"`
	WaybillCode string       `json:"waybill_code" doc:"waybill"`
	Since       time.Time    `json:"since" doc:"when the tenant subscribed the waybill"`
	Expires     time.Time    `json:"expires" doc:"when it ends"`
	State       ledger.State `json:"state" doc:"pending, live, or failed"`
	Code        int          `json:"code,omitempty" doc:"of kuaidihelp's answer, if it failed or has no record yet"`
	Msg         string       `json:"msg,omitempty" doc:"of kuaidihelp's answer, if it failed or has no record yet"`
	UID         string       `json:"uid,omitempty" doc:"names the call at kuaidihelp"`
	RetryAt     time.Time    `json:"retry_at,omitzero" doc:"with pending: when kuaidihelp is asked again, because it has no record of the waybill yet"`
}

// OwnSubscriptions is a page of a tenant's own.
type OwnSubscriptions struct {
	Subscriptions []OwnSubscription `json:"subscriptions" doc:"those that end last first"`
	Next          string            `json:"next,omitempty" doc:"cursor of the next page; none: this is the end"`
}

func showOwnSubscription(s ledger.Subscription) OwnSubscription {
	out := OwnSubscription{
		CPCode:      s.CPCode,
		WaybillCode: s.Code,
		Since:       utc(s.Since),
		Expires:     utc(s.Expires).Truncate(time.Millisecond),
		State:       s.State,
		UID:         s.Answer.UID,
	}
	if s.State == ledger.Failed || !s.RetryAt.IsZero() {
		out.Code = s.Answer.Code
		out.Msg = s.Answer.Msg
		out.RetryAt = utc(s.RetryAt)
	}
	return out
}

// maxOwnLimit is the largest limit of a page of a tenant's own subscriptions.
const maxOwnLimit = 1000

// listOwnSubscriptions gives a page of the caller's subscriptions. It ignores unknown parameters.
func listOwnSubscriptions(c *call) (OwnSubscriptions, error) {
	limit := defaultLimit
	if text := c.QueryParam("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxOwnLimit {
			return OwnSubscriptions{}, badf("limit must be a whole number from 1 to %d", maxOwnLimit)
		}
		limit = n
	}
	by := subscriptionFilter{waybill: c.QueryParam("waybill_code")}
	if text := c.QueryParam("state"); text != "" {
		state, err := readSubscriptionState(text)
		if err != nil {
			return OwnSubscriptions{}, badf("state: %v", err)
		}
		by.state = state
	}
	if err := c.o.Admit(c.Context, c.tenant); err != nil {
		return OwnSubscriptions{}, err
	}

	found, next, err := c.filteredSubscriptions(c.tenant, c.QueryParam("cursor"), limit, by)
	if errors.Is(err, event.ErrCursor) {
		return OwnSubscriptions{}, badf("cursor must be the next of an earlier page")
	}
	if err != nil {
		return OwnSubscriptions{}, c.noLedger(err)
	}

	page := OwnSubscriptions{Subscriptions: make([]OwnSubscription, len(found)), Next: next}
	for i, s := range found {
		page.Subscriptions[i] = showOwnSubscription(s)
	}
	return page, nil
}

var errNoSubscription = echo.NewHTTPError(http.StatusNotFound, "this tenant has not subscribed this waybill")

// readOwnSubscription gives one of the caller's subscriptions.
func readOwnSubscription(c *call) (OwnSubscription, error) {
	if err := c.o.Admit(c.Context, c.tenant); err != nil {
		return OwnSubscription{}, err
	}
	s, found, err := c.subscriptions.Subscription(c.ctx(), c.tenant, c.waybill())
	if err != nil {
		return OwnSubscription{}, c.noLedger(err)
	}
	if !found {
		return OwnSubscription{}, errNoSubscription
	}
	return showOwnSubscription(s), nil
}

// removeSubscription ends a subscription: one of the caller's, or of the tenant that the operator names. kuaidihelp has
// no call for that: it still pushes, but the tenant gets nothing more.
func removeSubscription(c *call) error {
	tenant := c.tenant
	if tenant == "" {
		r := c.reader()
		name := r.param("tenant")
		err := r.end()
		if err == nil {
			tenant, err = c.tenantNamed(name)
		}
		if err != nil {
			return err
		}
	} else if err := c.o.Admit(c.Context, c.tenant); err != nil {
		return err
	}

	w := c.waybill()
	removed, err := c.subscriptions.Unsubscribe(c.ctx(), tenant, w)
	if err != nil {
		return c.noLedger(err)
	}
	if !removed {
		return errNoSubscription
	}
	c.did(tenant, w.CPCode+" "+w.Code, 1)
	return nil
}

// waybill is the one that a path names. The path may name its brand by an alias.
func (c *call) waybill() event.Waybill {
	return event.Waybill{CPCode: kuaidihelp.Brand(c.Param("cp_code")), Code: c.Param("waybill")}
}

// noLedger answers a tenant that the ledger cannot be reached.
func (c *call) noLedger(err error) error {
	if c.ctx().Err() != nil {
		return errClientGone
	}
	if c.complaints.New("ledger: "+err.Error(), complaintFor) {
		c.o.Logger.Error("the ledger cannot be reached", zap.String("tenant", c.tenant), zap.Error(err))
	}
	c.Response().Header().Set(echo.HeaderRetryAfter, "1")
	return echo.NewHTTPError(http.StatusServiceUnavailable, "the ledger cannot be reached; try again")
}

// errClientGone is for a client that has gone away. The ledger has no fault then, and nobody reads the answer.
var errClientGone = echo.NewHTTPError(http.StatusServiceUnavailable, "the client has gone away")
