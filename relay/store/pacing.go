package store

import (
	"fmt"
	"math"
	"strings"
	"time"

	"kuairelay/relay/queue"
	"kuairelay/relay/store/db"
)

// pacing is the pacing of an endpoint as the scripts read it.
type pacing struct {
	rate, breaker string
	unordered     bool
}

func encodePacing(byEndpoint map[string]queue.Pacing) map[string]pacing {
	m := make(map[string]pacing, len(byEndpoint))
	for name, f := range byEndpoint {
		m[name] = pacing{rate: encodeRate(f.Rate), breaker: encodeBreaker(f.Breaker), unordered: f.Unordered}
	}
	return m
}

func (s *Store) pacingOf(endpoint string) pacing { return s.settings().pacing[endpoint] }

// burstShare is the share of a second's attempts that may begin at once: enough to make up for a late look.
const burstShare = 16

// encodeRate writes a rate as db/lua/lib/rate.lua has it: "<ms between two attempts> <burst ms>".
func encodeRate(perSecond float64) string {
	if perSecond <= 0 {
		return ""
	}
	interval, atOnce := 1000/perSecond, math.Max(1, math.Floor(perSecond/burstShare))
	return fmt.Sprintf("%.6f %.6f", interval, (atOnce-1)*interval)
}

// encodeBreaker writes a breaker as lua/settle.lua has it.
func encodeBreaker(b queue.Breaker) string {
	if b.Failures <= 0 {
		return ""
	}
	return fmt.Sprintf("%d %g %d %d %d", b.Failures, b.Ratio, b.Window.Milliseconds(), max(b.CoolOff.Milliseconds(), 1),
		max(b.MaxCoolOff.Milliseconds(), 1))
}

// readBreaker reads what lua/settle.lua says of a breaker: "open <till> <probes failed>" or "closed", nil for anything
// else.
func readBreaker(v any) *queue.BreakerChange {
	text, _ := v.(string)
	fields := strings.Fields(text)
	switch {
	case len(fields) == 3 && fields[0] == "open":
		until := time.UnixMilli(db.Number(fields[1]))
		return &queue.BreakerChange{Open: true, Until: until, Probes: int(db.Number(fields[2]))}
	case text == "closed":
		return &queue.BreakerChange{}
	}
	return nil
}
