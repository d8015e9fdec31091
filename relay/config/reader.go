package config

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// reader reads one value into the variable it was made for, and notes every mistake in it.
type reader struct {
	read func(value)
	// shape says what the value may be, in JSON Schema; nil if fields say it.
	shape shape
	// fields are the keys of a mapping, or of the mappings in a list.
	fields []field
	// of returns the shape of what holds such mappings, such as a list of them; nil: it is one mapping.
	of func(mapping shape) shape
	// section says that a mapping that is left out is read like an empty one.
	section bool
	// fallback is the default as it would be in a file; nil: none.
	fallback any
}

type field struct {
	name     string
	required bool
	reader
}

func required(name string, r reader) field { return field{name: name, required: true, reader: r} }
func optional(name string, r reader) field { return field{name: name, reader: r} }

// object reads a mapping by its keys.
func object(fields ...field) reader {
	return reader{fields: fields, section: true, read: func(v value) {
		given, ok := v.entries(fields)
		if !ok {
			return
		}

		for _, f := range fields {
			entry, ok := given[f.name]
			switch {
			case ok:
				f.read(entry)
			case f.required:
				v.mistake("missing key %q", f.name)
			case f.section:
				f.read(v.absent(f.name))
			}
		}
	}}
}

// one reads a scalar.
func one[T any](out *T, f form[T]) reader {
	return reader{shape: f.scalar(), fallback: inYAML(*out), read: func(v value) {
		if got, ok := scalar(v, f); ok {
			*out = got
		}
	}}
}

// at stores the value that r reads in where.
func at(where *value, r reader) reader {
	read := r.read
	r.read = func(v value) {
		*where = v
		read(v)
	}
	return r
}

// both reads a scalar, and also keeps it as it is written, so that it can be shown.
func both[T any](out *T, asWritten *string, f form[T]) reader {
	return reader{shape: f.scalar(), read: func(v value) {
		if got, ok := scalar(v, f); ok {
			*out = got
			*asWritten = v.node.Value
		}
	}}
}

// written reads a scalar to be shown. What it expands to is checked, but not kept.
func written(out *string, f form[string]) reader {
	return both(new(string), out, f)
}

// writtenOut refuses what is expanded, for values that are shown.
func writtenOut(r reader) reader {
	read := r.read
	r.read = func(v value) {
		if v.expanded() {
			v.mistake("must be written out, without ${…} and file:, for it is shown")
			return
		}
		read(v)
	}
	return r
}

// list reads a list of scalars, which may be empty.
func list[T any](out *[]T, f form[T]) reader {
	return reader{shape: listOf(f.scalar(), 0), fallback: inYAML(*out), read: func(v value) {
		*out = scalars(v.items(), f)
	}}
}

// some reads a list of at least one scalar.
func some[T any](out *[]T, f form[T]) reader {
	r := list(out, f)
	r.shape = listOf(f.scalar(), 1)
	r.read = func(v value) { *out = scalars(v.someItems(), f) }
	return r
}

// each reads a list, and every item of it by the reader that schema returns for it.
func each[T any](out *[]T, schema func(v value, item *T) reader) reader {
	item := schema(nowhere, new(T))
	ofItems := func(item shape) shape { return listOf(item, 0) }
	return reader{fields: item.fields, of: ofItems, read: func(v value) {
		for _, item := range v.items() {
			var t T
			schema(item, &t).read(item)
			*out = append(*out, t)
		}
	}}
}

// either reads a mapping by one reader, and anything else by another.
func either(mapping, other reader) reader {
	return reader{read: func(v value) {
		if v.node.Kind == yaml.MappingNode {
			mapping.read(v)
			return
		}
		other.read(v)
	}}
}

// then calls do after r has read.
func then(r reader, do func()) reader {
	read := r.read
	r.read = func(v value) {
		read(v)
		do()
	}
	return r
}

// scalar returns the value's text, expanded and parsed. It returns false after a mistake.
func scalar[T any](v value, f form[T]) (T, bool) {
	var zero T
	s, ok := v.text()
	if !ok {
		return zero, false
	}

	if v.lacks() {
		return placeholder(v, f, s)
	}

	got, err := f.parse(s)
	if err != nil && v.expanded() {
		err = fmt.Errorf("%w (after expansion)", err) // or the line that is named would look right
	}
	if err != nil {
		v.mistake("%v", err)
		return zero, false
	}
	return got, true
}

func scalars[T any](items []value, f form[T]) []T {
	var out []T
	for _, item := range items {
		if got, ok := scalar(item, f); ok {
			out = append(out, got)
		}
	}
	return out
}

// after calls do with the value after r has read it.
func after(r reader, do func(value)) reader {
	read := r.read
	r.read = func(v value) {
		read(v)
		do(v)
	}
	return r
}
