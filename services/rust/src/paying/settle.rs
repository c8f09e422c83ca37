use sqlx::PgConnection;
use tracing::{error, warn};

use super::{Answer, Payer, in_time, stored_answer};
use crate::billing::{Attempt, Error, Payment};
use crate::payments::CallMeta;
use crate::postgres;

impl Payer {
    /// Sends a leased attempt and stores how it ended (steps 7 to 9). Without a key, as in a sweep,
    /// nobody waits for the answer.
    pub(super) async fn settle(
        &self,
        attempt: &Attempt,
        key: Option<&str>,
        meta: &CallMeta,
    ) -> Result<Answer, Error> {
        let ended = async {
            let payment = self.payments.create_payment(attempt, meta).await?;
            if !attempt.is_ended_by(&payment) {
                let cause = "create_payment: the answer is not the end of this attempt";
                return Err(Error::OutcomeUnknown(cause.to_owned()));
            }
            in_time(self.finish_attempt(attempt, &payment, key, meta)).await
        };
        match ended.await {
            Ok(answer) => Ok(answer),
            Err(cause) => Err(self.unknown(attempt, meta, cause).await),
        }
    }

    /// The second transaction (step 8).
    async fn finish_attempt(
        &self,
        attempt: &Attempt,
        payment: &Payment,
        key: Option<&str>,
        meta: &CallMeta,
    ) -> Result<Answer, Error> {
        let mut connection = postgres::acquire(&self.pool).await?;
        let mut transaction = postgres::begin(&mut connection).await?;
        let stored = self.store(&mut transaction, attempt, payment, meta).await;
        match stored {
            Ok(Some(answer)) => {
                postgres::commit(transaction).await?;
                Ok(answer)
            }
            Ok(None) => {
                // Somebody else has ended it.
                postgres::rollback(transaction).await;
                answer_of(&mut connection, attempt, key).await
            }
            Err(error) => {
                postgres::rollback(transaction).await;
                Err(error)
            }
        }
    }

    /// Ends the attempt and gives its answer to all keys that wait for it; none where it has ended
    /// already. The invoice is locked first, as in the first transaction.
    async fn store(
        &self,
        connection: &mut PgConnection,
        attempt: &Attempt,
        payment: &Payment,
        meta: &CallMeta,
    ) -> Result<Option<Answer>, Error> {
        let (invoice_id, account_id) = (attempt.invoice_id, attempt.account_id);
        postgres::invoice_lock(connection, invoice_id, account_id).await?;
        let payment_id = (payment.status == "succeeded").then_some(payment.id.as_str());
        if !postgres::attempt_finish(connection, attempt.id, payment.status, payment_id).await? {
            return Ok(None);
        }
        if let Some(payment_id) = payment_id {
            postgres::invoice_paid(connection, invoice_id, account_id, payment_id).await?;
        }
        let (status, body) = (self.render)(invoice_id, payment, meta.request_id());
        postgres::key_finish(connection, attempt.id, status, &body).await?;
        Ok(Some(Answer {
            status,
            body,
            is_replayed: false,
        }))
    }

    /// Gives an attempt back whose end nobody knows: it may have been charged, so it is sent again,
    /// and never taken for failed. If this fails the lease runs out.
    async fn unknown(&self, attempt: &Attempt, meta: &CallMeta, cause: Error) -> Error {
        let given_back = in_time(async {
            let mut connection = postgres::acquire(&self.pool).await?;
            postgres::attempt_unknown(&mut connection, attempt.id, attempt.backoff()).await
        });
        let mut text = cause.to_string();
        if let Err(error) = given_back.await {
            text = format!("{text}; {error}");
        }
        let request_id = meta.request_id();
        let (attempt_id, tries) = (attempt.id, attempt.tries);
        if attempt.needs_review() {
            error!(request_id, %attempt_id, tries, error = text, needs_review = true, "payment outcome unknown");
        } else {
            warn!(request_id, %attempt_id, tries, error = text, "payment outcome unknown");
        }
        match cause {
            Error::PaymentTimeout(_) => Error::OutcomeTimeout(text),
            _ => Error::OutcomeUnknown(text),
        }
    }
}

/// Replays the answer of whoever has ended the attempt.
async fn answer_of(
    connection: &mut PgConnection,
    attempt: &Attempt,
    key: Option<&str>,
) -> Result<Answer, Error> {
    let Some(key) = key else {
        return Ok(Answer::default());
    };
    let stored = postgres::key_get(connection, attempt.account_id, key).await?;
    let answer = stored.and_then(|stored| stored.answer).ok_or_else(|| {
        Error::Internal("the attempt has ended, and its key has no answer".to_owned())
    })?;
    stored_answer(answer)
}
