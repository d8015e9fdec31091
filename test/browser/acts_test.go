package browser

import (
	"fmt"
	"strings"
)

// doRefused pushes so many updates of waybills of their own that orders refuses, so that each becomes a dead letter.
func doRefused(s *stage, ask struct {
	Count int
	From  int // number of the first waybill
}) (any, error) {
	s.receivers.mu.Lock()
	s.receivers.answer["orders"] = answer{Status: 422, Body: `{"error":"unknown status"}`}
	s.receivers.mu.Unlock()
	const together = 200
	for from := 0; from < ask.Count; from += together {
		var items []string
		for i := from; i < min(from+together, ask.Count); i++ {
			items = append(items, update{Waybill: fmt.Sprint(ask.From + i)}.item())
		}
		said, err := s.push(0, "application/json", `{"type":"express_sub_msg","data":[`+strings.Join(items, ",")+`]}`)
		if err != nil || said.Status != 200 {
			return nil, fmt.Errorf("%d %s: %w", said.Status, said.Body, err)
		}
	}
	return nil, nil
}

// doReceived counts the requests that a receiver got, by their reason.
func doReceived(s *stage, ask struct{ Endpoint string }) (any, error) {
	s.receivers.mu.Lock()
	defer s.receivers.mu.Unlock()
	out := map[string]int{}
	for _, r := range s.receivers.got[ask.Endpoint] {
		out[r.Headers["kuairelay-reason"]]++
	}
	return out, nil
}
