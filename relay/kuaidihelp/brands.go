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

// alike maps names that other systems use for a brand to its code here.
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

// SuggestBrand gives the brand that an unknown code may mean; empty: there is no guess.
func SuggestBrand(code string) string { return alike[strings.ToLower(strings.TrimSpace(code))] }

// Brand gives the canonical code of a brand, which is that of the page for express.sub.msg. The rest of the platform
// says "yt" for "ytsd", and "dp" or "dpkd" for "dbkd". Case and surrounding space of a known code do not matter. Any
// other code is returned unchanged.
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
