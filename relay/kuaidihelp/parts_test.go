package kuaidihelp

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// joined puts parts together again, and gives the size of each.
func joined(contentType, body string, limit Limit) (all Result, sizes []int) {
	for part := range ParseParts(contentType, []byte(body), time.Time{}, limit) {
		all.Events = append(all.Events, part.Events...)
		all.Rejected = append(all.Rejected, part.Rejected...)
		all.Form, all.Items = part.Form, part.Items // every part says them of the whole
		sizes = append(sizes, len(part.Events)+len(part.Rejected))
	}
	return all, sizes
}

func TestThePartsOfACallbackAreTheWholeOfIt(t *testing.T) {
	t.Parallel()
	items := `{"no":"1"},{"no":"2","status":"signed"},{},{"no":"3"},7,{"no":"4","data":[{"time":"x"}]}`
	for _, body := range []string{
		`{"type":"express_sub_msg","data":[` + items + `]}`,
		`{"data":"[{\"no\":1},{\"no\":2},{\"no\":3}]","type":"express_sub_msg"}`,
		`{"type":"express_sub_msg","data":{"no":1}}`,
		`{"type":"express_sub_msg","data":[]}`,
		`{"type":"another","data":[` + items + `]}`,
		`{"type":"express_sub_msg","data":[` + items,
		`{"type":"express_sub_msg","data":"[{\"no\":1},{\"no\":2},{\"no\":3}"}`,
		`type=express_sub_msg&data[0][no]=1&data[1][no]=2&data[2][no]=3&data[3]=4`,
		`type=express_sub_msg&data=[` + items + `]`,
		`nothing like it`, ``,
	} {
		want := Parse("", []byte(body), time.Time{})
		for _, limit := range []Limit{{}, {Items: 1}, {Items: 2}, {Items: 3}, {Items: 100}, {Bytes: 1}, {Bytes: 20},
			{Items: 2, Bytes: 10}} {
			got, sizes := joined("", body, limit)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s in parts of %+v:\ngot  %+v\nwant %+v", body, limit, got, want)
			}
			for _, n := range sizes {
				if limit.Items > 0 && n > limit.Items {
					t.Errorf("%s in parts of %+v: they have the sizes %v", body, limit, sizes)
				}
			}
		}
	}
}

func TestTheFirstPartOfACallbackSaysWhetherThereAreMore(t *testing.T) {
	t.Parallel()
	body := func(n int) []byte {
		return []byte(`{"type":"express_sub_msg","data":[` + strings.TrimSuffix(strings.Repeat(`{"no":1},`, n), ",") + `]}`)
	}
	for n, more := range map[int]bool{0: false, 1: false, 10: false, 11: true, 100_000: true} {
		first, got := ParseFirst("", body(n), time.Time{}, Limit{Items: 10})
		if got != more || len(first.Events) != min(n, 10) {
			t.Errorf("%d items: %d events, more %v", n, len(first.Events), got)
		}
	}
	if first, more := ParseFirst("", body(100)[:300], time.Time{}, Limit{Items: 10}); more || len(first.Events) != 0 ||
		len(first.Rejected) != 1 {
		t.Errorf("cut off: %d events, more %v", len(first.Events), more)
	}
}

func TestWaybillsAreThoseOfTheEvents(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`{"type":"express_sub_msg","data":[{"no":1},{"waybill_code":" 2 "},{},{"no":"3"},{"no":1}]}`: {"1", "2", "3", "1"},
		`type=express_sub_msg&data[0][no]=1&data[1][no]=2`:                                           {"1", "2"},
		`{"type":"another","data":[{"no":1}]}`:                                                       nil,
		`no callback`:                                                                                nil,
	} {
		if got := slices.Collect(Waybills("", []byte(body))); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, not %q", body, got, want)
		}
	}
}
