use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::failure;
use crate::billing::{Error, Invoice};

pub(super) const INVOICE_FOR_ACCOUNT: &str = "SELECT id, subscription_id, status, amount_cents, currency, created_at FROM invoices WHERE id = $1 AND account_id = $2";

/// Reads an invoice of the account. Somebody else's is not found.
pub async fn invoice_for_account(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<Invoice, Error> {
    // A tuple is decoded by position, as in Go.
    let row: Option<(Uuid, Uuid, String, i64, String, DateTime<Utc>)> =
        sqlx::query_as(INVOICE_FOR_ACCOUNT)
            .bind(id)
            .bind(account_id)
            .fetch_optional(connection)
            .await
            .map_err(|error| failure("invoice_for_account", error))?;
    let (id, subscription_id, status, amount_cents, currency, created_at) =
        row.ok_or(Error::InvoiceNotFound)?;
    Ok(Invoice {
        id,
        subscription_id,
        status,
        amount_cents,
        currency,
        created_at,
    })
}
