package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the .want files of testdata/mistakes anew")

const (
	goodSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherSecret = "whsec_b3RoZXIgdGVzdCBzZWNyZXQsIG5vIG9uZSdz"
)

// env is a LookupEnv of its own few variables.
func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func rejectBad(expr string) error {
	if strings.HasPrefix(expr, "bad") || strings.HasPrefix(expr, "not") {
		return errors.New("unknown name " + strings.TrimSpace(expr) + " (1:1)\n | bad\n | ^")
	}
	return nil
}

// TestEveryMistakeIsReportedAtOnceInFileOrder compares testdata/mistakes/NAME.yaml with the whole error in NAME.want.
func TestEveryMistakeIsReportedAtOnceInFileOrder(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/mistakes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := Options{CheckWhen: rejectBad,
				LookupEnv: env("HOST", "Expanded.Host", "TOKEN", "Expanded/Token", "EMPTY", "")}
			c, err := Load(file, options)
			var mistakes Mistakes
			if c != nil || !errors.As(err, &mistakes) {
				t.Fatalf("got %v and %v, want Mistakes", c, err)
			}
			got := strings.ReplaceAll(err.Error(), filepath.ToSlash(file), name+".yaml") + "\n"
			wantFile := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(wantFile, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(wantFile)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			for _, secret := range []string{"Expanded", "token-from-a-file", "MfKQ9", "c2hvcnQ", "***", "sk_123", "u:p",
				"has/a"} {
				if strings.Contains(got, secret) {
					t.Errorf("the error holds %q:\n%s", secret, got)
				}
			}
		})
	}
}
