package main

import "slices"

// row is one fault, and what is done to show what happens then.
type row struct {
	name  string // for --only
	fault string // as the design names it
	does  string // what happens in the row
	run   func(*stage)
	// alone says that the row takes long and is not part of the tests, nor run beside others.
	alone bool
	// needs says what is missing to play it here. Nil: nothing is.
	needs func() error
}

// missing is an error if a row cannot be played here.
func (r row) missing() error {
	if r.needs == nil {
		return nil
	}
	return r.needs()
}

// rows are all there are, in the order of the table.
var rows = slices.Concat(relayRows, redisRows, storeRows, spoolRows, endpointRows, bigRows)

func names(rows []row) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r.name)
	}
	return out
}
