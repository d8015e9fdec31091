package console

// eventTexts are those of events, deliveries and waybills.
var eventTexts = map[string]text{
	"times": {"came %d times", "推送过 %d 次"},

	"attempts": {"%d attempts", "尝试 %d 次"},

	"attempt.in": {"%s in %s", "%s，用时 %s"},

	"events.none": {
		"No event yet. Register the callback URL with kuaidihelp, or try: kuairelay send",
		"还没有事件。请在快宝登记回调地址，或运行 kuairelay send 试一试。",
	},
	"events.none.here": {
		"None of the events that were looked at match. Go on with older ones.",
		"已检查的事件都不匹配，可继续查看更早的。",
	},
	"events.none.filter": {"No event matches.", "没有匹配的事件。"},
	"events.newest":      {"To the latest", "回到最新"},

	"event.unrouted":    {"owed to nobody", "无需投递"},
	"event.times":       {"When", "时间线"},
	"event.received":    {"The callback came.", "收到回调。"},
	"event.accepted":    {"It was durable.", "已持久保存。"},
	"event.repeated":    {"It came again, and was dropped as a duplicate.", "再次推送，已作为重复丢弃。"},
	"event.sequence":    {"sequence", "序号"},
	"event.owed":        {"Deliveries", "投递"},
	"event.nobody":      {"No route matched when it came. Below is how today's routes decide.", "到达时没有路由匹配。下面是当前路由的判断。"},
	"event.why":         {"Why these, and not others", "为什么是这些端点"},
	"event.why.note":    {"By today's routes.", "按当前路由判断。"},
	"event.routes.left": {"%d more routes do not match.", "另有 %d 条路由不匹配。"},
	"event.data":        {"Data", "数据"},

	"data.cut": {"Only the first part is shown. The API has all of it.", "只显示开头部分，完整内容请用 API 获取。"},

	"delivery.parked": {"The endpoint is %s since %s; the delivery waits.", "端点%s（自 %s），投递等待中。"},
	"delivery.orphan": {
		"The endpoint is not in the config. After delivery.orphan_grace this becomes a dead letter.",
		"配置中没有该端点；超过 delivery.orphan_grace 后将成为死信。",
	},
	"delivery.waiting":  {"It waits behind an older update of the waybill.", "正在等同一运单的前一条更新。"},
	"delivery.behind":   {"which one?", "是哪一条？"},
	"delivery.retrying": {"%d attempts failed. The next one is at %s (%s).", "已失败 %d 次，下一次在 %s（%s）。"},
	"delivery.after":    {"after %d attempts", "共尝试 %d 次"},
	"delivery.answer":   {"What the endpoint answered last", "端点最后一次的响应"},

	"waybill.updates":       {"Updates", "更新"},
	"waybill.subscriptions": {"Subscriptions", "订阅"},
	"waybill.quarantined":   {"In quarantine", "隔离区中"},
	"waybill.spooled":       {"%s callbacks in the spool may hold it.", "落盘的 %s 个回调中可能有它。"},
	"waybill.next":          {"What to do", "怎么办"},

	"verdict.dead":         {"Given up at an endpoint", "有端点已放弃投递"},
	"verdict.parked":       {"An endpoint is not sent to", "有端点暂停接收"},
	"verdict.open":         {"Not all is delivered yet", "尚未全部投递"},
	"verdict.delivered":    {"All is delivered", "已全部投递"},
	"verdict.dismissed":    {"Given up, and dismissed", "已放弃并忽略"},
	"verdict.unrouted":     {"Owed to nobody", "没有匹配的路由"},
	"verdict.spooled":      {"It waits for Redis in the spool", "在落盘目录中等待 Redis"},
	"verdict.quarantined":  {"Its callback was not understood", "它的回调无法解析"},
	"verdict.expired":      {"Its events are no longer kept", "事件已过保留期"},
	"verdict.not_owed":     {"Your routes do not ask for its updates", "你的路由不需要它的更新"},
	"verdict.other_brand":  {"It was subscribed under another brand", "订阅时的快递公司不同"},
	"verdict.pending":      {"kuaidihelp has not accepted the subscription yet", "快宝尚未确认订阅"},
	"verdict.failed":       {"kuaidihelp refused the subscription", "快宝拒绝了订阅"},
	"verdict.awaited":      {"Subscribed; kuaidihelp has not pushed it yet", "已订阅，快宝还没有推送"},
	"verdict.unsubscribed": {"Nobody has subscribed it", "没有人订阅"},
	"verdict.unknown":      {"Nothing is known of it", "没有任何记录"},
}
