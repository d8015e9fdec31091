// Package chats has stand-ins for the chats that kuairelay sends messages to: servers that check each message against
// the form that the provider documents, and answer as it does. What each checks stands beside it, with its source.
package chats

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	webhook "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The token in the addresses of all chats, and the secrets of those that are signed.
const (
	Token          = "693a91f6-7aoc-4bc4-97a0-token"
	FeishuSecret   = "feishuSecretOfTheBot"
	DingTalkSecret = "SECdingtalkSecretOfTheRobot"
	WebhookSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// Chat is a stand-in.
type Chat struct {
	// URL is where messages go. It holds the token.
	URL string
	// Secret is what messages are signed with; empty: nothing.
	Secret string

	format string
	mu     sync.Mutex
	got    []Message
	refuse func(w http.ResponseWriter) bool // nil: it takes all
	posts  int
}

// Message is one that a chat took.
type Message struct {
	At   time.Time
	Text string // title and text, or the body of a webhook
	Body string
}

// Start starts a chat of a format (wecom, feishu, dingtalk, slack, webhook) until the test ends. A message in a wrong
// form is an error of the test.
func Start(t testing.TB, format string) *Chat {
	t.Helper()
	c := &Chat{format: format}
	path := map[string]string{
		"wecom":    "/cgi-bin/webhook/send?key=" + Token,
		"feishu":   "/open-apis/bot/v2/hook/" + Token,
		"dingtalk": "/robot/send?access_token=" + Token,
		"slack":    "/services/T00000000/B00000000/" + Token,
		"webhook":  "/hooks/" + Token,
	}[format]
	c.Secret = map[string]string{"feishu": FeishuSecret, "dingtalk": DingTalkSecret, "webhook": WebhookSecret}[format]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		c.mu.Lock()
		refuse := c.refuse
		c.posts++
		c.mu.Unlock()
		if refuse != nil && refuse(w) {
			return
		}
		text, wrong := c.check(r, body)
		if wrong != "" {
			t.Errorf("%s: %s: %s", format, wrong, body)
		}
		c.answer(w, Message{At: time.Now(), Text: text, Body: string(body)})
	}))
	t.Cleanup(server.Close)
	c.URL = server.URL + path
	return c
}

// Config is the receiver of a config that leads here, without the end of the mapping.
func (c *Chat) Config() string {
	out := fmt.Sprintf("{to: '%s', format: %s", c.URL, c.format)
	if c.Secret != "" {
		out += ", secret: " + c.Secret
	}
	return out
}

// Refuse has each request answered by a function, if that returns true.
func (c *Chat) Refuse(by func(w http.ResponseWriter) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = by
}

// Messages are those that were taken.
func (c *Chat) Messages() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// Posts is how many requests came.
func (c *Chat) Posts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.posts
}

// perMinute is how many messages each provider takes of a robot: 20 of WeCom and DingTalk, 100 of Feishu; Slack takes
// one a second.
var perMinute = map[string]int{"wecom": 20, "dingtalk": 20, "feishu": 100, "slack": 60, "webhook": 1 << 30}

