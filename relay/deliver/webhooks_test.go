package deliver

import (
	"slices"
	"testing"
)

// A format that is added needs a schema for each kind of event.
func TestEveryWebhookIsDescribedInEveryFormat(t *testing.T) {
	t.Parallel()
	for name, w := range Webhooks(nil) {
		post := w.(map[string]any)["post"].(map[string]any)
		content := post["requestBody"].(map[string]any)["content"].(map[string]any)
		schema := content["application/json"].(map[string]any)["schema"].(map[string]any)
		var titles []string
		for _, s := range schema["anyOf"].([]any) {
			titles = append(titles, s.(map[string]any)["title"].(string))
		}
		if !slices.Equal(titles, Formats()) {
			t.Errorf("%s is described in the formats %q, and there are %q", name, titles, Formats())
		}
	}
}
