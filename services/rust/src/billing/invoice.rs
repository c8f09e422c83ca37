use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Error;

/// What a subscription owes for a period. Money is integer minor units and an ISO 4217 code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    pub id: Uuid,
    pub subscription_id: Uuid,
    /// `draft`, `open`, `paid` or `void`.
    pub status: String,
    pub amount_cents: i64,
    pub currency: String,
    /// The provider's id of the payment that made the invoice paid.
    pub payment_id: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Counts the changes, from 1.
    pub version: i32,
}

/// What the measured request reads of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceSummary {
    pub id: Uuid,
    pub subscription_id: Uuid,
    pub status: String,
    pub amount_cents: i64,
    pub currency: String,
    pub created_at: DateTime<Utc>,
}

/// What an invoice is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvoice {
    pub subscription_id: Uuid,
    pub status: String,
    pub amount_cents: i64,
    pub currency: String,
}

/// Names what to change; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvoicePatch {
    pub status: Option<String>,
    pub amount_cents: Option<i64>,
    pub currency: Option<String>,
}

impl Invoice {
    /// Changes the invoice, or says why its state does not allow that.
    pub fn apply(&mut self, patch: InvoicePatch) -> Result<(), Error> {
        let is_amount_named = patch.amount_cents.is_some() || patch.currency.is_some();
        if self.status != "draft" && is_amount_named {
            return Err(Error::NotDraft);
        }
        if let Some(status) = patch.status {
            if !can_become(&self.status, &status) {
                return Err(Error::TransitionNotAllowed);
            }
            self.status = status;
        }
        self.amount_cents = patch.amount_cents.unwrap_or(self.amount_cents);
        if let Some(currency) = patch.currency {
            self.currency = currency;
        }
        Ok(())
    }
}

/// The life of an invoice; `paid` comes by a payment alone.
fn can_become(from: &str, to: &str) -> bool {
    from == to || matches!((from, to), ("draft", "open" | "void") | ("open", "void"))
}

#[cfg(test)]
mod tests;
