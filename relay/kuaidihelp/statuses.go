package kuaidihelp

import (
	"maps"
	"slices"
	"strings"
)

// The statuses that the platform is known to send (from public client code). There may be others.
const (
	StatusCollected  = "collected"  // 已揽收
	StatusSending    = "sending"    // 运输中
	StatusDelivering = "delivering" // 派件中
	StatusAllograph  = "allograph"  // 代收
	StatusSigned     = "signed"     // 已签收
	StatusQuestion   = "question"   // 问题件
)

// Statuses lists them, in the order of a parcel's life.
func Statuses() []string {
	return []string{StatusCollected, StatusSending, StatusDelivering, StatusAllograph, StatusSigned, StatusQuestion}
}

// aliases maps other names that the platform sends for a status, in lower case, to its name here.
var aliases = map[string]string{"allorgraph": StatusAllograph}

// Aliases lists them, in alphabetical order.
func Aliases() []string { return slices.Sorted(maps.Keys(aliases)) }

// Status gives the canonical name of a status: in lower case, without space around it, and the status itself for an
// alias. A status that is not known keeps its name.
func Status(status string) string {
	status = strings.ToLower(strings.TrimSpace(status))
	if name, ok := aliases[status]; ok {
		return name
	}
	return status
}

// intern is string(text). It makes no copy of the few words that nearly every item repeats.
func intern(text []byte) string {
	switch string(text) {
	case StatusCollected:
		return StatusCollected
	case StatusSending:
		return StatusSending
	case StatusDelivering:
		return StatusDelivering
	case StatusAllograph:
		return StatusAllograph
	case StatusSigned:
		return StatusSigned
	case StatusQuestion:
		return StatusQuestion

	case STO:
		return STO
	case ZT:
		return ZT
	case YTSD:
		return YTSD
	case JT:
		return JT
	case YD:
		return YD
	case DBKD:
		return DBKD
	}
	return string(text)
}
