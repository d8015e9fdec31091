package console

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/labstack/echo/v4"
)

// letterStore stands in for the API: it has dead letters of endpoints, and redrives a hundred of them in a request.
type letterStore struct {
	dead  map[string]int
	asked []string
	// fails is the number of the request that fails with err; 0: none does.
	fails int
	err   error
}

func (s *letterStore) ask(body map[string]any) (portion, error) {
	endpoint := body["filter"].(map[string]string)["endpoint"]
	s.asked = append(s.asked, fmt.Sprint(endpoint, " ", body["cursor"]))
	if len(s.asked) == s.fails {
		return portion{}, s.err
	}
	n := min(100, s.dead[endpoint])
	s.dead[endpoint] -= n
	if s.dead[endpoint] == 0 {
		return portion{done: n}, nil
	}
	return portion{done: n, next: fmt.Sprint("after ", n)}, nil
}

func TestTheDeadLettersOfSeveralEndpointsAreRedrivenUpToABound(t *testing.T) {
	t.Parallel()
	s := letterStore{dead: map[string]int{"shop/a": 150, "shop/b": 0, "shop/c": 100}}
	all, err := redriveSome([]string{"shop/a", "shop/b", "shop/c"}, s.ask)
	if err != nil || all != (portion{done: 250}) {
		t.Errorf("%+v, %v", all, err)
	}
	want := []string{"shop/a ", "shop/a after 100", "shop/b ", "shop/c "}
	if !slices.Equal(s.asked, want) {
		t.Errorf("it asked %q", s.asked)
	}

	// The bound is that of all of them together.
	s = letterStore{dead: map[string]int{"shop/a": 1500, "shop/b": 600}}
	all, err = redriveSome([]string{"shop/a", "shop/b"}, s.ask)
	if err != nil || all.done != 100*actsAtOnce || all.whole() || len(s.asked) != actsAtOnce {
		t.Errorf("%+v, %v after %d requests", all, err, len(s.asked))
	}
	s = letterStore{dead: map[string]int{"shop/a": 2000, "shop/b": 1}}
	if all, _ = redriveSome([]string{"shop/a", "shop/b"}, s.ask); all.done != 2000 || all.whole() {
		t.Errorf("an endpoint that is not reached is taken for done: %+v", all)
	}
	if all, err := redriveSome(nil, s.ask); err != nil || all.done != 0 {
		t.Errorf("none: %+v, %v", all, err)
	}
}

func TestARedriveThatEndsInTheMiddleSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	down := echo.NewHTTPError(http.StatusServiceUnavailable, "redis is down")
	for name, x := range map[string]struct {
		fails int
		err   error
		want  portion
	}{
		"another endpoint":          {3, down, portion{done: 150, next: nextEndpoint, failed: "redis is down"}},
		"the same one":              {2, down, portion{done: 100, next: "after 100", failed: "redis is down"}},
		"an error without a status": {2, errors.New("cut"), portion{done: 100, next: "after 100", failed: "cut"}},
	} {
		s := letterStore{dead: map[string]int{"shop/a": 150, "shop/b": 50}, fails: x.fails, err: x.err}
		if all, err := redriveSome([]string{"shop/a", "shop/b"}, s.ask); err != nil || all != x.want {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
	}

	// Before anything was done, it is an error like any other.
	s := letterStore{dead: map[string]int{"shop/a": 150}, fails: 1, err: down}
	if all, err := redriveSome([]string{"shop/a"}, s.ask); !errors.Is(err, down) || all.done != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}
