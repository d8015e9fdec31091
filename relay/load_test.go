package relay

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAMatchThatCanNeverHoldIsWarnedOfAsItIsWritten(t *testing.T) {
	t.Setenv("MATCHED", "QUESTION")
	for match, want := range map[string]string{ // the warning ends so; empty: there is none
		"status: SIGNED":             `status: "SIGNED" is not known to come; did you mean "signed"?`,
		"status: ' signed'":          `status: " signed" is not known to come; did you mean "signed"?`,
		"status: [sending, singed]":  `status[1]: "singed" is no known value; did you mean "signed"?`,
		"status: allorgraph":         `status: "allorgraph" is not known to come; did you mean "allograph"?`,
		"status: '${MATCHED}'":       `status: "${MATCHED}" is not known to come, once it is expanded`,
		"status: returned":           "",
		"status: sig*":               "",
		"status: [signed, question]": "",
		"cp_code: ZTO":               `cp_code: "ZTO" is not known to come; did you mean "zt"?`,
		"cp_code: zto":               `cp_code: "zto" is not known to come; did you mean "zt"?`,
		"cp_code: yt":                `cp_code: "yt" is not known to come; did you mean "ytsd"?`,
		"cp_code: jd":                "",
		"cp_code: [zt, sf]":          "",
	} {
		file := filepath.Join(t.TempDir(), "config.yaml")
		text := "server: {listen: '127.0.0.1:0'}\ncallback: {tokens: [q7Lr2vXe9T]}\ntenants:\n  - name: a\n" +
			"    endpoints: [{name: a, url: 'https://example.com', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}]\n" +
			"    routes: [{to: a, match: {" + match + "}}]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case want == "" && len(c.Warnings) == 0:
		case want == "" || len(c.Warnings) != 1 || !strings.HasSuffix(c.Warnings[0].Msg, want):
			t.Errorf("%s: got %v, want %q", match, c.Warnings, want)
		}
	}
}
