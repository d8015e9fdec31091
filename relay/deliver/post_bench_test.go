package deliver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"kuairelay/relay/event"
)

// BenchmarkPost compares an attempt over our own HTTP/1.1 client with one over net/http's transport: the same message,
// to the same receiver, which is net/http's and part of what is measured.
func BenchmarkPost(b *testing.B) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))
	b.Cleanup(receiver.Close)
	e := &event.Event{
		ID: "evt_4f1c", Type: event.TypeWaybill, WaybillCode: "777005949070187", Status: "delivering",
		Data: make([]byte, 1000),
	}
	for i := range e.Data {
		e.Data[i] = '0'
	}

	for _, own := range []bool{true, false} {
		name := "net/http"
		if own {
			name = "own"
		}
		b.Run(name, func(b *testing.B) {
			c := poster(b, receiver.URL, Egress{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
			if !own {
				c.other.Store(c.transport())
			}
			b.Cleanup(c.close)
			d := &event.Delivery{Event: e, Reason: event.ReasonNew}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if a := c.post(context.Background(), d, time.Now()); a.Status != http.StatusNoContent {
						b.Error(a.Status, a.Err)
						return
					}
				}
			})
		})
	}
}
