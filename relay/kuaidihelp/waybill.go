package kuaidihelp

import (
	"errors"
	"fmt"
	"regexp"
)

var (
	codeForm = regexp.MustCompile(`^[!-+\--~]{1,64}$`)
	// numberForm is a number as a spreadsheet writes it, or any that is not of digits alone: 7.77006E+14, 1.0, -5. A code like 12E3 may be one.
	numberForm = regexp.MustCompile(`^([+-][0-9]+|[+-]?[0-9]*\.[0-9]+|[+-]?[0-9]+\.)$|^[+-]?[0-9]*\.?[0-9]+[eE][+-][0-9]+$|^[+-]?[0-9]*\.[0-9]*[eE][0-9]+$`)
)

// CheckCode says what keeps a text from being a waybill code that can be subscribed; nil: nothing. The provider takes lists that commas
// separate. A number from a spreadsheet has lost digits: it would be another waybill, or none.
func CheckCode(code string) error {
	switch {
	case !codeForm.MatchString(code):
		return errors.New("must be 1 to 64 printable ASCII characters, without spaces and commas")
	case numberForm.MatchString(code):
		return fmt.Errorf("is %s, a number as a spreadsheet may write it, not a waybill code: its digits may be lost; give the code as text", code)
	}
	return nil
}
