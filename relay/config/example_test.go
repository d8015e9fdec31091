package config_test

import (
	"fmt"

	"kuairelay/relay/config"
)

// Keys that a file leaves out have their defaults, and an endpoint has those of delivery.
func ExampleLoad() {
	unset := func(string) (string, bool) { return "", false }
	c, err := config.Load("../../config.example.yaml", config.Options{LookupEnv: unset})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range c.Tenants[0].Endpoints {
		fmt.Println(e.ID, e.Delivery.Timeout, e.Delivery.MaxInFlight)
	}
	fmt.Println(c.Callback.Tokens[0].Key) // a secret shows nothing of itself
	// Output:
	// shop/orders 15s 32
	// shop/alerts 5s 4
	// <secret>
}

// The error holds all mistakes of a file, each with its line.
func ExampleMistakes() {
	_, err := config.Load("testdata/mistakes/missing_keys.yaml", config.Options{})
	fmt.Println(err)
	// Output:
	// testdata/mistakes/missing_keys.yaml:1: callback: missing key "tokens"
	// testdata/mistakes/missing_keys.yaml:2: tenants[0]: missing key "name"
	// testdata/mistakes/missing_keys.yaml:3: tenants[0].endpoints[0]: missing key "name"
	// testdata/mistakes/missing_keys.yaml:3: tenants[0].endpoints[0]: missing key "url"
	// testdata/mistakes/missing_keys.yaml:3: tenants[0].endpoints[0]: missing key "secrets"
	// testdata/mistakes/missing_keys.yaml:5: tenants[0].routes[0]: missing key "to"
}
