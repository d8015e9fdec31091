package console

// routeTexts are those of the tester of routes.
var routeTexts = map[string]text{
	"title.routes": {"Routes", "路由"},

	"routes.note": {
		"See which endpoints get an event, and why the others do not. Nothing is sent by this page.",
		"查看一个事件会投递到哪些端点，以及其他端点为什么收不到。本页面不会发送任何内容。",
	},
	"routes.box": {
		"An event as JSON, a whole callback in any form, a waybill, or an event id",
		"JSON 格式的事件、任意格式的完整回调、运单号或事件 ID",
	},
	"routes.try":    {"Who gets it?", "会投递给谁？"},
	"routes.sample": {"Samples", "示例"},
	"routes.latest": {"Latest events", "最近的事件"},
	"routes.by":     {"by the config in use", "按当前生效的配置"},

	"routes.large":    {"A sample has at most %d KiB.", "样本不能超过 %d KiB。"},
	"routes.rejected": {"Not understood", "无法解析"},
	"routes.partial": {
		"Redis does not answer: conditions that depend on it are open.",
		"Redis 没有响应，依赖它的条件无法判断。",
	},
	"routes.more": {"Events not shown: %d.", "另有 %d 个事件未显示。"},
	"routes.link": {"Link to this test", "此次测试的链接"},

	"routes.would":     {"It has not come. Its id would be", "尚未收到，届时的 ID 为"},
	"routes.accepted":  {"accepted", "接收于"},
	"routes.duplicate": {"It would be dropped as a duplicate of one accepted", "它会作为重复丢弃，原事件接收于"},

	"routes.gets":   {"gets it", "会收到"},
	"routes.if":     {"may get it", "视条件而定"},
	"routes.not":    {"does not get it", "不会收到"},
	"routes.nobody": {"No endpoint gets it.", "没有端点会收到。"},
	"routes.others": {"Endpoints that do not get it: %d", "不投递的端点：%d 个"},
	"routes.none":   {"No route leads there.", "没有路由指向它。"},
	"routes.left":   {"Endpoints not shown: %d.", "另有 %d 个端点未显示。"},
	"routes.test":   {"As a test for the config file", "写入配置文件的测试"},
	"routes.test.note": {
		"kuairelay check runs it. It fails when the routes decide otherwise.",
		"由 kuairelay check 运行；路由的判断改变时测试失败。",
	},
	"routes.test.tenant": {"For the file of %s", "用于 %s 的配置文件"},
}
