//! The domain: what subscriptions, invoices and payments are and what can go wrong, without HTTP, SQL or gRPC.

mod error;
mod id;
mod invoice;
mod page;
mod payment;
mod subscription;

pub use error::Error;
pub use id::parse_id;
pub use invoice::{Invoice, InvoicePatch, InvoiceSummary, NewInvoice};
pub use page::{Page, Position};
pub use payment::{Attempt, Payment};
pub use subscription::{
    Month, NewSubscription, Subscription, SubscriptionPatch, SubscriptionSummary,
};
