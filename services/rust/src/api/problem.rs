//! Failures as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::billing::Error;

/// A failure from the contract's list, and its cause, which is logged and never leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    name: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: &'static str,
    cause: Option<String>,
}

impl Problem {
    pub const MALFORMED_ID: Self = Self::new(
        "malformed",
        StatusCode::BAD_REQUEST,
        "Malformed request",
        "The id in the path is not a lower-case UUID.",
    );
    pub const UNAUTHENTICATED: Self = Self::new(
        "unauthenticated",
        StatusCode::UNAUTHORIZED,
        "Unauthenticated",
        "A valid bearer token is required.",
    );
    pub const INVOICE_NOT_FOUND: Self = Self::new(
        "not_found",
        StatusCode::NOT_FOUND,
        "Not found",
        "There is no such invoice.",
    );
    pub const UNKNOWN_ROUTE: Self = Self::new(
        "not_found",
        StatusCode::NOT_FOUND,
        "Not found",
        "There is no such resource.",
    );
    pub const METHOD_NOT_ALLOWED: Self = Self::new(
        "method_not_allowed",
        StatusCode::METHOD_NOT_ALLOWED,
        "Method not allowed",
        "The resource does not support this method.",
    );
    pub const INTERNAL: Self = Self::new(
        "internal",
        StatusCode::INTERNAL_SERVER_ERROR,
        "Internal error",
        "The service failed.",
    );
    pub const PAYMENT_FAILED: Self = Self::new(
        "payment_failed",
        StatusCode::BAD_GATEWAY,
        "Payment provider failed",
        "The payment provider answered with an error.",
    );
    pub const DATABASE_UNAVAILABLE: Self = Self::new(
        "database_unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        "Database unavailable",
        "The database did not answer in time.",
    );
    pub const PAYMENT_UNAVAILABLE: Self = Self::new(
        "payment_unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        "Payment provider unavailable",
        "The payment provider could not be reached.",
    );
    pub const TIMEOUT: Self = Self::new(
        "timeout",
        StatusCode::GATEWAY_TIMEOUT,
        "Timed out",
        "The request took too long.",
    );
    pub const PAYMENT_TIMEOUT: Self = Self::new(
        "payment_timeout",
        StatusCode::GATEWAY_TIMEOUT,
        "Payment provider timed out",
        "The payment provider did not answer in time.",
    );

    const fn new(
        name: &'static str,
        status: StatusCode,
        title: &'static str,
        detail: &'static str,
    ) -> Self {
        Self {
            name,
            status,
            title,
            detail,
            cause: None,
        }
    }

    /// The same with the cause, for the log.
    pub fn because(self, cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..self
        }
    }

    /// The cause, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The answer to the request for `instance`.
    pub fn answer(&self, instance: &str, request_id: &str) -> Response {
        let mut response = Json(Document {
            r#type: format!("https://bakeoff.invalid/problems/{}", self.name),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail,
            instance,
            request_id,
        })
        .into_response();
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let problem_json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem_json);
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// The body, in the order of the contract.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    request_id: &'a str,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = match error {
            Error::InvoiceNotFound => Self::INVOICE_NOT_FOUND,
            Error::DatabaseUnavailable(_) => Self::DATABASE_UNAVAILABLE,
            Error::PaymentUnavailable(_) => Self::PAYMENT_UNAVAILABLE,
            Error::PaymentTimeout(_) => Self::PAYMENT_TIMEOUT,
            Error::PaymentFailed(_) => Self::PAYMENT_FAILED,
            Error::Internal(_) => Self::INTERNAL,
        };
        problem.because(error.to_string())
    }
}

impl IntoResponse for Problem {
    /// Leaves the problem for `middleware::recover`, which knows the request that it answers.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Answers a path that is none of ours.
pub async fn unknown_route() -> Problem {
    Problem::UNKNOWN_ROUTE
}

/// Answers a method that the resource lacks; the router adds `Allow`.
pub async fn method_not_allowed() -> Problem {
    Problem::METHOD_NOT_ALLOWED
}
