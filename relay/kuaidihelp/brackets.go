package kuaidihelp

import (
	"bytes"
	"errors"
	"hash/maphash"
	"math/bits"
	"slices"
	"strconv"
)

// maxBrackets is the depth to which brackets become objects; deeper ones stay one key. It is more than event.ID allows,
// so that such an item is rejected with all its text. It also keeps the recursion below shallow.
const maxBrackets = 66

// maxNodes bounds the tree of a form with this many bytes. The tree takes at most six times the form's memory, although
// three bytes can make a node. A field of a real callback has about forty bytes, and makes one or two.
func maxNodes(size int) int { return 1000 + size/9 }

// tree is what the brackets of a form describe, as PHP reads them. Its memory is allocated once, before it is filled.
type tree struct {
	text  []byte // the names and values, decoded
	nodes []node // the root first
	table []int32
	seed  maphash.Seed
	twice int32 // a node of the root with the name of an earlier one; 0: there is none
}

// node is a value, or a container with children. A key that came twice has two nodes. The JSON then has it twice too,
// and event.ID refuses it.
type node struct {
	key    span  // empty for a pair of brackets without a key, which has a number
	value  span  // of a value
	number int32 // the key as a number, -1 if it is none
	// The indices of the nodes around it; 0: none. The children are in the order they came.
	parent, first, last, next int32
	free                      int32 // the number that an empty pair of brackets takes
}

// span is a part of a tree's text.
type span struct{ from, to uint32 }

const root = 0

// newTree allocates memory for this many nodes, and this much text.
func newTree(nodes, text int) *tree {
	return &tree{
		text:  make([]byte, 0, text),
		nodes: make([]node, 1, nodes+1),
		table: make([]int32, 1<<bits.Len(uint(nodes+nodes/4))),
		seed:  maphash.MakeSeed(),
	}
}

// hold appends a part of a field to the text of the tree, decoded.
func (t *tree) hold(part []byte, escaped bool) span {
	from := len(t.text)
	if escaped {
		t.text = appendDecoded(t.text, part)
	} else {
		t.text = append(t.text, part...)
	}
	return span{from: uint32(from), to: uint32(len(t.text))}
}

func (t *tree) at(s span) []byte { return t.text[s.from:s.to] }

var (
	errTooManyFields = errors.New("more fields and brackets than a callback can have")
	errUnpaired      = errors.New("brackets that do not pair up")
)

// add puts one field into the tree: a[b][c]=v is {"a":{"b":{"c":"v"}}}, and a[]=v takes the next number as its key. If
// the brackets of a name do not pair up, they are a part of the name. In data they are an error: a part of an item
// would be lost silently.
func (t *tree) add(name, value span) error {
	text := t.at(name)
	base := bytes.IndexByte(text, '[')
	if base <= 0 {
		return t.addValue(root, name, value)
	}
	if !paired(text[base:]) {
		if string(text[:base]) == "data" {
			return errUnpaired
		}
		return t.addValue(root, name, value)
	}

	// Every key but the last one names a container.
	parent := int32(root)
	key, rest := span{from: name.from, to: name.from + uint32(base)}, span{from: name.from + uint32(base) + 1, to: name.to}
	for depth := 1; ; depth++ {
		container, err := t.container(parent, key)
		if err != nil {
			return err
		}
		parent = container
		end := bytes.IndexByte(t.at(rest), ']')
		if end < 0 || depth == maxBrackets { // beyond maxBrackets everything is one key
			return t.addValue(parent, rest, value)
		}
		key = span{from: rest.from, to: rest.from + uint32(end)}
		if key.to+1 == rest.to {
			return t.addValue(parent, key, value)
		}
		rest.from = key.to + 2
	}
}

// paired says whether text is [a][b]…, down to maxBrackets.
func paired(text []byte) bool {
	for range maxBrackets - 1 {
		end := bytes.IndexByte(text, ']')
		if end < 0 || text[0] != '[' {
			return false
		}
		text = text[end+1:]
		if len(text) == 0 {
			return true
		}
	}
	return text[0] == '['
}

// addValue adds a value to a container.
func (t *tree) addValue(parent int32, key, value span) error {
	n, err := t.addNode(parent, key)
	if err != nil {
		return err
	}
	t.nodes[n].value = value
	if parent == root {
		t.enter(n)
	}
	return nil
}

// container gives the container with that key. It makes one if there is none.
func (t *tree) container(parent int32, key span) (int32, error) {
	if key.from < key.to {
		if n := t.find(parent, t.at(key)); n > 0 && t.nodes[n].first > 0 {
			return n, nil
		}
	}
	n, err := t.addNode(parent, key)
	if err != nil {
		return 0, err
	}
	t.enter(n)
	return n, nil
}

// addNode adds a node without children or value.
func (t *tree) addNode(parent int32, key span) (int32, error) {
	if len(t.nodes) == cap(t.nodes) {
		return 0, errTooManyFields
	}
	p := &t.nodes[parent]
	number, isNumber := index(t.at(key))
	switch {
	case key.from == key.to:
		number = p.free
	case !isNumber:
		number = -1
	}
	p.free = max(p.free, number+1)

	n := int32(len(t.nodes))
	t.nodes = append(t.nodes, node{key: key, number: number, parent: parent})
	if p.first == 0 {
		p.first = n
	} else {
		t.nodes[p.last].next = n
	}
	p.last = n
	return n, nil
}

