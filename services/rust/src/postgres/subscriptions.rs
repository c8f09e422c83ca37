use sqlx::PgConnection;
use uuid::Uuid;

use crate::billing::Subscription;

pub(super) const SUBSCRIPTION_FOR_ACCOUNT: &str =
    "SELECT id, plan, status FROM subscriptions WHERE id = $1 AND account_id = $2";

/// The subscription, if there is one and the account owns it.
pub async fn subscription_for_account(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<Option<Subscription>, sqlx::Error> {
    let row: Option<(Uuid, String, String)> = sqlx::query_as(SUBSCRIPTION_FOR_ACCOUNT)
        .bind(id)
        .bind(account_id)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|(id, plan, status)| Subscription { id, plan, status }))
}
