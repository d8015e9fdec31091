package console

import (
	"fmt"
	"net/http"

	"kuairelay/relay/api"
	"kuairelay/relay/kuaidihelp"
)

func (v *visit) pause() error  { return v.act("pause") }
func (v *visit) resume() error { return v.act("resume") }

// act pauses or resumes the endpoint that the path names.
func (v *visit) act(what string) error {
	if _, err := send[api.EndpointHealth](v, "POST /endpoints/{endpoint}/"+what, nil, nil, v.endpointName()); err != nil {
		return err
	}
	return v.done(what, v.endpointName())
}

// resumeView asks whether an endpoint that said that it is gone is to get everything again.
type resumeView struct {
	endpointRow
	Question string
	Text     string
}

func (r resumeView) title(*visit) string { return r.Question }

func (v *visit) askResume() error {
	e, err := ask[api.EndpointHealth](v, "GET /endpoints/{endpoint}", nil, v.endpointName())
	if err != nil {
		return err
	}
	out := resumeView{endpointRow: v.endpointRow(e), Question: v.t("resume.ask", e.Endpoint)}
	if e.State == "gone" {
		out.Question = v.t("resume.ask.gone", out.Since.Text)
	}
	out.Text = v.t("resume.text", v.many("delivery", e.Open+e.Waiting))
	return v.render(http.StatusOK, "endpoint-resume", out)
}

// testView is the page of a test: what is to be sent, and what came of it.
type testView struct {
	endpointRow
	URL     string
	Samples []option
	Result  *testResult // nil: nothing was sent yet
}

func (t testView) title(v *visit) string { return v.t("test.title", t.Name) }

// testResult is what came of a test.
type testResult struct {
	attemptRow
	Advice  string
	Answer  string
	Method  string
	URL     string
	Headers []field
	Body    string
}

func (v *visit) askTest() error { return v.showTest("", nil) }

// showTest shows the page of a test.
func (v *visit) showTest(status string, result *testResult) error {
	e, err := ask[api.EndpointHealth](v, "GET /endpoints/{endpoint}", nil, v.endpointName())
	if err != nil {
		return err
	}
	out := testView{endpointRow: v.endpointRow(e), URL: visible(e.URL), Result: result}
	out.Samples = v.options(kuaidihelp.Statuses(), status, v.statusText)
	out.Samples[0].Text = v.t("test.sample")
	return v.render(http.StatusOK, "endpoint-test", out)
}

// test sends a test event, and shows what came back.
func (v *visit) test() error {
	status := v.FormValue("status")
	body := map[string]string{}
	if status != "" {
		body["status"] = status
	}
	result, err := send[api.TestResult](v, "POST /endpoints/{endpoint}/test", nil, body, v.endpointName())
	if err != nil {
		return err
	}

	out := &testResult{Answer: visible(result.Answer)}
	out.attemptRow = v.attempt(api.Attempt{
		Status: result.Status, DurationMS: result.DurationMS, Text: result.Error,
	})
	switch {
	case result.Delivered:
		out.Class = "good"
		out.Advice = v.t("test.good")
	case result.Status == http.StatusUnauthorized || result.Status == http.StatusForbidden:
		out.Advice = v.t("test.signature")
	case result.Status == 0:
		out.Advice = v.t("test.unreachable")
	default:
		out.Advice = v.t("test.refused")
	}
	if r := result.Request; r != nil {
		out.Method, out.URL, out.Body = r.Method, visible(r.URL), visible(r.Body)
		out.Headers = headerRows(r.Headers)
	}
	return v.showTest(status, out)
}

// retry tries what waits for its next attempt at once: one event, or all of the endpoint.
func (v *visit) retry() error {
	body := map[string]any{"all": true}
	if id := v.FormValue("event_id"); id != "" {
		body = map[string]any{"event_id": id}
	}
	all, err := inParts("", actsAtOnce, func(cursor string) (portion, error) {
		body["cursor"] = cursor
		result, err := send[api.RetryResult](v, "POST /endpoints/{endpoint}/retry", nil, body, v.endpointName())
		return portion{done: result.Done, next: result.Next}, err
	})
	if err != nil {
		return err
	}
	if err := v.ended(all); err != nil {
		return err
	}
	if all.next != "" {
		return v.done("retry-some", count(all.done))
	}
	return v.done("retry", count(all.done))
}

// resend sends an event once more to an endpoint that it was owed to.
func (v *visit) resend() error {
	id, endpoint := v.FormValue("event_id"), v.FormValue("endpoint")
	_, err := send[api.Delivery](v, "POST /events/{id}/resend", nil, map[string]string{"endpoint": endpoint}, id)
	if err != nil {
		return err
	}
	return v.done("redrive", "1")
}

// wrongAnswer is an answer of the API that a page did not expect: a fault of the program.
func wrongAnswer(route string, got any) error {
	return fmt.Errorf("%s gives %T", route, got)
}
