//! The store: a pool of connections and one function a statement.

mod attempts;
mod invoices;
mod keys;
mod subscriptions;

pub use attempts::*;
pub use invoices::*;
pub use keys::*;
pub use subscriptions::*;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, Postgres, SqlSafeStr, Transaction};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::warn;

use crate::billing::Error;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take to show at its return that it is a good one.
const RETURN_TIMEOUT: Duration = Duration::from_secs(5);
const PING_WHEN_IDLE_FOR: Duration = Duration::from_secs(1);
const READY_TIMEOUT: Duration = Duration::from_secs(1);
const LONGER_THAN_ANY_RUN: Duration = Duration::from_secs(24 * 60 * 60);
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(250);
const STATEMENT_CACHE_CAPACITY: usize = 128;
const FOREIGN_KEY_VIOLATION: &str = "23503";
const UNIQUE_VIOLATION: &str = "23505";

/// All that the service runs, but for `BEGIN`, `COMMIT` and `ROLLBACK`.
const STATEMENTS: [&str; 26] = [
    subscriptions::SUBSCRIPTION_FOR_ACCOUNT,
    subscriptions::SUBSCRIPTION_GET,
    subscriptions::SUBSCRIPTION_LIST,
    subscriptions::SUBSCRIPTION_CREATE,
    subscriptions::SUBSCRIPTION_LOCK,
    subscriptions::SUBSCRIPTION_UPDATE,
    subscriptions::SUBSCRIPTION_DELETE,
    subscriptions::SUBSCRIPTION_STATEMENT,
    invoices::INVOICE_FOR_ACCOUNT,
    invoices::INVOICE_GET,
    invoices::INVOICE_LIST,
    invoices::INVOICE_CREATE,
    invoices::INVOICE_LOCK,
    invoices::INVOICE_UPDATE,
    invoices::INVOICE_DELETE,
    invoices::INVOICE_PAID,
    attempts::ATTEMPT_LIVE,
    attempts::ATTEMPT_CREATE,
    attempts::ATTEMPT_TAKE,
    attempts::ATTEMPT_FINISH,
    attempts::ATTEMPT_UNKNOWN,
    attempts::ATTEMPT_SWEEP,
    keys::KEY_GET,
    keys::KEY_CREATE,
    keys::KEY_FINISH,
    keys::KEY_EXPIRE,
];

/// The connections to the database.
#[derive(Clone)]
pub struct Pool {
    connections: PgPool,
    /// One a connection. sqlx has one limit for waiting and connecting: under load, all who come to
    /// connect have waited for so long that none has the time for it, also when the database is back.
    turns: Arc<Semaphore>,
}

impl Pool {
    async fn take(&self) -> Result<Checkout, sqlx::Error> {
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.map_err(|_| sqlx::Error::PoolClosed)?;
        if self.connections.num_idle() > 0 {
            let inner = self.connections.acquire().await?;
            return Ok(Checkout { inner, turn });
        }
        // On its own: it is opened also if nobody waits for it any more, as in Go.
        let connections = self.connections.clone();
        let opening = tokio::spawn(async move {
            let inner = connections.acquire().await?;
            Ok(Checkout { inner, turn })
        });
        opening.await.map_err(|_| sqlx::Error::WorkerCrashed)?
    }

    /// Waits for connections in use and closes all.
    pub async fn close(&self) {
        self.turns.close();
        self.connections.close().await;
    }
}

/// A connection that was checked out; it goes back when it is dropped.
pub struct Checkout {
    inner: PoolConnection<Postgres>,
    turn: OwnedSemaphorePermit,
}

