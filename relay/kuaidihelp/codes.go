package kuaidihelp

// The codes of an answer. Those of the method are documented on the provider's page for express.sub.msg; those of the
// platform come from public client code. 1008 is "too frequent" there, but "out of credit" in the page's own sample:
// only its msg tells which.
const (
	CodeSuccess        = 0
	CodeSystem         = 1001
	CodeIllegalRequest = 1002
	CodeNoSuchMethod   = 1003
	CodeBadAuth        = 1004 // the parameters that authenticate are bad
	CodeExpired        = 1005 // ts is too far from now
	CodeAuthFailed     = 1006
	CodeTooMuch        = 1008
	CodeNoRecord       = 201101 // 查询暂无记录
	CodeBadParameters  = 201102 // 请求参数错误
	CodeUnknownBrand   = 201103 // 不支持的快递品牌
)

// CredentialsRefused says whether a code means that the provider refuses the account's credentials.
func CredentialsRefused(code int) bool {
	return code == CodeBadAuth || code == CodeExpired || code == CodeAuthFailed
}

// RefusesWaybill says whether a code means that the provider will not take a waybill, however often it is asked. Other
// codes are about the account, the provider or the moment, or mean that there is no record yet.
func RefusesWaybill(code int) bool { return code == CodeBadParameters || code == CodeUnknownBrand }

// ConcernsOneWaybill says whether only one of a call's waybills may be the cause of a code.
func ConcernsOneWaybill(code int) bool { return code == CodeNoRecord || code == CodeBadParameters }
