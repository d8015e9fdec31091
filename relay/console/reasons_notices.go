package console

// noticeReasons are why messages to people are not taken (package notify), and mistakes of notices in the config.
var noticeReasons = []text{
	{"notices %s", "通知 %s"},
	{"messages to it are not taken: nobody is told there of problems", "它不接收消息：那里的人收不到问题通知"},
	{"correct its address or secret (notices in the config), then kuairelay notices test %s",
		"更正它的地址或密钥（配置中的 notices），然后运行 kuairelay notices test %s"},
	{"there is no receiver of notices of that name", "没有这个名称的通知接收方"},

	{"no turn in time: too many messages go there", "排队超时：发往该地址的消息过多"},
	{"its address is no URL", "地址不是有效的 URL"},
	{"it answers %d: %s", "返回 %d：%s"}, {"it answers %d", "返回 %d"},
	{"it answers code %d: %s", "返回错误码 %d：%s"}, {"it answers code %d", "返回错误码 %d"},
	{"the key in its address is wrong, or the robot was removed", "地址中的 key 不正确，或机器人已被移除"},
	{"the access_token in its address is wrong, or the robot was removed", "地址中的 access_token 不正确，或机器人已被移除"},
	{"the end of its address is wrong, or the bot was removed", "地址末尾不正确，或机器人已被移除"},
	{"its security settings refuse the message: the secret is wrong, or a keyword or address is asked for",
		"安全设置拒绝了消息：密钥不正确，或要求关键词、来源地址"},
	{"the secret is wrong, or the clock of this machine is", "密钥不正确，或本机时钟不准"},
	{"it allows other addresses only", "只允许其他来源地址"},
	{"it asks for a keyword that the message has not: kuairelay is in all", "要求的关键词不在消息中（每条消息都有 kuairelay）"},
	{"it got too many messages", "消息过多"},
	{"it got too many messages, or one in a wrong form", "消息过多，或格式有误"},
	{"its answer is no JSON: the address is that of something else", "返回的不是 JSON：该地址可能不是机器人"},
	{"its answer has no code: the address is that of something else", "返回中没有错误码：该地址可能不是机器人"},

	{`missing key "secret": a webhook is signed`, `缺少键 "secret"：webhook 必须签名`},
	{"must begin with SEC, as the robot's security settings show it", "必须以 SEC 开头，与机器人安全设置中显示的一致"},
	{"is of no use: messages of this format are not signed", "没有用处：这种格式的消息不签名"},
	{"is plain http: the token in it can be read on the way", "使用明文 http：其中的令牌可能在途中被读取"},
	{"is no code of a problem, once it is expanded", "展开之后不是问题代码"},
	{"%s is no problem that tenants are told of", "租户收不到 %s 这种问题的通知"},
	{"%s is no code of a problem, no severity, and not all; did you mean %s?",
		"%s 不是问题代码、严重程度或 all；是不是 %s？"},
	{"%s is no code of a problem, no severity, and not all", "%s 不是问题代码、严重程度或 all"},
	{"has more than %d receivers", "接收方超过 %d 个"},
	{"must be from 1m to 7d", "必须在 1m 到 7d 之间"},
}
