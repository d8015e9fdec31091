package notify

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// message is what a receiver is told at one time.
type message struct {
	at       time.Time
	ended    time.Time // when what is over was last seen, as far as that is known
	receiver *Receiver
	replica  string
	opened   []Problem
	over     []keyed
	alone    bool // the replica tells by itself: Redis does not answer
	test     bool
	before   map[string]time.Time // when what is told now was last told to be over, by key
}

// Language is that of messages.
type Language string

// The languages.
const (
	English Language = "en"
	Chinese Language = "zh"
)

// words are those of messages, in both languages.
var words = map[string][2]string{
	"title":    {"kuairelay: ", "kuairelay："},
	"problem":  {"1 problem", "1 个问题"},
	"problems": {"%d problems", "%d 个问题"},
	"over":     {"%d over", "%d 个已恢复"},
	"join":     {", ", "，"},
	"critical": {"CRITICAL", "严重"},
	"warning":  {"WARNING", "警告"},
	"notice":   {"NOTICE", "提示"},
	"isover":   {"OVER", "已恢复"},
	"head":     {"%s %s: %s", "【%s】%s：%s"},
	"name":     {"%s %s", "【%s】%s"},
	"since":    {"since %s", "开始时间：%s"},
	"why":      {"why: %s", "原因：%s"},
	"do":       {"do: %s", "处理：%s"},
	"code":     {"code: %s", "代码：%s"},
	"by":       {"seen by %s", "发现该问题的副本：%s"},
	"lasted":   {"it lasted %s", "持续 %s"},
	"more":     {"and %d more: kuairelay status lists them", "另有 %d 个，用 kuairelay status 查看"},
	"alone": {"Redis does not answer, so each replica tells this by itself: it may come several times. This is %s.",
		"Redis 没有响应，各副本分别发送，因此可能重复收到。本条来自副本 %s。"},
	"test": {"test", "测试消息"},
	"testtext": {"This is a test of %s, sent by a person. Messages about problems will come here.",
		"这是 %s 的测试消息，由人工发出。今后出现问题时会发到这里。"},
}

