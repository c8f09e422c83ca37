//! The client of the payment provider.

use std::error::Error as _;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};
use chrono::DateTime;
use futures_util::future::join_all;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tower::util::MapResponse;
use uuid::Uuid;

use crate::billing::{Attempt, Error, Payment};
use proto::payments_client::PaymentsClient;

/// Generated from `protos/payment/v1/payment.proto`.
pub mod proto {
    tonic::include_proto!("payment.v1");
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The years 1 to 9999: what an answer can say of a time, in milliseconds.
const UPDATED_AT_UNIX_MS: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// What a call carries on from the request that it serves.
#[derive(Debug, Clone)]
pub struct CallMeta {
    pub request_id: HeaderValue,
    pub traceparent: Option<HeaderValue>,
    /// When the request is over, and with it the call.
    pub deadline: Option<Instant>,
}

impl CallMeta {
    /// That of a request which nobody sent.
    pub fn new_request() -> Self {
        Self {
            request_id: new_request_id(),
            traceparent: None,
            deadline: None,
        }
    }

    /// The request's id as text.
    pub fn request_id(&self) -> &str {
        self.request_id
            .to_str()
            .expect("a request id is visible ASCII")
    }
}

/// Makes a request id: a version 4 UUID.
pub fn new_request_id() -> HeaderValue {
    let mut id = Uuid::encode_buffer();
    let id = Uuid::new_v4().hyphenated().encode_lower(&mut id);
    HeaderValue::from_str(id).expect("a UUID is visible ASCII")
}

type HttpResponse = axum::http::Response<tonic::body::Body>;
/// A channel whose answers all have a status of gRPC.
type StatusChannel = MapResponse<Channel, fn(HttpResponse) -> HttpResponse>;

/// The provider as its channels last saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Unknown,
    Ok,
    Unavailable,
}

/// Calls the provider over one channel an entry of `PAYMENT_TARGETS`, in turn.
pub struct Client {
    // A list and a counter: tonic's balancer knows its endpoints by URI, so that a target that is
    // repeated for more connections would be one again.
    channels: Vec<Channel>,
    next: AtomicUsize,
    timeout: Duration,
    state: AtomicU8,
}

impl Client {
    /// Tries to open every channel for a second; one that fails connects when it is called.
    pub async fn connect(targets: &[Endpoint], timeout: Duration) -> Self {
        let channels = join_all(targets.iter().map(connect)).await;
        let state = match channels.iter().all(Result::is_ok) {
            true => State::Ok,
            false => State::Unavailable,
        };
        Self {
            channels: channels
                .into_iter()
                .map(|channel| channel.unwrap_or_else(|lazy| lazy))
                .collect(),
            next: AtomicUsize::new(0),
            timeout,
            state: AtomicU8::new(state as u8),
        }
    }

    /// The payment of an invoice.
    pub async fn get_payment(&self, invoice_id: Uuid, meta: &CallMeta) -> Result<Payment, Error> {
        let mut client = self.client();
        let limit = self.limit(meta);
        let message = proto::GetPaymentRequest {
            invoice_id: invoice_id.to_string(),
        };
        let call = client.get_payment(request(message, meta, limit));
        let payment = self.answer(call, limit).await?;
        if payment.invoice_id != invoice_id.to_string() {
            let cause = "get_payment: the answer is for another invoice";
            return Err(Error::PaymentFailed(cause.to_owned()));
        }
        Ok(payment)
    }

    /// Charges an attempt, once. The provider's promise: a key that it has seen with the same
    /// fields gets the first answer again.
    pub async fn create_payment(
        &self,
        attempt: &Attempt,
        meta: &CallMeta,
    ) -> Result<Payment, Error> {
        let mut client = self.client();
        let limit = self.limit(meta);
        let message = proto::CreatePaymentRequest {
            idempotency_key: attempt.key(),
            invoice_id: attempt.invoice_id.to_string(),
            amount_cents: attempt.amount_cents,
            currency: attempt.currency.clone(),
        };
        let call = client.create_payment(request(message, meta, limit));
        self.answer(call, limit).await
    }

