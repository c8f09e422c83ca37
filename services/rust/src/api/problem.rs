//! Failures as `application/problem+json` (RFC 9457).

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::billing::Error;

/// The media type of a problem.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A failure from the contract's list, and its cause, which is logged and never leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    name: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: &'static str,
    /// Of `ALREADY_PAID`: the payment, where the service knows it.
    payment_id: Option<Option<String>>,
    errors: Vec<FieldError>,
    cause: Option<Box<str>>,
}

/// What is wrong with a field of a body. An empty name means the body as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    field: &'static str,
    detail: &'static str,
}

impl FieldError {
    pub fn new(field: &'static str, detail: &'static str) -> Self {
        Self { field, detail }
    }
}

impl Problem {
    pub const MALFORMED_ID: Self = Self::new(
        "malformed",
        StatusCode::BAD_REQUEST,
        "Malformed request",
        "The id in the path is not a lower-case UUID.",
    );
    pub const MALFORMED_QUERY: Self = Self::new(
        "malformed",
        StatusCode::BAD_REQUEST,
        "Malformed request",
        "The query is not one that this operation takes.",
    );
    pub const MALFORMED_KEY: Self = Self::new(
        "malformed",
        StatusCode::BAD_REQUEST,
        "Malformed request",
        "The Idempotency-Key header is missing, repeated or not 1 to 255 visible ASCII characters.",
    );
    pub const UNREADABLE_BODY: Self = Self::new(
        "malformed",
        StatusCode::BAD_REQUEST,
        "Malformed request",
        "The body could not be read.",
    );
    pub const MALFORMED_BODY: Self = Self::new(
        "malformed",
        StatusCode::BAD_REQUEST,
        "Malformed request",
        "The body is not a flat JSON object with distinct names.",
    );
    pub const WRONG_FIELDS: Self = Self::new(
        "malformed",
        StatusCode::BAD_REQUEST,
        "Malformed request",
        "The body has fields that are wrong.",
    );
    pub const UNAUTHENTICATED: Self = Self::new(
        "unauthenticated",
        StatusCode::UNAUTHORIZED,
        "Unauthenticated",
        "A valid bearer token is required.",
    );
    pub const PAYMENT_DECLINED: Self = Self::new(
        "payment_declined",
        StatusCode::PAYMENT_REQUIRED,
        "Payment declined",
        "The payment provider declined the payment.",
    );
    pub const UNKNOWN_ACCOUNT: Self = Self::new(
        "forbidden",
        StatusCode::FORBIDDEN,
        "Forbidden",
        "The token's account does not exist.",
    );
    pub const SUBSCRIPTION_NOT_FOUND: Self = Self::new(
        "not_found",
        StatusCode::NOT_FOUND,
        "Not found",
        "There is no such subscription.",
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
    pub const BODY_TIMEOUT: Self = Self::new(
        "body_timeout",
        StatusCode::REQUEST_TIMEOUT,
        "Body too slow",
        "The body did not arrive in time.",
    );
    pub const ALREADY_PAID: Self = Self::new(
        "already_paid",
        StatusCode::CONFLICT,
        "Already paid",
        "The invoice is paid.",
    );
    pub const HAS_INVOICES: Self = Self::new(
        "has_invoices",
        StatusCode::CONFLICT,
        "Has invoices",
        "The subscription has invoices.",
    );
    pub const NOT_DRAFT: Self = Self::new(
        "not_draft",
        StatusCode::CONFLICT,
        "Not a draft",
        "The invoice is not a draft.",
    );
    pub const NOT_PAYABLE: Self = Self::new(
        "not_payable",
        StatusCode::CONFLICT,
        "Not payable",
        "Only an open invoice can be paid.",
    );
    pub const PAYMENT_IN_PROGRESS: Self = Self::new(
        "payment_in_progress",
        StatusCode::CONFLICT,
        "Payment in progress",
        "A payment of the invoice is in progress.",
    );
    pub const TRANSITION_NOT_ALLOWED: Self = Self::new(
        "transition_not_allowed",
        StatusCode::CONFLICT,
        "Transition not allowed",
        "The status cannot change to this one.",
    );
    pub const PRECONDITION_FAILED: Self = Self::new(
        "precondition_failed",
        StatusCode::PRECONDITION_FAILED,
        "Precondition failed",
        "The resource has another version.",
    );
    pub const BODY_TOO_LARGE: Self = Self::new(
        "body_too_large",
        StatusCode::PAYLOAD_TOO_LARGE,
        "Body too large",
        "The body is over 1 MiB.",
    );
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self::new(
        "unsupported_media_type",
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "Unsupported media type",
        "The body has to be application/json in UTF-8, without an encoding.",
    );
    pub const KEY_REUSED: Self = Self::new(
        "idempotency_key_reused",
        StatusCode::UNPROCESSABLE_ENTITY,
        "Idempotency key reused",
        "The key was used for another request.",
    );
    pub const INVALID_FIELDS: Self = Self::new(
        "invalid",
        StatusCode::UNPROCESSABLE_ENTITY,
        "Invalid fields",
        "The body has values that are not allowed.",
    );
    pub const PRECONDITION_REQUIRED: Self = Self::new(
        "precondition_required",
        StatusCode::PRECONDITION_REQUIRED,
        "Precondition required",
        "The request needs an If-Match header.",
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
    pub const OUTCOME_UNKNOWN: Self = Self::new(
        "payment_outcome_unknown",
        StatusCode::SERVICE_UNAVAILABLE,
        "Payment outcome unknown",
        "The payment may have been made; send the same key again.",
    );
    pub const OUTCOME_TIMEOUT: Self = Self::new(
        "payment_outcome_unknown",
        StatusCode::GATEWAY_TIMEOUT,
        "Payment outcome unknown",
        "The payment may have been made; send the same key again.",
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
            payment_id: None,
            errors: Vec::new(),
            cause: None,
        }
    }

    /// The same for these fields.
    pub fn with_errors(self, errors: Vec<FieldError>) -> Self {
        let cause = errors
            .iter()
            .map(|error| format!("{:?} {}", error.field, error.detail))
            .collect::<Vec<_>>()
            .join(", ");
        Self { errors, ..self }.because(cause)
    }

    /// The same with the cause, for the log.
    pub fn because(self, cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into().into_boxed_str()),
            ..self
        }
    }

    /// Whether nothing matched the request.
    pub fn is_of_no_route(&self) -> bool {
        self.name == Self::METHOD_NOT_ALLOWED.name || self.detail == Self::UNKNOWN_ROUTE.detail
    }

    /// What the client is told.
    pub fn detail(&self) -> &'static str {
        self.detail
    }

    /// The cause, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body of the answer to the request for `instance`.
    pub fn body(&self, instance: &str, request_id: &str) -> Vec<u8> {
        let document = Document {
            r#type: format!("https://bakeoff.invalid/problems/{}", self.name),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail,
            instance,
            request_id,
            payment_id: self.payment_id.as_ref(),
            errors: &self.errors,
        };
        serde_json::to_vec(&document).expect("a document has nothing that JSON cannot say")
    }

    /// The answer to the request for `instance`.
    pub fn answer(&self, instance: &str, request_id: &str) -> Response {
        let mut response = Response::new(Body::from(self.body(instance, request_id)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The rest of the body is not waited for.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            status if self.is_worth_a_retry(status) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }

    fn is_worth_a_retry(&self, status: StatusCode) -> bool {
        status == StatusCode::SERVICE_UNAVAILABLE
            || status == StatusCode::GATEWAY_TIMEOUT
            || self.name == Self::PAYMENT_IN_PROGRESS.name
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
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<&'a Option<String>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = match &error {
            Error::UnknownAccount => Self::UNKNOWN_ACCOUNT,
            Error::SubscriptionNotFound => Self::SUBSCRIPTION_NOT_FOUND,
            Error::InvoiceNotFound => Self::INVOICE_NOT_FOUND,
            Error::AlreadyPaid(payment_id) => Self {
                payment_id: Some(payment_id.clone()),
                ..Self::ALREADY_PAID
            },
            Error::HasInvoices => Self::HAS_INVOICES,
            Error::NotDraft => Self::NOT_DRAFT,
            Error::NotPayable => Self::NOT_PAYABLE,
            Error::PaymentInProgress => Self::PAYMENT_IN_PROGRESS,
            Error::TransitionNotAllowed => Self::TRANSITION_NOT_ALLOWED,
            Error::PreconditionFailed => Self::PRECONDITION_FAILED,
            Error::KeyReused => Self::KEY_REUSED,
            Error::DatabaseUnavailable(_) => Self::DATABASE_UNAVAILABLE,
            Error::OutcomeUnknown(_) => Self::OUTCOME_UNKNOWN,
            Error::OutcomeTimeout(_) => Self::OUTCOME_TIMEOUT,
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
