package api

import (
	"crypto/sha256"
	"net/http"

	"github.com/google/uuid"

	"bakeoff/billing/internal/billing"
	"bakeoff/billing/internal/paying"
)

const maxKeyLength = 255

// pay charges an invoice, once for all that is sent with one key.
func (a *API) pay(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	key, ok := idempotencyKey(r.Header)
	if !ok {
		return &billing.Error{Kind: billing.MalformedKey}
	}
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	fields, err := parseForm(body)
	if err != nil {
		return err
	}
	if err := fields.finish(); err != nil {
		return err
	}
	current := exchangeOf(r.Context())
	answer, err := a.payer.Pay(r.Context(), paying.Request{
		Account:     current.account,
		Invoice:     id,
		Key:         key,
		Fingerprint: fingerprint(pathAsSent(r), body),
		Meta:        current.meta,
	})
	if err != nil {
		return err
	}
	if answer.Replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	contentType := jsonType
	if answer.Status != http.StatusOK {
		contentType = problemType
	}
	a.writeBody(w, r, answer.Status, contentType, answer.Body)
	return nil
}

// idempotencyKey is the only such header, taken byte for byte.
func idempotencyKey(header http.Header) (string, bool) {
	values := header.Values("Idempotency-Key")
	if len(values) != 1 {
		return "", false
	}
	return values[0], isVisible(values[0], maxKeyLength)
}

func fingerprint(path string, body []byte) []byte {
	hash := sha256.New()
	hash.Write([]byte("POST\n" + path + "\n"))
	hash.Write(body)
	return hash.Sum(nil)
}

type paidBody struct {
	InvoiceID uuid.UUID   `json:"invoice_id"`
	Status    string      `json:"status"`
	Payment   paymentBody `json:"payment"`
}

// RenderPayment writes the answer to pay that is stored.
func RenderPayment(invoice uuid.UUID, payment billing.Payment, requestID string) (status int, body []byte) {
	if payment.Status == "succeeded" {
		return http.StatusOK, encode(paidBody{InvoiceID: invoice, Status: "paid", Payment: newPaymentBody(payment)})
	}
	problem := newProblemBody(billing.PaymentDeclined, invoicesPath+invoice.String()+"/pay", requestID)
	return problem.Status, encode(problem)
}
