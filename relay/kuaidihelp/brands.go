package kuaidihelp

import (
	"slices"
	"strings"
)

// The brands that can be subscribed, by the codes of the provider's page for express.sub.msg.
const (
	STO  = "sto"  // 申通快递
	ZT   = "zt"   // 中通快递
	YTSD = "ytsd" // 圆通速递
	JT   = "jt"   // 极兔速递 (with 百世快递)
	YD   = "yd"   // 韵达快递
	DBKD = "dbkd" // 德邦快递
)

// Brands lists the brands that can be subscribed, in the order of the provider's page.
func Brands() []string { return []string{STO, ZT, YTSD, JT, YD, DBKD} }

// IsBrand says whether a canonical code is one of Brands.
func IsBrand(code string) bool { return slices.Contains(Brands(), code) }

// alike are names that the brands have elsewhere, with their codes here.
var alike = map[string]string{
	"shentong":    STO,
	"zto":         ZT,
	"zhongtong":   ZT,
	"yto":         YTSD,
	"yuantong":    YTSD,
	"jtsd":        JT,
	"jtexpress":   JT,
	"yunda":       YD,
	"deppon":      DBKD,
	"debangwuliu": DBKD,
}

// SuggestBrand names the brand that somebody may have meant by a code that is none; empty: there is no guess.
func SuggestBrand(code string) string { return alike[strings.ToLower(strings.TrimSpace(code))] }

// Brand gives the canonical code of a brand: "yt", as the rest of the platform says, is "ytsd", and "dp" and "dpkd" are
// "dbkd" (the page for express.sub.msg has the former of each, the rest of the platform the others). Case and
// surrounding space do not matter in a known code; any other code is given back untouched.
func Brand(code string) string {
	switch known := strings.ToLower(strings.TrimSpace(code)); known {
	case STO, ZT, YTSD, JT, YD, DBKD:
		return known
	case "yt":
		return YTSD
	case "dp", "dpkd":
		return DBKD
	}
	return code
}
