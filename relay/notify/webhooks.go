package notify

// Webhooks describes what a receiver of format webhook gets, as the webhooks of an OpenAPI document.
func Webhooks() map[string]any {
	text := func(about string) map[string]any { return map[string]any{"type": "string", "description": about} }
	time := func(about string) map[string]any {
		return map[string]any{"type": "string", "format": "date-time", "description": about}
	}
	object := func(about string, required []string, properties map[string]any) map[string]any {
		return map[string]any{
			"type": "object", "description": about, "properties": properties, "required": required,
			"additionalProperties": false,
		}
	}
	header := func(name, about string) map[string]any {
		return map[string]any{"name": name, "in": "header", "required": true, "schema": text(about), "description": about}
	}

	problem := object("a problem", []string{"code", "name", "severity", "subject", "what"}, map[string]any{
		"code":     text("what kind of problem it is; docs/operator/incidents.md has a heading for each"),
		"name":     text("the same in words"),
		"severity": map[string]any{"enum": []string{"critical", "warning", "notice"}, "description": "how bad it is"},
		"subject":  text("what has it: redis, spool, tenant/endpoint, …"),
		"since":    time("since when, as far as it is known"),
		"what":     text("what follows from it"),
		"why":      text("its cause, as far as it is known; not of one that is over"),
		"do":       text("what a person does about it; not of one that is over"),
		"replicas": map[string]any{
			"type": "array", "items": text(""), "description": "those that see it, if not all do",
		},
	})
	data := object("what is told", []string{"replica", "alone", "problems", "more"}, map[string]any{
		"replica": text("the one that tells"),
		"alone":   map[string]any{"type": "boolean", "description": "it tells by itself: Redis does not answer"},
		"problems": map[string]any{
			"type": "array", "items": problem, "maxItems": webhookMost, "description": "at most 50",
		},
		"more": map[string]any{"type": "integer", "description": "how many more there are"},
	})
	body := object("a notice", []string{"type", "timestamp", "data"}, map[string]any{
		"type": map[string]any{
			"enum":        []string{TypeOpened, TypeOver, TypeTest},
			"description": "they have begun, or are over; or a person tries it",
		},
		"timestamp": time("when that was seen"),
		"data":      data,
	})
	body["title"] = string(Webhook)

	return map[string]any{"problem": map[string]any{"post": map[string]any{
		"summary": "Problems that have begun, or are over, for receivers of notices with format webhook",
		"parameters": []any{
			header("webhook-id", "ntc_ and 64 hex digits: the same if the same problems are told again"),
			header("webhook-timestamp", "when it was sent, in unix seconds"),
			header("webhook-signature", "v1, (with the comma) and the base64 of HMAC-SHA256 over id.timestamp.body"),
		},
		"requestBody": map[string]any{"required": true, "content": map[string]any{
			"application/json": map[string]any{"schema": map[string]any{"anyOf": []any{body}}},
		}},
		"responses": map[string]any{
			"2XX":     map[string]any{"description": "Taken"},
			"default": map[string]any{"description": "Tried again, while it is due"},
		},
	}}}
}
