package deliver

import (
	"net/http"
	"strings"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/queue"
	"kuairelay/relay/stats"
)

// count counts an outcome for the statistics. If it came late, or the store did not take it, no delivery has ended.
func count(c *stats.Counters, o queue.Outcome, ended bool, now time.Time) {
	if a := o.Attempt; a != nil {
		s := stats.Sample{What: measureOf(*a), Took: a.Duration}
		if ended && o.Kind == queue.Delivered {
			s.Waited = max(1, now.Sub(o.Delivery.Since))
		}
		c.Add(o.Delivery.Endpoint, s)
	}
	if ended && o.Kind == queue.Dead {
		c.Add(o.Delivery.Endpoint, stats.Sample{What: stats.Dead})
	}
}

// measureOf is what an attempt counts as.
func measureOf(a event.Attempt) stats.Measure {
	class, _, _ := strings.Cut(a.Err, ":")
	switch {
	case class == event.ClassTimeout:
		return stats.Timeout
	case class == event.ClassTLS:
		return stats.TLS
	case class == event.ClassForbidden:
		return stats.Egress
	case a.Err != "":
		return stats.Connect
	}

	switch a.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return stats.Denied
	}
	switch a.Status / 100 {
	case 2:
		return stats.Delivered
	case 3:
		return stats.Redirect
	case 4:
		return stats.Refused
	case 5:
		return stats.ServerError
	}
	return stats.Connect // an answer that is none
}
