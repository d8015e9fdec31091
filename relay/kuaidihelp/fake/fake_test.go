package fake

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

func TestEveryEncodingGivesTheSameEvents(t *testing.T) {
	t.Parallel()
	parcels := NewParcels(1, nil)
	for range 12 {
		parcel := parcels.New()
		for !parcel.Signed() {
			items := []Item{parcel.Next(), parcels.New().Update("question"), parcels.New().Update("a&b=c[%]+\"\\\n派")}
			want := parse(t, JSON, items)
			if want[0].CPCode != items[0].CPCode || want[0].WaybillCode != parcel.WaybillCode ||
				!reflect.DeepEqual(want[0].Tracks, items[0].Tracks) || want[0].Bare {
				t.Errorf("the event of %+v is %+v", items[0], want[0])
			}
			for _, encoding := range Encodings() {
				if encoding == Object {
					if got := parse(t, Object, items[:1]); got[0].ID != want[0].ID {
						t.Errorf("object: id %s, want %s", got[0].ID, want[0].ID)
					}
					continue
				}
				for i, got := range parse(t, encoding, items) {
					got.Data = want[i].Data // the same content, as the id says, perhaps with other escapes
					if !reflect.DeepEqual(got, want[i]) {
						t.Errorf("%s: item %d is\n%+v, want\n%+v", encoding, i, got, want[i])
					}
				}
			}
		}
	}
}

func TestOnlyBracketsCannotSayThatThereAreNoTracks(t *testing.T) {
	t.Parallel()
	items := []Item{{WaybillCode: "1", CPCode: "zt", Status: "sending"}}
	want := parse(t, JSON, items)[0]
	for _, encoding := range Encodings() {
		got := parse(t, encoding, items)[0]
		if (got.ID == want.ID) == (encoding == PHP) || got.Tracks != nil || !got.Bare || got.WaybillCode != "1" {
			t.Errorf("%s: %+v, want %+v", encoding, got, want)
		}
	}
}

func TestEncodeRefusesWhatItCannotWrite(t *testing.T) {
	t.Parallel()
	for encoding, items := range map[string][]Item{"xml": make([]Item, 1), "": nil, Object: make([]Item, 2)} {
		if _, body, err := Encode(encoding, items); err == nil || body != nil {
			t.Errorf("%q with %d items: %s, %v", encoding, len(items), body, err)
		}
	}
	for _, encoding := range []string{JSON, JSONString, Form, Multipart} {
		if events := parse(t, encoding, nil); len(events) != 0 {
			t.Errorf("%s of no items has %d", encoding, len(events))
		}
	}
}

func TestAParcelGoesFromCollectedToSigned(t *testing.T) {
	t.Parallel()
	parcels := NewParcels(7, []string{"zt", "yt"})
	seen := map[string]int{}
	codes := map[string]bool{}
	for range 500 {
		parcel := parcels.New()
		if codes[parcel.WaybillCode] {
			t.Fatalf("waybill %s twice", parcel.WaybillCode)
		}
		codes[parcel.WaybillCode] = true
		seen[parcel.CPCode]++
		var statuses []string
		for !parcel.Signed() {
			item := parcel.Next()
			statuses = append(statuses, item.Status)
			if len(item.Tracks) != len(statuses) || item.Tracks[0].Status != item.Status {
				t.Fatalf("the tracks of update %d are %+v", len(statuses), item.Tracks)
			}
			if !slices.IsSortedFunc(item.Tracks, func(a, b event.Track) int { return strings.Compare(b.Time, a.Time) }) {
				t.Fatalf("tracks out of order: %+v", item.Tracks)
			}
			seen[item.Status]++
		}
		if statuses[0] != "collected" || statuses[1] != "sending" || !slices.Contains(statuses, "delivering") ||
			statuses[len(statuses)-1] != "signed" {
			t.Fatalf("the journey was %v", statuses)
		}
		if again := parcel.Next(); again.Status != "signed" {
			t.Fatalf("after its journey the parcel is %s", again.Status)
		}
	}
	for _, word := range []string{"zt", "yt", "collected", "sending", "delivering", "allograph", "question", "signed"} {
		if seen[word] == 0 {
			t.Errorf("no %s among %v", word, seen)
		}
	}
}

func TestTheSameSeedGivesTheSameUpdates(t *testing.T) {
	t.Parallel()
	take := func(seed uint64) (items []Item) {
		for item := range NewParcels(seed, nil).Updates(5) {
			if items = append(items, item); len(items) == 300 {
				break
			}
		}
		return items
	}
	if !reflect.DeepEqual(take(3), take(3)) {
		t.Error("the same seed gave two streams")
	}
	if reflect.DeepEqual(take(3), take(4)) {
		t.Error("two seeds gave one stream")
	}
	tracks := map[string]int{}
	for i, item := range take(3) {
		if len(item.Tracks) != tracks[item.WaybillCode]+1 {
			t.Fatalf("update %d of the stream is out of its parcel's order", i)
		}
		tracks[item.WaybillCode]++
	}
	if len(tracks) < 20 {
		t.Errorf("300 updates are of %d parcels", len(tracks))
	}
}

func TestPushPostsTheCallbackAndGivesTheAnswer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "text/x" || string(body) != "hello" {
			t.Errorf("%s %s %q", r.Method, r.Header.Get("Content-Type"), body)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "failure"+strings.Repeat(" ", 5000))
	}))
	t.Cleanup(server.Close)
	status, answer, err := Push(t.Context(), server.Client(), server.URL, "text/x", []byte("hello"))
	if status != 503 || strings.TrimSpace(answer) != "failure" || len(answer) != maxAnswer || err != nil {
		t.Errorf("status %d, answer of %d bytes, %v", status, len(answer), err)
	}
}

func TestPushFailsWithoutNamingTheToken(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, address := range []string{"http://127.0.0.1:1/callback/hush", "http://[::1/hush", "hush"} {
		status, _, err := Push(ctx, nil, address, "", nil)
		if err == nil || status != 0 || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %d, %v", address, status, err)
		}
	}
}

func parse(t *testing.T, encoding string, items []Item) []*event.Event {
	t.Helper()
	contentType, body, err := Encode(encoding, items)
	if err != nil {
		t.Fatal(err)
	}
	got := kuaidihelp.Parse(contentType, body, time.Time{})
	if len(got.Events) != len(items) || len(got.Rejected) != 0 {
		t.Fatalf("%s: %d events, rejected %q", encoding, len(got.Events), got.Rejected)
	}
	return got.Events
}
