package store_test

import (
	"fmt"
	"testing"

	"kuairelay/relay/store"
	"kuairelay/relay/store/db"
)

func TestAnEmbeddedRedisTakesPipelinesOfAnyLength(t *testing.T) {
	t.Parallel()
	d, err := db.New(db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	s := store.New(d, store.Options{})
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("tenant/endpoint-%d", i))
	}
	if all, err := s.Health(t.Context(), names, 100); err != nil || len(all) != len(names) {
		t.Errorf("%d, %v", len(all), err)
	}
}
