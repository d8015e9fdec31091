package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// adminToken is the operator's, for the API of the relays that are measured.
const adminToken = "bench-operator-token"

// replayed is how far a replay is, as the API says.
type replayed struct {
	ID     string `json:"id"`
	State  string `json:"state"`
	Queued int    `json:"queued"`
}

// measureReplay pushes 200 callbacks a second, first alone (Calm), and then while everything that was delivered before,
// 100,000 events, is replayed at 1,000 a second.
func measureReplay(ctx context.Context, s *session) (f figures, err error) {
	st, err := s.newRelay(ctx, "replay", "everysec", oneTenant(s.answering(1)))
	if err != nil {
		return f, err
	}
	defer st.close()
	if _, err := s.measure(ctx, st, 1, loadOptions{Callers: callers, Events: s.backlog(), Items: 50}); err != nil {
		return f, err
	}
	news := loadOptions{Rate: 200, Duration: 2 * s.Duration}
	alone, err := s.measure(ctx, st, 1, news)
	if err != nil {
		return f, err
	}
	r, err := st.replays(ctx, http.MethodPost, "", map[string]any{"rate": 1000})
	if err != nil {
		return f, err
	}
	for r.Queued == 0 && r.State == "running" { // until it has begun
		if r, err = st.replays(ctx, http.MethodGet, "/"+r.ID, nil); err == nil {
			err = pause(ctx, 20*time.Millisecond)
		}
		if err != nil {
			return f, err
		}
	}
	if f, err = s.measure(ctx, st, 1, news); err != nil {
		return f, err
	}
	f.Calm = alone.Latency
	if r, err = st.replays(ctx, http.MethodGet, "/"+r.ID, nil); err != nil {
		return f, err
	}
	if r.State != "running" && !s.Quick {
		return f, fmt.Errorf("the replay was %s before the measurement was: it says little", r.State)
	}
	for deadline := time.Now().Add(10 * time.Minute); r.State == "running"; {
		if r, err = st.replays(ctx, http.MethodGet, "/"+r.ID, nil); err == nil {
			err = pause(ctx, 100*time.Millisecond)
		}
		if err != nil || time.Now().After(deadline) {
			return f, st.blame(fmt.Errorf("the replay does not end: %+v, %w", r, err))
		}
	}
	if least := s.backlog() + alone.Events; r.Queued < least {
		return f, fmt.Errorf("%d deliveries were replayed instead of %d at least", r.Queued, least)
	}
	return f, nil
}

// replays calls the operator's API.
func (st *stand) replays(ctx context.Context, method, path string, body any) (r replayed, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return r, err
	}
	req, err := http.NewRequestWithContext(ctx, method, st.admin+"/admin/v1/replays"+path, bytes.NewReader(text))
	if err != nil {
		return r, err
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		return r, fmt.Errorf("%s replays: %s", method, resp.Status)
	}
	return r, json.NewDecoder(resp.Body).Decode(&r)
}
