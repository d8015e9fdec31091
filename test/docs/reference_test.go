package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheReferenceIsWhatItsSourceSays(t *testing.T) {
	t.Parallel()
	for name, make := range generated {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, err := make()
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(root, reference, name))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) == want {
				return
			}
			a, b := strings.Split(string(got), "\n"), strings.Split(want, "\n")
			i := 0
			for i < min(len(a), len(b))-1 && a[i] == b[i] {
				i++
			}
			t.Errorf("%s/%s:%d is not what its source says: go run ./test/docs writes it\nit says  %s\nthe source %s",
				reference, name, i+1, a[i], b[i])
		})
	}
}
