use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::http::request::Parts;
use axum::{Extension, Json};
use chrono::SecondsFormat;
use serde::Serialize;
use uuid::Uuid;

use super::App;
use super::auth::AccountId;
use super::problem::Problem;
use crate::billing::{Invoice, Payment, Subscription, parse_id};
use crate::payments::CallMeta;
use crate::postgres;

/// `GET /v1/invoices/{id}/payment`: the measured request.
pub async fn invoice_payment(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    Extension(meta): Extension<CallMeta>,
    InvoiceId(id): InvoiceId,
) -> Result<Json<InvoicePayment>, Problem> {
    let mut connection = postgres::acquire(&app.pool).await?;
    let invoice = postgres::invoice_for_account(&mut connection, id, account_id).await?;
    let subscription =
        postgres::subscription_for_account(&mut connection, invoice.subscription_id, account_id)
            .await?;
    // Given back before the call: its time must not be the connection's.
    drop(connection);
    let payment = app.payments.get_payment(invoice.id, &meta).await?;
    Ok(Json(InvoicePayment::new(invoice, subscription, payment)))
}

/// The body of the answer, in the order of the contract.
#[derive(Serialize)]
pub struct InvoicePayment {
    invoice_id: Uuid,
    status: String,
    amount_cents: i64,
    currency: String,
    created_at: String,
    subscription: SubscriptionSummary,
    payment: PaymentSummary,
}

#[derive(Serialize)]
struct SubscriptionSummary {
    id: Uuid,
    plan: String,
    status: String,
}

#[derive(Serialize)]
struct PaymentSummary {
    id: String,
    status: &'static str,
    amount_cents: i64,
    currency: String,
    updated_at: String,
}

impl InvoicePayment {
    fn new(invoice: Invoice, subscription: Subscription, payment: Payment) -> Self {
        Self {
            invoice_id: invoice.id,
            status: invoice.status,
            amount_cents: invoice.amount_cents,
            currency: invoice.currency,
            created_at: invoice
                .created_at
                .to_rfc3339_opts(SecondsFormat::Micros, true),
            subscription: SubscriptionSummary {
                id: subscription.id,
                plan: subscription.plan,
                status: subscription.status,
            },
            payment: PaymentSummary {
                id: payment.id,
                status: payment.status,
                amount_cents: payment.amount_cents,
                currency: payment.currency,
                updated_at: payment
                    .updated_at
                    .to_rfc3339_opts(SecondsFormat::Millis, true),
            },
        }
    }
}

/// The `{id}` of the path.
pub struct InvoiceId(Uuid);

impl<S: Send + Sync> FromRequestParts<S> for InvoiceId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // The router decodes; a percent sign is another spelling.
        if parts.uri.path().contains('%') {
            return Err(Problem::MALFORMED_ID);
        }
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::MALFORMED_ID)?;
        let id = params
            .iter()
            .find_map(|(name, value)| (name == "id").then_some(value));
        id.and_then(parse_id).map(Self).ok_or(Problem::MALFORMED_ID)
    }
}
