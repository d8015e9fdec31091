package api

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// sampleRequest says which test event is sent.
type sampleRequest struct {
	Status string `json:"status,omitempty" doc:"an update with this status, instead of an event of type test; its data says that it is a test"`
}

// testWaybill is the waybill of an update that is a test: no courier has such a number.
const testWaybill = "TEST000000000000"

const testMessage = "A test from kuairelay: this is no update of a waybill."

// testItem is the item of an update that is a test: as kuaidihelp writes it, with test, message and endpoint added.
type testItem struct {
	Test        bool        `json:"test"`
	Message     string      `json:"message"`
	Endpoint    string      `json:"endpoint"`
	WaybillCode string      `json:"waybill_code"`
	CPCode      string      `json:"cp_code"`
	Status      string      `json:"status"`
	Tracks      []testTrack `json:"data"`
}

type testTrack struct {
	Time    string `json:"time"`
	Context string `json:"context"`
	Status  string `json:"status"`
}

// check makes the status canonical, and refuses one that is not known to come.
func (r *sampleRequest) check() error {
	if r.Status == "" {
		return nil
	}
	r.Status = kuaidihelp.Status(r.Status)
	if known := kuaidihelp.Statuses(); !slices.Contains(known, r.Status) {
		return badf("status: must be one of %s", strings.Join(known, ", "))
	}
	return nil
}

// event makes the test event for an endpoint, with an id that no other has.
func (r *sampleRequest) event(endpoint string, now time.Time) (*event.Event, error) {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	e := &event.Event{
		ID:         "evt_" + hex.EncodeToString(random),
		Type:       event.TypeTest,
		ReceivedAt: now,
		AcceptedAt: now,
		Sequence:   now.UnixMilli(),
		Data:       fmt.Appendf(nil, `{"type":"test","message":%q,"endpoint":%q}`, testMessage, endpoint),
	}
	if r.Status == "" {
		return e, nil
	}

	e.Type = event.TypeWaybill
	e.WaybillCode = testWaybill
	e.CPCode = kuaidihelp.STO
	e.Status = r.Status
	data, err := json.Marshal(testItem{
		Test:        true,
		Message:     testMessage,
		Endpoint:    endpoint,
		WaybillCode: e.WaybillCode,
		CPCode:      e.CPCode,
		Status:      e.Status,
		Tracks:      []testTrack{{Time: now.In(event.China).Format(time.DateTime), Context: "测试", Status: e.Status}},
	})
	e.Data = data
	return e, err
}
