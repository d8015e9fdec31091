package console

import "maps"

// text is one text in both languages. Both have to be there: an entry with one does not compile.
type text struct{ en, zh string }

// texts are all texts of the pages, by key. What stands in %s and %d is given by the page.
var texts = func() map[string]text {
	all := map[string]text{}
	for _, some := range allTexts {
		maps.Copy(all, some)
	}
	return all
}()

// allTexts are the texts by subject. No key is in two of them.
var allTexts = []map[string]text{
	frameTexts, overviewTexts, eventTexts, endpointTexts, actTexts, subscriptionTexts, routeTexts, helpTexts, systemTexts,
}

// frameTexts are those of the frame of each page, and words that several pages have.
var frameTexts = map[string]text{
	"menu":               {"Pages", "页面"},
	"menu.overview":      {"Overview", "概览"},
	"menu.events":        {"Events", "事件"},
	"menu.endpoints":     {"Endpoints", "端点"},
	"menu.dead":          {"Dead letters", "死信"},
	"menu.replays":       {"Replays", "重放"},
	"menu.quarantine":    {"Quarantine", "隔离区"},
	"menu.subscriptions": {"Subscriptions", "订阅"},
	"menu.routes":        {"Routes", "路由"},
	"menu.config":        {"Config", "配置"},
	"menu.system":        {"System", "系统"},
	"menu.help":          {"Help", "帮助"},

	"menu.open":        {"Menu", "菜单"},
	"menu.of.problems": {"need you", "需要处理"},

	"title.config": {"Config", "配置"},
	"title.system": {"System", "系统"},

	"act.reload": {"Reload", "重新读取"},

	"did.reload": {"Reloaded. In use now: %s.", "已重新读取，当前生效：%s。"},

	"title.login":        {"Log in", "登录"},
	"title.error":        {"Error", "出错了"},
	"title.overview":     {"Overview", "概览"},
	"title.events":       {"Events", "事件"},
	"title.endpoints":    {"Endpoints", "端点"},
	"title.dead-letters": {"Dead letters", "死信"},
	"title.replays":      {"Replays", "重放"},
	"title.replay-new":   {"New replay", "新建重放"},
	"title.quarantine":   {"Quarantine", "隔离区"},
	"title.help":         {"Help", "帮助"},

	"skip": {"Skip to the content", "跳到正文"},

	"search": {"Waybill, event id, endpoint…", "运单号、事件 ID、端点…"},

	"settings":          {"Settings", "设置"},
	"settings.language": {"Language", "语言"},
	"settings.zone":     {"Time zone", "时区"},
	"settings.colors":   {"Colours", "外观"},

	"colors.both":  {"As the system", "跟随系统"},
	"colors.light": {"Light", "浅色"},
	"colors.dark":  {"Dark", "深色"},

	"banner.more": {"What this means", "查看详情"},

	"zone.local":         {"Browser’s", "浏览器时区"},
	"zone.UTC":           {"UTC", "UTC"},
	"zone.Asia/Shanghai": {"Asia/Shanghai", "北京时间"},

	"operator": {"operator", "运维"},

	"logout": {"Log out", "退出登录"},

	"live":        {"live", "实时"},
	"live.paused": {"paused", "已暂停"},
	"live.stale":  {"not updated since %s", "自 %s 起未更新"},
	"live.new":    {"%s new", "新增 %s 条"},

	"copy": {"Copy", "复制"},

	"copied":     {"Copied", "已复制"},
	"copied.not": {"Could not copy", "复制失败"},

	"older": {"Older", "更早的"},

	"oldest": {"oldest", "最早"},

	"filter":       {"Filter", "筛选"},
	"filter.clear": {"Clear", "清除"},
	"filter.since": {"Time", "时间"},

	"all": {"all", "全部"},

	"last.1h":  {"last hour", "最近 1 小时"},
	"last.6h":  {"last 6 hours", "最近 6 小时"},
	"last.24h": {"last 24 hours", "最近 24 小时"},
	"last.7d":  {"last 7 days", "最近 7 天"},

	"since": {"since", "自"},

	"until": {"until", "至"},

	"none.yet": {"none yet", "还没有"},
	"off":      {"off", "关闭"},

	"acts": {"What you can do", "操作"},

	"layout.day": {"2 Jan 15:04:05", "1月2日 15:04:05"},

	"just.now": {"just now", "刚刚"},

	"ago": {"%s ago", "%s前"},

	"in": {"in %s", "%s后"},

	"span.minutes": {"%d min", "%d 分钟"},
	"span.hours":   {"%d h", "%d 小时"},
	"span.days":    {"%d days", "%d 天"},

	"col.accepted":   {"Accepted", "接收时间"},
	"col.received":   {"Received", "收到时间"},
	"col.brand":      {"Brand", "快递公司"},
	"col.status":     {"Status", "物流状态"},
	"col.waybill":    {"Waybill", "运单号"},
	"col.deliveries": {"Deliveries", "投递"},
	"col.endpoint":   {"Endpoint", "端点"},
	"col.state":      {"State", "状态"},
	"col.open":       {"Open", "待投递"},
	"col.behind":     {"Behind", "排队中"},
	"col.dead":       {"Dead", "死信"},
	"col.success":    {"Success", "成功率"},
	"col.took":       {"p50 / p95", "p50 / p95"},
	"col.delivered":  {"Last delivered", "最近投递成功"},
	"col.given.up":   {"Given up", "放弃时间"},
	"col.event":      {"Event", "事件"},
	"col.reason":     {"Reason", "原因"},
	"col.size":       {"Size", "大小"},
	"col.replay":     {"Replay", "重放"},
	"col.by":         {"By", "发起者"},
	"col.queued":     {"Queued", "已入队"},
	"col.skipped":    {"Left alone", "未处理"},
	"col.looked":     {"Events looked at", "已检查事件"},
	"col.begun":      {"Begun", "开始时间"},
	"col.tenant":     {"Tenant", "租户"},
	"col.since":      {"Since", "开始"},
	"col.until":      {"Until", "截止"},

	"state.delivered": {"delivered", "已投递"},
	"state.open":      {"open", "待投递"},
	"state.queued":    {"queued", "排队待发"},
	"state.sending":   {"sending", "投递中"},
	"state.retrying":  {"retrying", "重试中"},
	"state.waiting":   {"waiting", "等待前序"},
	"state.dead":      {"dead", "已放弃"},
	"state.dismissed": {"dismissed", "已忽略"},
	"state.unrouted":  {"unrouted", "无匹配路由"},
	"state.ok":        {"ok", "正常"},
	"state.failing":   {"failing", "失败中"},
	"state.idle":      {"idle", "空闲"},
	"state.removed":   {"removed", "已移除"},
	"state.paused":    {"paused", "已暂停"},
	"state.gone":      {"gone", "已下线"},
	"state.breaker":   {"breaker open", "已熔断"},
	"state.running":   {"running", "进行中"},
	"state.done":      {"done", "已完成"},
	"state.cancelled": {"cancelled", "已取消"},
	"state.live":      {"live", "生效中"},
	"state.pending":   {"pending", "处理中"},
	"state.failed":    {"failed", "失败"},
	"state.ready":     {"ready", "就绪"},
	"state.degraded":  {"degraded", "降级"},
	"state.unready":   {"unready", "不可用"},

	"means.delivered": {"The endpoint answered 2xx.", "端点返回了 2xx。"},
	"means.queued":    {"It is sent as soon as there is room.", "一有空位就会发送。"},
	"means.sending":   {"An attempt is under way.", "正在尝试投递。"},
	"means.retrying":  {"The latest attempt failed. The next one has its time.", "上一次尝试失败，已安排下一次。"},
	"means.waiting":   {"An older update of the same waybill goes first.", "同一运单的前一条更新要先投递。"},
	"means.dead":      {"It was given up. You can send it again.", "已放弃投递，可以重新投递。"},
	"means.dismissed": {"It was given up, and a person has dismissed it.", "已放弃，并由人工确认忽略。"},
	"means.unrouted":  {"No route matched, so nothing is sent.", "没有路由匹配，不会投递。"},

	"status.collected":  {"collected", "已揽收"},
	"status.sending":    {"sending", "运输中"},
	"status.delivering": {"delivering", "派送中"},
	"status.allograph":  {"allograph", "他人签收"},
	"status.signed":     {"signed", "已签收"},
	"status.question":   {"question", "问题件"},

	"status.waybill.not_collected": {"waybill.not_collected", "未揽收"},
	"status.waybill.stalled":       {"waybill.stalled", "停滞"},
	"status.waybill.not_picked_up": {"waybill.not_picked_up", "未取件"},
	"status.subscription.lost":     {"subscription.lost", "订阅失败"},

	"act.retry": {"Try now", "立即重试"},

	"did.retry":      {"%s tried now.", "已立即重试 %s 个。"},
	"did.retry-some": {"%s tried now. There may be more: do it again for these.", "已立即重试 %s 个，可能还有更多，可再次操作。"},

	"layout.date": {"2 Jan", "1月2日"},

	"act.test":    {"Send a test", "发送测试"},
	"act.pause":   {"Pause", "暂停"},
	"act.resume":  {"Resume", "恢复"},
	"act.replay":  {"Replay…", "重放…"},
	"act.redrive": {"Send again", "重新投递"},
	"act.dismiss": {"Dismiss", "忽略"},
	"act.cancel":  {"End it", "终止"},
	"act.retake":  {"Parse again", "重新解析"},

	"did.pause":         {"%s is paused. Resume undoes this.", "%s 已暂停，可随时恢复。"},
	"did.resume":        {"%s is resumed.", "%s 已恢复。"},
	"did.redrive":       {"%s queued again.", "已重新入队 %s 个。"},
	"did.dismiss":       {"%s dismissed.", "已忽略 %s 个。"},
	"did.cancel":        {"The replay ends. What it has queued is delivered.", "重放已终止，已入队的仍会投递。"},
	"did.retake":        {"It is understood now. Events in it: %s.", "已成功解析，其中有 %s 个事件。"},
	"did.retake-failed": {"It is still not understood.", "仍然无法解析。"},

	"brand.sto":  {"STO", "申通"},
	"brand.zt":   {"ZTO", "中通"},
	"brand.ytsd": {"YTO", "圆通"},
	"brand.jt":   {"J&T", "极兔"},
	"brand.yd":   {"Yunda", "韵达"},
	"brand.dbkd": {"Deppon", "德邦"},

	"help.keys": {"Keyboard", "快捷键"},

	"key.search": {"go to the search box", "跳到搜索框"},
	"key.rows":   {"next and previous row; Enter opens it", "下一行、上一行；回车打开"},
	"key.pause":  {"pause or go on with live updates", "暂停或继续实时更新"},
	"key.go":     {"and one of these: to that page", "再按下列按键：跳转到对应页面"},
	"key.help":   {"open this page", "打开本页"},

	"keys.on": {"Turn these keys on", "启用快捷键"},
}
