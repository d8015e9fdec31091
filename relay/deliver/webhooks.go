package deliver

import "kuairelay/relay/event"

// Webhooks describes what an endpoint receives, as the webhooks of an OpenAPI document: an update of a waybill, a
// callback of another type, and a test event, each in both of Formats. statuses are those that are known.
func Webhooks(statuses []string) map[string]any {
	var types []string
	for _, s := range statuses {
		types = append(types, "waybill."+s)
	}
	track := openObject("one track, with times of China without a zone", map[string]any{
		"time":    textSchema("such as 2026-11-23 09:12:31"),
		"context": textSchema("its text"),
		"status":  textSchema("its status"),
	})
	item := openObject("the item of kuaidihelp's callback, byte for byte; it may have other fields, and lack these",
		map[string]any{
			"waybill_code": map[string]any{"type": []string{"string", "number"}, "description": "the waybill"},
			"cp_code":      textSchema("the brand"),
			"status":       textSchema("the status as kuaidihelp wrote it"),
			"data": map[string]any{
				"type": "array", "items": track, "description": "the tracks; as a rule all of them, the latest first",
			},
		})
	callback := openObject("the whole callback", map[string]any{})
	tried := openObject("says that it is a test", map[string]any{
		"message": textSchema("for people"), "endpoint": textSchema("tenant/endpoint"),
	})

	lost := openObject("what is known of the subscription", map[string]any{
		"waybill_code": textSchema("the waybill"),
		"cp_code":      textSchema("the brand"),
		"reason": map[string]any{"type": "string", "description": "no_record: kuaidihelp had none for as long as the " +
			"schedule lasts; refused: it refuses the waybill; unanswered: its last answers said nothing of the waybill"},
		"code":  map[string]any{"type": "integer", "description": "of the last answer"},
		"msg":   textSchema("of the last answer"),
		"since": map[string]any{"type": "string", "format": "date-time", "description": "when kuaidihelp first had none"},
		"asked": map[string]any{"type": "integer", "description": "how often it was asked since"},
	})

	stuck := openObject("what is known of the silence", map[string]any{
		"waybill_code": textSchema("the waybill"),
		"cp_code":      textSchema("the brand"),
		"status":       textSchema("the last status; absent if none is known"),
		"since": map[string]any{"type": "string", "format": "date-time", "description": "when the silence began: the last " +
			"update, or your subscription"},
		"after_s": map[string]any{"type": "number", "description": "how long it has lasted, in seconds: the span of your " +
			"watch"},
	})
	kinds := map[string]any{"enum": []string{event.TypeNotCollected, event.TypeStalled, event.TypeNotPickedUp}}

	return map[string]any{
		"waybill": webhook("An update of a waybill",
			standard(map[string]any{
				"type": "string", "pattern": "^waybill\\.", "examples": append(types, "waybill.updated"),
				"description": "waybill. and the status; waybill.updated without a usable one",
			}, item),
			closedObject(map[string]any{
				"type": map[string]any{"const": event.TypeWaybill},
				"data": map[string]any{"type": "array", "items": item, "minItems": 1, "maxItems": 1},
			})),
		"callback": webhook("A callback of kuaidihelp that is not about a waybill",
			standard(map[string]any{
				"type": "string", "pattern": "^callback\\.",
				"description": "callback. and the callback's type; callback.other if that is not usable",
			}, callback), callback),
		"lost": webhook("A subscription that ended without success, for tenants with watch.lost",
			standard(map[string]any{"const": event.TypeLost}, lost),
			closedObject(map[string]any{
				"type": map[string]any{"const": event.TypeLost},
				"data": map[string]any{"type": "array", "items": lost, "minItems": 1, "maxItems": 1},
			})),
		"stuck": webhook("A parcel of which nothing was new for long, for tenants with watch",
			standard(kinds, stuck),
			closedObject(map[string]any{
				"type": kinds,
				"data": map[string]any{"type": "array", "items": stuck, "minItems": 1, "maxItems": 1},
			})),
		"test": webhook("A test event, which a person has sent: answer 2xx and do nothing",
			standard(map[string]any{"const": "test"}, tried), tried),
	}
}

// webhook is a path item: a POST with a body in one of both formats.
func webhook(summary string, standard, kuaidihelp map[string]any) map[string]any {
	standard["title"] = FormatStandard
	provider := map[string]any{"title": FormatKuaidihelp, "allOf": []any{kuaidihelp}}
	headers := []any{
		headerParam("webhook-id", "evt_ and 64 hex digits: the same at every attempt, redrive and replay", textSchema("")),
		headerParam("webhook-timestamp", "when this attempt was made, in unix seconds", wholeNumber()),
		headerParam("webhook-signature", "for each secret v1, (with the comma) and the base64 of HMAC-SHA256 over "+
			"id.timestamp.body; separated by spaces", textSchema("")),
		headerParam("kuairelay-sequence", "rises with every update of a waybill", wholeNumber()),
		headerParam("kuairelay-reason", "why it is sent now", map[string]any{"enum": []event.Reason{
			event.ReasonNew, event.ReasonReconcile, event.ReasonRetry, event.ReasonRedrive, event.ReasonReplay,
			event.ReasonCatchUp,
		}}),
		headerParam("traceparent", "W3C Trace Context: the trace id of the event, the same at every attempt, redrive and "+
			"replay; the span id of this attempt", textSchema("")),
	}

	answers := map[string]any{
		"2XX": answerOf("Delivered"),
		"410": answerOf("The endpoint is parked until a person resumes it"),
		"408": answerOf("Tried again later"), "425": answerOf("Tried again later"),
		"429": answerOf("Tried again later, after Retry-After"),
		"401": answerOf("Tried again later"), "403": answerOf("Tried again later"), "404": answerOf("Tried again later"),
		"3XX": answerOf("Not followed; tried again later"),
		"4XX": answerOf("Any other: this body is refused: a dead letter from the fourth attempt on"),
		"5XX": answerOf("Tried again later, after Retry-After"),
	}

	body := map[string]any{"schema": map[string]any{"anyOf": []any{standard, provider}}}
	return map[string]any{"post": map[string]any{
		"summary":     summary,
		"parameters":  headers,
		"requestBody": map[string]any{"required": true, "content": map[string]any{"application/json": body}},
		"responses":   answers,
	}}
}

// standard is the body in FormatStandard, with the schemas of its type and data.
func standard(kind, data map[string]any) map[string]any {
	accepted := map[string]any{
		"type": "string", "format": "date-time",
		"description": "when the event was accepted; the same at every attempt",
	}
	return closedObject(map[string]any{"type": kind, "timestamp": accepted, "data": data})
}

// closedObject is an object that has these properties and no others.
func closedObject(properties map[string]any) map[string]any {
	var names []string
	for _, name := range []string{"type", "timestamp", "data"} {
		if properties[name] != nil {
			names = append(names, name)
		}
	}
	return map[string]any{
		"type": "object", "properties": properties, "required": names, "additionalProperties": false,
	}
}

// openObject may lack these properties, and have others.
func openObject(description string, properties map[string]any) map[string]any {
	return map[string]any{"type": "object", "description": description, "properties": properties}
}

func textSchema(description string) map[string]any {
	return map[string]any{"type": "string", "description": description}
}

func wholeNumber() map[string]any { return map[string]any{"type": "integer"} }

func headerParam(name, description string, schema map[string]any) map[string]any {
	return map[string]any{
		"name": name, "in": "header", "required": true, "description": description, "schema": schema,
	}
}

func answerOf(description string) map[string]any { return map[string]any{"description": description} }
