//! Bodies: read whole, and taken apart where they are one flat JSON object.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use axum::body::{Bytes, HttpBody, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::LengthLimitError;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::middleware::only;
use super::problem::Problem;

const MAX_BODY_BYTES: usize = 1 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(4);

/// A body that is said to be JSON, whole.
pub struct JsonBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) || is_encoded(request.headers()) {
            return Err(Problem::UNSUPPORTED_MEDIA_TYPE);
        }
        let body = request.into_body();
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(Problem::BODY_TOO_LARGE);
        }
        match timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
            Ok(Ok(body)) => Ok(Self(body)),
            Ok(Err(error))
                if error
                    .source()
                    .is_some_and(|source| source.is::<LengthLimitError>()) =>
            {
                Err(Problem::BODY_TOO_LARGE)
            }
            Ok(Err(error)) => Err(Problem::UNREADABLE_BODY.because(format!("body: {error}"))),
            Err(_) => Err(Problem::BODY_TIMEOUT),
        }
    }
}

/// `application/json`, perhaps with UTF-8 named as its charset.
fn is_json(headers: &HeaderMap) -> bool {
    const BLANK: [char; 2] = [' ', '\t'];
    let value = only(headers, header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default().to_ascii_lowercase();
    let Some(rest) = value.strip_prefix("application/json") else {
        return false;
    };
    let rest = rest.trim_matches(BLANK);
    let Some(parameter) = rest.strip_prefix(';') else {
        return rest.is_empty();
    };
    let parameter = parameter.trim_start_matches(BLANK);
    matches!(parameter, "charset=utf-8" | "charset=\"utf-8\"")
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// A value of the object.
pub enum Scalar {
    Text(String),
    /// As it is written.
    Number(String),
    Other,
}

/// Reads one flat object and nothing behind it.
pub fn flat_object(body: &[u8]) -> serde_json::Result<HashMap<String, Scalar>> {
    let text = std::str::from_utf8(body).map_err(serde_json::Error::custom)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let values = deserializer.deserialize_map(FlatObject)?;
    deserializer.end()?;
    Ok(values)
}

struct FlatObject;

impl<'de> Visitor<'de> for FlatObject {
    type Value = HashMap<String, Scalar>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a flat object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = HashMap::new();
        // Values raw: a number is judged by how it is written, and depth costs no stack.
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            let value = scalar(value.get()).map_err(A::Error::custom)?;
            if name.contains('\0') || values.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is repeated or has U+0000"));
            }
        }
        Ok(values)
    }
}

fn scalar(raw: &str) -> Result<Scalar, String> {
    match raw.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<String>(raw) {
            Ok(text) if !text.contains('\0') => Ok(Scalar::Text(text)),
            Ok(_) => Err("a value has U+0000".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        Some(b'-' | b'0'..=b'9') => Ok(Scalar::Number(raw.to_owned())),
        Some(b't' | b'f' | b'n') => Ok(Scalar::Other),
        _ => Err("a value is neither a string nor a number, true, false or null".to_owned()),
    }
}
