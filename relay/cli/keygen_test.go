package cli_test

import (
	"strings"
	"testing"

	"kuairelay/relay/signature"
)

func TestKeygenMakesANewSecretThatSignsEachTime(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 3 {
		code, stdout, stderr := run(t, "", "keygen")
		made := strings.TrimSuffix(stdout, "\n")
		if _, err := signature.ParseKey(made); code != 0 || stderr != "" || err != nil || seen[made] {
			t.Errorf("exit %d, %q, %q, %v", code, stdout, stderr, err)
		}
		seen[made] = true
	}
	if code, _, stderr := run(t, "", "keygen", "32"); code != 2 ||
		!strings.Contains(stderr, `keygen does not take the argument "32"`) {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
