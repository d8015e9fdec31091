package console

// endpointTexts are those of endpoints, their logs and charts.
var endpointTexts = map[string]text{
	"endpoints.none": {"No endpoint is in this state.", "没有处于该状态的端点。"},

	"endpoint.what":       {"What is going on", "当前情况"},
	"endpoint.settings":   {"Settings", "配置"},
	"endpoint.events":     {"Its events", "该端点的事件"},
	"endpoint.last.error": {"The latest attempt that failed:", "最近一次失败的尝试："},
	"endpoint.until":      {"The next attempt goes out", "下一次尝试："},
	"endpoint.is.ok":      {"Its latest attempt was answered with 2xx.", "最近一次尝试返回了 2xx。"},
	"endpoint.is.idle":    {"Nothing was sent to it yet.", "还没有向它发送过任何内容。"},
	"endpoint.is.failing": {
		"Its latest attempts failed. Each delivery is tried again by its schedule; nothing is lost.",
		"最近的尝试失败。每个投递会按计划重试，不会丢失。",
	},
	"endpoint.is.paused": {
		"A person paused it. Its deliveries wait until it is resumed; nothing is lost.",
		"已被人工暂停。投递会等到恢复后继续，不会丢失。",
	},
	"endpoint.is.gone": {
		"It answered 410. Its deliveries wait until a person resumes it; nothing is lost.",
		"它返回了 410。投递会等到人工恢复后继续，不会丢失。",
	},
	"endpoint.is.breaker": {
		"It failed so often that only one attempt at a time probes it. Its deliveries wait; nothing is lost.",
		"失败过多，现在每次只用一个尝试探测。其余投递等待，不会丢失。",
	},
	"endpoint.causes":      {"Failed attempts by cause:", "失败原因："},
	"endpoint.failed":      {"Latest attempts that failed", "最近失败的尝试"},
	"endpoint.failed.none": {"None is known.", "没有记录。"},
	"endpoint.log":         {"Log", "日志"},
	"endpoint.log.none":    {"Nothing has happened to it yet.", "还没有任何记录。"},
	"endpoint.breaker":     {"%d failures in a row; pauses %s to %s", "连续失败 %d 次；暂停 %s 至 %s"},
	"endpoint.rate":        {"%s a second", "每秒 %s 次"},
	"endpoint.secret.ends": {"one ends %s", "其中一个于 %s 失效"},
	"endpoint.at":          {"from", "来源"},
	"endpoint.in.row":      {"%d in a row, since %s.", "已连续失败 %d 次，自 %s 起。"},
	"endpoint.paused.by":   {"Paused by: %s.", "暂停者：%s。"},

	"log.opened":       {"breaker opened", "熔断"},
	"log.closed":       {"breaker closed", "熔断解除"},
	"log.gone":         {"answered 410", "返回 410"},
	"log.paused":       {"paused", "暂停"},
	"log.resumed":      {"resumed", "恢复"},
	"log.redriven":     {"dead letters sent again", "死信重新投递"},
	"log.dismissed":    {"dead letters dismissed", "死信已忽略"},
	"log.resent":       {"events sent again", "事件重新投递"},
	"log.retried":      {"tried at once", "立即重试"},
	"log.replay_begun": {"replay begun", "重放开始"},
	"log.replay_ended": {"replay ended", "重放结束"},
	"log.added":        {"added to the config", "加入配置"},
	"log.changed":      {"settings changed", "配置变更"},
	"log.removed":      {"removed from the config", "移出配置"},

	"chart.deliveries": {"Attempts", "尝试"},
	"chart.attempts":   {"How long attempts took (≈)", "尝试用时（约）"},
	"chart.backlog":    {"Waiting", "积压"},
	"chart.none":       {"Nothing in this time.", "这段时间没有数据。"},
	"chart.numbers":    {"Numbers", "数字"},
	"chart.time":       {"Time", "时间"},

	"test.result": {"Result of the test", "测试结果"},
	"test.good":   {"The endpoint took the test event.", "端点已接受测试事件。"},
	"test.signature": {
		"The endpoint refused it. If it checks the signature: kuairelay verify tells why that fails.",
		"端点拒绝了它。如果它校验签名，可用 kuairelay verify 查明原因。",
	},
	"test.unreachable": {"No answer came. Check the address, the certificate and the firewall.", "没有收到响应。请检查地址、证书和防火墙。"},
	"test.refused":     {"The endpoint answered, but not with 2xx.", "端点有响应，但不是 2xx。"},
}
