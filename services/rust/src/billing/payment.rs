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
mod tests;
