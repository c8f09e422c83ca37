use sqlx::PgConnection;
use uuid::Uuid;

use super::failure;
use crate::billing::Error;

pub(super) const KEY_GET: &str = "SELECT fingerprint, attempt_id, status, body FROM idempotency_keys WHERE account_id = $1 AND key = $2";
pub(super) const KEY_CREATE: &str = "INSERT INTO idempotency_keys (account_id, key, fingerprint, invoice_id, attempt_id) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
pub(super) const KEY_FINISH: &str =
    "UPDATE idempotency_keys SET status = $2, body = $3 WHERE attempt_id = $1 AND status IS NULL";
pub(super) const KEY_EXPIRE: &str = "DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT ctid FROM idempotency_keys WHERE status IS NOT NULL AND created_at < now() - interval '24 hours' ORDER BY created_at LIMIT 1000 FOR UPDATE SKIP LOCKED))";

/// How many keys `key_expire` deletes at most.
pub const EXPIRE_BATCH: u64 = 1000;

/// A client's idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub fingerprint: Vec<u8>,
    pub attempt_id: Uuid,
    /// Status and body to repeat, once the attempt has ended.
    pub answer: Option<(i32, Vec<u8>)>,
}

type Row = (Vec<u8>, Uuid, Option<i32>, Option<Vec<u8>>);

/// Reads a key of the account.
pub async fn key_get(
    connection: &mut PgConnection,
    account_id: Uuid,
    key: &str,
) -> Result<Option<Key>, Error> {
    let row: Option<Row> = sqlx::query_as(KEY_GET)
        .bind(account_id)
        .bind(key)
        .fetch_optional(connection)
        .await
        .map_err(|error| failure("key_get", error))?;
    let key = row.map(|(fingerprint, attempt_id, status, body)| Key {
        fingerprint,
        attempt_id,
        answer: status.zip(body),
    });
    Ok(key)
}

/// Stores a key, and says whether there was none of this name.
pub async fn key_create(
    connection: &mut PgConnection,
    account_id: Uuid,
    key: &str,
    fingerprint: &[u8],
    invoice_id: Uuid,
    attempt_id: Uuid,
) -> Result<bool, Error> {
    let created = sqlx::query(KEY_CREATE)
        .bind(account_id)
        .bind(key)
        .bind(fingerprint)
        .bind(invoice_id)
        .bind(attempt_id)
        .execute(connection)
        .await
        .map_err(|error| failure("key_create", error))?;
    Ok(created.rows_affected() == 1)
}

/// Stores the answer with all keys that wait for the attempt.
pub async fn key_finish(
    connection: &mut PgConnection,
    attempt_id: Uuid,
    status: u16,
    body: &[u8],
) -> Result<(), Error> {
    let finished = sqlx::query(KEY_FINISH)
        .bind(attempt_id)
        .bind(i32::from(status))
        .bind(body)
        .execute(connection)
        .await;
    finished
        .map(|_| ())
        .map_err(|error| failure("key_finish", error))
}

/// Deletes answered keys that are a day old, `EXPIRE_BATCH` at most, and says how many it deleted.
pub async fn key_expire(connection: &mut PgConnection) -> Result<u64, Error> {
    let deleted = sqlx::query(KEY_EXPIRE).execute(connection).await;
    deleted
        .map(|deleted| deleted.rows_affected())
        .map_err(|error| failure("key_expire", error))
}
