package console

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	xlanguage "golang.org/x/text/language"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
)

// language of the pages.
type language string

const (
	english language = "en"
	chinese language = "zh"
)

var (
	languages = []language{english, chinese}
	// matcher finds the best of languages, in their order, for what a browser asks for.
	matcher = xlanguage.NewMatcher([]xlanguage.Tag{xlanguage.English, xlanguage.SimplifiedChinese})
)

// name of the language, in itself.
func (l language) name() string {
	if l == chinese {
		return "中文"
	}
	return "English"
}

// tag is the language as HTML has it.
func (l language) tag() string {
	if l == chinese {
		return "zh-CN"
	}
	return "en"
}

// text is a text with what stands in its places. A key that there is not is a mistake that a test finds.
func (l language) text(key string, args ...any) string {
	both, ok := texts[key]
	if !ok {
		return "⟪" + key + "⟫"
	}
	text := both.en
	if l == chinese {
		text = both.zh
	}
	if len(args) > 0 {
		return fmt.Sprintf(text, args...)
	}
	return text
}

// sentences are several as one text: Chinese has no space between them.
func (v *visit) sentences(all ...string) string {
	if v.look.language == chinese {
		return strings.Join(all, "")
	}
	return strings.Join(all, " ")
}

func (l language) has(key string) bool {
	_, ok := texts[key]
	return ok
}

// These cookies keep what the reader has chosen.
const (
	languageCookie = "kuairelay-lang"
	zoneCookie     = "kuairelay-tz"
	colorCookie    = "kuairelay-colors"
	keptFor        = 365 * 24 * time.Hour
)

// language is what the reader has chosen, else what the browser asks for, else the config's.
func (v *visit) language() language {
	chosen := v.chosen("lang", languageCookie, func(s string) bool { return slices.Contains(languages, language(s)) })
	if chosen != "" {
		return language(chosen)
	}
	asked := v.Request().Header.Get("Accept-Language")
	if tags, _, err := xlanguage.ParseAcceptLanguage(asked); err == nil && len(tags) > 0 {
		if _, at, sure := matcher.Match(tags...); sure != xlanguage.No {
			return languages[at]
		}
	}
	if language(v.settings.Load().Language) == chinese {
		return chinese
	}
	return english
}

// chosen is what the query says, which is then kept in a cookie, or else the cookie. Empty: the reader has chosen
// nothing that is there.
func (v *visit) chosen(parameter, cookie string, there func(string) bool) string {
	if now := v.QueryParam(parameter); now != "" && there(now) {
		v.SetCookie(&http.Cookie{
			Name: cookie, Value: now, Path: v.side.base + "/", MaxAge: int(keptFor.Seconds()),
			SameSite: http.SameSiteLaxMode, Secure: v.secure(),
		})
		return now
	}
	if c, err := v.Cookie(cookie); err == nil && there(c.Value) {
		return c.Value
	}
	return ""
}

// zones are those that a reader may choose. local is the browser's, which app.js tells.
var zones = []string{localZone, "UTC", "Asia/Shanghai"}

const (
	localZone       = "local"
	localZoneCookie = "kuairelay-local-tz"
)

// timeZone is where times are shown.
func (v *visit) timeZone() (zone *time.Location, name string) {
	name = v.chosen("tz", zoneCookie, func(s string) bool { return s == localZone || loadZone(s) != nil })
	if name == "" && v.settings.Load().Zone != nil {
		return v.settings.Load().Zone, v.settings.Load().Zone.String()
	}
	if name == "" || name == localZone {
		if c, err := v.Cookie(localZoneCookie); err == nil {
			if z := loadZone(c.Value); z != nil {
				return z, localZone
			}
		}
		return time.UTC, localZone
	}
	return loadZone(name), name
}

// colors are those that a reader may choose. both is what the system has: it is the default.
var colors = []string{bothColors, "light", "dark"}

const bothColors = "both"

// color is what the reader has chosen.
func (v *visit) color() string {
	return cmp.Or(v.chosen("colors", colorCookie, func(s string) bool { return slices.Contains(colors, s) }), bothColors)
}

