package route_test

import (
	"fmt"

	"kuairelay/relay/event"
	"kuairelay/relay/route"
)

func ExampleTable_Match() {
	table, err := route.New(route.Options{Rules: []route.Rule{
		{Tenant: "shop", To: []string{"shop/orders"}},
		{Tenant: "shop", To: []string{"shop/alerts"}, Match: route.Match{Status: []string{"question"}}},
		{Tenant: "mail", To: []string{"mail/signed"}, When: `event.status == "signed"`},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}

	e := &event.Event{Type: event.TypeWaybill, WaybillCode: "777005949070187", CPCode: "sto", Status: "signed"}
	for _, c := range table.Match(e, nil) {
		fmt.Println(c.ID)
	}
	// Output:
	// shop/orders
	// mail/signed
}

// The error names every mistake with the place of its route.
func ExampleNew() {
	_, err := route.New(route.Options{Rules: []route.Rule{
		{Tenant: "shop", To: []string{"shop/orders"}, When: "event.statsu == 'signed'", Pos: "shop.yaml:12"},
	}})
	fmt.Println(err)
	// Output: shop.yaml:12: when: 1:7: event has no field statsu
}
