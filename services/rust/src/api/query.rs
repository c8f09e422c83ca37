//! What a path and a query say: an id, a page of a list, and the cursors between pages.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;
use uuid::Uuid;

use super::problem::Problem;
use crate::billing::{Page, Position, parse_id};

const LIMIT_DEFAULT: u8 = 20;
const LIMIT_MAX: u8 = 100;
const POSITION_BYTES: usize = 24;
const TAG_BYTES: usize = 9;
const CURSOR_BYTES: usize = POSITION_BYTES + TAG_BYTES;

/// The `{id}` of the path.
pub struct Id(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // The router decodes; a percent sign is another spelling.
        if parts.uri.path().contains('%') {
            return Err(Problem::MALFORMED_ID);
        }
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::MALFORMED_ID)?;
        let id = params
            .iter()
            .find_map(|(name, value)| (name == "id").then_some(value));
        id.and_then(parse_id).map(Self).ok_or(Problem::MALFORMED_ID)
    }
}

/// That there is no query.
pub struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.uri.query() {
            None | Some("") => Ok(Self),
            Some(_) => Err(Problem::MALFORMED_QUERY),
        }
    }
}

/// A page as it is answered, in the order of the contract.
#[derive(Serialize)]
pub struct Items<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// The query of a list: `limit` and `after`, not yet looked into.
pub struct PageQuery {
    limit: u8,
    after: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        Self::read(query).ok_or(Problem::MALFORMED_QUERY)
    }
}

impl PageQuery {
    fn read(query: &str) -> Option<Self> {
        let (mut limit, mut after) = (None, None);
        if !query.is_empty() {
            for piece in query.split('&') {
                let is_first = match piece.split_once('=')? {
                    ("limit", text) => limit.replace(read_limit(text)?).is_none(),
                    ("after", text) => after.replace(text.to_owned()).is_none(),
                    _ => false,
                };
                is_first.then_some(())?;
            }
        }
        Some(Self {
            limit: limit.unwrap_or(LIMIT_DEFAULT),
            after,
        })
    }
}

/// Decimal, without a sign or a leading zero.
fn read_limit(text: &str) -> Option<u8> {
    let limit = text.parse().ok()?;
    ((1..=LIMIT_MAX).contains(&limit) && text == limit.to_string()).then_some(limit)
}

/// One account's way through one list. Its cursors are signed, so that nobody else's are taken.
pub struct Walk<'a> {
    pub key: &'a CursorKey,
    /// `subscriptions` or `invoices`.
    pub list: &'static str,
    pub account_id: Uuid,
}

/// What cursors are signed with.
pub struct CursorKey(Hmac<Sha256>);

impl CursorKey {
    pub fn new(secret: &str) -> Self {
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("any length is good for a key"))
    }
}

impl Walk<'_> {
    /// The page that is asked for.
    pub fn page(&self, query: &PageQuery) -> Result<Page, Problem> {
        let after = match &query.after {
            None => Position::START,
            Some(cursor) => self.position(cursor).ok_or(Problem::MALFORMED_QUERY)?,
        };
        Ok(Page {
            after,
            limit: query.limit,
        })
    }

    /// The answer, from one more item than the page has, where there is one.
    pub fn items<T, I>(
        &self,
        page: Page,
        mut found: Vec<T>,
        position: impl Fn(&T) -> Position,
        item: impl Fn(T) -> I,
    ) -> Items<I> {
        let limit = usize::from(page.limit);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| has_more).map(position);
        Items {
            items: found.into_iter().map(item).collect(),
            next: last.map(|last| self.cursor(last)),
        }
    }

    fn cursor(&self, position: Position) -> String {
        let mut bytes = [0; CURSOR_BYTES];
        bytes[..8].copy_from_slice(&position.created_at.timestamp_micros().to_be_bytes());
        bytes[8..POSITION_BYTES].copy_from_slice(position.id.as_bytes());
        let tag = self.mac(&bytes[..POSITION_BYTES]).finalize().into_bytes();
        bytes[POSITION_BYTES..].copy_from_slice(&tag[..TAG_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn position(&self, cursor: &str) -> Option<Position> {
        let bytes: [u8; CURSOR_BYTES] = URL_SAFE_NO_PAD.decode(cursor).ok()?.try_into().ok()?;
        let (place, tag) = bytes.split_at(POSITION_BYTES);
        self.mac(place).verify_truncated_left(tag).ok()?;
        let (created_at_us, id) = place.split_at(8);
        Some(Position {
            created_at: DateTime::from_timestamp_micros(i64::from_be_bytes(
                created_at_us.try_into().ok()?,
            ))?,
            id: Uuid::from_slice(id).ok()?,
        })
    }

    fn mac(&self, place: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.key.0.clone();
        mac.update(format!("bakeoff cursor 1\n{}\n{}\n", self.list, self.account_id).as_bytes());
        mac.update(place);
        mac
    }
}

#[cfg(test)]
mod tests;
