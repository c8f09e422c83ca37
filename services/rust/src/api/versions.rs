//! Versions of a resource, as ETags and conditions on them.

use std::convert::Infallible;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;

use super::problem::Problem;
use crate::billing::Error;

/// A resource with its ETag.
pub struct Versioned<T> {
    pub version: i32,
    pub resource: T,
}

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        (self.etag(), Json(self.resource)).into_response()
    }
}

impl<T: Serialize> Versioned<T> {
    /// The answer to a `GET`: without a body where the caller has this version.
    pub fn unless_known(self, known: &IfNoneMatch) -> Response {
        match known.holds(self.version) {
            true => (StatusCode::NOT_MODIFIED, self.etag(), no_body()).into_response(),
            false => self.into_response(),
        }
    }

    fn etag(&self) -> [(HeaderName, HeaderValue); 1] {
        let etag = HeaderValue::from_str(&etag(self.version)).expect("digits are visible ASCII");
        [(header::ETAG, etag)]
    }

    /// The answer to a `POST` that made it.
    pub fn created(self, location: &str) -> Response {
        let location = HeaderValue::from_str(location).expect("a path is visible ASCII");
        (StatusCode::CREATED, [(header::LOCATION, location)], self).into_response()
    }
}

/// `If-Match`: a `PATCH` needs one, a `DELETE` may have one.
pub struct IfMatch(Vec<HeaderValue>);

impl IfMatch {
    /// Refuses a change of another version.
    pub fn check(&self, version: i32) -> Result<(), Error> {
        match pieces(&self.0).any(|piece| piece == b"*" || piece == etag(version).as_bytes()) {
            true => Ok(()),
            false => Err(Error::PreconditionFailed),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match lines(&parts.headers, header::IF_MATCH) {
            lines if lines.is_empty() => Err(Problem::PRECONDITION_REQUIRED),
            lines => Ok(Self(lines)),
        }
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        let lines = lines(&parts.headers, header::IF_MATCH);
        Ok((!lines.is_empty()).then_some(Self(lines)))
    }
}

/// `If-None-Match`: the versions that the caller has.
pub struct IfNoneMatch(Vec<HeaderValue>);

impl IfNoneMatch {
    fn holds(&self, version: i32) -> bool {
        pieces(&self.0).any(|piece| {
            let piece = piece.strip_prefix(b"W/").unwrap_or(piece);
            piece == b"*" || piece == etag(version).as_bytes()
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(lines(&parts.headers, header::IF_NONE_MATCH)))
    }
}

/// A body whose length nobody tells: axum would put that of an empty one into the answer to a HEAD.
fn no_body() -> Body {
    Body::from_stream(stream::empty::<Result<Bytes, Infallible>>())
}

fn etag(version: i32) -> String {
    format!("\"v{version}\"")
}

fn lines(headers: &HeaderMap, name: HeaderName) -> Vec<HeaderValue> {
    headers.get_all(name).iter().cloned().collect()
}

fn pieces(lines: &[HeaderValue]) -> impl Iterator<Item = &[u8]> {
    lines
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(trim)
}

/// Less the spaces and tabs at both ends.
fn trim(mut piece: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = piece {
        piece = rest;
    }
    piece
}

#[cfg(test)]
mod tests;
