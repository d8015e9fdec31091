package api

import (
	"slices"
	"strings"
	"time"

	"kuairelay/relay/ledger"
)

// SubscriptionSummary sums up the ledger, within what the caller may see.
type SubscriptionSummary struct {
	Tenants  []TenantSubscriptions `json:"tenants" doc:"by name; a tenant sees itself"`
	Next     string                `json:"next,omitempty" doc:"cursor of the next page; none: this is the end"`
	Upstream *Upstream             `json:"upstream,omitempty" doc:"how it stands with kuaidihelp; for the operator only"`
}

// TenantSubscriptions sums up what a tenant has subscribed.
type TenantSubscriptions struct {
	Tenant      string               `json:"tenant" doc:"name of the tenant"`
	Subscribed  int                  `json:"subscribed" doc:"how many subscriptions it has"`
	States      map[ledger.State]int `json:"states" doc:"how many are pending, live, and failed"`
	AtLeast     bool                 `json:"at_least,omitempty" doc:"not all were looked at: there are at least so many in each state"`
	DailyQuota  int                  `json:"daily_quota,omitempty" doc:"waybills that it may subscribe a day, China time; missing: any number"`
	Today       int                  `json:"today" doc:"waybills of the quota that are used today; 0 without a quota"`
	QuotaEndsAt time.Time            `json:"quota_resets_at,omitzero" doc:"when the next day begins, with a quota"`
	Removed     bool                 `json:"removed,omitempty" doc:"it is in no config: its subscriptions stay until they expire, and nothing is routed by them"`
}

// Upstream is how it stands with kuaidihelp, as the replica that answers knows it.
type Upstream struct {
	Configured         bool    `json:"configured" doc:"whether there is an account"`
	CredentialsRefused bool    `json:"credentials_refused" doc:"whether kuaidihelp refused the account at the last call"`
	Rate               float64 `json:"rate" doc:"calls a second at most, of all replicas"`
	Waiting            int     `json:"waiting" doc:"calls that wait for their turn in the replica that answers"`
}

// subscriptionsCounted is how many subscriptions one answer looks at to count them by their states.
const subscriptionsCounted = 10_000

// chinaTime is where days begin and end for kuaidihelp.
var chinaTime = time.FixedZone("UTC+8", 8*60*60)

// summarizeSubscriptions counts the subscriptions of tenants. Totals are always whole; states are counted until
// subscriptionsCounted were looked at.
func summarizeSubscriptions(c *call) (SubscriptionSummary, error) {
	r := c.reader()
	limit := r.limit()
	cursor := r.param("cursor")
	f := r.filterOf("tenant")
	if err := r.end(); err != nil {
		return SubscriptionSummary{}, err
	}
	if c.tenant != "" {
		if err := c.o.Admit(c.Context, c.tenant); err != nil {
			return SubscriptionSummary{}, err
		}
	}

	out := SubscriptionSummary{Tenants: []TenantSubscriptions{}}
	left := subscriptionsCounted
	all, err := c.tenantsByName()
	if err != nil {
		return SubscriptionSummary{}, c.failed("list tenants with subscriptions", err)
	}
	for _, t := range all {
		if f.Tenant != "" && t.Name != f.Tenant || t.Name <= cursor {
			continue
		}
		if len(out.Tenants) == limit {
			out.Next = out.Tenants[limit-1].Tenant
			break
		}
		counts, err := c.subscriptions.CountSubscriptions(c.ctx(), t.Name, left)
		if err != nil {
			return SubscriptionSummary{}, c.failed("count subscriptions", err)
		}
		left -= counts.Looked
		out.Tenants = append(out.Tenants, c.summary(t, counts))
	}

	if c.tenant == "" {
		up := c.o.Upstream()
		up.Rate = c.settings.UpstreamRate
		out.Upstream = &up
	}
	return out, nil
}

// tenantsByName are those that the caller may see, sorted: for the operator also those that were removed.
func (c *call) tenantsByName() ([]*Tenant, error) {
	removed, err := c.removedTenants()
	if err != nil {
		return nil, err
	}
	var all []*Tenant
	for _, name := range removed {
		all = append(all, &Tenant{Name: name})
	}
	for i := range c.settings.Tenants {
		if t := &c.settings.Tenants[i]; c.tenant == "" || t.Name == c.tenant {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *Tenant) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (c *call) summary(t *Tenant, counts ledger.Counts) TenantSubscriptions {
	out := TenantSubscriptions{
		Tenant:     t.Name,
		Subscribed: counts.Total,
		States:     map[ledger.State]int{},
		AtLeast:    counts.Looked < counts.Total,
		DailyQuota: t.DailyQuota,
		Removed:    c.settings.tenants[t.Name] == nil,
	}
	for _, state := range []ledger.State{ledger.Pending, ledger.Live, ledger.Failed} {
		out.States[state] = counts.States[state]
	}
	if t.DailyQuota > 0 {
		day := c.now().In(chinaTime)
		out.Today = counts.Today
		out.QuotaEndsAt = utc(time.Date(day.Year(), day.Month(), day.Day()+1, 0, 0, 0, 0, chinaTime))
	}
	return out
}
