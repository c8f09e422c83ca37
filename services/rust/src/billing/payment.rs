use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

const BACKOFF_MS_MIN: f64 = 1_000.0;
const BACKOFF_MS_MAX: f64 = 300_000.0;
/// After how many tries somebody should look at an attempt.
const REVIEW_TRIES: i32 = 12;

/// The payment of an invoice, as its provider knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub id: String,
    pub invoice_id: String,
    /// `pending`, `succeeded`, `declined` or `unspecified`.
    pub status: &'static str,
    pub amount_cents: i64,
    pub currency: String,
    pub updated_at: DateTime<Utc>,
    /// The key of the charge; empty where it was only looked up.
    pub idempotency_key: String,
}

/// One charge to try till the provider says how it ended. Invoice, amount and currency are frozen,
/// so that each try asks for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub id: Uuid,
    pub invoice_id: Uuid,
    pub account_id: Uuid,
    pub amount_cents: i64,
    pub currency: String,
    /// Counts the sends, this one included.
    pub tries: i32,
}

impl Attempt {
    /// The provider's idempotency key: of the attempt, never the client's.
    pub fn key(&self) -> String {
        format!("att-{}", self.id)
    }

    /// Whether the payment is the end of this attempt, and of no other.
    pub fn is_ended_by(&self, payment: &Payment) -> bool {
        let is_end = match payment.status {
            "succeeded" => !payment.id.is_empty(),
            status => status == "declined",
        };
        is_end
            && payment.idempotency_key == self.key()
            && payment.invoice_id == self.invoice_id.to_string()
            && payment.amount_cents == self.amount_cents
            && payment.currency == self.currency
    }

    /// Whether it was tried in vain too often.
    pub fn needs_review(&self) -> bool {
        self.tries > REVIEW_TRIES
    }

    /// How long to wait before the next try: a second, doubled with each try up to five minutes,
    /// give or take a fifth.
    pub fn backoff(&self) -> Duration {
        let wait_ms = (BACKOFF_MS_MIN * 2f64.powi(self.tries - 1)).min(BACKOFF_MS_MAX);
        Duration::from_millis((wait_ms * (0.8 + 0.4 * fastrand::f64())) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(tries: i32) -> Attempt {
        Attempt {
            id: Uuid::from_u128(1),
            invoice_id: Uuid::from_u128(2),
            account_id: Uuid::from_u128(3),
            amount_cents: 4916,
            currency: "USD".to_owned(),
            tries,
        }
    }

    fn payment() -> Payment {
        Payment {
            id: "pay_1".to_owned(),
            invoice_id: "00000000-0000-0000-0000-000000000002".to_owned(),
            status: "succeeded",
            amount_cents: 4916,
            currency: "USD".to_owned(),
            updated_at: DateTime::UNIX_EPOCH,
            idempotency_key: "att-00000000-0000-0000-0000-000000000001".to_owned(),
        }
    }

    #[test]
    fn backoff_doubles_up_to_five_minutes() {
        for (tries, wait_ms) in [
            (1, 1000),
            (2, 2000),
            (9, 256_000),
            (10, 300_000),
            (2000, 300_000),
        ] {
            for _ in 0..100 {
                let waited_ms = attempt(tries).backoff().as_millis();
                let range = wait_ms * 8 / 10..=wait_ms * 12 / 10;
                assert!(
                    range.contains(&waited_ms),
                    "{waited_ms} after {tries} tries"
                );
            }
        }
    }

    #[test]
    fn only_its_own_payment_ends_an_attempt() {
        let ends = |change: fn(&mut Payment)| {
            let mut payment = payment();
            change(&mut payment);
            attempt(1).is_ended_by(&payment)
        };
        assert!(ends(|_| {}));
        assert!(ends(|payment| {
            payment.status = "declined";
            payment.id.clear();
        }));
        assert!(!ends(|payment| payment.id.clear()));
        assert!(!ends(|payment| payment.status = "pending"));
        assert!(!ends(|payment| payment.status = "unspecified"));
        assert!(!ends(|payment| payment.amount_cents += 1));
        assert!(!ends(|payment| payment.currency = "EUR".to_owned()));
        assert!(!ends(|payment| payment.invoice_id.clear()));
        assert!(!ends(|payment| payment.idempotency_key.clear()));
    }
}
