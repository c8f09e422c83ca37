package billing_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"bakeoff/billing/internal/billing"
)

func TestOnlyItsOwnAnswerEndsAnAttempt(t *testing.T) {
	attempt := billing.Attempt{ID: uuid.New(), InvoiceID: uuid.New(), AmountCents: 5, Currency: "EUR"}
	good := billing.Payment{
		ID: "pay_1", InvoiceID: attempt.InvoiceID.String(), Status: "succeeded", AmountCents: 5, Currency: "EUR",
		IdempotencyKey: "att-" + attempt.ID.String(),
	}
	if !attempt.IsEndedBy(good) {
		t.Error("a charge is no end")
	}
	declined := good
	declined.Status, declined.ID = "declined", ""
	if !attempt.IsEndedBy(declined) {
		t.Error("a decline is no end")
	}
	for name, spoil := range map[string]func(*billing.Payment){
		"no id":           func(p *billing.Payment) { p.ID = "" },
		"another invoice": func(p *billing.Payment) { p.InvoiceID = uuid.NewString() },
		"pending":         func(p *billing.Payment) { p.Status = "pending" },
		"unspecified":     func(p *billing.Payment) { p.Status = "unspecified" },
		"wrong amount":    func(p *billing.Payment) { p.AmountCents++ },
		"wrong currency":  func(p *billing.Payment) { p.Currency = "USD" },
		"another key":     func(p *billing.Payment) { p.IdempotencyKey = "att-" + uuid.NewString() },
	} {
		bad := good
		spoil(&bad)
		if attempt.IsEndedBy(bad) {
			t.Errorf("%s ends it", name)
		}
	}
}

func TestBackoffDoublesUpToFiveMinutes(t *testing.T) {
	for tries, middle := range map[int32]time.Duration{
		1: time.Second, 2: 2 * time.Second, 9: 256 * time.Second, 10: 5 * time.Minute, 1000: 5 * time.Minute, 2_000_000: 5 * time.Minute,
	} {
		attempt := billing.Attempt{Tries: tries}
		shortest, longest := time.Hour, time.Duration(0)
		for range 1000 {
			wait := attempt.Backoff()
			shortest, longest = min(shortest, wait), max(longest, wait)
		}
		if shortest < middle*8/10-time.Millisecond || longest > middle*12/10 || shortest > middle*9/10 || longest < middle*11/10 {
			t.Errorf("%d tries: %v to %v", tries, shortest, longest)
		}
		if attempt.NeedsReview() != (tries > 12) {
			t.Errorf("%d tries: review %v", tries, attempt.NeedsReview())
		}
	}
}
