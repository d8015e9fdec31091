package kuaidihelp

import (
	"fmt"
	"testing"
	"time"

	"kuairelay/relay/event"
)

func TestTheNewestTrackOfAnItemIsFoundWhateverTheFormOfItsTimes(t *testing.T) {
	t.Parallel()
	received := time.Date(2026, 11, 23, 12, 0, 0, 0, event.China)
	for times, want := range map[string]string{
		`{"time":"2026-11-23 09:12:31"},{"time":"2026-11-22 20:01:10"}`:   "2026-11-23 09:12:31",
		`{"time":"2026-11-22 20:01:10"},{"time":" 2026-11-23 09:12:31 "}`: "2026-11-23 09:12:31",
		`{"time":"2026-11-23 9:12"},{"time":"2026-11-23 08:59:59"}`:       "2026-11-23 09:12:00",
		`{"time":"2026/11/23 09:12:31"},{"time":"2026-11-23T03:00:00Z"}`:  "2026-11-23 11:00:00",
		`{"time":20261123091231}`: "2026-11-23 09:12:31",
		`{"time":"2099-01-01 00:00:00"},{"time":"2026-11-23 09:12:31"}`: "2026-11-23 09:12:31", // somebody's clock is wrong
		`{"time":"2026-11-23 xx:12:31"},{"time":"2026-11-22 20:01:10"}`: "2026-11-22 20:01:10",
		`{"time":"yesterday"}`: "",
		`{"context":"…"}`:      "",
	} {
		body := fmt.Appendf(nil, `{"type":"express_sub_msg","data":[{"waybill_code":"1","data":[%s]}]}`, times)
		got := Parse("application/json", body, received)
		if len(got.Events) != 1 {
			t.Fatalf("%s: %+v", times, got)
		}
		at := ""
		if e := got.Events[0]; !e.TrackedAt.IsZero() {
			at = e.TrackedAt.In(event.China).Format(time.DateTime)
		}
		if at != want {
			t.Errorf("%s: %q, want %q", times, at, want)
		}
	}
}
