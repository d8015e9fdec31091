package console

// actTexts are those of dead letters, replays and quarantine.
var actTexts = map[string]text{
	"dead.none":  {"No dead letters: nothing was given up.", "没有死信：没有放弃任何投递。"},
	"dead.which": {"Choose an endpoint first.", "请先选择端点。"},
	"dead.all":   {"All %s…", "全部 %s 个…"},
	"dead.all.note": {
		"What is sent again is paced, so that the endpoint is not flooded. At most 2,000 are changed at once.",
		"重新投递会控制速度，避免冲垮端点。一次最多处理 2,000 个。",
	},
	"dead.redrive.all": {"Send %s again", "重新投递 %s 个"},
	"dead.dismiss.all": {"Dismiss %s", "忽略 %s 个"},

	"replays.none": {"No replay in the last 30 days.", "最近 30 天没有重放。"},

	"replay.new":        {"New replay", "新建重放"},
	"replay.what":       {"What", "内容"},
	"replay.which":      {"Which", "范围"},
	"replay.pace":       {"Pace", "速度"},
	"replay.rate":       {"Events a second", "每秒事件数"},
	"replay.again":      {"Send again", "再次投递"},
	"replay.reroute":    {"Send what was owed to nobody, by today's routes", "按当前路由投递原先没有匹配路由的事件"},
	"replay.since":      {"since %s", "自 %s"},
	"replay.count":      {"Count first", "先统计"},
	"replay.count.note": {"It is counted first. Nothing is sent before you have seen the number.", "会先统计数量，看到数字之后才会发送。"},
	"replay.counted":    {"%s deliveries would be sent again.", "将再次投递 %s 个。"},
	"replay.note": {
		"They come after newer updates, and say so: kuairelay-reason is replay.",
		"它们会晚于较新的更新到达，并注明 kuairelay-reason: replay。",
	},
	"replay.go":      {"Send %s again", "再次投递 %s 个"},
	"replay.dry":     {"counted only", "仅统计"},
	"replay.would":   {"Would be sent", "将投递"},
	"replay.skipped": {"open already, or gone", "仍待投递，或已不存在"},

	"quarantine.none": {"Quarantine is empty: every callback was understood.", "隔离区为空：所有回调都已解析。"},
	"quarantine.note": {
		"Callbacks with the right token that could not be understood. They are kept as they came.",
		"令牌正确但无法解析的回调，按原样保存。",
	},
	"quarantine.headers": {"Headers", "请求头"},
	"quarantine.raw":     {"As it came", "原始内容"},
}
