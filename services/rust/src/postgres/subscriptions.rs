use sqlx::PgConnection;
use uuid::Uuid;

use super::failure;
use crate::billing::{Error, Subscription};

pub(super) const SUBSCRIPTION_FOR_ACCOUNT: &str =
    "SELECT id, plan, status FROM subscriptions WHERE id = $1 AND account_id = $2";

/// Reads a subscription of the account.
pub async fn subscription_for_account(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<Subscription, Error> {
    let row: Option<(Uuid, String, String)> = sqlx::query_as(SUBSCRIPTION_FOR_ACCOUNT)
        .bind(id)
        .bind(account_id)
        .fetch_optional(connection)
        .await
        .map_err(|error| failure("subscription_for_account", error))?;
    let (id, plan, status) = row.ok_or(Error::InvoiceNotFound)?;
    Ok(Subscription { id, plan, status })
}
