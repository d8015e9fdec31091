package route

import (
	"cmp"
	"hash/maphash"
	"math/bits"
	"slices"
)

// index finds the rules that an event may match, in time that does not grow with the number of rules.
//
// Each rule is filed under the tuple of all that it demands exactly: its type, cp_code, status, and its waybill code or
// the first bytes of one; a rule with lists under every combination. Which parts a tuple has is its class. A table has
// few classes (at most 8 combinations of fields for each length of waybill prefix in use), and an event is looked up
// once in each, with its own values. So nearly every rule that is found matches. What is not exact (a glob like "*9", a
// list too long to combine) is left to rule.holds, which is asked about every rule found anyway: a collision of hashes
// does no harm.
//
// Rules that demand nothing exactly (no match at all, only a `when`, only a glob like "*9") share the class without
// parts: that is the list which every event is checked against.
type index struct {
	seed   maphash.Seed
	groups []group         // by rising waybill
	filed  map[uint64]span // hash of a tuple, its class included → which part of rules
	rules  []int32
}

// group is the classes that have the same waybill part.
type group struct {
	waybill int     // noWaybill, wholeWaybill, or the length of the prefix
	masks   []uint8 // one per class: a bit for each field before fieldWaybill
}

// span is a part of a shared slice.
type span struct{ start, end int32 }

const (
	noWaybill    = -1
	wholeWaybill = 0
	// gate replaces the mask in a key that says that some class of the group has this waybill part. An event with an
	// unknown part needs no lookup in each class.
	gate = 0xFF
	// maxCombinations limits the tuples of a rule with several lists. The longer lists are then left out.
	maxCombinations = 32
)

// part is the waybill part of a tuple.
type part struct {
	waybill int
	hash    uint64
}

// filing puts a rule under a tuple.
type filing struct {
	key  uint64
	rule int32
}

func newIndex(rules []rule) *index {
	x := &index{seed: maphash.MakeSeed()}
	masks := map[int][]uint8{}
	gates := map[int][]uint64{}

	// A rule is filed under each of its tuples.
	var filings []filing
	for i := range rules {
		parts := x.parts(&rules[i])
		mask := rules[i].exactFields(len(parts))
		for _, p := range parts {
			if !slices.Contains(masks[p.waybill], mask) {
				masks[p.waybill] = append(masks[p.waybill], mask)
			}
			gates[p.waybill] = append(gates[p.waybill], start(p, gate))
			for _, key := range x.keys(&rules[i], p, mask) {
				filings = append(filings, filing{key, int32(i)})
			}
		}
	}
	x.pack(filings)

	// The classes of one waybill part make a group, which has a gate if that saves something.
	for waybill, masks := range masks {
		g := group{waybill, masks}
		x.groups = append(x.groups, g)
		if g.gated() {
			for _, key := range gates[waybill] {
				x.filed[key] = span{}
			}
		}
	}
	slices.SortFunc(x.groups, func(a, b group) int { return cmp.Compare(a.waybill, b.waybill) })
	return x
}

// gated says whether the group has a gate: it saves nothing if there is one class.
func (g group) gated() bool { return g.waybill != noWaybill && len(g.masks) > 1 }

// parts returns the waybill parts that a rule is filed under.
func (x *index) parts(r *rule) []part {
	none := []part{{waybill: noWaybill}}
	p := r.match[fieldWaybill]
	if p == nil {
		return none
	}
	heads, ok := p.heads()
	if !ok {
		return none
	}

	parts := make([]part, 0, len(p.whole)+len(heads))
	for _, code := range p.whole {
		parts = append(parts, part{wholeWaybill, x.hash(code)})
	}
	for _, head := range heads {
		parts = append(parts, part{len(head), x.hash(head)})
	}
	return parts
}

// exactFields chooses the fields, besides the waybill code, of a rule's tuples: those without a glob, the shortest
// lists first, as long as there are not too many combinations.
func (r *rule) exactFields(combinations int) (mask uint8) {
	order := [...]int{fieldType, fieldBrand, fieldStatus}
	values := func(field int) int {
		if p := r.match[field]; p != nil && p.exact() {
			return len(p.whole)
		}
		return 0
	}

	slices.SortStableFunc(order[:], func(a, b int) int { return cmp.Compare(values(a), values(b)) })
	for _, field := range order {
		n := values(field)
		if n == 1 || n > 1 && (combinations == 1 || combinations*n <= maxCombinations) {
			mask |= 1 << field
			combinations *= n
		}
	}
	return mask
}

// keys returns the keys of every tuple of a rule with one waybill part.
func (x *index) keys(r *rule, p part, mask uint8) []uint64 {
	keys := []uint64{start(p, mask)}
	for field := range fieldWaybill {
		if mask&(1<<field) == 0 {
			continue
		}
		var longer []uint64
		for _, value := range r.match[field].whole {
			hash := x.hash(value)
			for _, key := range keys {
				longer = append(longer, mix(key, hash))
			}
		}
		keys = longer
	}
	return keys
}

// pack files the rules: those of one tuple side by side, in the order of the rules.
func (x *index) pack(filings []filing) {
	slices.SortFunc(filings, func(a, b filing) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.rule, b.rule))
	})
	filings = slices.Compact(filings)
	x.rules = make([]int32, len(filings))
	x.filed = make(map[uint64]span, len(filings))
	for i, f := range filings {
		x.rules[i] = f.rule
		s, known := x.filed[f.key]
		if !known {
			s.start = int32(i)
		}
		s.end = int32(i) + 1
		x.filed[f.key] = s
	}
}

// find appends to hits every rule that may match an event with these values, in no order and some perhaps twice.
func (x *index) find(values *[fields]string, hits []int32) []int32 {
	var hashes [fieldWaybill]uint64
	var present uint8
	for field := range hashes {
		if values[field] != "" {
			hashes[field] = x.hash(values[field])
			present |= 1 << field
		}
	}

	code := values[fieldWaybill]
	for i := range x.groups {
		g := &x.groups[i]
		p := part{waybill: g.waybill}
		switch {
		case g.waybill == noWaybill:
		case code == "" || g.waybill > len(code):
			return hits // as all that follow
		case g.waybill == wholeWaybill:
			p.hash = x.hash(code)
		default:
			p.hash = x.hash(code[:g.waybill])
		}

		if g.gated() {
			if _, known := x.filed[start(p, gate)]; !known {
				continue
			}
		}

		// A class is looked up with the event's own values, if the event has all fields of the class.
		for _, mask := range g.masks {
			if mask&^present != 0 {
				continue
			}
			key := start(p, mask)
			for field := range hashes {
				if mask&(1<<field) != 0 {
					key = mix(key, hashes[field])
				}
			}
			if s, found := x.filed[key]; found {
				hits = append(hits, x.rules[s.start:s.end]...)
			}
		}
	}
	return hits
}

func (x *index) hash(text string) uint64 { return maphash.String(x.seed, text) }

// start begins the key of a tuple with its class and its waybill part; mix adds a value to it.
func start(p part, mask uint8) uint64 { return mix(p.hash, uint64(mask)<<32|uint64(p.waybill+1)) }

func mix(key, hash uint64) uint64 {
	hi, lo := bits.Mul64(key^0x9E3779B97F4A7C15, hash^0xD1B54A32D192ED03)
	return hi ^ lo
}
