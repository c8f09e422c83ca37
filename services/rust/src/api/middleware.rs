//! What happens around each handler: request id, access log, recovery, time limit.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::{debug, info};

use super::App;
use super::problem::Problem;
use crate::payments::{CallMeta, new_request_id};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 64;
/// What the log says of a client that hung up before its answer.
const HUNG_UP: u16 = 499;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes or makes the request id, echoes it, and keeps what goes on to the provider.
pub async fn request_id(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let meta = CallMeta {
        request_id: visible_ascii(request.headers(), "x-request-id", REQUEST_ID_BYTES_MAX)
            .cloned()
            .unwrap_or_else(new_request_id),
        traceparent: traceparent(request.headers()),
        deadline: None,
    };
    let request_id = meta.request_id.clone();
    request.extensions_mut().insert(meta);
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID, request_id);
    if app.draining.load(Ordering::Relaxed) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Logs one line a request; health checks at debug level.
pub async fn access_log(
    Extension(meta): Extension<CallMeta>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let mut line = Line {
        meta,
        method: request.method().clone(),
        route,
        start: Instant::now(),
        is_written: false,
    };
    let response = next.run(request).await;
    let problem = response.extensions().get::<Problem>();
    if problem.is_some_and(Problem::is_of_no_route) {
        line.route = None;
    }
    line.write(
        response.status(),
        response.body().size_hint().lower(),
        problem.and_then(Problem::cause),
    );
    response
}

/// The line of a request that is under way.
struct Line {
    meta: CallMeta,
    method: Method,
    route: Option<MatchedPath>,
    start: Instant,
    is_written: bool,
}

impl Line {
    fn write(&mut self, status: StatusCode, bytes: u64, error: Option<&str>) {
        self.is_written = true;
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        let request_id = self.meta.request_id();
        let method = self.method.as_str();
        let status = status.as_u16();
        let latency_us = self.start.elapsed().as_micros() as u64;
        match route {
            "/livez" | "/readyz" => {
                debug!(
                    request_id,
                    method, route, status, latency_us, bytes, error, "request"
                );
            }
            _ => info!(
                request_id,
                method, route, status, latency_us, bytes, error, "request"
            ),
        }
    }
}

impl Drop for Line {
    /// A client that hangs up has its handler dropped.
    fn drop(&mut self) {
        if !self.is_written {
            let hung_up = StatusCode::from_u16(HUNG_UP).expect("a status");
            self.write(hung_up, 0, None);
        }
    }
}

/// Turns a panic into a problem, and every problem into its answer.
pub async fn recover(
    Extension(meta): Extension<CallMeta>,
    request: Request,
    next: Next,
) -> Response {
    let uri = request.uri().clone();
    let response = if uri.path().contains("//") {
        // The router takes nothing for an id too.
        Problem::UNKNOWN_ROUTE.into_response()
    } else {
        let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        response.unwrap_or_else(|panic| panicked(panic).into_response())
    };
    let (mut parts, body) = response.into_parts();
    match parts.extensions.remove::<Problem>() {
        None => Response::from_parts(parts, body),
        Some(problem) => {
            let mut answer = problem.answer(uri.path(), meta.request_id());
            answer.headers_mut().extend(parts.headers);
            answer.extensions_mut().insert(problem);
            answer
        }
    }
}

/// Limits the time that a request takes. Not of `pay`, which has a limit of its own and goes on.
pub async fn timeout(mut request: Request, next: Next) -> Response {
    let deadline = tokio::time::Instant::now() + REQUEST_TIMEOUT;
    if let Some(meta) = request.extensions_mut().get_mut::<CallMeta>() {
        meta.deadline = Some(deadline);
    }
    let limited = tokio::time::timeout_at(deadline, next.run(request));
    let Ok(response) = limited.await else {
        return Problem::TIMEOUT.into_response();
    };
    match response.extensions().get::<Problem>() {
        // The provider knows the deadline too, and may be the first to say so.
        Some(problem) if tokio::time::Instant::now() >= deadline => {
            let cause = problem.cause().unwrap_or(problem.detail());
            Problem::TIMEOUT.because(cause).into_response()
        }
        _ => response,
    }
}

/// The trace context, where it is valid: `00-<trace id>-<parent id>-<flags>`.
fn traceparent(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = only(headers, "traceparent")?;
    let parts: Vec<&str> = value.to_str().ok()?.split('-').collect();
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, digits: usize| is_hex(part, digits) && part.bytes().any(|c| c != b'0');
    let is_valid = matches!(
        parts[..],
        ["00", trace, parent, flags] if is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2)
    );
    is_valid.then(|| value.clone())
}

/// The value of a header that is there just once and has 1 to `max` bytes of visible ASCII.
pub fn visible_ascii<'a>(
    headers: &'a HeaderMap,
    name: &str,
    max: usize,
) -> Option<&'a HeaderValue> {
    let value = only(headers, name)?;
    let is_good =
        (1..=max).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
    is_good.then_some(value)
}

/// The value of a header that is there just once.
pub fn only(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Problem {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of unknown cause");
    Problem::INTERNAL.because(format!("panic: {message}"))
}

#[cfg(test)]
mod tests;
