package db_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"kuairelay/relay/store/db"
)

func TestAURLOfRedisThatIsReadInAnotherWayThanMeantIsRefusedWithItsCure(t *testing.T) {
	t.Parallel()
	tests := map[string]string{ // what the error holds; empty: it is right
		"redis://127.0.0.1:6379":                                     "",
		"redis://127.0.0.1:6379/":                                    "",
		"redis://127.0.0.1:6379/15":                                  "",
		"rediss://user:p%2Fa%3Fs%23s%40@h:6380/0?skip_verify=true":   "",
		"redis://:pass:word@h":                                       "",
		"unix:///run/redis@1.sock?db=1":                              "",
		"redis://:p@s1:26379?master_name=m&addr=s2:26379":            "",
		"redis://u:p@h1:6379?addr=h2:6379&addr=h3:6379":              "",
		"redis://u:p@h1:6379?client_name=relay@here":                 "",
		"redis://:2024/Sekret99@127.0.0.1:6379/0":                    "/ as %2F",
		"redis://:2024?Sekret99@127.0.0.1:6379/0":                    "? as %3F",
		"redis://:Sekret99#x@127.0.0.1:6379/0":                       "# as %23",
		"redis://:2024#Sekret99@127.0.0.1:6379/0":                    "write it as %23",
		"redis://:p@127.0.0.1:6379/0#Sekret99":                       "write it as %23",
		"redis://:Sekret99%@h":                                       "% as %25",
		"redis://:Sek@ret99@h":                                       "@ as %40",
		"redis://:Sek ret99@h":                                       "a space as %20",
		"redis://:Sekret99@h/abc":                                    "the number of a database",
		"redis://:Sekret99@h/0/1":                                    "the number of a database",
		"redis://h:6379?Sekret99=1":                                  "has an option",
		"redis://h:6379?db=Sekret99":                                 "has an option",
		"redis://h:6379?master_name=m&dial_timeout=Sekret99":         "has an option",
		"redis://h:6379?addr=h2:6379&read_timeout=Sekret99&db=first": "has an option",
	}
	for url, want := range tests {
		err := db.CheckURL(url)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
		s, newErr := db.New(db.Options{URL: url})
		if (newErr == nil) != (err == nil) {
			t.Errorf("%s: New says %v, and CheckURL %v", url, newErr, err)
		}
		if newErr == nil {
			_ = s.Close()
		}
		for _, said := range []error{err, newErr} {
			if said != nil && (strings.Contains(said.Error(), "Sek") || strings.Contains(said.Error(), "ret99") ||
				strings.Contains(said.Error(), "2024")) {
				t.Errorf("%s: a part of it is in %q", url, said)
			}
		}
	}
}

func TestTheFormsOfTheURLInTheOperatorsPageAreRead(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/operator/install.md")
	if err != nil {
		t.Fatal(err)
	}
	forms := regexp.MustCompile("(?m)^\\| .* \\| `((?:rediss?|unix)://\\S+)`").FindAllSubmatch(page, -1)
	for _, form := range forms {
		if err := db.CheckURL(string(form[1])); err != nil {
			t.Errorf("%s: it %v", form[1], err)
		}
	}
	if len(forms) != 5 {
		t.Errorf("the page has %d forms: are they found?", len(forms))
	}
}
