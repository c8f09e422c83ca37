use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{FOREIGN_KEY_VIOLATION, failure, violates};
use crate::billing::{Error, Month, NewSubscription, Page, Subscription, SubscriptionSummary};

pub(super) const SUBSCRIPTION_FOR_ACCOUNT: &str =
    "SELECT id, plan, status FROM subscriptions WHERE id = $1 AND account_id = $2";
pub(super) const SUBSCRIPTION_GET: &str = "SELECT id, plan, status, price_cents, currency, created_at, version FROM subscriptions WHERE id = $1 AND account_id = $2";
pub(super) const SUBSCRIPTION_LIST: &str = "SELECT id, plan, status, price_cents, currency, created_at, version FROM subscriptions WHERE account_id = $1 AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4";
pub(super) const SUBSCRIPTION_CREATE: &str = "INSERT INTO subscriptions (id, account_id, plan, status, price_cents, currency) VALUES ($1, $2, $3, 'active', $4, $5) RETURNING id, plan, status, price_cents, currency, created_at, version";
pub(super) const SUBSCRIPTION_LOCK: &str = "SELECT id, plan, status, price_cents, currency, created_at, version FROM subscriptions WHERE id = $1 AND account_id = $2 FOR UPDATE";
pub(super) const SUBSCRIPTION_UPDATE: &str = "UPDATE subscriptions SET plan = $3, status = $4, price_cents = $5, version = version + 1 WHERE id = $1 AND account_id = $2 RETURNING id, plan, status, price_cents, currency, created_at, version";
pub(super) const SUBSCRIPTION_DELETE: &str =
    "DELETE FROM subscriptions WHERE id = $1 AND account_id = $2";
pub(super) const SUBSCRIPTION_STATEMENT: &str = "WITH billed AS (SELECT subscription_id, date_trunc('month', created_at AT TIME ZONE 'UTC') AS month, count(*) AS invoices, sum(amount_cents) AS billed, coalesce(sum(amount_cents) FILTER (WHERE status = 'paid'), 0) AS paid FROM invoices WHERE account_id = $1 AND currency = $3 AND status IN ('open', 'paid') GROUP BY 1, 2), ranked AS (SELECT subscription_id, month, invoices, billed, paid, sum(billed - paid) OVER (PARTITION BY subscription_id ORDER BY month) AS balance, rank() OVER (PARTITION BY month ORDER BY billed DESC) AS rank, sum(invoices) OVER (PARTITION BY month) AS account_invoices, sum(billed) OVER (PARTITION BY month) AS account_billed FROM billed) SELECT to_char(month, 'YYYY-MM'), invoices, billed::bigint, paid::bigint, balance::bigint, rank, account_invoices::bigint, account_billed::bigint FROM ranked WHERE subscription_id = $2 ORDER BY month";

/// All of a subscription. A tuple is decoded by position, as in Go.
type Row = (Uuid, String, String, i64, String, DateTime<Utc>, i32);
type MonthRow = (String, i64, i64, i64, i64, i64, i64, i64);

