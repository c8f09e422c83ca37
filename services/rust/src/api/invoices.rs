use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use chrono::SecondsFormat;
use serde::Serialize;
use uuid::Uuid;

use super::auth::AccountId;
use super::body::{JsonBody, Scalar};
use super::form::{self, Form, Refusal};
use super::problem::{FieldError, Problem};
use super::query::{Id, Items, NoQuery, PageQuery, Walk};
use super::versions::{IfMatch, IfNoneMatch, Versioned};
use super::{App, microseconds};
use crate::billing::{
    Error, Invoice, InvoicePatch, InvoiceSummary, NewInvoice, Payment, Position,
    SubscriptionSummary,
};
use crate::payments::CallMeta;
use crate::postgres;

/// `GET /v1/invoices/{id}/payment`: the measured request.
pub async fn invoice_payment(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    Extension(meta): Extension<CallMeta>,
    Id(id): Id,
    _: NoQuery,
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

/// `GET /v1/invoices`: a page, oldest first.
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    query: PageQuery,
) -> Result<Json<Items<InvoiceBody>>, Problem> {
    let walk = Walk {
        key: &app.cursor_key,
        list: "invoices",
        account_id,
    };
    let page = walk.page(&query)?;
    let mut connection = postgres::acquire(&app.pool).await?;
    let invoices = postgres::invoice_list(&mut connection, account_id, page).await?;
    let position = |invoice: &Invoice| Position {
        created_at: invoice.created_at,
        id: invoice.id,
    };
    Ok(Json(walk.items(page, invoices, position, InvoiceBody::new)))
}

/// `POST /v1/invoices`: creates one.
pub async fn create(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    _: NoQuery,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let new = new_invoice(&body)?;
    let mut connection = postgres::acquire(&app.pool).await?;
    let created = postgres::invoice_create(&mut connection, account_id, new).await;
    let created = created.map_err(|error| match error {
        Error::SubscriptionNotFound => {
            let detail = "is none of your subscriptions";
            Problem::INVALID_FIELDS.with_errors(vec![FieldError::new("subscription_id", detail)])
        }
        error => error.into(),
    })?;
    let location = format!("/v1/invoices/{}", created.id);
    Ok(versioned(created).created(&location))
}

/// `GET /v1/invoices/{id}`.
pub async fn get(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    Id(id): Id,
    _: NoQuery,
    known: IfNoneMatch,
) -> Result<Response, Problem> {
    let mut connection = postgres::acquire(&app.pool).await?;
    let invoice = postgres::invoice_get(&mut connection, id, account_id).await?;
    Ok(versioned(invoice).unless_known(&known))
}

/// `PATCH /v1/invoices/{id}`: changes the fields that are named.
pub async fn patch(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    Id(id): Id,
    _: NoQuery,
    condition: IfMatch,
    JsonBody(body): JsonBody,
) -> Result<Versioned<InvoiceBody>, Problem> {
    let patch = invoice_patch(&body)?;
    let mut connection = postgres::acquire(&app.pool).await?;
    let mut transaction = postgres::begin(&mut connection).await?;
    let changed = async {
        let mut invoice = postgres::invoice_lock(&mut transaction, id, account_id).await?;
        condition.check(invoice.version)?;
        if invoice.status == "open" {
            let live = postgres::attempt_live(&mut transaction, id).await?;
            if live.is_some_and(|live| live.is_pending) {
                return Err(Error::PaymentInProgress);
            }
        }
        invoice.apply(patch)?;
        postgres::invoice_update(&mut transaction, account_id, invoice).await
    };
    let changed = changed.await;
    Ok(versioned(postgres::end(transaction, changed).await?))
}

