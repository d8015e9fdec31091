package subscribe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"kuairelay/relay/kuaidihelp"
)

// envelope is an answer in the provider's form, with the keys in the order of the provider's page.
type envelope struct {
	Code int             `json:"code"`
	Msg  string          `json:"msg"`
	Data json.RawMessage `json:"data"`
	UID  string          `json:"uid"`
}

// dropIn answers POST /api as the provider would: HTTP 200, with the result in the envelope. docs/tenant/subscribing.md
// has the codes of the relay's own refusals.
func (p *Proxy) dropIn(c echo.Context) error {
	e := p.answer(c)
	if len(e.Data) == 0 {
		e.Data = json.RawMessage("{}")
	}
	if e.UID == "" {
		e.UID = newToken()
	}
	return c.JSON(http.StatusOK, e)
}

func refuse(code int, format string, args ...any) envelope {
	return envelope{Code: code, Msg: fmt.Sprintf(format, args...)}
}

var tsForm = regexp.MustCompile(`^([0-9]{10}|[0-9]{13})$`)

// parameters are the fields of a call.
var parameters = []string{"app_id", "method", "ts", "sign", "data"}

// readCall reads the fields of a call, or returns the envelope that refuses it.
func (p *Proxy) readCall(c echo.Context) (map[string]string, *envelope) {
	illegal := func(why string) (map[string]string, *envelope) {
		e := refuse(kuaidihelp.CodeIllegalRequest, "%s", why)
		return nil, &e
	}
	req := c.Request()
	if req.ContentLength > maxBody {
		return illegal("the body is larger than 256 KiB")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), req.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return illegal("the body is larger than 256 KiB")
	}
	if err != nil {
		return illegal("the body was cut off")
	}

	// The body is read before its sender is known: such bodies take turns, one at a time.
	end := p.o.Store.Aside(req.Context())
	defer end()
	contentType := req.Header.Get(echo.HeaderContentType)
	body, err = kuaidihelp.Decode(contentType, body, io.ReadAll) // at most three times the body
	if err != nil {
		return illegal("the body is not a form")
	}
	call, err := kuaidihelp.FormValues(contentType, body, parameters...)
	if err != nil {
		return illegal("the body is not a form")
	}
	for _, name := range parameters {
		if call[name] == "" {
			e := refuse(kuaidihelp.CodeBadAuth, "the form has no %s", name)
			return nil, &e
		}
	}
	return call, nil
}

// answer checks key and time of a call, and does what the method asks for.
func (p *Proxy) answer(c echo.Context) envelope {
	call, refused := p.readCall(c)
	if refused != nil {
		return *refused
	}

	// The key is checked first: without one, nobody learns what else is wrong.
	now := p.current.Load()
	if !p.o.Signed(call["app_id"], call["method"], call["ts"], call["sign"]) {
		p.o.OnWrongKey(c) // the answer itself has status 200
		return refuse(kuaidihelp.CodeAuthFailed, "app_id is not a tenant of this relay, or sign is not "+
			"the lower-case md5 of app_id + method + ts + api_key with a key of that tenant")
	}
	t := now.tenant(call["app_id"])
	leave, err := p.o.Enter(c, t.Name)
	if err != nil {
		return p.counted(t, "limited", tooMuch(c, err))
	}
	defer leave()

	if !tsForm.MatchString(call["ts"]) || p.age(call["ts"]) > now.TSWindow {
		return p.counted(t, "invalid", refuse(kuaidihelp.CodeExpired,
			"ts must be the time now, in seconds or milliseconds since 1970 (10 or 13 digits)"))
	}
	if !slices.Contains(now.Methods, call["method"]) {
		return p.counted(t, "invalid", refuse(kuaidihelp.CodeNoSuchMethod,
			"the relay passes only %s", strings.Join(now.Methods, ", ")))
	}
	if call["method"] == kuaidihelp.MethodQuery {
		return p.queryLike(c, t, call["data"])
	}
	if now.Upstream == nil {
		return p.counted(t, "error", refuse(kuaidihelp.CodeSystem, notConfigured))
	}

	if call["method"] != kuaidihelp.MethodSubscribe {
		return p.pass(c, t, call["method"], call["data"])
	}
	return p.subscribeLike(c, t, call["data"])
}

// counted counts a refused call of a tenant, and returns its answer.
func (p *Proxy) counted(t *Tenant, result string, e envelope) envelope {
	p.metrics.requests.WithLabelValues(t.Name, result).Inc()
	return e
}

// age returns how far a ts is from now.
func (p *Proxy) age(ts string) time.Duration {
	n, _ := strconv.ParseInt(ts, 10, 64) // its form was checked
	at := time.Unix(n, 0)
	if len(ts) == 13 {
		at = time.UnixMilli(n)
	}
	return p.o.Store.Now().Sub(at).Abs()
}

// admitted is admit for an envelope: nil if the request may go on.
func (p *Proxy) admitted(c echo.Context, t *Tenant, waybills int) *envelope {
	return asEnvelope(c, p.admit(c, t, waybills))
}

// asEnvelope returns an HTTP error as an envelope; nil for nil.
func asEnvelope(c echo.Context, err error) *envelope {
	he, _ := errors.AsType[*echo.HTTPError](err)
	var e envelope
	switch {
	case err == nil:
		return nil
	case he.Code == http.StatusTooManyRequests:
		e = tooMuch(c, err)
	default:
		e = refuse(kuaidihelp.CodeSystem, "%v", he.Message)
	}
	return &e
}

