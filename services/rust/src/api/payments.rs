use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::App;
use super::auth::AccountId;
use super::body::JsonBody;
use super::form::Form;
use super::invoices::PaymentBody;
use super::middleware::visible_ascii;
use super::problem::{PROBLEM_JSON, Problem};
use super::query::{Id, NoQuery};
use crate::billing::{Error, Payment};
use crate::paying::{Answer, Request};
use crate::payments::CallMeta;

const MAX_KEY_BYTES: usize = 255;
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// `POST /v1/invoices/{id}/pay`: charges an open invoice, once for all that is sent with one key.
#[expect(clippy::too_many_arguments, reason = "each is a check of the contract")]
pub async fn pay(
    State(app): State<Arc<App>>,
    Extension(AccountId(account_id)): Extension<AccountId>,
    Extension(meta): Extension<CallMeta>,
    uri: Uri,
    Id(invoice_id): Id,
    _: NoQuery,
    IdempotencyKey(key): IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    Form::read(&body)?.end()?;
    let request = Request {
        account_id,
        invoice_id,
        key,
        fingerprint: fingerprint(uri.path(), &body),
        meta,
    };
    respond(app.payer.pay(request).await?)
}

/// The `Idempotency-Key`, as it was sent.
pub struct IdempotencyKey(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        visible_ascii(&parts.headers, "idempotency-key", MAX_KEY_BYTES)
            .and_then(|key| key.to_str().ok())
            .map(|key| Self(key.to_owned()))
            .ok_or(Problem::MALFORMED_KEY)
    }
}

/// Says which request a key was used for.
fn fingerprint(path: &str, body: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(format!("POST\n{path}\n"))
        .chain_update(body)
        .finalize()
        .into()
}

fn respond(answer: Answer) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(answer.status)
        .map_err(|error| Error::Internal(format!("the answer's status: {error}")))?;
    let content_type = match status {
        StatusCode::OK => HeaderValue::from_static("application/json"),
        _ => PROBLEM_JSON,
    };
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    if answer.is_replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Writes the answer that ends an attempt.
pub fn render(invoice_id: Uuid, payment: &Payment, request_id: &str) -> (u16, Vec<u8>) {
    if payment.status != "succeeded" {
        let problem = Problem::PAYMENT_DECLINED;
        let path = format!("/v1/invoices/{invoice_id}/pay");
        return (problem.status().as_u16(), problem.body(&path, request_id));
    }
    let paid = Paid {
        invoice_id,
        status: "paid",
        payment: PaymentBody::new(payment.clone()),
    };
    let body = serde_json::to_vec(&paid).expect("a payment has nothing that JSON cannot say");
    (StatusCode::OK.as_u16(), body)
}

/// The body of the answer, in the order of the contract.
#[derive(Serialize)]
struct Paid {
    invoice_id: Uuid,
    status: &'static str,
    payment: PaymentBody,
}
