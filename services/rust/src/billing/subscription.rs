use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::Error;

/// What an account has subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub id: Uuid,
    /// `starter`, `team` or `business`.
    pub plan: String,
    /// `active`, `past_due` or `canceled`.
    pub status: String,
    pub price_cents: i64,
    pub currency: String,
    pub created_at: DateTime<Utc>,
    /// Counts the changes, from 1.
    pub version: i32,
}

/// What the measured request reads of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionSummary {
    pub id: Uuid,
    pub plan: String,
    pub status: String,
}

/// What a subscription is made from; it begins as an active one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSubscription {
    pub plan: String,
    pub price_cents: i64,
    pub currency: String,
}

/// Names what to change; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscriptionPatch {
    pub plan: Option<String>,
    pub status: Option<String>,
    pub price_cents: Option<i64>,
}

impl Subscription {
    /// Changes the subscription; a canceled one stays canceled.
    pub fn apply(&mut self, patch: SubscriptionPatch) -> Result<(), Error> {
        if let Some(status) = patch.status {
            if self.status == "canceled" && status != "canceled" {
                return Err(Error::TransitionNotAllowed);
            }
            self.status = status;
        }
        if let Some(plan) = patch.plan {
            self.plan = plan;
        }
        self.price_cents = patch.price_cents.unwrap_or(self.price_cents);
        Ok(())
    }
}

/// A month of a subscription's statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Month {
    /// Such as `2025-07`.
    pub month: String,
    pub invoices: i64,
    pub billed_cents: i64,
    pub paid_cents: i64,
    pub balance_cents: i64,
    pub rank: i64,
    pub account_invoices: i64,
    pub account_billed_cents: i64,
}
