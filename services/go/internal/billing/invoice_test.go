package billing_test

import (
	"errors"
	"testing"

	"bakeoff/billing/internal/billing"
)

func kindOf(err error) billing.Kind {
	failure, _ := errors.AsType[*billing.Error](err)
	if failure == nil {
		return ""
	}
	return failure.Kind
}

func TestInvoicesChangeAsTheContractSays(t *testing.T) {
	allowed := map[string]bool{
		"draft draft": true, "draft open": true, "draft void": true,
		"open open": true, "open void": true, "void void": true,
	}
	for _, from := range []string{"draft", "open", "paid", "void"} {
		for _, to := range []string{"draft", "open", "void"} {
			invoice := billing.Invoice{Status: from}
			err := invoice.Apply(billing.InvoicePatch{Status: &to})
			want := billing.TransitionNotAllowed
			if allowed[from+" "+to] {
				want = ""
			}
			if kindOf(err) != want || want == "" && invoice.Status != to {
				t.Errorf("%s to %s: %v, is %s", from, to, err, invoice.Status)
			}
		}
		amount, draft := int64(7), "draft"
		invoice := billing.Invoice{Status: from, AmountCents: 7}
		err := invoice.Apply(billing.InvoicePatch{Status: &draft, AmountCents: &amount})
		if (kindOf(err) == billing.NotDraft) != (from != "draft") {
			t.Errorf("the amount of a %s one: %v", from, err)
		}
	}
}

func TestACanceledSubscriptionStaysCanceled(t *testing.T) {
	for _, from := range []string{"active", "past_due", "canceled"} {
		for _, to := range []string{"active", "past_due", "canceled"} {
			subscription := billing.Subscription{Status: from}
			err := subscription.Apply(billing.SubscriptionPatch{Status: &to})
			if (err != nil) != (from == "canceled" && to != "canceled") {
				t.Errorf("%s to %s: %v", from, to, err)
			}
		}
	}
}