// loadZone is a time zone by its name; nil: there is none.
func loadZone(name string) *time.Location {
	if len(name) > 64 || name == "" || name == "Local" {
		return nil
	}
	z, err := time.LoadLocation(strings.ReplaceAll(name, "%2F", "/")) // as a browser writes it into a cookie
	if err != nil {
		return nil
	}
	return z
}

// moment is a time as a page shows it.
type moment struct {
	ISO   string // for <time>; empty: there is no such time
	Text  string // in the reader's zone: the time of today, with the date otherwise
	Exact string // in UTC, to the millisecond
	Ago   string
}

// moment shows a time.
func (v *visit) moment(at time.Time) moment {
	if at.IsZero() {
		return moment{}
	}
	here := at.In(v.zone)
	now := v.now.In(v.zone)
	layout := "2006-01-02 15:04:05"
	switch {
	case here.Format(time.DateOnly) == now.Format(time.DateOnly):
		layout = "15:04:05"
	case here.Year() == now.Year():
		layout = v.t("layout.day")
	}
	return moment{
		ISO:   at.UTC().Format("2006-01-02T15:04:05.000Z"),
		Text:  here.Format(layout),
		Exact: at.UTC().Format("2006-01-02 15:04:05.000") + " UTC",
		Ago:   v.ago(at),
	}
}

// ago says how long before or after now a time is. It has no seconds, so that a page that is asked for again is the
// same.
func (v *visit) ago(at time.Time) string {
	d := v.now.Sub(at)
	switch {
	case d <= -time.Second: // less is what the clocks of Redis and this machine differ by
		return v.t("in", v.span(-d))
	case d < time.Minute:
		return v.t("just.now")
	}
	return v.t("ago", v.span(d))
}

// span is a duration in its largest units.
func (v *visit) span(d time.Duration) string {
	switch {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return v.t("span.minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return v.t("span.hours", int(d.Hours()))
	}
	return v.t("span.days", int(d.Hours()/24))
}

// count is a number with its thousands set apart.
func count[N ~int | ~int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var out []string
	for len(digits) > 3 {
		out = append([]string{digits[len(digits)-3:]}, out...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, out...), ",")
}

// word is a state with its sign, its word, and the class that colours it.
type word struct {
	Sign, Text, Class string
}

// signs of the states of deliveries, events, endpoints, replays, subscriptions and problems.
var signs = map[string]struct{ sign, class string }{
	"delivered": {"✓", "good"}, "ok": {"✓", "good"}, "done": {"✓", "good"}, "live": {"✓", "good"}, "ready": {"✓", "good"},
	"open": {"◷", "wait"}, "queued": {"◷", "wait"}, "sending": {"→", "wait"}, "running": {"→", "wait"},
	"pending":  {"◷", "wait"},
	"retrying": {"↻", "warn"}, "failing": {"~", "warn"}, "degraded": {"!", "warn"},
	"waiting": {"⋯", "wait"}, "unrouted": {"∅", "dim"}, "dismissed": {"⊘", "dim"}, "idle": {"○", "dim"},
	"removed": {"⊘", "dim"},
	"dead":    {"✗", "bad"}, "failed": {"✗", "bad"}, "breaker": {"⊘", "bad"}, "gone": {"✕", "bad"},
	"unready": {"✗", "bad"},
	"paused":  {"‖", "hold"}, "cancelled": {"✕", "dim"},
}

// state shows a state. An endpoint's state open is called breaker here.
func (v *visit) state(s string) word {
	x, ok := signs[s]
	if !ok {
		return word{Sign: "?", Text: visible(s), Class: "dim"}
	}
	return word{Sign: x.sign, Text: v.t("state." + s), Class: x.class}
}

// person is who did something: a tenant or the operator, with the name of the key if there is one.
func (v *visit) person(name, key string) string {
	who := visible(name)
	if name == event.Operator {
		who = v.t("operator")
	}
	if key != "" {
		who += " (" + visible(key) + ")"
	}
	return who
}

// breakerWord is how pages call an endpoint's state open, which a delivery and an event have, too.
func breakerWord(state string) string {
	if state == string(queue.ParkedOpen) {
		return "breaker"
	}
	return state
}

// endpointState shows the state of an endpoint.
func (v *visit) endpointState(s string) word { return v.state(breakerWord(s)) }
