package api

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"bakeoff/billing/internal/billing"
)

const (
	maxCents       = 1_000_000_000_000
	currencyDemand = "is not a known currency"
	planDemand     = "has to be starter, team or business"
	statesDemand   = "has to be active, past_due or canceled"
)

var (
	isInteger  = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`).MatchString
	plans      = []string{"starter", "team", "business"}
	states     = []string{"active", "past_due", "canceled"}
	currencies = []string{
		"AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "INR",
		"JPY", "KRW", "MXN", "NOK", "NZD", "PLN", "SEK", "SGD", "TRY", "USD", "ZAR",
	}
)

// form gives the fields of a body one after the other, in the order of the
// contract, and gathers what is wrong with them.
type form struct {
	values  map[string]any
	taken   int
	wrong   []billing.FieldError
	invalid []billing.FieldError
}

// demand is whether a field has to be there.
type demand bool

const (
	required demand = true
	optional demand = false
)

// take finds the value of a field.
func (f *form) take(name string, need demand) (value any, found bool) {
	value, found = f.values[name]
	if found {
		f.taken++
	} else if need == required {
		f.reject(name, "is required")
	}
	return value, found
}

func (f *form) reject(name, detail string) {
	f.wrong = append(f.wrong, billing.FieldError{Field: name, Detail: detail})
}

// text takes a string that is one of a list.
func (f *form) text(name string, need demand, allowed []string, detail string) *string {
	value, found := f.take(name, need)
	if !found {
		return nil
	}
	text, ok := value.(string)
	if !ok {
		f.reject(name, "has to be a string")
		return nil
	}
	if !slices.Contains(allowed, text) {
		f.invalid = append(f.invalid, billing.FieldError{Field: name, Detail: detail})
	}
	return &text
}

func (f *form) currency(need demand) *string {
	return f.text("currency", need, currencies, currencyDemand)
}

// cents takes an integer from low to a million millions.
func (f *form) cents(name string, need demand, low int64) *int64 {
	value, found := f.take(name, need)
	if !found {
		return nil
	}
	number, isNumber := value.(json.Number)
	cents, err := strconv.ParseInt(number.String(), 10, 64)
	if !isNumber || !isInteger(number.String()) || err != nil {
		f.reject(name, "has to be an integer")
		return nil
	}
	if cents < low || cents > maxCents {
		detail := fmt.Sprintf("has to be from %d to %d", low, int64(maxCents))
		f.invalid = append(f.invalid, billing.FieldError{Field: name, Detail: detail})
	}
	return &cents
}

// id takes an id that has to be there.
func (f *form) id(name string) uuid.UUID {
	value, found := f.take(name, required)
	if !found {
		return uuid.Nil
	}
	text, ok := value.(string)
	if !ok {
		f.reject(name, "has to be a string")
		return uuid.Nil
	}
	id, ok := billing.ParseID(text)
	if !ok {
		f.reject(name, "has to be a lower-case UUID")
	}
	return id
}

// finish says what is wrong, once all fields are taken: types first.
func (f *form) finish() error {
	if len(f.values) > f.taken {
		f.reject("", "has a field that this operation does not take")
	}
	if len(f.wrong) > 0 {
		return &billing.Error{Kind: billing.WrongFields, Fields: f.wrong}
	}
	if len(f.invalid) > 0 {
		return &billing.Error{Kind: billing.InvalidFields, Fields: f.invalid}
	}
	return nil
}

// finishPatch is finish for a patch, which names one field at least.
func (f *form) finishPatch() error {
	if len(f.values) == 0 {
		f.reject("", "has to name at least one field")
	}
	return f.finish()
}