impl Deref for Checkout {
    type Target = PoolConnection<Postgres>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for Checkout {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

impl Drop for Checkout {
    /// What sqlx does with a connection of its own accord, which waits for ever for a database that
    /// does not answer any more.
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let returned = timeout(RETURN_TIMEOUT, self.inner.return_to_pool());
        let turn = self.turn.split(1);
        runtime.spawn(async move {
            // Given up, it is closed.
            drop(returned.await);
            drop(turn);
        });
    }
}

/// Makes the pool without a connection: the database may come later, see [`open`].
pub fn pool(database: &PgConnectOptions, max_connections: u32) -> Pool {
    let options = database
        .clone()
        .statement_cache_capacity(STATEMENT_CACHE_CAPACITY)
        // Parity: whatever the server's defaults are. A commit that was acknowledged and then
        // forgotten would be a second charge.
        .options([
            ("lock_timeout", "2s"),
            ("statement_timeout", "5s"),
            ("synchronous_commit", "on"),
        ])
        // The Go driver logs no statement either.
        .disable_statement_logging();
    let connections = PgPoolOptions::new()
        // No `min_connections`: while the database is away sqlx's own refill waits up to a minute
        // between two tries, and keeps requests from the slots it waits for. `open` fills the pool.
        .max_connections(max_connections)
        .acquire_timeout(CONNECT_TIMEOUT)
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
                for statement in STATEMENTS {
                    connection.prepare(statement.into_sql_str()).await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(options);
    Pool {
        connections,
        turns: Arc::new(Semaphore::new(max_connections as usize)),
    }
}

/// Opens every connection of the pool, trying again until the database is there.
pub async fn open(pool: Pool) {
    let mut connections = Vec::new();
    while connections.len() < pool.connections.options().get_max_connections() as usize {
        match pool.take().await {
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
pub async fn is_ready(pool: &Pool) -> bool {
    let ping = async { pool.take().await?.ping().await };
    matches!(timeout(READY_TIMEOUT, ping).await, Ok(Ok(())))
}

/// Checks out one connection.
pub async fn acquire(pool: &Pool) -> Result<Checkout, Error> {
    let acquired = timeout(ACQUIRE_TIMEOUT, pool.take()).await;
    acquired
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(|error| Error::DatabaseUnavailable(format!("acquire: {error}")))
}

/// Begins a transaction.
pub async fn begin(
    connection: &mut PoolConnection<Postgres>,
) -> Result<Transaction<'_, Postgres>, Error> {
    connection
        .begin()
        .await
        .map_err(|error| failure("begin", error))
}

/// Commits what was done. If this fails nobody knows what became of it.
pub async fn commit(transaction: Transaction<'_, Postgres>) -> Result<(), Error> {
    transaction
        .commit()
        .await
        .map_err(|error| failure("commit", error))
}

/// Undoes what was done, before anything is answered. Where this fails the connection is broken,
/// which undoes it too.
pub async fn rollback(transaction: Transaction<'_, Postgres>) {
    if let Err(error) = transaction.rollback().await {
        warn!(error = %error, "rollback failed");
    }
}

/// Ends a transaction: only what succeeded is kept.
pub async fn end<T>(
    transaction: Transaction<'_, Postgres>,
    outcome: Result<T, Error>,
) -> Result<T, Error> {
    match &outcome {
        Ok(_) => commit(transaction).await?,
        Err(_) => rollback(transaction).await,
    }
    outcome
}

/// What the failure of a statement is: the database out or silent, or our fault.
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
/// connection, a transaction that has to give way, a lack of resources, a lock or statement
/// timeout, a shutdown, a missing role or database.
fn is_outage(sqlstate: Option<&str>) -> bool {
    let class = sqlstate.and_then(|code| code.get(..2));
    matches!(
        class,
        Some("08" | "28" | "3D" | "40" | "53" | "55" | "57" | "58")
    )
}

/// Whether the error is the violation of a constraint.
fn violates(error: &sqlx::Error, sqlstate: &str, constraint: &str) -> bool {
    error.as_database_error().is_some_and(|answer| {
        answer.code().as_deref() == Some(sqlstate) && answer.constraint() == Some(constraint)
    })
}