// enter puts a node into the table of find. The table has all containers, and all children of the root. If the root has
// a name twice, twice remembers the node.
func (t *tree) enter(n int32) {
	x := &t.nodes[n]
	slot := t.slot(x.parent, x.number, t.at(x.key))
	if t.table[slot] == 0 {
		t.table[slot] = n
	} else if x.parent == root {
		t.twice = n
	}
}

// find gives the node with that key in the table; 0: there is none.
func (t *tree) find(parent int32, key []byte) int32 {
	number, ok := index(key)
	if !ok {
		number = -1
	}
	return t.table[t.slot(parent, number, key)]
}

// slot gives the place in the table where a node is, or would be. The table always has a free place.
func (t *tree) slot(parent, number int32, key []byte) int {
	id := struct {
		parent, number int32
		text           uint64
	}{parent: parent, number: number}
	if number < 0 {
		id.text = maphash.Bytes(t.seed, key)
	}
	mask := len(t.table) - 1
	for i := int(maphash.Comparable(t.seed, id)) & mask; ; i = (i + 1) & mask {
		n := t.table[i]
		if n == 0 {
			return i
		}
		x := &t.nodes[n]
		if x.parent == parent && x.number == number && (number >= 0 || bytes.Equal(t.at(x.key), key)) {
			return i
		}
	}
}

// keyOf gives the key of a node as text.
func (t *tree) keyOf(n int32) []byte {
	x := &t.nodes[n]
	if x.key.from == x.key.to {
		return strconv.AppendInt(nil, int64(x.number), 10)
	}
	return t.at(x.key)
}

// isValue says whether a node has no children.
func (t *tree) isValue(n int32) bool { return t.nodes[n].first == 0 }

// valueOf gives the text of a value.
func (t *tree) valueOf(n int32) []byte { return t.at(t.nodes[n].value) }

// index reads a key of an array: a number in decimal digits, without a leading zero.
func index(key []byte) (int32, bool) {
	if len(key) == 0 || len(key) > 9 || key[0] == '0' && len(key) > 1 {
		return 0, false
	}
	var n int32
	for _, c := range key {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int32(c-'0')
	}
	return n, true
}

// list gives the children of a container in the order of their numbers, if all their keys are numbers. Gaps are
// allowed.
func (t *tree) list(container int32) ([]int32, bool) {
	count := 0
	for n := t.nodes[container].first; n > 0; n = t.nodes[n].next {
		if t.nodes[n].number < 0 {
			return nil, false
		}
		count++
	}
	list := make([]int32, 0, count)
	for n := t.nodes[container].first; n > 0; n = t.nodes[n].next {
		list = append(list, n)
	}
	slices.SortStableFunc(list, func(a, b int32) int { return int(t.nodes[a].number - t.nodes[b].number) })
	return list, true
}

// json gives a node as JSON: a value as a string, children with the keys 0 to n-1 as an array, and others as an object.
func (t *tree) json(n int32) []byte { return t.appendJSON(make([]byte, 0, t.size(n)), n) }

// size gives a bound for the length of a node's JSON.
func (t *tree) size(n int32) int {
	if t.isValue(n) {
		return stringSize(t.valueOf(n))
	}
	total := len("{}")
	for child := t.nodes[n].first; child > 0; child = t.nodes[child].next {
		key := len(`"999999999"`)
		if text := t.at(t.nodes[child].key); len(text) > 0 {
			key = stringSize(text)
		}
		total += key + len(":") + t.size(child) + len(",")
	}
	return total
}

func (t *tree) appendJSON(dst []byte, n int32) []byte {
	if t.isValue(n) {
		return appendString(dst, t.valueOf(n))
	}
	list, ok := t.list(n)
	for i, child := range list {
		ok = ok && t.nodes[child].number == int32(i)
	}
	if !ok {
		return t.appendObject(dst, n)
	}
	dst = append(dst, '[')
	for _, child := range list {
		dst = append(t.appendJSON(dst, child), ',')
	}
	return closeWith(dst, ']')
}

func (t *tree) appendObject(dst []byte, n int32) []byte {
	dst = append(dst, '{')
	for child := t.nodes[n].first; child > 0; child = t.nodes[child].next {
		dst = append(appendString(dst, t.keyOf(child)), ':')
		dst = append(t.appendJSON(dst, child), ',')
	}
	return closeWith(dst, '}')
}

// closeWith puts the bracket in place of the last comma. There is always one, because a container has children.
func closeWith(dst []byte, bracket byte) []byte {
	dst[len(dst)-1] = bracket
	return dst
}

// appendString writes text as a JSON string. Bytes that are not UTF-8 stay as they are, for event.ID to find.
func appendString(dst, text []byte) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// stringSize gives the length of what appendString writes.
func stringSize(text []byte) int {
	size := len(text) + 2
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			size++
		case c < ' ':
			size += 5
		}
	}
	return size
}
