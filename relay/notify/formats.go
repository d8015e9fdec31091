package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"kuairelay/relay/signature"
)

// Format is that of a receiver's messages.
type Format string

// The formats, with where each is documented.
const (
	// WeCom is a robot of a group: https://developer.work.weixin.qq.com/document/path/91770. Content in markdown, at most
	// 4096 bytes of UTF-8; 20 messages a minute. <@userid> in the content mentions somebody.
	WeCom Format = "wecom"
	// Feishu is a custom bot of a group: https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot. At most 20 KB;
	// 100 messages a minute, 5 a second. The sign is the HMAC-SHA256 of nothing, with timestamp, newline and secret as its
	// key.
	Feishu Format = "feishu"
	// DingTalk is a custom robot of a group: https://open.dingtalk.com/document/robots/custom-robot-access. At most 20,000
	// bytes; 20 messages a minute, or it takes nothing for ten minutes. The sign is the HMAC-SHA256 of timestamp (ms),
	// newline and secret, with the secret as its key.
	DingTalk Format = "dingtalk"
	// Slack is an incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks. One message
	// a second. & < > are control characters (https://docs.slack.dev/messaging/formatting-message-text).
	Slack Format = "slack"
	// Webhook is a POST signed by Standard Webhooks 1.0.0.
	Webhook Format = "webhook"
)

// Formats lists them.
func Formats() []Format { return []Format{WeCom, Feishu, DingTalk, Slack, Webhook} }

// post is a request of a message.
type post struct {
	url    string
	body   []byte
	header http.Header
}

// errFormat is the error of a format that there is none of.
var errFormat = errors.New("there is no such format")

// posts makes the requests of a message: one, and for webhooks one of each type.
func (n *Notifier) posts(m *message, now time.Time) ([]post, error) {
	r := m.receiver
	if r.Format == Webhook {
		return n.webhooks(m, now)
	}

	out := post{url: r.URL}
	var body any
	switch r.Format {
	case WeCom:
		body = map[string]any{"msgtype": "markdown", "markdown": map[string]any{"content": n.marked(m, "\n")}}
	case DingTalk:
		out.url = signedByDingTalk(r.URL, r.Secret, now)
		body = map[string]any{"msgtype": "markdown", "markdown": map[string]any{
			"title": harmless(m.title()), "text": n.marked(m, "\n\n"),
		}}
	case Feishu:
		body = n.feishu(m, now)
	case Slack:
		body = map[string]any{"text": strings.ReplaceAll(n.marked(m, "\n"), "**", "*"), "unfurl_links": false}
	default:
		return nil, errFormat
	}
	var err error
	out.body, err = json.Marshal(body)
	return []post{out}, err
}

// marked is a message as text with marks: the title and the heads are bold.
func (n *Notifier) marked(m *message, newline string) string {
	bold := func(text string) string { return "**" + harmless(text) + "**" }
	out := []string{bold(m.title())}
	for _, l := range m.lines(n.o.Say, func(l line) int { return len(harmless(l.text)) + len(newline) + 4 }) {
		if l.head {
			out = append(out, bold(l.text))
		} else {
			out = append(out, harmless(l.text))
		}
	}
	return strings.Join(out, newline)
}

// feishu is a message as a post of plain texts, in which nothing is a mark.
func (n *Notifier) feishu(m *message, now time.Time) map[string]any {
	var paragraphs [][]map[string]any
	size := func(l line) int { return len(harmless(l.text)) + len(`[{"tag":"text","text":""}],`) }
	for _, l := range m.lines(n.o.Say, size) {
		paragraphs = append(paragraphs, []map[string]any{{"tag": "text", "text": harmless(l.text)}})
	}
	language := "en_us"
	if m.receiver.Language == Chinese {
		language = "zh_cn"
	}
	body := map[string]any{"msg_type": "post", "content": map[string]any{"post": map[string]any{
		language: map[string]any{"title": harmless(m.title()), "content": paragraphs},
	}}}
	if m.receiver.Secret != "" {
		timestamp := strconv.FormatInt(now.Unix(), 10)
		body["timestamp"] = timestamp
		body["sign"] = sum(timestamp+"\n"+m.receiver.Secret, "")
	}
	return body
}

