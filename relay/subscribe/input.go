package subscribe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"kuairelay/relay/kuaidihelp"
)

// maxWaybills is how many waybills one request may name, maxBody its largest body in bytes.
const (
	maxWaybills = 1000
	maxBody     = 256 << 10
)

// subscribeRequest is the body of a request, and the `data` of kuaidihelp's own.
type subscribeRequest struct {
	CPCode       string `json:"cp_code" doc:"brand, by any of its names"`
	WaybillCodes codes  `json:"waybill_codes" doc:"each of 1 to 64 printable ASCII characters"`
}

// codes are waybill codes: a JSON list, in which numbers count by their digits, or one text with commas.
type codes []string

// JSONSchema says what a client may send.
func (codes) JSONSchema() map[string]any {
	text := map[string]any{"type": "string"}
	list := map[string]any{"type": "array", "items": text, "minItems": 1, "maxItems": maxWaybills}
	return map[string]any{"anyOf": []any{list, map[string]any{"type": "string", "description": "separated by commas"}}}
}

// UnmarshalJSON takes both forms.
func (c *codes) UnmarshalJSON(text []byte) error {
	var joined string
	if json.Unmarshal(text, &joined) == nil {
		*c = strings.Split(joined, ",")
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal(text, &list) != nil {
		return errCodes
	}
	for i, item := range list {
		var code string
		var digits json.Number
		switch {
		case json.Unmarshal(item, &code) == nil:
		case json.Unmarshal(item, &digits) == nil:
			code = digits.String()
			if strings.Trim(code, "0123456789") != "" {
				return fmt.Errorf("%w[%d] is %s, a number that is not only digits; give the code as text", errNumber, i, code)
			}
		default:
			return errCodes
		}
		*c = append(*c, code)
	}
	return nil
}

var (
	errCodes  = errors.New("waybill_codes must be a list of texts, or one text that separates them by commas")
	errNumber = errors.New("waybill_codes")
	brandForm = regexp.MustCompile(`^[!-~]{1,32}$`)
)

// readSubscribeRequest reads and checks a body. It returns the canonical brand, and each code once. The error says what
// is wrong. strict refuses unknown keys.
func readSubscribeRequest(body []byte, strict bool) (brand string, waybills []string, err error) {
	w, err := decodeSubscribeRequest(body, strict)
	if err != nil {
		return "", nil, err
	}
	return checkSubscribeRequest(w)
}

// checkSubscribeRequest checks a request, and returns the canonical brand, and each code once.
func checkSubscribeRequest(w subscribeRequest) (brand string, waybills []string, err error) {
	brand = kuaidihelp.Brand(strings.TrimSpace(w.CPCode))
	if !brandForm.MatchString(brand) {
		return "", nil, errors.New("cp_code must be a brand's code, like zt")
	}
	if !kuaidihelp.IsBrand(brand) && brand != strings.ToLower(brand) {
		return "", nil, fmt.Errorf("cp_code %s is not a brand's code: %s", brand, knownBrands(brand))
	}

	if len(w.WaybillCodes) == 0 {
		return "", nil, errors.New("waybill_codes is missing")
	}
	seen := map[string]bool{}
	for i, code := range w.WaybillCodes {
		code = strings.TrimSpace(code)
		if code == "" {
			return "", nil, fmt.Errorf("waybill_codes[%d] is empty", i)
		}
		if err := kuaidihelp.CheckCode(code); err != nil {
			return "", nil, fmt.Errorf("waybill_codes[%d] %w", i, err)
		}
		if !seen[code] {
			seen[code] = true
			waybills = append(waybills, code)
		}
	}
	if len(waybills) > maxWaybills {
		return "", nil, fmt.Errorf("waybill_codes has %d codes, and %d is the most", len(waybills), maxWaybills)
	}
	return brand, waybills, nil
}

// decodeSubscribeRequest reads the JSON of a body, which is one object.
func decodeSubscribeRequest(body []byte, strict bool) (subscribeRequest, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if strict {
		d.DisallowUnknownFields()
	}
	var w subscribeRequest
	if err := d.Decode(&w); err != nil {
		return subscribeRequest{}, explain(err)
	}
	if d.More() {
		return subscribeRequest{}, errors.New("more than one JSON object")
	}
	return w, nil
}

// explain turns an error of the decoder into what is wrong with the body.
func explain(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return fmt.Errorf("%s must be a text, not a %s", kind.Field, kind.Value)
	case errors.Is(err, errCodes), errors.Is(err, errNumber), strings.HasPrefix(err.Error(), "json: unknown field "):
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON, at byte %d", syntax.Offset)
	}
	return errors.New("not a JSON object")
}

// knownBrands lists the brands of the provider's page, and the one that was probably meant.
func knownBrands(brand string) string {
	known := "kuaidihelp's page lists " + strings.Join(kuaidihelp.Brands(), ", ")
	if meant := kuaidihelp.SuggestBrand(brand); meant != "" {
		known += "; did you mean " + meant + "?"
	}
	return known
}

// warning warns a tenant of a request that may never match an update, but may be right: the set of brands is open, and
// codes are compared letter by letter. Empty: there is no warning.
func warning(brand, code string) string {
	var warnings []string
	if !kuaidihelp.IsBrand(brand) {
		warnings = append(warnings, "no update may ever match "+brand+": "+knownBrands(brand))
	}
	if upper := strings.ToUpper(code); upper != code {
		warnings = append(warnings, "no update for "+upper+" matches "+code+
			": small and capital letters differ, and couriers print capitals")
	}
	return strings.Join(warnings, "; ")
}
