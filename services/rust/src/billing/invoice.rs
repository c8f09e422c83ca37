use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What a subscription owes for a period. Money is integer minor units and an ISO 4217 code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    pub id: Uuid,
    pub subscription_id: Uuid,
    /// `draft`, `open`, `paid` or `void`.
    pub status: String,
    pub amount_cents: i64,
    pub currency: String,
    pub created_at: DateTime<Utc>,
}

/// The payment of an invoice, as its provider knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub id: String,
    /// `pending`, `succeeded`, `declined` or `unspecified`.
    pub status: &'static str,
    pub amount_cents: i64,
    pub currency: String,
    pub updated_at: DateTime<Utc>,
}