// say gives words of a message.
func (m *message) say(what string, args ...any) string {
	text := words[what][0]
	if m.receiver.Language == Chinese {
		text = words[what][1]
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// line is a line of a message.
type line struct {
	text string
	head bool // it begins an item
}

const (
	// textMost bounds a message, in bytes: WeCom takes 4096 of markdown.
	textMost = 3600
	// partMost bounds a text of a problem, in bytes, and itemsMost the problems that a message describes.
	partMost  = 480
	itemsMost = 10
)

// title is what a message is about, in a line.
func (m *message) title() string {
	var parts []string
	switch {
	case m.test:
		parts = append(parts, m.say("test"))
	case len(m.opened) == 1:
		parts = append(parts, m.say("problem"))
	case len(m.opened) > 1:
		parts = append(parts, m.say("problems", len(m.opened)))
	}
	if len(m.over) > 0 {
		parts = append(parts, m.say("over", len(m.over)))
	}
	return m.say("title") + strings.Join(parts, m.say("join"))
}

// lines are the text below the title. What does not fit is counted. size is how many bytes a line takes.
func (m *message) lines(translate func(Language, string) string, size func(line) int) (out []line) {
	if m.test {
		return []line{{text: m.say("testtext", m.receiver.Name)}}
	}
	var items [][]line
	for i := range m.opened {
		items = append(items, m.openedLines(&m.opened[i], translate))
	}
	for _, o := range m.over {
		items = append(items, m.overLines(o.record, translate))
	}

	var last []line
	room := textMost
	if m.alone {
		last = append(last, line{text: m.say("alone", m.replica)})
		room -= size(last[0])
	}
	for i, item := range items {
		for _, l := range item {
			room -= size(l)
		}
		if i == itemsMost || room < 0 {
			last = append(last, line{text: m.say("more", len(items)-i)})
			break
		}
		out = append(out, item...)
	}
	return append(out, last...)
}

// openedLines describe a problem.
func (m *message) openedLines(p *Problem, translate func(Language, string) string) []line {
	out := []line{m.head(p.Severity, p.Code, p.Subject, translate), {text: m.text(p.What, translate)}}
	add := func(what, text string) {
		if text != "" {
			out = append(out, line{text: m.say(what, text)})
		}
	}
	if !p.Since.IsZero() {
		add("since", m.clock(p.Since))
	}
	add("why", m.text(p.Why, translate))
	add("do", m.text(p.Do, translate))
	add("by", strings.Join(p.By, ", "))
	add("code", p.Code)
	return out
}

// head is the first line about a problem: how bad it is, what it is called, and what has it, unless its name says so.
func (m *message) head(how, code, subject string, translate func(Language, string) string) line {
	name := translate(m.receiver.Language, code)
	subject = m.subject(subject, translate)
	if strings.Contains(strings.ToLower(name), strings.ToLower(subject)) {
		return line{head: true, text: m.say("name", m.say(how), name)}
	}
	return line{head: true, text: m.say("head", m.say(how), name, subject)}
}

// overLines say that a problem is over.
func (m *message) overLines(r record, translate func(Language, string) string) []line {
	out := []line{m.head("isover", r.was.Code, r.was.Subject, translate)}
	began := r.told
	if r.was.Began > 0 {
		began = time.UnixMilli(r.was.Began)
	}
	lasted := max(cmp.Or(m.ended, m.at).Sub(began), time.Second)
	return append(out, line{text: m.say("lasted", m.span(lasted))}, line{text: m.say("code", r.was.Code)})
}

// subject is that of a problem in the language of the receiver.
func (m *message) subject(subject string, translate func(Language, string) string) string {
	return cut(translate(m.receiver.Language, subject), partMost)
}

// timesIn finds times in texts, and numbersIn what may be a waybill or the number of a phone.
var (
	timesIn   = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`)
	numbersIn = regexp.MustCompile(`\d{8,}`)
)

// text is a text of a problem as it is told: in the language and the zone of the receiver, without long numbers, and
// not too long.
func (m *message) text(text string, translate func(Language, string) string) string {
	if text == "" {
		return ""
	}
	text = numbersIn.ReplaceAllStringFunc(text, shorten)
	text = translate(m.receiver.Language, text)
	text = timesIn.ReplaceAllStringFunc(text, func(at string) string {
		t, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			return at
		}
		return m.clock(t)
	})
	return cut(strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; "), partMost)
}

// shorten keeps the beginning and the end of a long number, so that it can be recognised by those who know it.
func shorten(digits string) string { return digits[:2] + "…" + digits[len(digits)-3:] }

// clock is a time in the zone of the receiver.
func (m *message) clock(at time.Time) string {
	zone := cmp.Or(m.receiver.Zone, time.UTC)
	return at.In(zone).Format("2006-01-02 15:04:05 UTC-07")
}

// span is a duration for people.
func (m *message) span(d time.Duration) string {
	units := []string{"s", "min", "h", "days"}
	if m.receiver.Language == Chinese {
		units = []string{"秒", "分钟", "小时", "天"}
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d %s", int(d.Seconds()), units[0])
	case d < time.Hour:
		return fmt.Sprintf("%d %s", int(d.Minutes()), units[1])
	case d < 48*time.Hour:
		return fmt.Sprintf("%d %s", int(d.Hours()), units[2])
	}
	return fmt.Sprintf("%d %s", int(d.Hours()/24), units[3])
}

// cut shortens a text to so many bytes, at the end of a character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := most - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// lookalikes stand for characters that make a mention or a link in one of the formats: <@all>, <!channel>, [text](url),
// https://…, and for what makes text bold.
var lookalikes = strings.NewReplacer("<", "＜", ">", "＞", "[", "［", "]", "］", "@", "＠", "://", ":／／", "*", "＊",
	"&", "＆")

// harmless is a text of somebody else that does nothing but to be read: whatever a chat makes of marks, it has none.
// The texts of problems may name what a tenant wrote into its file, or what Redis answered.
func harmless(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
	return lookalikes.Replace(text)
}

// testMessage is one that a person sends.
func (n *Notifier) testMessage(r *Receiver) message {
	return message{at: n.o.Now(), receiver: r, replica: n.o.Replica, test: true}
}

// keysOf are those of the problems that a message tells of, in order.
func (m *message) keysOf() (keys []string) {
	for _, p := range m.opened {
		keys = append(keys, fmt.Sprint(p.key(), " ", p.Since.UnixMilli()))
	}
	for _, o := range m.over {
		keys = append(keys, fmt.Sprint(o.key, " ", o.told.UnixMilli()))
	}
	slices.Sort(keys)
	return keys
}
