package api

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kuairelay/relay/queue"
)

// The orders of a list of endpoints.
const (
	// SortTrouble has those first that need somebody most.
	SortTrouble = "trouble"
	// SortName goes by name.
	SortName = "name"
)

// Endpoints is a page.
type Endpoints struct {
	Endpoints []EndpointHealth `json:"endpoints" doc:"by name, or in the order of sort"`
	Next      string           `json:"next,omitempty" doc:"cursor of the next page; none: this is the end"`
	// Total and States are there if the list was asked for with sort.
	Total  int                   `json:"total,omitempty" doc:"with sort: how many endpoints all pages have together"`
	States map[EndpointState]int `json:"states,omitempty" doc:"with sort: how many there are in each state, whichever state was asked for"`
}

// endpointQuery is what a list of endpoints is asked for.
type endpointQuery struct {
	filter
	limit  int
	cursor string
	part   string // of the name; empty: any
	sort   string
}

// endpointQuery reads the parameters of a list.
func (r *reader) endpointQuery() (q endpointQuery) {
	q.limit = r.limit()
	q.cursor = r.param("cursor")
	q.part = strings.ToLower(r.param("name"))
	q.sort = r.param("sort")
	q.filter = r.filterOf("tenant", "state")
	switch {
	case r.err != nil:
	case q.State != "" && !slices.Contains(EndpointStates(), q.State):
		r.err = badf("state: must be one of %s", strings.Join(EndpointStates(), ", "))
	case !slices.Contains([]string{"", SortTrouble, SortName}, q.sort):
		r.err = badf("sort: must be %s or %s", SortTrouble, SortName)
	}
	return q
}

// names are the endpoints that a list may have, by name; removed are those that are in no config.
func (q endpointQuery) names(set *settings, removed []string) []string {
	names := set.names
	if q.Tenant != "" {
		names = slices.Sorted(slices.Values(set.endpointsOf(q.Tenant)))
	}
	if len(removed) > 0 {
		names = slices.Sorted(slices.Values(slices.Concat(names, removed)))
	}
	if q.part == "" {
		return names
	}
	var found []string
	for _, name := range names {
		if strings.Contains(strings.ToLower(name), q.part) {
			found = append(found, name)
		}
	}
	return found
}

// listEndpoints gives a page of endpoints with their health.
func listEndpoints(c *call) (Endpoints, error) {
	r := c.reader()
	q := r.endpointQuery()
	if err := r.end(); err != nil {
		return Endpoints{}, err
	}
	if q.sort != "" {
		return c.sortedEndpoints(q)
	}

	// The cursor is the last name of the page before.
	names := q.names(c.settings, c.removedOf(q.Tenant))
	at, found := slices.BinarySearch(names, q.cursor)
	if found {
		at++
	}
	names = names[at:]
	out := Endpoints{}
	if len(names) > q.limit {
		names = names[:q.limit]
		out.Next = names[q.limit-1]
	}

	health, err := c.endpoints.Health(c.ctx(), names, sample)
	if err != nil {
		return Endpoints{}, c.failed("look at endpoints", err)
	}
	out.Endpoints = c.inState(health, q.State)
	return out, nil
}

// inState shows those endpoints that are in a state (empty: in any).
func (c *call) inState(health []queue.EndpointHealth, state string) []EndpointHealth {
	out := []EndpointHealth{}
	for _, h := range health {
		x := c.showEndpoint(h)
		if state == "" || string(x.State) == state {
			out = append(out, x)
		}
	}
	return out
}

// placed is an endpoint with its place in a list.
type placed struct {
	name string
	// rank and holds are zero in a list by name.
	rank  int
	holds int64
}

func (p placed) compare(other placed) int {
	return cmp.Or(cmp.Compare(p.rank, other.rank), cmp.Compare(other.holds, p.holds), strings.Compare(p.name, other.name))
}

// cursor names the place, so that a page after it begins there also if the places of others have changed.
func (p placed) cursor() string { return fmt.Sprintf("%d.%d.%s", p.rank, p.holds, p.name) }

// readPlace reads a cursor.
func readPlace(cursor string) (p placed, err error) {
	rank, rest, _ := strings.Cut(cursor, ".")
	holds, name, ok := strings.Cut(rest, ".")
	p.name = name
	p.rank, err = strconv.Atoi(rank)
	if err == nil {
		p.holds, err = strconv.ParseInt(holds, 10, 64)
	}
	if err != nil || !ok {
		return placed{}, badf("cursor: is not one of this list")
	}
	return p, nil
}

