use std::fmt::Display;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use uuid::Uuid;

use super::App;
use super::problem::Problem;
use crate::billing::parse_id;

/// The account that the caller acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountId(pub Uuid);

/// Checks bearer tokens: JWT, HS256 only.
pub struct Authenticator {
    key: DecodingKey,
    validation: Validation,
}

/// The library would also take lists of issuers and audiences: as strings only here.
#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "iss")]
    _iss: String,
    #[serde(rename = "aud")]
    _aud: String,
    sub: String,
}

impl Authenticator {
    pub fn new(secret: &str, issuer: &str, audience: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.validate_nbf = true;
        // No leeway: good while now < exp, where the library would take now = exp too.
        validation.leeway = 0;
        validation.reject_tokens_expiring_in_less_than = 1;
        Self {
            key: DecodingKey::from_secret(secret.as_bytes()),
            validation,
        }
    }

    fn account(&self, headers: &HeaderMap) -> Result<AccountId, Problem> {
        let token = bearer_token(headers).ok_or_else(|| refused("no bearer token"))?;
        let token = decode::<Claims>(token, &self.key, &self.validation).map_err(refused)?;
        if token.header.crit.is_some() {
            return Err(refused("crit names an extension"));
        }
        let account = parse_id(&token.claims.sub).ok_or_else(|| refused("sub is not an id"))?;
        Ok(AccountId(account))
    }
}

/// Finds out the caller's account, or answers 401.
pub async fn authenticate(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let account = app.authenticator.account(request.headers())?;
    request.extensions_mut().insert(account);
    Ok(next.run(request).await)
}

/// The token of the only `Authorization` header.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn refused(cause: impl Display) -> Problem {
    Problem::UNAUTHENTICATED.because(format!("token: {cause}"))
}
