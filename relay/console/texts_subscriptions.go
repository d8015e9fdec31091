package console

// subscriptionTexts are those of subscriptions.
var subscriptionTexts = map[string]text{
	"title.subscriptions": {"Subscriptions", "订阅"},

	"subscriptions.all":         {"Subscribed", "已订阅"},
	"subscriptions.quota":       {"Quota today", "今日额度"},
	"subscriptions.quota.until": {"until %s", "至 %s"},
	"subscriptions.account.ok": {
		"kuaidihelp answers; %s calls wait at this relay, at most %s a second are made.",
		"快宝正常；本副本有 %s 个调用在排队，每秒最多 %s 个。",
	},
	"subscriptions.account.none": {
		"There is no account at kuaidihelp (kuaidihelp.api_key): nothing can be subscribed.",
		"没有配置快宝账号（kuaidihelp.api_key），无法订阅。",
	},
	"subscriptions.account.refused": {
		"kuaidihelp refuses the account: check kuaidihelp.app_id and api_key.",
		"快宝拒绝了账号，请检查 kuaidihelp.app_id 和 api_key。",
	},

	"subscriptions.none":        {"No subscription yet.", "还没有订阅。"},
	"subscriptions.none.filter": {"No subscription matches.", "没有匹配的订阅。"},
	"subscriptions.none.here": {
		"None of those that were looked at match. Go on with older ones.",
		"已检查的订阅都不匹配，可继续查看更早的。",
	},

	"subscriptions.export": {"Export", "导出"},
	"subscriptions.export.some": {
		"the latest %s; all: kuairelay subscriptions export",
		"仅最近 %s 条；全部请用 kuairelay subscriptions export",
	},

	"subscriptions.new":       {"Subscribe…", "订阅…"},
	"subscriptions.codes":     {"Waybills, one on a line", "运单号，每行一个"},
	"subscriptions.subscribe": {"Subscribe", "订阅"},
	"subscriptions.retry":     {"It is asked again at", "再次查询时间"},
	"subscriptions.again":     {"Ask again", "重新订阅"},
	"subscriptions.again.all": {"Ask again for these %d", "重新订阅这 %d 个"},
	"subscriptions.end":       {"Unsubscribe", "取消订阅"},
	"subscriptions.which":     {"Name at least one waybill.", "请至少填写一个运单号。"},
	"subscriptions.large": {
		"Too many at once. Use the API for more than some hundred.",
		"一次提交太多；数百个以上请使用 API。",
	},
	"subscriptions.results": {"What kuaidihelp says", "快宝的答复"},

	"did.unsubscribe": {
		"Unsubscribed. To undo this, subscribe it again.",
		"已取消订阅；重新订阅即可恢复。",
	},

	"subscribed.subscribed": {"subscribed", "订阅成功"},
	"subscribed.already":    {"already subscribed", "之前已订阅"},
	"subscribed.pending":    {"pending", "处理中"},
	"subscribed.failed":     {"failed", "失败"},

	"refusal.201101": {
		"kuaidihelp has no record of it yet.",
		"快宝暂无该运单的记录。",
	},
	"refusal.201102": {
		"kuaidihelp says that it cannot be right: check the waybill and its brand.",
		"快宝认为参数有误，请检查运单号和快递公司。",
	},
	"refusal.201103": {"kuaidihelp does not know the brand.", "快宝不支持该快递公司。"},
	"refusal.429": {
		"There are as many subscriptions as there may be (subscriptions.max).",
		"订阅数已达上限（subscriptions.max）。",
	},
	"refusal.502": {"kuaidihelp refuses the relay's account.", "快宝拒绝了中继的账号。"},
	"refusal.504": {"kuaidihelp did not answer.", "快宝没有响应。"},
}
