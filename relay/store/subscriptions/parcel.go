package subscriptions

import (
	"strings"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/ledger"
	"kuairelay/relay/store/db"
)

// ReadParcel reads the fields u, z, q and e of an entry: what they say of its waybill, and the event that is its last
// update, empty if there is none.
func ReadParcel(w event.Waybill, fields []any, now time.Time) (parcel ledger.Parcel, last string) {
	state, _ := fields[0].(string)
	query, _ := fields[2].(string)
	last, _ = fields[3].(string)
	parcel = ledger.Parcel{Waybill: w, Subscription: upstreamStates[state], Signed: fields[1] != nil}

	// See lua/lib/silent.lua.
	if q := strings.Fields(query); len(q) == 4 {
		parcel.Asking = db.Number(q[0]) > now.UnixMilli()
		if answered := db.Number(q[1]); answered > 0 {
			parcel.HeardAt = time.UnixMilli(answered)
			parcel.Queried = true
		}
	}
	return parcel, last
}
