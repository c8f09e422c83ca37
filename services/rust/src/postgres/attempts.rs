use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{UNIQUE_VIOLATION, failure, violates};
use crate::billing::{Attempt, Error};

pub(super) const ATTEMPT_LIVE: &str = "SELECT id, amount_cents, currency, tries, state = 'pending' AS pending, lease_until > now() AS leased FROM payment_attempts WHERE invoice_id = $1 AND state IN ('pending', 'succeeded')";
pub(super) const ATTEMPT_CREATE: &str = "INSERT INTO payment_attempts (id, invoice_id, account_id, amount_cents, currency, state, lease_until) VALUES ($1, $2, $3, $4, $5, 'pending', now() + $6::bigint * interval '1 millisecond')";
pub(super) const ATTEMPT_TAKE: &str = "UPDATE payment_attempts SET lease_until = now() + $2::bigint * interval '1 millisecond', tries = tries + 1 WHERE id = $1 AND state = 'pending'";
pub(super) const ATTEMPT_FINISH: &str =
    "UPDATE payment_attempts SET state = $2, payment_id = $3 WHERE id = $1 AND state = 'pending'";
pub(super) const ATTEMPT_UNKNOWN: &str = "UPDATE payment_attempts SET lease_until = now(), next_try_at = now() + $2::bigint * interval '1 millisecond' WHERE id = $1 AND state = 'pending'";
pub(super) const ATTEMPT_SWEEP: &str = "UPDATE payment_attempts SET lease_until = now() + $1::bigint * interval '1 millisecond', tries = tries + 1 WHERE id = ANY (ARRAY(SELECT id FROM payment_attempts WHERE state = 'pending' AND lease_until < now() AND next_try_at <= now() ORDER BY next_try_at LIMIT 10 FOR UPDATE SKIP LOCKED)) RETURNING id, invoice_id, account_id, amount_cents, currency, tries";

/// How many attempts `attempt_sweep` takes at most.
pub const SWEEP_BATCH: usize = 10;

/// The attempt of an invoice that is pending or has succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAttempt {
    pub id: Uuid,
    pub amount_cents: i64,
    pub currency: String,
    pub tries: i32,
    pub is_pending: bool,
    /// Somebody is at it right now.
    pub is_leased: bool,
}

/// Reads the live attempt of an invoice. The invoice has to be locked by a statement before: one
/// statement for both would see the attempts of before the wait for the lock.
pub async fn attempt_live(
    connection: &mut PgConnection,
    invoice_id: Uuid,
) -> Result<Option<LiveAttempt>, Error> {
    let row: Option<(Uuid, i64, String, i32, bool, bool)> = sqlx::query_as(ATTEMPT_LIVE)
        .bind(invoice_id)
        .fetch_optional(connection)
        .await
        .map_err(|error| failure("attempt_live", error))?;
    let live = row.map(
        |(id, amount_cents, currency, tries, is_pending, is_leased)| LiveAttempt {
            id,
            amount_cents,
            currency,
            tries,
            is_pending,
            is_leased,
        },
    );
    Ok(live)
}

/// Stores a new attempt that is leased.
pub async fn attempt_create(
    connection: &mut PgConnection,
    attempt: &Attempt,
    lease: Duration,
) -> Result<(), Error> {
    let created = sqlx::query(ATTEMPT_CREATE)
        .bind(attempt.id)
        .bind(attempt.invoice_id)
        .bind(attempt.account_id)
        .bind(attempt.amount_cents)
        .bind(&attempt.currency)
        .bind(milliseconds(lease))
        .execute(connection)
        .await;
    created.map(|_| ()).map_err(
        |error| match violates(&error, UNIQUE_VIOLATION, "one_live") {
            true => Error::PaymentInProgress,
            false => failure("attempt_create", error),
        },
    )
}

/// Leases a pending attempt for one more try.
pub async fn attempt_take(
    connection: &mut PgConnection,
    id: Uuid,
    lease: Duration,
) -> Result<(), Error> {
    let taken = sqlx::query(ATTEMPT_TAKE)
        .bind(id)
        .bind(milliseconds(lease))
        .execute(connection)
        .await
        .map_err(|error| failure("attempt_take", error))?;
    match taken.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::Internal(
            "attempt_take: it is not pending".to_owned(),
        )),
    }
}

/// Ends an attempt, and says whether it was still pending.
pub async fn attempt_finish(
    connection: &mut PgConnection,
    id: Uuid,
    state: &str,
    payment_id: Option<&str>,
) -> Result<bool, Error> {
    let finished = sqlx::query(ATTEMPT_FINISH)
        .bind(id)
        .bind(state)
        .bind(payment_id)
        .execute(connection)
        .await
        .map_err(|error| failure("attempt_finish", error))?;
    Ok(finished.rows_affected() == 1)
}

/// Gives an attempt back, to be tried again after the wait.
pub async fn attempt_unknown(
    connection: &mut PgConnection,
    id: Uuid,
    wait: Duration,
) -> Result<(), Error> {
    let given_back = sqlx::query(ATTEMPT_UNKNOWN)
        .bind(id)
        .bind(milliseconds(wait))
        .execute(connection)
        .await;
    given_back
        .map(|_| ())
        .map_err(|error| failure("attempt_unknown", error))
}

/// Leases pending attempts whose time has come, `SWEEP_BATCH` at most.
pub async fn attempt_sweep(
    connection: &mut PgConnection,
    lease: Duration,
) -> Result<Vec<Attempt>, Error> {
    let rows: Vec<(Uuid, Uuid, Uuid, i64, String, i32)> = sqlx::query_as(ATTEMPT_SWEEP)
        .bind(milliseconds(lease))
        .fetch_all(connection)
        .await
        .map_err(|error| failure("attempt_sweep", error))?;
    let attempts = rows.into_iter().map(
        |(id, invoice_id, account_id, amount_cents, currency, tries)| Attempt {
            id,
            invoice_id,
            account_id,
            amount_cents,
            currency,
            tries,
        },
    );
    Ok(attempts.collect())
}

fn milliseconds(duration: Duration) -> i64 {
    duration.as_millis() as i64
}