/// Reads what the measured request wants of a subscription of the account.
pub async fn subscription_for_account(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<SubscriptionSummary, Error> {
    let row: Option<(Uuid, String, String)> = sqlx::query_as(SUBSCRIPTION_FOR_ACCOUNT)
        .bind(id)
        .bind(account_id)
        .fetch_optional(connection)
        .await
        .map_err(|error| failure("subscription_for_account", error))?;
    let (id, plan, status) = row.ok_or(Error::InvoiceNotFound)?;
    Ok(SubscriptionSummary { id, plan, status })
}

/// Reads a subscription of the account. Somebody else's is not found.
pub async fn subscription_get(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<Subscription, Error> {
    let row = sqlx::query_as(SUBSCRIPTION_GET)
        .bind(id)
        .bind(account_id)
        .fetch_optional(connection)
        .await;
    found("subscription_get", row)
}

/// Reads one more than the page has, which says whether there is a next one.
pub async fn subscription_list(
    connection: &mut PgConnection,
    account_id: Uuid,
    page: Page,
) -> Result<Vec<Subscription>, Error> {
    let rows: Vec<Row> = sqlx::query_as(SUBSCRIPTION_LIST)
        .bind(account_id)
        .bind(page.after.created_at)
        .bind(page.after.id)
        .bind(i64::from(page.limit) + 1)
        .fetch_all(connection)
        .await
        .map_err(|error| failure("subscription_list", error))?;
    Ok(rows.into_iter().map(subscription).collect())
}

/// Makes an active subscription of the account, if that exists.
pub async fn subscription_create(
    connection: &mut PgConnection,
    account_id: Uuid,
    new: NewSubscription,
) -> Result<Subscription, Error> {
    let row: sqlx::Result<Row> = sqlx::query_as(SUBSCRIPTION_CREATE)
        .bind(Uuid::new_v4())
        .bind(account_id)
        .bind(new.plan)
        .bind(new.price_cents)
        .bind(new.currency)
        .fetch_one(connection)
        .await;
    row.map(subscription).map_err(|error| {
        match violates(
            &error,
            FOREIGN_KEY_VIOLATION,
            "subscriptions_account_id_fkey",
        ) {
            true => Error::UnknownAccount,
            false => failure("subscription_create", error),
        }
    })
}

/// Reads a subscription of the account and keeps it for the transaction.
pub async fn subscription_lock(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<Subscription, Error> {
    let row = sqlx::query_as(SUBSCRIPTION_LOCK)
        .bind(id)
        .bind(account_id)
        .fetch_optional(connection)
        .await;
    found("subscription_lock", row)
}

/// Writes what can change of a subscription that is locked.
pub async fn subscription_update(
    connection: &mut PgConnection,
    account_id: Uuid,
    changed: Subscription,
) -> Result<Subscription, Error> {
    let row = sqlx::query_as(SUBSCRIPTION_UPDATE)
        .bind(changed.id)
        .bind(account_id)
        .bind(changed.plan)
        .bind(changed.status)
        .bind(changed.price_cents)
        .fetch_optional(connection)
        .await;
    found("subscription_update", row)
}

/// Removes a subscription that is locked and has no invoices.
pub async fn subscription_delete(
    connection: &mut PgConnection,
    id: Uuid,
    account_id: Uuid,
) -> Result<(), Error> {
    let deleted = sqlx::query(SUBSCRIPTION_DELETE)
        .bind(id)
        .bind(account_id)
        .execute(connection)
        .await;
    deleted.map(|_| ()).map_err(|error| {
        match violates(
            &error,
            FOREIGN_KEY_VIOLATION,
            "invoices_subscription_id_fkey",
        ) {
            true => Error::HasInvoices,
            false => failure("subscription_delete", error),
        }
    })
}

/// Reads the months of a subscription of the account, in its currency.
pub async fn subscription_statement(
    connection: &mut PgConnection,
    account_id: Uuid,
    subscription: &Subscription,
) -> Result<Vec<Month>, Error> {
    let rows: Vec<MonthRow> = sqlx::query_as(SUBSCRIPTION_STATEMENT)
        .bind(account_id)
        .bind(subscription.id)
        .bind(&subscription.currency)
        .fetch_all(connection)
        .await
        .map_err(|error| failure("subscription_statement", error))?;
    let months = rows.into_iter().map(
        |(month, invoices, billed, paid, balance, rank, account_invoices, account_billed)| Month {
            month,
            invoices,
            billed_cents: billed,
            paid_cents: paid,
            balance_cents: balance,
            rank,
            account_invoices,
            account_billed_cents: account_billed,
        },
    );
    Ok(months.collect())
}

fn found(operation: &str, row: sqlx::Result<Option<Row>>) -> Result<Subscription, Error> {
    row.map_err(|error| failure(operation, error))?
        .map(subscription)
        .ok_or(Error::SubscriptionNotFound)
}

fn subscription(row: Row) -> Subscription {
    let (id, plan, status, price_cents, currency, created_at, version) = row;
    Subscription {
        id,
        plan,
        status,
        price_cents,
        currency,
        created_at,
        version,
    }
}
