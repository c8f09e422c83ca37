use uuid::Uuid;

/// What an account has subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub id: Uuid,
    /// `starter`, `team` or `business`.
    pub plan: String,
    /// `active`, `past_due` or `canceled`.
    pub status: String,
}
