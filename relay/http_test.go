package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"kuairelay/relay/api"
)

// A long answer is what encoding/json writes, gives its turn back before each part is sent, and has the next one before it goes on.
func TestALongAnswerIsWrittenInTurns(t *testing.T) {
	t.Parallel()
	value := api.Events{Next: "<&>", Events: make([]api.Event, 300)}
	for i := range value.Events {
		value.Events[i] = api.Event{ID: "evt_快递<&>", AcceptedAt: time.Unix(int64(i), 0), Data: json.RawMessage(`{"a": [1, "` + strings.Repeat("单", 100) + `"]}`)}
	}
	var want bytes.Buffer
	if err := json.NewEncoder(&want).Encode(value); err != nil {
		t.Fatal(err)
	}

	held, turns := 0, 0
	e := echo.New()
	e.JSONSerializer = answers{aside: func(context.Context) func() {
		turns++
		held++
		return func() { held-- }
	}}
	e.GET("/", func(c echo.Context) error { return c.JSON(http.StatusOK, value) })
	answer := httptest.NewRecorder()
	e.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	if answer.Code != 200 || answer.Body.String() != want.String() {
		t.Errorf("%d, and %d bytes that are not the %d of encoding/json: %.300s", answer.Code, answer.Body.Len(), want.Len(), answer.Body)
	}
	if least := want.Len() / answerPart; turns < least || held != 0 {
		t.Errorf("%d turns of at least %d, of which %d were not given back", turns, least, held)
	}
}