// signedByDingTalk adds the signature to the address of a robot; without a secret there is none.
func signedByDingTalk(address, secret string, now time.Time) string {
	if secret == "" {
		return address
	}
	timestamp := strconv.FormatInt(now.UnixMilli(), 10)
	and := "?"
	if strings.Contains(address, "?") {
		and = "&"
	}
	return address + and + "timestamp=" + timestamp + "&sign=" + url.QueryEscape(sum(secret, timestamp+"\n"+secret))
}

// sum is the HMAC-SHA256 of a text, in base64.
func sum(key, text string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// The types of webhooks.
const (
	TypeOpened = "problem.opened"
	TypeOver   = "problem.over"
	TypeTest   = "problem.test"
)

// webhookMost bounds the problems that a webhook describes. The others are counted.
const webhookMost = 50

// webhook is the body of a webhook.
type webhook struct {
	Type      string      `json:"type"`
	Timestamp time.Time   `json:"timestamp"`
	Data      webhookData `json:"data"`
}

type webhookData struct {
	Replica  string           `json:"replica"`
	Alone    bool             `json:"alone"`
	Problems []webhookProblem `json:"problems"`
	More     int              `json:"more"`
}

type webhookProblem struct {
	Code     string    `json:"code"`
	Name     string    `json:"name"`
	Severity string    `json:"severity"`
	Subject  string    `json:"subject"`
	Since    time.Time `json:"since,omitzero"`
	What     string    `json:"what"`
	Why      string    `json:"why,omitempty"`
	Do       string    `json:"do,omitempty"`
	Replicas []string  `json:"replicas,omitempty"`
}

// webhooks are the requests of a message as webhooks.
func (n *Notifier) webhooks(m *message, now time.Time) (out []post, err error) {
	key, err := signature.ParseKey(m.receiver.Secret)
	if err != nil {
		return nil, err
	}
	add := func(kind string, problems []webhookProblem) error {
		some := problems[:min(webhookMost, len(problems))]
		body, err := json.Marshal(webhook{Type: kind, Timestamp: m.at.UTC().Truncate(time.Millisecond), Data: webhookData{
			Replica: m.replica, Alone: m.alone, Problems: some, More: len(problems) - len(some),
		}})
		if err != nil {
			return err
		}
		id := m.webhookID(kind)
		header := http.Header{}
		header.Set(signature.HeaderID, id)
		header.Set(signature.HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
		header.Set(signature.HeaderSignature, signature.Sign([]signature.Key{key}, id, now, body))
		out = append(out, post{url: m.receiver.URL, body: body, header: header})
		return nil
	}

	var opened, over []webhookProblem
	for _, p := range m.opened {
		opened = append(opened, webhookProblem{
			Code: p.Code, Name: n.o.Say(m.receiver.Language, p.Code), Severity: p.Severity,
			Subject: m.subject(p.Subject, n.o.Say), Since: p.Since.UTC(),
			What: m.text(p.What, n.o.Say), Why: m.text(p.Why, n.o.Say), Do: m.text(p.Do, n.o.Say), Replicas: p.By,
		})
	}
	for _, o := range m.over {
		p := webhookProblem{
			Code: o.was.Code, Name: n.o.Say(m.receiver.Language, o.was.Code), Severity: o.was.Severity,
			Subject: m.subject(o.was.Subject, n.o.Say),
			What:    m.text(o.was.What, n.o.Say),
		}
		if o.was.Began > 0 {
			p.Since = time.UnixMilli(o.was.Began).UTC()
		}
		over = append(over, p)
	}
	if m.test {
		err = add(TypeTest, []webhookProblem{})
	}
	if err == nil && len(opened) > 0 {
		err = add(TypeOpened, opened)
	}
	if err == nil && len(over) > 0 {
		err = add(TypeOver, over)
	}
	return out, err
}

// webhookID is the same when the same problems are told again, because an answer was lost.
func (m *message) webhookID(kind string) string {
	keys := strings.Join(m.keysOf(), "\n")
	if m.test {
		keys = fmt.Sprint(m.at.UnixNano())
	}
	sum := sha256.Sum256([]byte(kind + "\n" + keys))
	return "ntc_" + hex.EncodeToString(sum[:])
}