/// `DELETE /v1/invoices/{id}`: deletes a draft.
pub async fn delete(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    Id(id): Id,
    _: NoQuery,
    condition: Option<IfMatch>,
) -> Result<StatusCode, Problem> {
    let mut connection = postgres::acquire(&app.pool).await?;
    let mut transaction = postgres::begin(&mut connection).await?;
    let deleted = async {
        let invoice = postgres::invoice_lock(&mut transaction, id, account_id).await?;
        if let Some(condition) = condition {
            condition.check(invoice.version)?;
        }
        if invoice.status != "draft" {
            return Err(Error::NotDraft);
        }
        postgres::invoice_delete(&mut transaction, id, account_id).await
    };
    let deleted = deleted.await;
    postgres::end(transaction, deleted).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn new_invoice(body: &[u8]) -> Result<NewInvoice, Problem> {
    let mut form = Form::read(body)?;
    let subscription_id = form.required("subscription_id", form::id);
    let status = form.optional("status", |value| {
        form::one_of(value, &["draft", "open"], "has to be draft or open")
    });
    let amount_cents = form.required("amount_cents", amount);
    let currency = form.required("currency", form::currency);
    form.end()?;
    Ok(NewInvoice {
        subscription_id,
        status: status.unwrap_or_else(|| "draft".to_owned()),
        amount_cents,
        currency,
    })
}

fn invoice_patch(body: &[u8]) -> Result<InvoicePatch, Problem> {
    let mut form = Form::read(body)?;
    let patch = InvoicePatch {
        status: form.optional("status", |value| {
            let known = ["draft", "open", "void"];
            form::one_of(value, &known, "has to be draft, open or void")
        }),
        amount_cents: form.optional("amount_cents", amount),
        currency: form.optional("currency", form::currency),
    };
    form.end_of_patch()?;
    Ok(patch)
}

fn amount(value: Scalar) -> Result<i64, Refusal> {
    form::integer(
        value,
        1..=1_000_000_000_000,
        "has to be from 1 to 1000000000000",
    )
}

fn versioned(invoice: Invoice) -> Versioned<InvoiceBody> {
    Versioned {
        version: invoice.version,
        resource: InvoiceBody::new(invoice),
    }
}

/// An invoice, as it is answered, in the order of the contract.
#[derive(Serialize)]
pub struct InvoiceBody {
    id: Uuid,
    subscription_id: Uuid,
    status: String,
    amount_cents: i64,
    currency: String,
    payment_id: Option<String>,
    created_at: String,
}

impl InvoiceBody {
    fn new(invoice: Invoice) -> Self {
        Self {
            id: invoice.id,
            subscription_id: invoice.subscription_id,
            status: invoice.status,
            amount_cents: invoice.amount_cents,
            currency: invoice.currency,
            payment_id: invoice.payment_id,
            created_at: microseconds(invoice.created_at),
        }
    }
}

/// The body of the answer, in the order of the contract.
#[derive(Serialize)]
pub struct InvoicePayment {
    invoice_id: Uuid,
    status: String,
    amount_cents: i64,
    currency: String,
    created_at: String,
    subscription: SubscriptionOfInvoice,
    payment: PaymentBody,
}

#[derive(Serialize)]
struct SubscriptionOfInvoice {
    id: Uuid,
    plan: String,
    status: String,
}

/// A payment, as it is answered.
#[derive(Serialize)]
pub struct PaymentBody {
    id: String,
    status: &'static str,
    amount_cents: i64,
    currency: String,
    updated_at: String,
}

impl InvoicePayment {
    fn new(invoice: InvoiceSummary, subscription: SubscriptionSummary, payment: Payment) -> Self {
        Self {
            invoice_id: invoice.id,
            status: invoice.status,
            amount_cents: invoice.amount_cents,
            currency: invoice.currency,
            created_at: microseconds(invoice.created_at),
            subscription: SubscriptionOfInvoice {
                id: subscription.id,
                plan: subscription.plan,
                status: subscription.status,
            },
            payment: PaymentBody::new(payment),
        }
    }
}

impl PaymentBody {
    pub fn new(payment: Payment) -> Self {
        Self {
            id: payment.id,
            status: payment.status,
            amount_cents: payment.amount_cents,
            currency: payment.currency,
            updated_at: payment
                .updated_at
                .to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }
}
