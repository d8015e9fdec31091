package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"kuairelay/relay/api"
)

// frame is what every page has around it.
type frame struct {
	Title   string
	Path    string // with its query, to come back to
	Version string
	In      bool
	Who     string
	Pages   []menuItem
	Banner  []problemRow // what is critical
	Now     moment
	Done    string // what the last form did; empty: there was none
	Query   string // of the search box
	Pace    int64  // ms between two looks at what has changed; 0: there is none
	Page    any

	// What the reader may choose, and has chosen.
	Languages, Zones, Colors []choice
	Other                    choice // the language to change to
	OtherTag                 string
	Zone                     string // a name, or local
	ZoneName                 string // its name in the time zone database
	Offset                   string // from UTC, like +08
	Color                    string // light, dark, or both: as the system has it
}

// menuItem is a page in the menu.
type menuItem struct {
	Path, Name, Key string
	Here            bool
	Count           string // what waits there; empty: nothing
	CountOf         string // what the count is of, for those who do not see where it stands
	Bad             bool
}

// choice is a link that chooses something.
type choice struct {
	Href, Name string
	Chosen     bool
}

// frame makes what stands around a page.
func (v *visit) frame(name string, view any) *frame {
	f := &frame{
		Title: v.title(name, view), Path: v.backPath(), Version: v.o.Version, In: v.in, Who: v.tenant,
		Now: v.moment(v.now), Query: v.searched(), Page: view, Pace: pace.Milliseconds(),
	}
	v.addChoices(f)
	if !v.in {
		return f
	}

	if v.tenant == "" {
		f.Who = v.t("operator")
	}
	if done := v.QueryParam("did"); done != "" && v.look.language.has("did."+done) {
		f.Done = v.did(done, v.QueryParams()["n"])
	}
	v.addMenu(f)

	// Asking again does not help where there is nothing, and an answer to a form has no address of its own.
	failed, isError := view.(errorView)
	if isError && failed.Status != http.StatusServiceUnavailable || v.Request().Method != http.MethodGet {
		f.Pace = 0
	}
	return f
}

// did says what a form did, with these numbers at the places of the text: few have one.
func (v *visit) did(what string, counts []string) string {
	places := strings.Split(v.t("did."+what), "%s")
	out := places[0]
	for i, rest := range places[1:] {
		if i < len(counts) {
			out += visible(counts[i])
		}
		out += rest
	}
	return out
}

// backPath is the page with its query, to come back to after a form.
func (v *visit) backPath() string {
	at := v.Request().URL
	if v.Request().Method != http.MethodGet {
		return v.side.base + "/"
	}
	query := at.Query()
	for _, passing := range []string{"lang", "tz", "colors", "part", "did", "n"} {
		query.Del(passing)
	}
	if len(query) == 0 {
		return at.Path
	}
	return at.Path + "?" + query.Encode()
}

// addMenu adds the pages, with how much waits there, and what is critical.
func (v *visit) addMenu(f *frame) {
	glance := v.o.API.Glance(v.Request().Context(), v.tenant)
	at := v.Request().URL.Path
	for _, p := range v.side.pages {
		shown := p.path == v.Path()[len(v.side.base):]
		if shown && p.fast {
			f.Pace = fastPace.Milliseconds()
		}
		if p.menu == "" {
			continue
		}
		item := menuItem{Path: v.side.base + p.path, Name: v.t(p.menu), Key: p.key}
		item.Here = shown || p.path != "/" && (at == item.Path || strings.HasPrefix(at, item.Path+"/"))
		v.addCount(&item, p.path, glance)
		f.Pages = append(f.Pages, item)
	}

	if v.Path() == v.side.base+"/" {
		return // the overview has them all
	}
	for _, p := range glance.Critical {
		f.Banner = append(f.Banner, v.problemRow(p))
	}
}

// addCount says how much waits at a page.
func (v *visit) addCount(item *menuItem, path string, glance api.Glance) {
	n := int64(0)
	switch path {
	case "/":
		n, item.CountOf, item.Bad = int64(glance.Needs), v.t("menu.of.problems"), len(glance.Critical) > 0
	case "/dead-letters":
		n, item.CountOf = glance.Dead, v.t("menu.dead")
	case "/replays":
		n, item.CountOf = int64(glance.Replays), v.t("state.running")
	case "/quarantine":
		n, item.CountOf = int64(glance.Quarantined), v.t("overview.quarantine")
	case "/config":
		if glance.ConfigRefused {
			item.Count, item.CountOf, item.Bad = "!", v.t("config.mistakes"), true
		}
	}
	if n > 0 {
		item.Count = count(n)
	}
}

// addChoices adds what the reader may choose: language, time zone, colours.
func (v *visit) addChoices(f *frame) {
	at := v.Request().URL
	with := func(key, value string) string {
		q := url.Values{}
		if v.Request().Method == http.MethodGet {
			q = at.Query()
			q.Del("did")
			q.Del("n")
			q.Del("part")
		}
		q.Set(key, value)
		return at.Path + "?" + q.Encode()
	}

	for _, l := range languages {
		c := choice{Href: with("lang", string(l)), Name: l.name(), Chosen: l == v.look.language}
		f.Languages = append(f.Languages, c)
		if !c.Chosen {
			f.Other, f.OtherTag = c, l.tag()
		}
	}

	f.Zone, f.ZoneName = v.zoneIs, v.zone.String()
	f.Offset = strings.TrimSuffix(v.now.In(v.zone).Format("-07:00"), ":00")
	shown := zones
	if !slices.Contains(zones, v.zoneIs) {
		shown = append(slices.Clone(zones), v.zoneIs)
	}
	for _, z := range shown {
		name := z
		if v.look.language.has("zone." + z) {
			name = v.t("zone." + z)
		}
		f.Zones = append(f.Zones, choice{Href: with("tz", z), Name: name, Chosen: z == v.zoneIs})
	}

	f.Color = v.color()
	for _, c := range colors {
		f.Colors = append(f.Colors, choice{Href: with("colors", c), Name: v.t("colors." + c), Chosen: c == f.Color})
	}
}

// title is what the page is called in the browser's tab.
func (v *visit) title(name string, view any) string {
	if named, ok := view.(interface{ title(*visit) string }); ok {
		return named.title(v)
	}
	return v.t("title." + name)
}
