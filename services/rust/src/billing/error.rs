/// What can go wrong. The text is the cause: it is logged and never leaves in an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The account of a good token is not there.
    #[error("no such account")]
    UnknownAccount,
    /// There is none, or it is another account's.
    #[error("no such subscription")]
    SubscriptionNotFound,
    /// There is none, or it is another account's.
    #[error("no such invoice")]
    InvoiceNotFound,
    /// Named is the payment that made it so, where it was one of ours.
    #[error("already paid")]
    AlreadyPaid(Option<String>),
    #[error("has invoices")]
    HasInvoices,
    #[error("not a draft")]
    NotDraft,
    #[error("not payable")]
    NotPayable,
    #[error("payment in progress")]
    PaymentInProgress,
    #[error("transition not allowed")]
    TransitionNotAllowed,
    #[error("precondition failed")]
    PreconditionFailed,
    #[error("idempotency key reused")]
    KeyReused,
    #[error("database: {0}")]
    DatabaseUnavailable(String),
    /// The charge may have been made or not.
    #[error("payment outcome unknown: {0}")]
    OutcomeUnknown(String),
    /// The same, since it took too long.
    #[error("payment outcome unknown in time: {0}")]
    OutcomeTimeout(String),
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
