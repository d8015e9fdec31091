package kuaidihelp

import "strings"

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

// Brand gives the canonical code of a brand: "yt", as the rest of the platform says, is "ytsd", and "dp" and "dpkd" are
// "dbkd" (the page for express.sub.msg has the former of each, the rest of the platform the others). Case and surrounding space do not matter in a known code; any other code is
// given back untouched.
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
