package process

import "testing"

func TestFreePortGivesNoPortTwice(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 500 { // of 10,000: one of them would come again by chance
		port, err := FreePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %d came twice", port)
		}
		seen[port] = true
	}
}