// sortedEndpoints gives a page of a list that is chosen and sorted by the latest snapshot: that costs Redis nothing for
// the endpoints that are not on the page. The page itself is looked at anew.
func (c *call) sortedEndpoints(q endpointQuery) (Endpoints, error) {
	s := c.snapshot()
	if s.endpoints == nil {
		return Endpoints{}, c.failed("look at endpoints", s.err)
	}
	out := Endpoints{States: map[EndpointState]int{}}
	changed := c.health.changes(c.now())
	var all []placed
	for _, name := range q.names(c.settings, nil) {
		now := s.endpoints[name].EndpointHealth
		state := stateOfEndpoint(now)
		out.States[state]++
		if _, may := changed[name]; q.State != "" && string(state) != q.State && !may {
			continue
		}
		place := placed{name: name}
		if q.sort == SortTrouble {
			place.rank = troubleOf(state, now.Dead > 0)
			place.holds = now.Open + now.Waiting + now.Dead
		}
		all = append(all, place)
	}
	slices.SortFunc(all, placed.compare)
	out.Total = len(all)

	if q.cursor != "" {
		last, err := readPlace(q.cursor)
		if err != nil {
			return Endpoints{}, err
		}
		at, found := slices.BinarySearchFunc(all, last, placed.compare)
		if found {
			at++
		}
		all = all[at:]
	}
	if len(all) > q.limit {
		all = all[:q.limit]
		out.Next = all[q.limit-1].cursor()
	}

	names := make([]string, len(all))
	for i, place := range all {
		names[i] = place.name
	}
	health, err := c.health.get(c.ctx(), c.endpoints, names, c.now())
	if err != nil {
		return Endpoints{}, c.failed("look at endpoints", err)
	}
	out.Endpoints = c.inState(health, q.State)
	return out, nil
}

// troubleOf orders endpoints by what is wrong with them, the worst first. Those that need nobody come last: first those
// that work.
func troubleOf(state EndpointState, dead bool) int {
	worst := []EndpointState{
		EndpointState(queue.ParkedGone), EndpointState(queue.ParkedOpen), EndpointFailing, EndpointState(queue.ParkedPaused),
	}
	at := slices.Index(worst, state)
	switch {
	case at >= 0:
		return at
	case dead:
		return len(worst)
	case state == EndpointOK:
		return len(worst) + 1
	}
	return len(worst) + 2
}

const (
	// healthFor is how long the health of an endpoint is shown in sorted lists: whoever looks, Redis is asked once.
	healthFor = 2 * time.Second
	// actedFor is how long an endpoint that was paused or resumed is looked at for any state that a list asks for: by
	// then a snapshot has its new one.
	actedFor = time.Minute
	// healthMost bounds the endpoints in memory, of which each has up to 100 attempts.
	healthMost = 1000
)

// healthCache keeps the health of endpoints for healthFor.
type healthCache struct {
	mu sync.Mutex // held while Redis is asked, so that those who ask meanwhile get the same
	by map[string]cachedHealth

	actedMu sync.Mutex
	acted   map[string]time.Time // endpoints that were paused or resumed, and when
}

type cachedHealth struct {
	health queue.EndpointHealth
	read   time.Time
}

// get returns the health of endpoints in their order.
func (h *healthCache) get(ctx context.Context, from endpointStore, names []string, now time.Time) (
	out []queue.EndpointHealth, err error,
) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := h.changes(now)
	var missing []string
	for _, name := range names {
		one, known := h.by[name]
		if !known || now.Sub(one.read) >= healthFor || !changed[name].Before(one.read) {
			missing = append(missing, name)
		}
	}

	if len(missing) > 0 {
		read, err := from.Health(ctx, missing, sample)
		if err != nil {
			return nil, err
		}
		if h.by == nil || len(h.by)+len(read) > healthMost {
			h.keep(names, now)
		}
		for i, one := range read {
			h.by[missing[i]] = cachedHealth{health: one, read: now}
		}
	}
	for _, name := range names {
		out = append(out, h.by[name].health)
	}
	return out, nil
}

// keep forgets all but some that are fresh.
func (h *healthCache) keep(names []string, now time.Time) {
	kept := make(map[string]cachedHealth)
	for _, name := range names {
		if one, known := h.by[name]; known && now.Sub(one.read) < healthFor {
			kept[name] = one
		}
	}
	h.by = kept
}

// changed notes that somebody paused or resumed an endpoint just now.
func (h *healthCache) changed(name string, now time.Time) {
	h.actedMu.Lock()
	defer h.actedMu.Unlock()
	if h.acted == nil {
		h.acted = make(map[string]time.Time)
	}
	h.acted[name] = now
}

// changes are the endpoints that were paused or resumed a short while ago.
func (h *healthCache) changes(now time.Time) map[string]time.Time {
	h.actedMu.Lock()
	defer h.actedMu.Unlock()
	maps.DeleteFunc(h.acted, func(_ string, at time.Time) bool { return now.Sub(at) >= actedFor })
	return maps.Clone(h.acted)
}