    /// The provider as the last call, or the try at the start, found it.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            state if state == State::Ok as u8 => State::Ok,
            state if state == State::Unavailable as u8 => State::Unavailable,
            _ => State::Unknown,
        }
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    fn client(&self) -> PaymentsClient<StatusChannel> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let channel = self.channels[turn % self.channels.len()].clone();
        PaymentsClient::new(MapResponse::new(channel, with_status))
    }

    /// How long a call may take: never longer than its request.
    fn limit(&self, meta: &CallMeta) -> Duration {
        meta.deadline.map_or(self.timeout, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            left.min(self.timeout)
        })
    }

    async fn answer(
        &self,
        call: impl Future<Output = Result<Response<proto::Payment>, Status>>,
        limit: Duration,
    ) -> Result<Payment, Error> {
        // The time limit goes with the call as `grpc-timeout`; this one also covers connecting.
        let answer = tokio::time::timeout(limit, call)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
        let answer = answer.map_err(failure);
        self.note(&answer);
        payment(answer?.into_inner())
    }

    fn note<T>(&self, answer: &Result<T, Error>) {
        let state = match answer {
            Err(Error::PaymentUnavailable(_)) => State::Unavailable,
            Err(Error::PaymentTimeout(_)) => State::Unknown,
            _ => State::Ok,
        };
        // Seldom another one: reading first spares the cores a fight over the cache line.
        if self.state() != state {
            self.state.store(state as u8, Ordering::Relaxed);
        }
    }
}

/// An open channel, or `Err` with one that will connect when it is called.
async fn connect(target: &Endpoint) -> Result<Channel, Channel> {
    let opened = tokio::time::timeout(CONNECT_TIMEOUT, target.connect()).await;
    opened
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| target.connect_lazy())
}

fn request<T>(message: T, meta: &CallMeta, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    let headers = request.metadata_mut().as_mut();
    headers.insert("x-request-id", meta.request_id.clone());
    if let Some(traceparent) = &meta.traceparent {
        headers.insert("traceparent", traceparent.clone());
    }
    request
}

/// Gives an answer of something that knows no gRPC the status that stands for HTTP's, as Go's
/// client does: tonic would read its body as a message.
fn with_status(response: HttpResponse) -> HttpResponse {
    let code = match response.status() {
        StatusCode::OK => return response,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("HTTP status {}", response.status())).into_http()
}

fn payment(answer: proto::Payment) -> Result<Payment, Error> {
    let updated_at = Some(answer.updated_at_unix_ms)
        .filter(|at| UPDATED_AT_UNIX_MS.contains(at))
        .and_then(DateTime::from_timestamp_millis)
        .ok_or_else(|| Error::PaymentFailed("updated_at_unix_ms is out of range".into()))?;
    Ok(Payment {
        status: match answer.status() {
            proto::PaymentStatus::Unspecified => "unspecified",
            proto::PaymentStatus::Pending => "pending",
            proto::PaymentStatus::Succeeded => "succeeded",
            proto::PaymentStatus::Declined => "declined",
        },
        id: answer.payment_id,
        invoice_id: answer.invoice_id,
        amount_cents: answer.amount_cents,
        currency: answer.currency,
        updated_at,
        idempotency_key: answer.idempotency_key,
    })
}

fn failure(status: Status) -> Error {
    let cause = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::DeadlineExceeded => Error::PaymentTimeout(cause),
        Code::Unavailable => Error::PaymentUnavailable(cause),
        _ if has_expired(&status) => Error::PaymentTimeout(cause),
        _ if has_lost_connection(&status) => Error::PaymentUnavailable(cause),
        _ => Error::PaymentFailed(cause),
    }
}

/// tonic's own timer may run out first, and calls it `CANCELLED`.
fn has_expired(status: &Status) -> bool {
    sources(status).any(|source| source.is::<tonic::TimeoutExpired>())
}

/// Only a status that was made here has a source. It is the connection that failed, unless the
/// provider reset the stream: that is an answer.
fn has_lost_connection(status: &Status) -> bool {
    let is_reset = |source: &(dyn std::error::Error + 'static)| {
        source.downcast_ref().is_some_and(|error: &h2::Error| {
            error.is_reset() && error.reason() != Some(h2::Reason::REFUSED_STREAM)
        })
    };
    status.source().is_some() && !sources(status).any(is_reset)
}

fn sources(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(status.source(), |&source| source.source())
}
