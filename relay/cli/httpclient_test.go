package cli

import (
	"net/http"
	"testing"
	"time"
)

func TestNoCommandSendsKeysThroughAProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	if httpClient(1, time.Second).Transport.(*http.Transport).Proxy != nil {
		t.Error("it looks for a proxy")
	}
}
