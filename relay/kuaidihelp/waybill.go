package kuaidihelp

import (
	"errors"
	"fmt"
	"strings"
)

// CheckCode says why a text cannot be subscribed as a waybill code; nil: it can. The provider takes lists separated by
// commas. A number from a spreadsheet may have lost digits: it would be another waybill, or none.
func CheckCode(code string) error {
	switch {
	case !isWaybill(code):
		return errors.New("must be 1 to 64 printable ASCII characters, without spaces and commas")
	case isSpreadsheetNumber(code):
		return fmt.Errorf("is %s, a number as a spreadsheet may write it, not a waybill code: "+
			"its digits may be lost; give the code as text", code)
	}
	return nil
}

// isWaybill says whether a text has 1 to 64 printable ASCII characters, none of them a space or a comma.
func isWaybill(code string) bool {
	for i := range len(code) {
		if c := code[i]; c <= ' ' || c > '~' || c == ',' {
			return false
		}
	}
	return len(code) >= 1 && len(code) <= 64
}

// isSpreadsheetNumber says whether a text is a number as a spreadsheet may write it: 7.77006E+14, 1.0, -5. Digits alone
// are none, nor is a text like 12E3: they may be a code. It uses no regular expression: that took most of the time of a
// request for a thousand waybills.
func isSpreadsheetNumber(code string) bool {
	rest := code
	sign := func() bool {
		found := rest != "" && (rest[0] == '+' || rest[0] == '-')
		if found {
			rest = rest[1:]
		}
		return found
	}
	digits := func() int {
		was := len(rest)
		rest = strings.TrimLeft(rest, "0123456789")
		return was - len(rest)
	}

	// Before the exponent, such a number has a point or a sign.
	signed, whole := sign(), digits()
	rest, point := strings.CutPrefix(rest, ".")
	fraction := 0
	if point {
		fraction = digits()
	}
	if rest == "" {
		return point && whole+fraction > 0 || signed && !point && whole > 0
	}

	if rest[0] != 'e' && rest[0] != 'E' {
		return false
	}
	rest = rest[1:]
	signedExponent := sign()
	if digits() == 0 || rest != "" {
		return false
	}
	if !signedExponent {
		return point
	}
	return fraction > 0 || whole > 0 && !point
}
