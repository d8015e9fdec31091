package kuaidihelp_test

import (
	"fmt"
	"time"

	"kuairelay/relay/kuaidihelp"
)

// A bad item costs its neighbours nothing.
func ExampleParse() {
	body := []byte(`{"type":"express_sub_msg","data":[
		{"waybill_code":"777005949070187","cp_code":"sto","status":"signed"},
		{"cp_code":"sto","status":"signed"}]}`)
	result := kuaidihelp.Parse("application/json", body, time.Now())

	for _, e := range result.Events {
		fmt.Println(e.CPCode, e.WaybillCode, e.Status)
	}
	for _, r := range result.Rejected {
		fmt.Println("rejected:", r.Reason)
	}
	// Output:
	// sto 777005949070187 signed
	// rejected: item 1: no waybill code
}
