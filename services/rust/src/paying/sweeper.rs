use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Payer, in_time};
use crate::billing::Error;
use crate::payments::CallMeta;
use crate::postgres::{self, EXPIRE_BATCH, SWEEP_BATCH};

// Of so many ticks, one deletes old keys instead of sweeping.
const EXPIRE_EVERY: u64 = 60;
const EXPIRE_AT: u64 = 30;

impl Payer {
    /// Sends attempts again whose end nobody knows, and deletes old keys, till it is told to stop.
    /// What it has taken by then it finishes: see `finish`.
    pub fn sweep(self: &Arc<Self>, stop: CancellationToken) {
        let payer = self.clone();
        self.work.spawn(async move {
            for n in 0.. {
                payer.tick(n, &stop).await;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(payer.interval) => {}
                }
            }
        });
    }

    /// One round of work: again and again while there is a full batch to do.
    async fn tick(self: &Arc<Self>, n: u64, stop: &CancellationToken) {
        let mut has_more = true;
        while has_more && !stop.is_cancelled() {
            let done = match n % EXPIRE_EVERY {
                EXPIRE_AT => self.expire_once().await,
                _ => self.sweep_once().await,
            };
            has_more = done.unwrap_or_else(|error| {
                warn!(error = %error, "sweep failed");
                false
            });
        }
    }

    /// Sends a batch again, all at once, and says whether it was a full one.
    async fn sweep_once(self: &Arc<Self>) -> Result<bool, Error> {
        let attempts = in_time(async {
            // Given back before anything is sent.
            let mut connection = postgres::acquire(&self.pool).await?;
            postgres::attempt_sweep(&mut connection, self.lease()).await
        });
        let attempts = attempts.await?;
        if attempts.is_empty() {
            return Ok(false);
        }
        info!(attempts = attempts.len(), "sweep");
        let is_full = attempts.len() == SWEEP_BATCH;
        let sends = attempts.into_iter().map(|attempt| {
            let payer = self.clone();
            self.work.spawn(async move {
                let meta = CallMeta::new_request();
                // What becomes of it is stored or logged.
                drop(payer.settle(&attempt, None, &meta).await);
            })
        });
        join_all(sends).await;
        Ok(is_full)
    }

    /// Deletes a batch of old keys, and says whether it was a full one.
    async fn expire_once(&self) -> Result<bool, Error> {
        let deleted = in_time(async {
            let mut connection = postgres::acquire(&self.pool).await?;
            postgres::key_expire(&mut connection).await
        });
        Ok(deleted.await? == EXPIRE_BATCH)
    }
}
