package fake

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"kuairelay/relay/kuaidihelp"
)

// played subscribes a parcel that plays a scenario, until a call succeeds. It returns the codes of these calls, the
// statuses that are pushed, and those of its tracks in a query.
func played(t *testing.T, s Scenario) (codes []int, pushed, known []string) {
	t.Helper()
	var mu sync.Mutex
	moved := 0
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		mu.Lock()
		defer mu.Unlock()
		for _, e := range kuaidihelp.Parse(req.Header.Get("Content-Type"), body, time.Now()).Events {
			pushed = append(pushed, e.Status)
		}
		_, _ = io.WriteString(w, "success")
	}))
	t.Cleanup(relay.Close)
	p := NewProvider(Options{AppID: "1", APIKey: "key", Callback: relay.URL, Pause: time.Millisecond,
		Scenario: func(string) Scenario { return s },
		OnPush: func(Item, string) {
			mu.Lock()
			defer mu.Unlock()
			moved++
		},
	})
	api := httptest.NewServer(p)
	t.Cleanup(api.Close)
	running := make(chan error, 1)
	go func() { running <- p.Run(t.Context()) }()
	client := &kuaidihelp.Client{URL: api.URL, AppID: "1", APIKey: "key"}
	call := func(method string) kuaidihelp.Envelope {
		e, err := client.Call(t.Context(), method, kuaidihelp.CallData("zt", []string{"77001"}))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for len(codes) == 0 || codes[len(codes)-1] != 0 {
		codes = append(codes, call(kuaidihelp.MethodSubscribe).Code)
	}

	// The journey is over when no parcel is under way any more.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		over := len(p.underWay) == 0
		p.mu.Unlock()
		if over {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("still under way after 20 s")
		}
	}
	var answer []struct{ Data []struct{ Status string } }
	if err := json.Unmarshal(call(kuaidihelp.MethodQuery).Data, &answer); err != nil || len(answer) != 1 {
		t.Fatalf("the query has %d items: %v", len(answer), err)
	}
	for _, track := range slices.Backward(answer[0].Data) {
		known = append(known, track.Status)
	}
	mu.Lock()
	defer mu.Unlock()
	if moved != len(known) {
		t.Errorf("told of %d updates, the query has %d", moved, len(known))
	}
	return codes, slices.Clone(pushed), known
}

func TestParcelsPlayTheirScenarios(t *testing.T) {
	t.Parallel()
	for _, s := range Scenarios() {
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			codes, pushed, known := played(t, s)
			end := known[len(known)-1]
			signed := slices.Index(known, kuaidihelp.StatusSigned)
			want := []int{0}
			if s == NoRecord {
				want = []int{kuaidihelp.CodeNoRecord, kuaidihelp.CodeNoRecord, 0}
			}
			if !slices.Equal(codes, want) {
				t.Errorf("the calls to subscribe were answered %v, want %v", codes, want)
			}
			lost := len(known) - len(pushed)
			if (s == LostPush) != (lost == 1) || lost > 1 {
				t.Errorf("%d of its updates were not pushed: %v of %v", lost, pushed, known)
			}
			if (s == Silent) != (signed < 0) || (s != Silent && end != kuaidihelp.StatusSigned) {
				t.Errorf("it went %v", known)
			}
			if (s == Returned) != (signed >= 0 && signed < len(known)-1) {
				t.Errorf("it went %v", known)
			}
		})
	}
}
