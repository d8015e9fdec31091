package db

import (
	"context"
	"fmt"
	"strings"
)

// Form names how the store keeps things. All keys of one form begin with it, behind the hash tag, so that two versions
// of the relay that keep things differently do not mix them. The key {tag}:form says which form a Redis holds. A relay
// that finds another one writes nothing, and goes on when `kuairelay migrate` has moved the data.
const Form = "2"

const (
	// Migrating is the form of data of which a part was moved to this form.
	Migrating = "migrating"
	// oldForm is the form of a Redis that does not say it: that of the versions before this key.
	oldForm = "old"
)

// adviceForm is the name of the advice about data in another form.
const adviceForm = "other_form"

// FormKey is the key that says which form a Redis holds.
func (d *DB) FormKey() string { return d.base() + "form" }

// base is what the keys of the version before begin with, which named no form.
func (d *DB) base() string { return strings.TrimSuffix(d.Prefix, Form+":") + ":" }

// checkForm returns a trouble if Redis holds data in another form. If it holds none, and write says so, it notes that
// they are in this form from now on.
func (d *DB) checkForm(ctx context.Context, write bool) error {
	if d.memory != nil || d.anyForm {
		return nil
	}
	ctx, cancel := context.WithTimeout(withoutGate(ctx), d.Timeout)
	defer cancel()
	found, err := formScript.Run(ctx, d.Client, []string{d.Prefix}, Form, Flag(write)).Text()
	if err != nil {
		return err // as it is: what it begins with says what is wrong
	}
	if t := troubleOfForm(found); t != nil {
		return t
	}
	d.health.entered.Store(true)
	return nil
}

// troubleOfForm is the trouble of a Redis whose data are in a form; nil: none.
func troubleOfForm(found string) *trouble {
	switch found {
	case Form, "":
		return nil
	case oldForm:
		return &trouble{state: Down, advice: adviceForm,
			why:  "an older version of kuairelay has kept its data here in another form",
			hint: "stop its relays, then run kuairelay migrate -c FILE: see docs/operations.md"}
	case Migrating:
		return &trouble{state: Down, advice: adviceForm,
			why:  "its data are being moved to the form of this version of kuairelay",
			hint: "if kuairelay migrate has ended before its time, run it again"}
	}
	return &trouble{state: Down, advice: adviceForm,
		why: fmt.Sprintf("another version of kuairelay has kept its data here in form %.20q, and this one has form %s",
			found, Form),
		hint: "run that version, or a newer one"}
}
