use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::billing::Invoice;

pub(super) const INVOICE_FOR_ACCOUNT: &str = "SELECT id, subscription_id, status, amount_cents, currency, created_at \
     FROM invoices WHERE id = $1 AND account_id = $2";

/// The invoice, if there is one and the account owns it.
pub async fn invoice_for_account(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<Option<Invoice>, sqlx::Error> {
    // A tuple is decoded by position, as in Go.
    let row: Option<(Uuid, Uuid, String, i64, String, DateTime<Utc>)> =
        sqlx::query_as(INVOICE_FOR_ACCOUNT)
            .bind(id)
            .bind(account_id)
            .fetch_optional(connection)
            .await?;
    Ok(row.map(
        |(id, subscription_id, status, amount_cents, currency, created_at)| Invoice {
            id,
            subscription_id,
            status,
            amount_cents,
            currency,
            created_at,
        },
    ))
}
