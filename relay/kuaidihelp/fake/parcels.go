// Package fake simulates the provider. It makes up parcels and their updates, writes them in every encoding that a
// callback may have, and posts them. A Provider takes subscriptions too. The demo, `kuairelay send` and tests use it.
// The same seed always gives the same parcels.
package fake

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"kuairelay/relay/event"
	"kuairelay/relay/kuaidihelp"
)

// start is the earliest time of a parcel's journey, in China time. It is fixed, so that a seed always gives the same.
var start = time.Date(2026, time.January, 5, 8, 0, 0, 0, time.UTC)

// Parcels makes up parcels. It is not safe for concurrent use.
type Parcels struct {
	random *rand.Rand
	brands []string
	series int // the middle digits of this seed's waybill codes
	made   int
}

// NewParcels gives a generator. Its parcels take turns through the brands. Default: all that can be subscribed
// (kuaidihelp.Brands). The same seed and brands give the same parcels.
func NewParcels(seed uint64, brands []string) *Parcels {
	if len(brands) == 0 {
		brands = kuaidihelp.Brands()
	}
	random := rand.New(rand.NewPCG(seed, 0))
	return &Parcels{random: random, brands: brands, series: random.IntN(1_000_000)}
}

// prefixes are the beginnings of a brand's waybill codes, so that they look real.
var prefixes = map[string]string{
	kuaidihelp.STO:  "77",
	kuaidihelp.ZT:   "78",
	kuaidihelp.YTSD: "YT",
	kuaidihelp.JT:   "JT",
	kuaidihelp.YD:   "43",
	kuaidihelp.DBKD: "DPK",
}

// New gives a parcel without updates. Its waybill code differs from that of every other parcel of this generator.
func (p *Parcels) New() *Parcel {
	brand := p.brands[p.made%len(p.brands)]
	p.made++
	return p.Of(brand, fmt.Sprintf("%s%06d%07d", prefixes[kuaidihelp.Brand(brand)], p.series, p.made))
}

// Of gives a parcel with this brand and waybill code, without updates.
func (p *Parcels) Of(brand, code string) *Parcel {
	return &Parcel{
		WaybillCode: code,
		CPCode:      brand,
		random:      p.random,
		journey:     journey(p.random),
		now:         start.Add(time.Duration(p.random.IntN(600)) * time.Minute),
	}
}

// Updates gives updates without end, each of a random parcel. That many parcels (at least one) are under way at a time;
// a new one takes the place of a parcel that was signed for. The updates of one parcel come in order.
func (p *Parcels) Updates(underWay int) iter.Seq[Item] {
	return func(yield func(Item) bool) {
		parcels := make([]*Parcel, max(underWay, 1))
		for {
			i := p.random.IntN(len(parcels))
			if parcels[i] == nil || parcels[i].Signed() {
				parcels[i] = p.New()
			}
			if !yield(parcels[i].Next()) {
				return
			}
		}
	}
}

// journey draws the statuses that a parcel goes through.
func journey(random *rand.Rand) []string {
	way := []string{kuaidihelp.StatusCollected}
	for range 1 + random.IntN(3) {
		way = append(way, kuaidihelp.StatusSending)
	}
	way = append(way, kuaidihelp.StatusDelivering)
	switch random.IntN(10) {
	case 0:
		way = append(way, kuaidihelp.StatusQuestion, kuaidihelp.StatusDelivering)
	case 1, 2:
		way = append(way, kuaidihelp.StatusAllograph)
	}
	return append(way, kuaidihelp.StatusSigned)
}

// Parcel is one parcel under way. It is not safe for concurrent use, nor together with others of its generator.
type Parcel struct {
	WaybillCode string
	CPCode      string

	random  *rand.Rand
	journey []string // the statuses to come
	now     time.Time
	tracks  []event.Track // the newest first
}

// Signed says whether no update is to come: the parcel was signed for, or it plays Silent. Next would then only sign
// for it again.
func (p *Parcel) Signed() bool { return len(p.journey) == 0 }

// Next gives the parcel's next update: collected, sending, delivering, sometimes allograph or question, and signed.
func (p *Parcel) Next() Item {
	status := kuaidihelp.StatusSigned
	if len(p.journey) > 0 {
		status, p.journey = p.journey[0], p.journey[1:]
	}
	return p.Update(status)
}

// Update gives an update with this status, which need not be the next of the journey. It has the whole track list, as
// with similar providers, and a new track on top, so no two updates are the same event.
func (p *Parcel) Update(status string) Item {
	p.now = p.now.Add(time.Duration(60+p.random.IntN(6*3600)) * time.Second)
	track := event.Track{
		Time:    p.now.Format(time.DateTime),
		Context: describe(status, cities[p.random.IntN(len(cities))], cities[p.random.IntN(len(cities))]),
		Status:  status,
	}
	p.tracks = append([]event.Track{track}, p.tracks...) // a new list: earlier items keep theirs
	return Item{WaybillCode: p.WaybillCode, CPCode: p.CPCode, Status: status, Tracks: p.tracks}
}

var cities = []string{
	"上海市", "杭州市", "广州市", "深圳市", "成都市", "武汉市", "西安市", "北京市", "郑州市", "沈阳市",
}

// describe gives the text of a track.
func describe(status, city, next string) string {
	switch status {
	case kuaidihelp.StatusCollected:
		return "【" + city + "】快件已被揽收"
	case kuaidihelp.StatusSending:
		return "【" + city + "】快件已从转运中心发出,已发往 " + next
	case kuaidihelp.StatusDelivering:
		return "【" + city + "】快件正在派件,请准备签收"
	case kuaidihelp.StatusAllograph:
		return "【" + city + "】快件已由驿站代收,请及时取件"
	case kuaidihelp.StatusSigned:
		return "【" + city + "】快件已签收,感谢使用"
	case kuaidihelp.StatusQuestion:
		return "【" + city + "】问题件: \"地址不详\", 正在联系收件人"
	}
	return "【" + city + "】" + status
}
