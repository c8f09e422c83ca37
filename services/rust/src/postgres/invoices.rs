use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{FOREIGN_KEY_VIOLATION, failure, violates};
use crate::billing::{Error, Invoice, InvoiceSummary, NewInvoice, Page};

pub(super) const INVOICE_FOR_ACCOUNT: &str = "SELECT id, subscription_id, status, amount_cents, currency, created_at FROM invoices WHERE id = $1 AND account_id = $2";
pub(super) const INVOICE_GET: &str = "SELECT id, subscription_id, status, amount_cents, currency, payment_id, created_at, version FROM invoices WHERE id = $1 AND account_id = $2";
pub(super) const INVOICE_LIST: &str = "SELECT id, subscription_id, status, amount_cents, currency, payment_id, created_at, version FROM invoices WHERE account_id = $1 AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4";
pub(super) const INVOICE_CREATE: &str = "INSERT INTO invoices (id, subscription_id, account_id, status, amount_cents, currency) SELECT $1::uuid, id, account_id, $4::text, $5::bigint, $6::text FROM subscriptions WHERE id = $2 AND account_id = $3 RETURNING id, subscription_id, status, amount_cents, currency, payment_id, created_at, version";
pub(super) const INVOICE_LOCK: &str = "SELECT id, subscription_id, status, amount_cents, currency, payment_id, created_at, version FROM invoices WHERE id = $1 AND account_id = $2 FOR UPDATE";
pub(super) const INVOICE_UPDATE: &str = "UPDATE invoices SET status = $3, amount_cents = $4, currency = $5, version = version + 1 WHERE id = $1 AND account_id = $2 RETURNING id, subscription_id, status, amount_cents, currency, payment_id, created_at, version";
pub(super) const INVOICE_DELETE: &str = "DELETE FROM invoices WHERE id = $1 AND account_id = $2";
pub(super) const INVOICE_PAID: &str = "UPDATE invoices SET status = 'paid', payment_id = $3, version = version + 1 WHERE id = $1 AND account_id = $2";

/// All of an invoice. A tuple is decoded by position, as in Go.
type Row = (
    Uuid,
    Uuid,
    String,
    i64,
    String,
    Option<String>,
    DateTime<Utc>,
    i32,
);

/// Reads what the measured request wants of an invoice of the account. Somebody else's is not
/// found.
pub async fn invoice_for_account(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<InvoiceSummary, Error> {
    let row: Option<(Uuid, Uuid, String, i64, String, DateTime<Utc>)> =
        sqlx::query_as(INVOICE_FOR_ACCOUNT)
            .bind(id)
            .bind(account_id)
            .fetch_optional(connection)
            .await
            .map_err(|error| failure("invoice_for_account", error))?;
    let (id, subscription_id, status, amount_cents, currency, created_at) =
        row.ok_or(Error::InvoiceNotFound)?;
    Ok(InvoiceSummary {
        id,
        subscription_id,
        status,
        amount_cents,
        currency,
        created_at,
    })
}

/// Reads an invoice of the account. Somebody else's is not found.
pub async fn invoice_get(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<Invoice, Error> {
    let row = sqlx::query_as(INVOICE_GET)
        .bind(id)
        .bind(account_id)
        .fetch_optional(connection)
        .await;
    found("invoice_get", row)
}

/// Reads one more than the page has, which says whether there is a next one.
pub async fn invoice_list(
    connection: &mut PgConnection,
    account_id: Uuid,
    page: Page,
) -> Result<Vec<Invoice>, Error> {
    let rows: Vec<Row> = sqlx::query_as(INVOICE_LIST)
        .bind(account_id)
        .bind(page.after.created_at)
        .bind(page.after.id)
        .bind(i64::from(page.limit) + 1)
        .fetch_all(connection)
        .await
        .map_err(|error| failure("invoice_list", error))?;
    Ok(rows.into_iter().map(invoice).collect())
}

/// Makes an invoice of a subscription of the account; `SubscriptionNotFound` where there is no such
/// one.
pub async fn invoice_create(
    connection: &mut PgConnection,
    account_id: Uuid,
    new: NewInvoice,
) -> Result<Invoice, Error> {
    let row: sqlx::Result<Option<Row>> = sqlx::query_as(INVOICE_CREATE)
        .bind(Uuid::new_v4())
        .bind(new.subscription_id)
        .bind(account_id)
        .bind(new.status)
        .bind(new.amount_cents)
        .bind(new.currency)
        .fetch_optional(connection)
        .await;
    let row = row.map_err(|error| {
        // It was deleted meanwhile.
        match violates(
            &error,
            FOREIGN_KEY_VIOLATION,
            "invoices_subscription_id_fkey",
        ) {
            true => Error::SubscriptionNotFound,
            false => failure("invoice_create", error),
        }
    })?;
    row.map(invoice).ok_or(Error::SubscriptionNotFound)
}

/// Reads an invoice of the account and keeps it for the transaction.
pub async fn invoice_lock(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<Invoice, Error> {
    let row = sqlx::query_as(INVOICE_LOCK)
        .bind(id)
        .bind(account_id)
        .fetch_optional(connection)
        .await;
    found("invoice_lock", row)
}

/// Writes what can change of an invoice that is locked.
pub async fn invoice_update(
    connection: &mut PgConnection,
    account_id: Uuid,
    changed: Invoice,
) -> Result<Invoice, Error> {
    let row = sqlx::query_as(INVOICE_UPDATE)
        .bind(changed.id)
        .bind(account_id)
        .bind(changed.status)
        .bind(changed.amount_cents)
        .bind(changed.currency)
        .fetch_optional(connection)
        .await;
    found("invoice_update", row)
}

/// Removes an invoice that is locked.
pub async fn invoice_delete(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<(), Error> {
    let deleted = sqlx::query(INVOICE_DELETE)
        .bind(id)
        .bind(account_id)
        .execute(connection)
        .await;
    deleted
        .map(|_| ())
        .map_err(|error| failure("invoice_delete", error))
}

/// Makes an invoice that is locked a paid one.
pub async fn invoice_paid(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
    payment_id: &str,
) -> Result<(), Error> {
    let paid = sqlx::query(INVOICE_PAID)
        .bind(id)
        .bind(account_id)
        .bind(payment_id)
        .execute(connection)
        .await;
    paid.map(|_| ())
        .map_err(|error| failure("invoice_paid", error))
}

fn found(operation: &str, row: sqlx::Result<Option<Row>>) -> Result<Invoice, Error> {
    row.map_err(|error| failure(operation, error))?
        .map(invoice)
        .ok_or(Error::InvoiceNotFound)
}

fn invoice(row: Row) -> Invoice {
    let (id, subscription_id, status, amount_cents, currency, payment_id, created_at, version) =
        row;
    Invoice {
        id,
        subscription_id,
        status,
        amount_cents,
        currency,
        payment_id,
        created_at,
        version,
    }
}
