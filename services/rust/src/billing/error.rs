/// What can go wrong. The text is the cause: it is logged and never leaves in an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is none, or it is another account's.
    #[error("no such invoice")]
    InvoiceNotFound,
    #[error("database: {0}")]
    DatabaseUnavailable(String),
    /// The provider could not be reached, or says so itself.
    #[error("payment provider: {0}")]
    PaymentUnavailable(String),
    #[error("payment provider: {0}")]
    PaymentTimeout(String),
    /// The provider answered with another error, or not as agreed.
    #[error("payment provider: {0}")]
    PaymentFailed(String),
    #[error("{0}")]
    Internal(String),
}