// answer takes a message, unless there were too many.
func (c *Chat) answer(w http.ResponseWriter, m Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	recent := 0
	for _, other := range c.got {
		if m.At.Sub(other.At) < time.Minute {
			recent++
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if recent >= perMinute[c.format] {
		_, _ = io.WriteString(w, TooMany(c.format))
		return
	}
	c.got = append(c.got, m)
	switch c.format {
	case "wecom", "dingtalk":
		_, _ = io.WriteString(w, `{"errcode":0,"errmsg":"ok"}`)
	case "feishu":
		_, _ = io.WriteString(w, `{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}`)
	case "slack":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "ok")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// TooMany is what a provider answers to too many messages, with status 200.
func TooMany(format string) string {
	return map[string]string{
		"wecom":    `{"errcode":45009,"errmsg":"api freq out of limit, hint: [1719000000], from ip: 1.2.3.4"}`,
		"dingtalk": `{"errcode":660026,"errmsg":"send too fast"}`,
		"feishu":   `{"code":11232,"data":{},"msg":"frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]"}`,
	}[format]
}

// check returns the text of a request, and what is wrong with its form.
func (c *Chat) check(r *http.Request, body []byte) (text, wrong string) {
	kind := r.Header.Get("Content-Type")
	switch {
	case r.Method != http.MethodPost:
		return "", "it is a " + r.Method
	case !strings.HasPrefix(kind, "application/json"):
		return "", "its content type is " + kind
	case !strings.Contains(r.URL.String(), Token):
		return "", "its address has not the token"
	}
	switch c.format {
	case "wecom":
		return weCom(body)
	case "feishu":
		return feishu(body)
	case "dingtalk":
		return dingTalk(r.URL.Query(), body)
	case "slack":
		return slack(body)
	}
	hook, err := webhook.NewWebhook(WebhookSecret)
	if err == nil {
		err = hook.Verify(body, r.Header)
	}
	if err != nil {
		return "", err.Error()
	}
	return string(body), ""
}

// strictly decodes a body that has these fields and no other.
func strictly(body []byte, into any) string {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err.Error()
	}
	return ""
}

// weCom checks a message in markdown: its content has at most 4096 bytes of UTF-8
// (https://developer.work.weixin.qq.com/document/path/91770).
func weCom(body []byte) (text, wrong string) {
	var m struct {
		MsgType  string `json:"msgtype"`
		Markdown struct {
			Content string `json:"content"`
		} `json:"markdown"`
	}
	wrong = strictly(body, &m)
	switch {
	case wrong != "":
	case m.MsgType != "markdown" || m.Markdown.Content == "":
		wrong = "it is no markdown"
	case len(m.Markdown.Content) > 4096:
		wrong = fmt.Sprintf("its content has %d bytes", len(m.Markdown.Content))
	}
	return m.Markdown.Content, wrong
}

// feishu checks a post of a custom bot: at most 20 KB; timestamp (s) of the last hour, and as sign the base64 of
// HMAC-SHA256 of nothing, with timestamp, newline and secret as key
// (https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot).
func feishu(body []byte) (text, wrong string) {
	var m struct {
		Timestamp string `json:"timestamp"`
		Sign      string `json:"sign"`
		MsgType   string `json:"msg_type"`
		Content   struct {
			Post map[string]struct {
				Title   string `json:"title"`
				Content [][]struct {
					Tag  string `json:"tag"`
					Text string `json:"text"`
				} `json:"content"`
			} `json:"post"`
		} `json:"content"`
	}
	wrong = strictly(body, &m)
	switch {
	case wrong != "":
	case len(body) > 20_000:
		wrong = fmt.Sprintf("it has %d bytes", len(body))
	case m.MsgType != "post" || len(m.Content.Post) != 1:
		wrong = "it is no post in one language"
	case !recent(m.Timestamp, time.Second):
		wrong = "its timestamp is " + m.Timestamp
	case m.Sign != sign(m.Timestamp+"\n"+FeishuSecret, ""):
		wrong = "its sign is wrong"
	}
	for language, post := range m.Content.Post {
		if language != "zh_cn" && language != "en_us" {
			wrong = "its language is " + language
		}
		text = post.Title
		for _, paragraph := range post.Content {
			for _, part := range paragraph {
				if part.Tag != "text" {
					wrong = "it has a part that is " + part.Tag
				}
				text += "\n" + part.Text
			}
		}
	}
	return text, wrong
}

// dingTalk checks a message in markdown: at most 20,000 bytes, with a title and a text; timestamp (ms) of the last
// hour, and as sign the base64 of HMAC-SHA256 of timestamp, newline and secret, with the secret as key
// (https://open.dingtalk.com/document/robots/custom-robot-access).
func dingTalk(query url.Values, body []byte) (text, wrong string) {
	var m struct {
		MsgType  string `json:"msgtype"`
		Markdown struct {
			Title string `json:"title"`
			Text  string `json:"text"`
		} `json:"markdown"`
	}
	wrong = strictly(body, &m)
	timestamp := query.Get("timestamp")
	switch {
	case wrong != "":
	case len(body) > 20_000:
		wrong = fmt.Sprintf("it has %d bytes", len(body))
	case m.MsgType != "markdown" || m.Markdown.Title == "" || m.Markdown.Text == "":
		wrong = "it is no markdown with a title"
	case !recent(timestamp, time.Millisecond):
		wrong = "its timestamp is " + timestamp
	case query.Get("sign") != sign(DingTalkSecret, timestamp+"\n"+DingTalkSecret):
		wrong = "its sign is wrong"
	}
	return m.Markdown.Text, wrong
}

// slack checks a text of an incoming webhook: at most 40,000 characters, in which < > stand for control sequences
// (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
func slack(body []byte) (text, wrong string) {
	var m struct {
		Text        string `json:"text"`
		UnfurlLinks bool   `json:"unfurl_links"`
	}
	wrong = strictly(body, &m)
	if wrong == "" && (m.Text == "" || len(m.Text) > 40_000) {
		wrong = fmt.Sprintf("its text has %d bytes", len(m.Text))
	}
	return m.Text, wrong
}

// recent says whether a timestamp is of the last hour.
func recent(timestamp string, unit time.Duration) bool {
	n, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return false
	}
	at := time.UnixMilli(n * int64(unit/time.Millisecond))
	return time.Since(at).Abs() < time.Hour
}

func sign(key, text string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
