package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/event"
)

// DeliveryRequest is what an attempt of a delivery would send now.
type DeliveryRequest struct {
	EventID  string            `json:"event_id" doc:"id of the event"`
	Endpoint string            `json:"endpoint" doc:"tenant/endpoint"`
	Method   string            `json:"method" doc:"POST"`
	URL      string            `json:"url" doc:"without its query"`
	Headers  map[string]string `json:"headers" doc:"by name; the values that the config gives are (hidden), and what each attempt makes anew is named in parentheses"`
	Body     string            `json:"body" doc:"the bytes that are signed"`
	// ChangedSince warns that an attempt before may have sent something else.
	ChangedSince bool `json:"changed_since" doc:"the config is not known to be the one of when the event was accepted: an attempt may have sent something else, to another URL"`
}

var errNoDelivery = echo.NewHTTPError(http.StatusNotFound, "there is no such delivery, or not any more")

// readRequest gives the request of a delivery, made by the code that sends it.
func readRequest(c *call) (DeliveryRequest, error) {
	r := c.reader()
	name := r.param("endpoint")
	if err := r.end(); err != nil {
		return DeliveryRequest{}, err
	}
	if name == "" {
		return DeliveryRequest{}, badf("endpoint: must name the endpoint of the delivery")
	}
	endpoint, err := c.fullName(name, c.tenant)
	if err != nil {
		return DeliveryRequest{}, echo.NewHTTPError(http.StatusNotFound, err.Error())
	}
	e, ok, err := c.events.Event(c.ctx(), c.Param("id"), c.tenant)
	if err != nil {
		return DeliveryRequest{}, c.failed("look at an event", err)
	}
	if !ok {
		return DeliveryRequest{}, errNoDelivery
	}
	at := slices.IndexFunc(e.Deliveries, func(o event.DeliveryRecord) bool { return o.Endpoint == endpoint })
	switch {
	case at < 0:
		return DeliveryRequest{}, errNoDelivery
	case len(e.Data) == 0:
		return DeliveryRequest{}, echo.NewHTTPError(http.StatusNotFound, "the data of the event is lost: nothing can be sent")
	}

	// The next attempt after one that failed is a retry.
	o := e.Deliveries[at]
	if o.State.Open() && o.Attempts > 0 {
		o.Reason = event.ReasonRetry
	}
	out, err := c.requestOf(&event.Delivery{Event: &e.Event, Endpoint: endpoint, Reason: o.Reason})
	out.ChangedSince = e.Config == "" || e.Config != c.settings.Config
	return out, err
}

// requestOf gives the request of a delivery.
func (c *call) requestOf(d *event.Delivery) (DeliveryRequest, error) {
	if c.settings.Preview == nil {
		return DeliveryRequest{}, errors.New("no way to make a request")
	}
	end := c.aside(c.ctx()) // to sign a large body takes time
	defer end()
	preview, ok := c.settings.Preview(d)
	if !ok {
		return DeliveryRequest{}, errNoDelivery
	}
	return DeliveryRequest{
		EventID:  d.Event.ID,
		Endpoint: d.Endpoint,
		Method:   preview.Method,
		URL:      withoutQuery(c.settings.endpoints[d.Endpoint].URL),
		Headers:  preview.Headers,
		Body:     strings.ToValidUTF8(string(preview.Body), "\uFFFD"),
	}, nil
}
