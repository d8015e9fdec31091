package console

// eventTexts are those of events, deliveries and waybills.
var eventTexts = map[string]text{
	"times": {"%d times", "%d 次"},

	"times.once": {"once", "1 次"},

	"attempts": {"tried %d×", "尝试 %d 次"},

	"attempt.in": {"%s in %s", "%s，用时 %s"},

	"events.none": {
		"No event yet. Register the callback URL with kuaidihelp, or try: kuairelay send",
		"还没有事件。请在快宝登记回调地址，或运行 kuairelay send 试一试。",
	},
	"events.none.here": {
		"None of the events that were looked at match. The search goes on with older ones.",
		"已查看的事件都不匹配，将继续查找更早的。",
	},
	"events.none.filter": {"No event matches.", "没有匹配的事件。"},
	"events.newest":      {"To the latest", "回到最新"},
	"events.link":        {"Copy link", "复制链接"},
	"events.again":       {"Send these again…", "重新投递这些…"},
	"events.jump":        {"Jump to", "跳到时间"},
	"events.jump.go":     {"Go", "跳转"},
	"events.size":        {"a page", "条/页"},

	"newer": {"Newer", "更新的"},

	"col.came": {"Came", "推送次数"},

	"filter.without": {"Take this part of the filter away", "去掉此条件"},

	"from.to": {"%s – %s", "%s 至 %s"},

	"comma":     {", ", "，"},
	"semicolon": {"; ", "；"},
	"colon":     {": ", "："},
	"stop":      {".", "。"},

	"live.fast": {"fast: 1 of %s shown", "更新很快：每 %s 条显示 1 条"},
	"live.came": {"%s came since this page was opened", "打开本页后新增 %s 条"},

	"search.looked":    {"Looked at %s events", "已查看 %s 个事件"},
	"search.looked.of": {"Looked at %s of about %s events", "已查看 %s 个事件，共约 %s 个"},
	"search.back":      {"back to", "最早到"},
	"search.found":     {"%s found.", "找到 %s 个。"},
	"search.going":     {"going on…", "继续查找中…"},
	"search.go.on":     {"Go on", "继续查找"},
	"search.stop":      {"Stop", "停止"},

	"download.note": {
		"All that the filter takes, the latest 10,000 at most",
		"符合筛选条件的全部事件，最多最近 10,000 个",
	},
	"download.one": {
		"A download is being made already. Try again when it is done.",
		"已有一个下载正在生成，请等它完成后再试。",
	},

	"event.unrouted": {"no route matched – why?", "没有匹配的路由，为什么？"},
	"event.place":    {"update %d of %d", "第 %d 条更新，共 %d 条"},
	"event.updates":  {"all updates (%d)", "全部 %d 条更新"},
	"event.before":   {"previous", "上一条"},
	"event.after":    {"next", "下一条"},
	"event.times":    {"When", "时间线"},
	"event.received": {"Received in callback", "收到回调"},
	"event.accepted": {"Accepted", "已接收"},
	"event.durable":  {"durable after %s", "%s 后持久保存"},
	"event.repeated": {"Came again, and was dropped as a duplicate", "再次推送，已作为重复丢弃"},
	"event.repeats.left": {
		"It came %s more times before that.",
		"此前还推送过 %s 次。",
	},
	"event.sequence": {"sequence", "序号"},
	"event.type":     {"type", "类型"},
	"event.owed":     {"Deliveries", "投递"},
	"event.nobody": {
		"No route matched when it came. Below is how today's routes decide.",
		"到达时没有路由匹配。下面是当前路由的判断。",
	},
	"event.config.same":  {"Routed by config %s, which is in use today.", "按配置 %s 路由，即当前配置。"},
	"event.config.other": {"Routed by config %s; another one is in use today.", "按配置 %s 路由；当前配置已不同。"},
	"event.same":         {"Routed by the config that is in use today.", "按当前配置路由。"},
	"event.other":        {"Routed by another config than the one in use today.", "按之前的配置路由；当前配置已不同。"},
	"event.why":          {"Why these, and not others", "为什么是这些端点"},
	"event.why.note":     {"By today's routes.", "按当前路由判断。"},
	"event.routes.more":  {"%s more that do not match", "另外 %s 条不匹配的路由"},
	"event.routes.left":  {"Not listed: %s.", "还有 %s 条未列出。"},
	"event.data":         {"Data", "数据"},

	"route.yes": {"matches", "匹配"},
	"route.no":  {"does not match", "不匹配"},

	"callback.item":   {"item %d of %d", "第 %d 项，共 %d 项"},
	"callback.from":   {"from %s", "来自 %s"},
	"callback.at":     {"at %s", "由 %s 处理"},
	"callback.others": {"the other %s", "另外 %s 项"},
	"callback.of":     {"Callback", "回调"},

	"data.cut": {
		"Only the first 256 KiB are shown. The download has all of it.",
		"只显示开头 256 KiB，完整内容请下载。",
	},
	"data.pretty":   {"indented", "格式化"},
	"data.raw":      {"as it came", "原样"},
	"data.as":       {"as %s gets it", "%s 收到的样子"},
	"data.search":   {"Find in it", "在其中查找"},
	"data.download": {"Download", "下载"},

	"request":       {"Request", "请求"},
	"request.title": {"Request to %s", "发往 %s 的请求"},
	"request.show":  {"Show what an attempt sends", "查看投递的请求"},
	"request.back":  {"To the event", "回到事件"},
	"request.today": {"As an attempt sends it today.", "现在投递时会这样发送。"},
	"request.changed": {
		"As an attempt sends it today. The config has changed since: an attempt before may have sent something else.",
		"现在投递时会这样发送。事件到达后配置有改动，之前的投递可能不同。",
	},

	"curl.unsigned": {
		"This is not signed. To sign a body: kuairelay sign FILE --id ID",
		"这里没有签名。签名用：kuairelay sign FILE --id ID",
	},
	"curl.without": {"Left out, since they are secret or made by each attempt:", "未包含（保密，或每次投递时生成）："},

	"delivery.parked": {"Nothing is sent to the endpoint (%s since %s): the delivery waits.", "端点%s（自 %s），投递等待中。"},
	"delivery.probe":  {"The next attempt is let through at %s.", "下一次放行在 %s。"},
	"delivery.orphan": {
		"The endpoint is not in the config. After delivery.orphan_grace this becomes a dead letter.",
		"配置中没有该端点；超过 delivery.orphan_grace 后将成为死信。",
	},
	"delivery.waiting":     {"It waits behind an older update of the waybill.", "正在等同一运单的前一条更新。"},
	"delivery.behind":      {"which one?", "是哪一条？"},
	"delivery.failed":      {"Failed attempts: %d.", "已失败 %d 次。"},
	"delivery.failed.of":   {"%d of at most %d attempts failed.", "已失败 %d 次，最多尝试 %d 次。"},
	"delivery.next":        {"The next one is at", "下一次在"},
	"delivery.given.up":    {"Given up at the latest", "最迟放弃时间"},
	"delivery.after":       {"after %d attempts", "共尝试 %d 次"},
	"delivery.answer":      {"Answer to %s", "%s 的响应"},
	"delivery.answer.kept": {"The first KiB is kept.", "只保留前 1 KiB。"},

	"act.pause.this": {"Pause %s", "暂停 %s"},

	"sent.new":       {"first attempt", "首次投递"},
	"sent.retry":     {"retry", "重试"},
	"sent.redrive":   {"sent again from the dead letters", "从死信重新投递"},
	"sent.replay":    {"replay", "重放"},
	"sent.catch-up":  {"catch-up: subscribed after it came", "补发：到达后才订阅"},
	"sent.reconcile": {"reconcile: not pushed, found by a query", "查询补回：未收到推送，主动查询所得"},

	"try.timeout":   {"timeout after %s", "%s 后超时"},
	"try.none":      {"no answer, %s", "没有响应，%s"},
	"try.dns":       {"name not found (DNS), %s", "域名解析失败，%s"},
	"try.refused":   {"connection refused, %s", "连接被拒绝，%s"},
	"try.reset":     {"connection reset, %s", "连接被重置，%s"},
	"try.tls":       {"TLS failed, %s", "TLS 失败，%s"},
	"try.network":   {"network error, %s", "网络错误，%s"},
	"try.protocol":  {"not HTTP, %s", "不是 HTTP，%s"},
	"try.forbidden": {"not sent: the relay's egress rules forbid the address, %s", "未发送：出口规则禁止该地址，%s"},

	"class.timeout":   {"timeout", "超时"},
	"class.dns":       {"DNS", "DNS 失败"},
	"class.refused":   {"refused", "被拒绝"},
	"class.reset":     {"reset", "被重置"},
	"class.tls":       {"TLS", "TLS 失败"},
	"class.network":   {"network", "网络错误"},
	"class.protocol":  {"not HTTP", "不是 HTTP"},
	"class.forbidden": {"forbidden", "被禁止"},

	"find":      {"Find", "查找"},
	"find.what": {"Waybills, ids, endpoints", "运单号、ID、端点"},
	"find.note": {
		"One a line, at most 100. Spaces and full-width digits are mended.",
		"每行一个，最多 100 个；空格和全角数字会自动处理。",
	},
	"find.line":    {"Searched for", "查找内容"},
	"find.kind":    {"Type", "类型"},
	"find.verdict": {"What is going on", "当前情况"},

	"title.find": {"Find", "查找"},

	"found.waybill":     {"waybill", "运单"},
	"found.event":       {"event", "事件"},
	"found.callback":    {"callback", "回调"},
	"found.quarantined": {"quarantined callback", "隔离的回调"},
	"found.replay":      {"replay", "重放"},
	"found.endpoint":    {"endpoint", "端点"},
	"found.tenant":      {"tenant", "租户"},

	"waybill.updates":       {"Updates", "更新"},
	"waybill.events":        {"As a list of events", "查看事件列表"},
	"waybill.subscriptions": {"Subscriptions", "订阅"},
	"waybill.subscribed":    {"subscribed by", "订阅者"},
	"waybill.heard.push":    {"Last heard of at %s, by a callback", "快宝最近一次提到它：%s，推送"},
	"waybill.heard.query":   {"Last heard of at %s, when kuaidihelp was asked", "快宝最近一次提到它：%s，查询"},
	"waybill.latest":        {"%s updates came, the latest at %s: %s.", "共收到 %s 条更新，最近一条在 %s：%s。"},
	"waybill.latest.one":    {"1 update came, at %s: %s.", "收到 1 条更新，在 %s：%s。"},
	"waybill.latest.events": {"%s events, the latest at %s: %s.", "共有 %s 个事件，最近一个在 %s：%s。"},
	"waybill.latest.event":  {"1 event, at %s: %s.", "有 1 个事件，在 %s：%s。"},
	"waybill.no.status":     {"without a status", "没有状态"},
	"waybill.why.others":    {"Why others do not get the latest update", "其他端点为什么没有收到最近一条更新"},
	"waybill.why.nobody":    {"Why nobody gets the latest update", "为什么没有端点收到最近一条更新"},
	"waybill.has":           {"has %d of %d", "已收 %d / %d"},
	"waybill.partial": {
		"Redis does not answer. Only what waits in the spool of this replica is known.",
		"Redis 没有响应，只知道本副本落盘目录中的情况。",
	},

	"waybill.next": {"What to do", "怎么办"},

	"cell.behind": {"behind %d", "等第 %d 条"},
	"cell.next":   {"next %s", "下次 %s"},

	"nothing":       {"There is no event of %s.", "没有 %s 的事件。"},
	"nothing.spool": {"Spool", "落盘目录"},
	"nothing.spool.here": {
		"%s callbacks that wait for Redis may hold it, the first of %s.",
		"有 %s 个等待 Redis 的回调中可能有它，最早的在 %s。",
	},
	"nothing.spool.none": {
		"Not among the %s callbacks that wait for Redis at this replica.",
		"不在本副本等待 Redis 的 %s 个回调中。",
	},
	"nothing.spool.empty":  {"No callback waits for Redis at this replica.", "本副本没有等待 Redis 的回调。"},
	"nothing.spool.others": {"Other replicas have some, too; ask there: %s", "其他副本也有等待的回调，请到那里查看：%s"},
	"nothing.spool.alone": {
		"Not among the callbacks that wait for Redis at this replica.",
		"不在本副本等待 Redis 的回调中。",
	},
	"nothing.quarantine.here": {"%s with this code in quarantine, not understood:", "隔离区中有 %s含此单号，无法解析："},
	"callback.one":            {"1 callback", "1 个回调"},
	"callback.many":           {"%s callbacks", "%s 个回调"},
	"nothing.quarantine.none": {
		"None of the latest 500 callbacks that were not understood names it.",
		"最近 500 个无法解析的回调都没有提到它。",
	},
	"nothing.ledger":          {"Subscriptions", "订阅"},
	"nothing.ledger.none":     {"No tenant has subscribed it.", "没有租户订阅它。"},
	"nothing.ledger.none.own": {"You have not subscribed it.", "你没有订阅它。"},
	"nothing.ledger.here":     {"%s subscribed it as %s at %s: %s", "%s 以 %s 订阅（%s）：%s"},
	"nothing.before":          {"Before", "历史"},
	"nothing.before.none":     {"Nothing is remembered of it.", "没有保留它的历史记录。"},
	"nothing.before.some": {
		"It had updates (%s). Events are kept for a while after their delivery.",
		"它有过更新（%s）。事件投递后只保留一段时间。",
	},
	"nothing.before.at": {
		"Its last update was accepted at %s (%s). Events are kept for a while after their delivery.",
		"最后一条更新在 %s 接收（%s）。事件投递后只保留一段时间。",
	},
	"nothing.callbacks":      {"Callbacks", "回调"},
	"nothing.callbacks.none": {"None has come yet.", "还没有收到过回调。"},
	"nothing.callbacks.last": {"The latest came at %s (%s).", "最近一个在 %s 收到（%s）。"},

	"so.spooled.operator": {
		"It is delivered when Redis takes events again. See on the system page why it does not.",
		"Redis 恢复后就会投递；原因请看系统页。",
	},
	"so.spooled.tenant": {
		"An update waits for the relay's Redis. It is delivered when that is back.",
		"有更新在等待 Redis，恢复后就会投递。",
	},
	"so.quarantined": {
		"Look at the callback in quarantine. When it can be read, take it in again.",
		"请查看隔离区中的回调；能解析后重新接收。",
	},
	"so.expired": {"Nothing is wrong: its events are no longer kept.", "没有问题：它的事件已过保留期。"},
	"so.not_owed": {
		"Updates came, but none of your routes asks for them. Test your routes.",
		"收到过更新，但你的路由都不需要。请检查路由。",
	},
	"so.other_brand": {
		"Updates came under another brand. Subscribe it again with the right one.",
		"更新属于另一家快递公司，请用正确的公司重新订阅。",
	},
	"so.pending": {"kuaidihelp has not answered yet. Wait a minute.", "快宝还没有答复，请稍等片刻。"},
	"so.failed": {
		"kuaidihelp refused the subscription. Mend the cause, then subscribe it again.",
		"快宝拒绝了订阅，请排除原因后重新订阅。",
	},
	"so.awaited.operator": {
		"Wait until the parcel moves, and see whether the brand is right.",
		"请等包裹有新动态，并核对快递公司。",
	},
	"so.awaited.tenant": {
		"Wait until the parcel moves, and see whether the brand is right. If it has moved, ask the operator: " +
			"there may be a callback that could not be read.",
		"请等包裹有新动态，并核对快递公司。如果包裹已有动态，请联系运维：可能有回调无法解析。",
	},
	"so.unsubscribed.operator": {
		"The tenant that wants it has to subscribe it. Check that the number is right.",
		"需要它的租户应先订阅，并核对单号。",
	},
	"so.unsubscribed.tenant": {
		"Subscribe it, check that the number is right, or test whether your routes ask for it.",
		"请订阅它、核对单号，或测试你的路由是否需要它。",
	},
	"so.unknown": {"Check that the number is right.", "请核对单号。"},

	"verdict.dead":             {"Given up at an endpoint", "有端点已放弃投递"},
	"verdict.parked":           {"An endpoint gets nothing at the moment", "有端点暂停接收"},
	"verdict.open":             {"Not all is delivered yet", "尚未全部投递"},
	"verdict.delivered":        {"All is delivered", "已全部投递"},
	"verdict.dismissed":        {"Given up, and dismissed", "已放弃并忽略"},
	"verdict.unrouted":         {"No route matched", "没有匹配的路由"},
	"verdict.spooled":          {"It waits for Redis in the spool", "在落盘目录中等待 Redis"},
	"verdict.quarantined":      {"Its callback was not understood", "它的回调无法解析"},
	"verdict.expired":          {"Its events are no longer kept", "事件已过保留期"},
	"verdict.not_owed":         {"Your routes do not ask for its updates", "你的路由不需要它的更新"},
	"verdict.other_brand":      {"It was subscribed under another brand", "订阅时的快递公司不同"},
	"verdict.pending":          {"kuaidihelp has not accepted the subscription yet", "快宝尚未确认订阅"},
	"verdict.failed":           {"kuaidihelp refused the subscription", "快宝拒绝了订阅"},
	"verdict.awaited":          {"Subscribed; no update has come yet", "已订阅，还没有收到更新"},
	"verdict.unsubscribed":     {"Nobody has subscribed it", "没有人订阅"},
	"verdict.unsubscribed.own": {"You have not subscribed it", "你没有订阅它"},
	"verdict.unknown":          {"Nothing is known of it", "没有任何记录"},
}
