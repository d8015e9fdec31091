package kuaidihelp

import (
	"regexp"
	"strings"
	"testing"
)

// CheckCode is written without regular expressions. It agrees with these expressions for every text of up to six
// of these characters, and for long ones.
func TestACodeIsCheckedAsTheExpressionsForItSay(t *testing.T) {
	t.Parallel()
	code := regexp.MustCompile(`^[!-+\--~]{1,64}$`)
	number := regexp.MustCompile(
		`^([+-][0-9]+|[+-]?[0-9]*\.[0-9]+|[+-]?[0-9]+\.)$|` +
			`^[+-]?[0-9]*\.?[0-9]+[eE][+-][0-9]+$|^[+-]?[0-9]*\.[0-9]*[eE][0-9]+$`)
	check := func(text string) {
		want := code.MatchString(text) && !number.MatchString(text)
		if err := CheckCode(text); (err == nil) != want {
			t.Errorf("%q: %v, want it to be a code: %v", text, err, want)
		}
	}
	var grow func(text string, left int)
	grow = func(text string, left int) {
		check(text)
		if left > 0 {
			for _, c := range "7+-.eE" {
				grow(text+string(c), left-1)
			}
		}
	}
	grow("", 6)
	for c := range 256 {
		check(string([]byte{byte(c)}))
		check("JT" + string([]byte{byte(c)}) + "7")
	}
	for _, text := range []string{strings.Repeat("7", 64), strings.Repeat("7", 65), strings.Repeat("A", 65), "7.77006E+14",
		"12E3", "1.5e3x", "运单"} {
		check(text)
	}
}
