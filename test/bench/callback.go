package main

import (
	"bytes"
	"fmt"

	"kuairelay/relay/kuaidihelp"
	"kuairelay/relay/kuaidihelp/fake"
)

const (
	// secret signs and verifies everything here.
	secret = "whsec_YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2ghIQ=="
	token  = "bench-token"

	// stamp is the first member of every item. The receiver reads from it when the callback was pushed, and which one it
	// is.
	stamp        = `"bench":"0000000000000000000 000000000",`
	stampKey     = `"bench":"`
	sentDigits   = 19 // unix nanoseconds
	serialDigits = 9

	noWaybill = "770000000000000"
	kinds     = 64  // of different items
	itemBytes = 830 // at least, of an item: so that a callback has about 1 KB
)

// callbacks writes callbacks as the provider would, cheaply: it fills stamp and waybill into items that are made once.
type callbacks struct {
	items []item
	run   int
	// one says that all items are updates of one waybill.
	one bool
}

// item is the JSON of one, and where its waybill codes are.
type item struct {
	text     []byte
	waybills []int
}

// newCallbacks gives the callbacks of one run of the load: no other run has the same waybills.
func newCallbacks(run int, one bool) (*callbacks, error) {
	c := &callbacks{run: run, one: one}
	parcels := fake.NewParcels(1, []string{kuaidihelp.ZT, kuaidihelp.STO, kuaidihelp.YTSD, kuaidihelp.JT, kuaidihelp.YD})
	for range kinds {
		var text []byte
		for p := parcels.New(); len(text) < itemBytes; {
			update := p.Next()
			update.WaybillCode = noWaybill
			_, body, err := fake.Encode(fake.JSON, []fake.Item{update})
			if err != nil {
				return nil, fmt.Errorf("make callbacks: %w", err)
			}
			text = body[bytes.IndexByte(body, '[')+1 : len(body)-len(`]}`)]
		}
		i := item{text: append([]byte("{"+stamp), text[1:]...)}
		for at := 0; ; at += len(noWaybill) {
			next := bytes.Index(i.text[at:], []byte(noWaybill))
			if next < 0 {
				break
			}
			at += next
			i.waybills = append(i.waybills, at)
		}
		c.items = append(c.items, i)
	}
	return c, nil
}

// appendTo appends a callback with n items to buf, the first of which has this serial number.
func (c *callbacks) appendTo(buf []byte, sent int64, serial, n int) []byte {
	buf = append(buf, `{"type":"express_sub_msg","data":[`...)
	for i := serial; i < serial+n; i++ {
		if i > serial {
			buf = append(buf, ',')
		}
		t, at := c.items[i%len(c.items)], len(buf)
		buf = append(buf, t.text...)
		text := buf[at:]
		from := len("{" + stampKey)
		putDigits(text[from:from+sentDigits], sent)
		putDigits(text[from+sentDigits+1:from+sentDigits+1+serialDigits], int64(i))
		for _, w := range t.waybills {
			putDigits(text[w+2:w+6], int64(c.run))
			if !c.one {
				putDigits(text[w+6:w+len(noWaybill)], int64(i))
			}
		}
	}
	return append(buf, `]}`...)
}

// readStamp finds the stamp of a delivery in its body.
func readStamp(body []byte) (sent int64, serial int, ok bool) {
	_, rest, found := bytes.Cut(body, []byte(stampKey))
	if !found || len(rest) < sentDigits+1+serialDigits {
		return 0, 0, false
	}
	return getDigits(rest[:sentDigits]), int(getDigits(rest[sentDigits+1 : sentDigits+1+serialDigits])), true
}

// putDigits fills b with the last digits of n.
func putDigits(b []byte, n int64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
}

func getDigits(b []byte) (n int64) {
	for _, c := range b {
		n = 10*n + int64(c-'0')
	}
	return n
}
