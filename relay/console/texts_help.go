package console

// helpTexts are those of the help page.
var helpTexts = map[string]text{
	"help.states":    {"States of deliveries", "投递的状态"},
	"help.endpoints": {"States of endpoints", "端点的状态"},
	"help.words":     {"Words", "术语"},
	"help.more":      {"Read more", "更多资料"},
	"help.more.api": {
		"all that pages show and do, for programs.",
		"页面上的一切都可以通过 API 获取和操作。",
	},
	"help.more.cli":  {"the same at a terminal.", "在终端里做同样的事。"},
	"help.more.docs": {"in the documentation of the relay.", "见中继的文档。"},

	"word.callback": {"callback", "回调"},
	"word.callback.is": {
		"One HTTP request from kuaidihelp. It may hold several events.",
		"快宝发来的一次 HTTP 请求，可能包含多个事件。",
	},
	"word.event":    {"event", "事件"},
	"word.event.is": {"One update of one waybill.", "一个运单的一次更新。"},
	"word.endpoint": {"endpoint", "端点"},
	"word.endpoint.is": {
		"One URL of a tenant, with its secrets and its way of delivery.",
		"租户的一个 URL，以及它的密钥和投递设置。",
	},
	"word.route": {"route", "路由"},
	"word.route.is": {
		"A rule of a tenant: which events go to which of its endpoints.",
		"租户的规则：哪些事件投递到哪些端点。",
	},
	"word.delivery": {"delivery", "投递"},
	"word.delivery.is": {
		"One event that has to reach one endpoint.",
		"一个事件对一个端点的投递任务。",
	},
	"word.attempt":    {"attempt", "尝试"},
	"word.attempt.is": {"One HTTP request of a delivery.", "一次投递中的一个 HTTP 请求。"},
	"word.dead":       {"dead letter", "死信"},
	"word.dead.is": {
		"A delivery that was given up. It is kept, and can be sent again.",
		"已放弃的投递，会保留，可以重新投递。",
	},
	"word.line": {"line", "排队"},
	"word.line.is": {
		"What waits behind an older update of its waybill at one endpoint.",
		"在同一端点等待同一运单前一条更新的投递。",
	},
	"word.subscription": {"subscription", "订阅"},
	"word.subscription.is": {
		"A tenant's wish to get the updates of one waybill.",
		"租户要求接收某个运单的更新。",
	},
	"word.replay": {"replay", "重放"},
	"word.replay.is": {
		"Events that were delivered, or not, are sent again at a given pace.",
		"按给定速度再次投递过去的事件。",
	},
	"word.quarantine": {"quarantine", "隔离区"},
	"word.quarantine.is": {
		"Callbacks that could not be understood. They are kept as they came.",
		"无法解析的回调，按原样保存。",
	},
	"word.spool": {"spool", "落盘目录"},
	"word.spool.is": {
		"Files on disk with callbacks that Redis could not take yet.",
		"磁盘上的文件，保存 Redis 暂时无法接收的回调。",
	},
}
