package kuaidihelp

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
)

// maxBrackets is how deep brackets become objects; what is deeper stays one key. It is beyond what event.ID allows, so that
// such an item is rejected, with all that came, and it keeps the recursion below shallow.
const maxBrackets = 66

// maxBranches bounds the memory of a tree: two bytes can make a branch. The fields of a real callback of 4 MiB make half as many.
const maxBranches = 500_000

// tree is what the brackets of a form describe, as PHP reads them.
type tree struct {
	root branch
	size int
}

// add puts one field into the tree: a[b][c]=v is {"a":{"b":{"c":"v"}}}, and a[]=v takes the next number as its key.
func (t *tree) add(f field) error {
	path, err := splitName(f.name)
	if err != nil {
		return err
	}
	b := &t.root
	for _, key := range path[:len(path)-1] {
		child := b.find(key)
		if child == nil {
			child = b.addContainer(key)
			t.size++
		}
		b = child
	}
	b.append(path[len(path)-1], &branch{value: f.value})
	if t.size++; t.size > maxBranches {
		return errors.New("more fields and brackets than a callback can have")
	}
	return nil
}

// branch is a node of the tree: a value, or a container, which has children by key. A key that came twice is in it
// twice, so that the JSON made of it shows it, and event.ID can refuse it.
type branch struct {
	key        string
	value      []byte
	children   []*branch          // in the order they came; never empty in a container
	containers map[string]*branch // the children that are containers, once there are many children
	next       int                // the key that an empty pair of brackets takes
}

// splitName splits a[b][c] into a, b, c. A name whose brackets do not pair up is a name without brackets, but in data,
// where something of an item would be lost silently.
func splitName(name []byte) ([]string, error) {
	base, rest, bracketed := bytes.Cut(name, []byte{'['})
	if !bracketed || len(base) == 0 {
		return []string{string(name)}, nil
	}
	path := []string{string(base)}
	for len(path) < maxBrackets {
		key, after, ok := bytes.Cut(rest, []byte{']'})
		if !ok || len(after) > 0 && after[0] != '[' {
			if string(base) == "data" {
				return nil, errors.New("brackets that do not pair up")
			}
			return []string{string(name)}, nil
		}
		path = append(path, string(key))
		if len(after) == 0 {
			return path, nil
		}
		rest = after[1:]
	}
	return append(path, string(rest)), nil
}

// find gives the container of that key, nil if there is none.
func (b *branch) find(key string) *branch {
	if b.containers != nil {
		return b.containers[key]
	}
	for _, child := range b.children {
		if child.key == key && child.children != nil {
			return child
		}
	}
	return nil
}

// addContainer adds a container, which the caller then fills.
func (b *branch) addContainer(key string) *branch {
	child := new(branch)
	b.append(key, child)
	const many = 8
	switch {
	case b.containers != nil:
		b.containers[child.key] = child
	case len(b.children) > many:
		b.containers = map[string]*branch{child.key: child}
		for _, known := range b.children {
			if known.children != nil {
				b.containers[known.key] = known
			}
		}
	}
	return child
}

func (b *branch) append(key string, child *branch) {
	n, isIndex := index(key)
	if key == "" {
		n, isIndex, key = b.next, true, strconv.Itoa(b.next)
	}
	if isIndex {
		b.next = max(b.next, n+1)
	}
	child.key = key
	b.children = append(b.children, child)
}

// get gives the first child of that key, nil if there is none.
func (b *branch) get(key string) *branch {
	for _, child := range b.children {
		if child.key == key {
			return child
		}
	}
	return nil
}

// duplicate gives a key that came twice.
func (b *branch) duplicate() (string, bool) {
	seen := make(map[string]bool)
	for _, child := range b.children {
		if seen[child.key] {
			return child.key, true
		}
		seen[child.key] = true
	}
	return "", false
}

// index reads a key of an array: decimal digits as a number is written.
func index(key string) (int, bool) {
	if len(key) == 0 || len(key) > 9 || key[0] == '0' && len(key) > 1 {
		return 0, false
	}
	for _, c := range []byte(key) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(key)
	return n, err == nil
}

// list gives the children in the order of their numbers, if all their keys are numbers. Gaps are allowed.
func (b *branch) list() ([]*branch, bool) {
	for _, child := range b.children {
		if _, ok := index(child.key); !ok {
			return nil, false
		}
	}
	byNumber := func(a, b *branch) int {
		i, _ := index(a.key)
		j, _ := index(b.key)
		return i - j
	}
	if slices.IsSortedFunc(b.children, byNumber) {
		return b.children, true
	}
	sorted := slices.Clone(b.children)
	slices.SortStableFunc(sorted, byNumber)
	return sorted, true
}

// appendJSON writes a value as a string, children with the keys 0 to n-1 as an array, and others as an object.
func (b *branch) appendJSON(dst []byte) []byte {
	if b.children == nil {
		return appendString(dst, b.value)
	}
	list, ok := b.list()
	for i, child := range list {
		ok = ok && child.key == strconv.Itoa(i)
	}
	if !ok {
		return b.appendObject(dst)
	}
	dst = append(dst, '[')
	for _, child := range list {
		dst = append(child.appendJSON(dst), ',')
	}
	return closeWith(dst, ']')
}

func (b *branch) appendObject(dst []byte) []byte {
	dst = append(dst, '{')
	for _, child := range b.children {
		dst = append(appendString(dst, []byte(child.key)), ':')
		dst = append(child.appendJSON(dst), ',')
	}
	return closeWith(dst, '}')
}

// closeWith puts the bracket in the place of the last comma; there always is one, as a branch has children or a value.
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
