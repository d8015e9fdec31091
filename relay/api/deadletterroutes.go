package api

import "slices"

func deadLetterRoutes() []route {
	return []route{
		{
			method: get, path: "/dead-letters",
			summary: "A page of dead letters, the latest first; since and until are compared with the time they were given up",
			tenant:  true, operator: true,
			params:  paged(slices.Concat(deadLetterParams, []param{reasonParam}, filterParams)...),
			handler: answering(listDeadLetters),
		},
		{
			method: post, path: "/dead-letters/redrive",
			summary: "Queue dead letters again: at most 500 by name, or 100 by a filter; or count them",
			tenant:  true, operator: true,
			body: deadLetterRequest{}, problems: unexpected, handler: answering(redriveDeadLetters), act: actRedrive,
		},
		{
			method: post, path: "/dead-letters/dismiss",
			summary: "Take dead letters off the list: at most 500 by name, or 100 by a filter; or count them",
			tenant:  true, operator: true,
			body: deadLetterRequest{}, problems: unexpected, handler: answering(dismissDeadLetters), act: actDismiss,
		},
	}
}
