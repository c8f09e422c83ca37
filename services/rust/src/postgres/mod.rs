//! The store: a pool of connections and one function a query.

mod invoices;
mod subscriptions;

pub use invoices::invoice_for_account;
pub use subscriptions::subscription_for_account;

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, Postgres, SqlSafeStr};
use tracing::warn;

use crate::billing::Error;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
const PING_WHEN_IDLE_FOR: Duration = Duration::from_secs(1);
const READY_TIMEOUT: Duration = Duration::from_secs(1);
const LONGER_THAN_ANY_RUN: Duration = Duration::from_secs(24 * 60 * 60);
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(250);
const STATEMENT_CACHE_CAPACITY: usize = 128;

/// Makes the pool without a connection: the database may come later, see [`open`].
pub fn pool(database: &PgConnectOptions, max_connections: u32) -> PgPool {
    let options = database
        .clone()
        .statement_cache_capacity(STATEMENT_CACHE_CAPACITY)
        // The Go driver logs no statement either.
        .disable_statement_logging();
    PgPoolOptions::new()
        // No `min_connections`: while the database is away sqlx's own refill waits up to a minute
        // between two tries, and keeps requests from the slots it waits for. `open` fills the pool.
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(LONGER_THAN_ANY_RUN)
        .idle_timeout(LONGER_THAN_ANY_RUN)
        // By default each checkout pings; as in pgx only one after a second of idleness does.
        // The ping at each release stays: it has no switch.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > PING_WHEN_IDLE_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        // Prepared here, so that no request pays for it.
        .after_connect(|connection, _| {
            Box::pin(async move {
                for statement in [
                    invoices::INVOICE_FOR_ACCOUNT,
                    subscriptions::SUBSCRIPTION_FOR_ACCOUNT,
                ] {
                    connection.prepare(statement.into_sql_str()).await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(options)
}

/// Opens every connection of the pool, trying again until the database is there.
pub async fn open(pool: PgPool) {
    let mut connections = Vec::new();
    while connections.len() < pool.options().get_max_connections() as usize {
        match pool.acquire().await {
            // Held till all are open: so each one acquired is another one.
            Ok(connection) => connections.push(connection),
            Err(sqlx::Error::PoolClosed) => return,
            Err(error) => {
                connections.clear();
                warn!(error = %error, "database unavailable");
                tokio::time::sleep(OPEN_AGAIN_AFTER).await;
            }
        }
    }
}

/// Whether the database answers within a second.
pub async fn is_ready(pool: &PgPool) -> bool {
    let ping = async { pool.acquire().await?.ping().await };
    matches!(tokio::time::timeout(READY_TIMEOUT, ping).await, Ok(Ok(())))
}

/// Checks out one connection.
pub async fn acquire(pool: &PgPool) -> Result<PoolConnection<Postgres>, Error> {
    pool.acquire()
        .await
        .map_err(|error| Error::DatabaseUnavailable(format!("acquire: {error}")))
}

/// What the failure of a query is: the database out or silent, or our fault.
fn failure(operation: &str, error: sqlx::Error) -> Error {
    let cause = format!("{operation}: {error}");
    match error {
        sqlx::Error::Database(answer) if !is_outage(answer.code().as_deref()) => {
            Error::Internal(cause)
        }
        sqlx::Error::ColumnDecode { .. } => Error::Internal(cause),
        _ => Error::DatabaseUnavailable(cause),
    }
}

/// Whether an SQLSTATE is about the server and not about the statement: a bad or refused
/// connection, a lack of resources, a shutdown, a missing role or database.
fn is_outage(sqlstate: Option<&str>) -> bool {
    let class = sqlstate.and_then(|code| code.get(..2));
    matches!(class, Some("08" | "28" | "3D" | "53" | "57" | "58"))
}
