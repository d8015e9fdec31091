package kuaidihelp

import "slices"

// items are the items of a callback's data. Reading one gives the position of the next.
type items interface {
	// first gives the position of the first item, none if there is none.
	first() int
	// item gives the item at a position, and the position of the next one (none: it was the last). false: the item is cut
	// off.
	item(pos int) (raw []byte, next int, ok bool)
	// left counts the items from a position on; false if they are cut off.
	left(pos int) (n int, ok bool)
}

const none = -1

// count counts the items up to the end, or up to where they are cut off.
func count(all items) int {
	n := 0
	for pos := all.first(); pos != none; n++ {
		_, next, ok := all.item(pos)
		if !ok {
			break
		}
		pos = next
	}
	return n
}

// arrayItems are the elements of a JSON array.
type arrayItems []byte

func (a arrayItems) first() int {
	i := skipSpace(a, 1)
	if i == len(a)-1 && a[i] == ']' {
		return none
	}
	return i
}

func (a arrayItems) item(pos int) (raw []byte, next int, ok bool) {
	end := valueEnd(a, pos)
	if end == len(a) || a[end] == '}' {
		return nil, none, false
	}
	raw = trim(a[pos:end])
	if a[end] == ']' {
		return raw, none, end == len(a)-1
	}
	return raw, end + 1, true
}

func (a arrayItems) left(pos int) (n int, ok bool) {
	for ; pos != none; n++ {
		_, pos, ok = a.item(pos)
		if !ok {
			return n, false
		}
	}
	return n, true
}

// oneItem is a single item.
type oneItem []byte

func (oneItem) first() int { return 0 }

func (o oneItem) item(int) (raw []byte, next int, ok bool) { return o, none, true }

func (oneItem) left(pos int) (n int, ok bool) { return leftOf(pos, 1) }

// listItems are the values of a JSON object whose keys are numbers, in the order of these.
type listItems []entry

type entry struct {
	number int32
	value  []byte
}

// numbered reads an object whose keys are all numbers. PHP's json_encode writes a list with gaps that way. It says
// whether raw is such an object, and complete.
func numbered(raw []byte) (listItems, bool) {
	count, good := 0, true
	complete := members(raw, func(key, _ []byte) {
		if good {
			_, good = memberNumber(key)
			count++
		}
	})
	if !complete || !good || count == 0 {
		return nil, false
	}
	list := make(listItems, 0, count)
	members(raw, func(key, value []byte) {
		number, _ := memberNumber(key)
		list = append(list, entry{number: number, value: value})
	})
	slices.SortStableFunc(list, func(a, b entry) int { return int(a.number - b.number) })
	return list, true
}

// memberNumber reads a key as a number.
func memberNumber(key []byte) (int32, bool) {
	text, _ := unquote(key)
	return index(text)
}

func (listItems) first() int { return 0 }

func (l listItems) item(pos int) (raw []byte, next int, ok bool) {
	return l[pos].value, following(pos, len(l)), true
}

func (l listItems) left(pos int) (n int, ok bool) { return leftOf(pos, len(l)) }

// leftOf counts the items of a list of n from pos on. Only an array can be cut off.
func leftOf(pos, n int) (left int, ok bool) {
	if pos == none {
		return 0, true
	}
	return n - pos, true
}

// following gives the position after pos in a list of n; none: pos is the last.
func following(pos, n int) int {
	if pos+1 == n {
		return none
	}
	return pos + 1
}

// formItems are the nodes of a form with brackets.
type formItems struct {
	tree  *tree
	nodes []int32
}

func (f formItems) first() int { return 0 }

func (f formItems) item(pos int) (raw []byte, next int, ok bool) {
	return f.tree.json(f.nodes[pos]), following(pos, len(f.nodes)), true
}

func (f formItems) left(pos int) (n int, ok bool) { return leftOf(pos, len(f.nodes)) }
