//! Charges an invoice once, whatever is repeated, lost or killed. The steps are those of the
//! contract, `services/contract/README.md`.

mod settle;
mod sweeper;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::billing::{Attempt, Error, Invoice, Payment};
use crate::config::Config;
use crate::payments::{CallMeta, Client};
use crate::postgres::{self, Key, LiveAttempt, Pool};

/// How long over the call's limit a request waits for its answer.
const ANSWER_MARGIN: Duration = Duration::from_secs(3);
/// How long over two calls' limits an attempt is left alone.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// Keeps detached work from waiting for ever for a database that is silent; the server's own limits
/// are below it.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes status and body of the answer that ends an attempt, given the request's id.
pub type Render = fn(invoice_id: Uuid, payment: &Payment, request_id: &str) -> (u16, Vec<u8>);

/// Pays invoices, each detached from the request that asks for it.
pub struct Payer {
    pool: Pool,
    payments: Arc<Client>,
    render: Render,
    timeout: Duration,
    interval: Duration,
    work: TaskTracker,
}

/// A client's wish to pay an invoice.
#[derive(Debug, Clone)]
pub struct Request {
    pub account_id: Uuid,
    pub invoice_id: Uuid,
    pub key: String,
    pub fingerprint: [u8; 32],
    pub meta: CallMeta,
}

/// What the client gets: of this request, or of one before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub is_replayed: bool,
}

/// How the first transaction ends.
enum Claim {
    Send(Attempt),
    Replay(Answer),
}

impl Payer {
    pub fn new(config: &Config, pool: Pool, payments: Arc<Client>, render: Render) -> Self {
        Self {
            pool,
            payments,
            render,
            timeout: config.payment_timeout,
            interval: config.sweep_interval,
            work: TaskTracker::new(),
        }
    }

    /// Starts to pay and waits for the answer. The work goes on if the caller hangs up or the time
    /// is over.
    pub async fn pay(self: &Arc<Self>, request: Request) -> Result<Answer, Error> {
        let payer = self.clone();
        // A task of its own: hyper drops the handler where the client hangs up.
        let work = self.work.spawn(async move { payer.charge(request).await });
        match timeout(self.timeout + ANSWER_MARGIN, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => Err(Error::Internal(panic.to_string())),
            Err(_) => Err(Error::OutcomeTimeout(
                "it goes on without the request".to_owned(),
            )),
        }
    }

    /// Waits for all work that goes on.
    pub async fn finish(&self) {
        self.work.close();
        self.work.wait().await;
    }

    async fn charge(&self, request: Request) -> Result<Answer, Error> {
        match in_time(self.begin(&request)).await? {
            Claim::Replay(answer) => Ok(answer),
            Claim::Send(attempt) => {
                self.settle(&attempt, Some(&request.key), &request.meta)
                    .await
            }
        }
    }

    /// Stores the attempt to try, leased, with the client's key (steps 1 to 6); or finds the answer
    /// that the key has already.
    async fn begin(&self, request: &Request) -> Result<Claim, Error> {
        let mut connection = postgres::acquire(&self.pool).await?;
        let stored = postgres::key_get(&mut connection, request.account_id, &request.key).await?;
        if let Some(stored) = stored
            && let Some(answer) = replay_of(stored, &request.fingerprint)?
        {
            return Ok(Claim::Replay(answer));
        }
        let mut transaction = postgres::begin(&mut connection).await?;
        match self.claim(&mut transaction, request).await {
            Ok(Claim::Send(attempt)) => {
                let committed = postgres::commit(transaction).await;
                committed.map_err(|error| Error::OutcomeUnknown(error.to_string()))?;
                Ok(Claim::Send(attempt))
            }
            outcome => {
                postgres::rollback(transaction).await;
                outcome
            }
        }
    }

    /// The inside of the first transaction (steps 2 to 5).
    async fn claim(
        &self,
        connection: &mut PgConnection,
        request: &Request,
    ) -> Result<Claim, Error> {
        let invoice =
            postgres::invoice_lock(connection, request.invoice_id, request.account_id).await?;
        let live = postgres::attempt_live(connection, invoice.id).await?;
        let attempt = attempt_for(&invoice, live.as_ref(), request.account_id);
        let is_new = postgres::key_create(
            connection,
            request.account_id,
            &request.key,
            &request.fingerprint,
            invoice.id,
            attempt.id,
        )
        .await?;
        if is_new {
            may_be_paid(invoice)?;
        } else if let Some(answer) = resume(connection, request, live.as_ref()).await? {
            return Ok(Claim::Replay(answer));
        }
        match live {
            None => postgres::attempt_create(connection, &attempt, self.lease()).await?,
            Some(live) if live.is_leased => return Err(Error::PaymentInProgress),
            Some(live) => postgres::attempt_take(connection, live.id, self.lease()).await?,
        }
        Ok(Claim::Send(attempt))
    }

    fn lease(&self) -> Duration {
        2 * self.timeout + LEASE_MARGIN
    }
}

/// The live attempt, once more, or a new one.
fn attempt_for(invoice: &Invoice, live: Option<&LiveAttempt>, account_id: Uuid) -> Attempt {
    match live {
        None => Attempt {
            id: Uuid::now_v7(),
            invoice_id: invoice.id,
            account_id,
            amount_cents: invoice.amount_cents,
            currency: invoice.currency.clone(),
            tries: 1,
        },
        Some(live) => Attempt {
            id: live.id,
            invoice_id: invoice.id,
            account_id,
            amount_cents: live.amount_cents,
            currency: live.currency.clone(),
            tries: live.tries + 1,
        },
    }
}

/// Looks at a key that was there before: it has its answer, or it has to belong to the live attempt.
async fn resume(
    connection: &mut PgConnection,
    request: &Request,
    live: Option<&LiveAttempt>,
) -> Result<Option<Answer>, Error> {
    let stored = postgres::key_get(connection, request.account_id, &request.key)
        .await?
        .ok_or_else(|| Error::Internal("the key was there and is not".to_owned()))?;
    let attempt_id = stored.attempt_id;
    if let Some(answer) = replay_of(stored, &request.fingerprint)? {
        return Ok(Some(answer));
    }
    match live {
        Some(live) if live.is_pending && live.id == attempt_id => Ok(None),
        _ => Err(Error::Internal(
            "the attempt of an open key is not the live one".to_owned(),
        )),
    }
}

/// The stored answer of a key, none while it has none.
fn replay_of(stored: Key, fingerprint: &[u8]) -> Result<Option<Answer>, Error> {
    if stored.fingerprint != fingerprint {
        return Err(Error::KeyReused);
    }
    stored.answer.map(stored_answer).transpose()
}

fn stored_answer((status, body): (i32, Vec<u8>)) -> Result<Answer, Error> {
    let status = u16::try_from(status)
        .map_err(|_| Error::Internal(format!("the stored status is {status}")))?;
    Ok(Answer {
        status,
        body,
        is_replayed: true,
    })
}

fn may_be_paid(invoice: Invoice) -> Result<(), Error> {
    match invoice.status.as_str() {
        "open" => Ok(()),
        "paid" => Err(Error::AlreadyPaid(invoice.payment_id)),
        _ => Err(Error::NotPayable),
    }
}

/// Gives up work on a database that is silent. What it was about to store may be stored or not.
async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(TRANSACTION_TIMEOUT, work)
        .await
        .unwrap_or_else(|_| Err(Error::OutcomeUnknown("the database is silent".to_owned())))
}
