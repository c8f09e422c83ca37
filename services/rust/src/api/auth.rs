use std::fmt::Display;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::{Deserialize, Deserializer};
use sha2::Sha256;
use signature::Verifier;
use uuid::Uuid;

use super::App;
use super::problem::Problem;
use crate::billing::parse_id;

/// The account that the caller acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountId(pub Uuid);

/// Checks bearer tokens: JWT, HS256 only, each one anew.
pub struct Authenticator {
    key: DecodingKey,
    validation: Validation,
    issuer: String,
    audience: String,
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<f64>,
    iss: String,
    aud: String,
    sub: String,
}

impl Authenticator {
    /// Leaves the claims to `account_of`: the library also takes lists of issuers and audiences,
    /// and cuts `exp` to whole seconds.
    pub fn new(secret: &str, issuer: &str, audience: &str) -> Self {
        // Refused only where it is installed already.
        let _ = HS256_ALONE.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self {
            key: DecodingKey::from_secret(secret.as_bytes()),
            validation,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        }
    }

    /// The account of the token.
    fn account(&self, headers: &HeaderMap) -> Result<AccountId, Problem> {
        let token = bearer_token(headers).ok_or_else(|| refused("not just one bearer token"))?;
        let token = decode(token, &self.key, &self.validation).map_err(refused)?;
        if token.header.crit.is_some() {
            return Err(refused("crit names an extension that is not known"));
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(refused)?;
        self.account_of(&token.claims, now.as_secs_f64())
            .map_err(refused)
    }

    /// Checks the claims, without leeway, and returns `sub`.
    fn account_of(&self, claims: &Claims, now: f64) -> Result<AccountId, &'static str> {
        if now >= claims.exp {
            return Err("exp is over");
        }
        if claims.nbf.is_some_and(|nbf| now < nbf) {
            return Err("nbf is in the future");
        }
        if claims.iss != self.issuer {
            return Err("iss is not the expected one");
        }
        if claims.aud != self.audience {
            return Err("aud is not the expected one");
        }
        let account = parse_id(&claims.sub).ok_or("sub is not an account's id")?;
        Ok(AccountId(account))
    }
}

/// What jsonwebtoken needs of cryptography: its own choices bring all that JWT knows.
static HS256_ALONE: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => {
            let mac = Hmac::new_from_slice(key.try_get_as_bytes()?);
            let mac = mac.map_err(|_| ErrorKind::InvalidKeyFormat)?;
            Ok(Box::new(Hs256(mac)))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct Hs256(Hmac<Sha256>);

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let mac = self.0.clone().chain_update(message);
        mac.verify_slice(signature)
            .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
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

/// A claim that may be left out, but is not null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    f64::deserialize(deserializer).map(Some)
}

fn refused(cause: impl Display) -> Problem {
    Problem::UNAUTHENTICATED.because(format!("token: {cause}"))
}