// tooMuch returns an answer 429 as an envelope.
func tooMuch(c echo.Context, err error) envelope {
	var message any = "too many requests"
	if he, ok := errors.AsType[*echo.HTTPError](err); ok {
		message = he.Message
	}
	after := c.Response().Header().Get(echo.HeaderRetryAfter)
	return refuse(kuaidihelp.CodeTooMuch, "%v; try again in %s s", message, after)
}

// subscribeLike does what the provider's express.sub.msg does, also with more than ten waybills. The envelope has room
// for one code: that of the first waybill that failed. msg names all that failed.
func (p *Proxy) subscribeLike(c echo.Context, t *Tenant, data string) envelope {
	began := time.Now()
	end := p.o.Store.Aside(c.Request().Context())
	brand, codes, err := readSubscribeRequest([]byte(data), false)
	end()
	if err != nil {
		return p.counted(t, "invalid", refuse(kuaidihelp.CodeBadParameters, "请求参数错误: data: %v", err))
	}
	if e := p.admitted(c, t, len(codes)); e != nil {
		return *e
	}

	ctx, cancel := context.WithTimeout(c.Request().Context(), p.o.Budget)
	defer cancel()
	results, err := p.subscribe(ctx, t, brand, codes)
	if err != nil {
		return *asEnvelope(c, p.unavailable(c, t, err))
	}
	p.report(t, brand, results, began)
	return summary(results)
}

// summary sums up the results of many waybills in one answer: the first failure, or else success.
func summary(results []WaybillResult) envelope {
	answer := envelope{Msg: "成功"}
	var failed, later []string
	for _, r := range results {
		if !r.RetryAt.IsZero() {
			later = append(later, r.WaybillCode)
		}
		switch {
		case r.Result != Failed && answer.Code == 0 && answer.UID == "":
			answer.UID = r.UID
		case r.Result == Failed && len(failed) == 0:
			answer = envelope{Code: ours(r.Code), Msg: r.Msg, UID: r.UID}
		}
		if r.Result == Failed {
			failed = append(failed, r.WaybillCode)
		}
	}

	// If some failed and others did not, msg says which. It also says which are asked for again.
	if len(failed) > 0 && len(failed) < len(results) {
		answer.Msg += fmt.Sprintf(" (%d of %d: %s)", len(failed), len(results), someOf(failed))
	}
	if len(later) > 0 {
		answer.Msg += fmt.Sprintf(" (no record yet of %d of %d, the relay asks again: %s)",
			len(later), len(results), someOf(later))
	}
	return answer
}

// someOf lists the first of many waybill codes.
func someOf(codes []string) string {
	const few = 20
	list := strings.Join(codes[:min(few, len(codes))], ",")
	if len(codes) > few {
		list += ",…"
	}
	return list
}

// ours returns the provider's code for one of the relay's own.
func ours(code int) int {
	switch code {
	case codeCredentials, codeNoAnswer:
		return kuaidihelp.CodeSystem
	case codeFull:
		return kuaidihelp.CodeTooMuch
	}
	return code
}

// pass makes a call of another method with the shared credentials, and returns its answer. It waits for its turn like
// all calls.
func (p *Proxy) pass(c echo.Context, t *Tenant, method, data string) envelope {
	if e := p.admitted(c, t, 1); e != nil {
		return *e
	}

	ctx, cancel := context.WithTimeout(c.Request().Context(), p.o.Budget)
	defer cancel()
	var e kuaidihelp.Envelope
	var err error
	j := newJob(func(running context.Context) {
		e, err = p.callInTurn(ctx, running, method, []byte(data))
	})
	if !p.calls.put(t.Name, j) {
		c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(p.o.Budget.Seconds()))))
		return p.counted(t, "limited", refuse(kuaidihelp.CodeTooMuch, "too many calls of this tenant wait for kuaidihelp"))
	}

	select {
	case <-j.done:
	case <-ctx.Done():
		return p.counted(t, "error", refuse(kuaidihelp.CodeSystem, "%s", noAnswer.Msg))
	}

	_, answer := verdict(e, err)
	p.o.Logger.Info("call passed to kuaidihelp",
		zap.String("tenant", t.Name), zap.String("method", method), zap.Int("code", answer.Code))
	if err != nil || kuaidihelp.CredentialsRefused(e.Code) {
		return p.counted(t, "error", envelope{Code: ours(answer.Code), Msg: answer.Msg})
	}
	return envelope{Code: e.Code, Msg: e.Msg, Data: e.Data, UID: e.UID}
}

// callInTurn makes a call when its turn among those of all replicas has come. It makes none if ctx or running, the
// context of Run, has ended by then.
func (p *Proxy) callInTurn(ctx, running context.Context, method string, data []byte) (kuaidihelp.Envelope, error) {
	wait, err := p.o.Store.ReserveCall(ctx)
	if err != nil {
		return kuaidihelp.Envelope{}, err
	}
	if !pause(ctx, wait) || running.Err() != nil {
		return kuaidihelp.Envelope{}, context.Canceled
	}
	return p.call(ctx, method, data)
}
