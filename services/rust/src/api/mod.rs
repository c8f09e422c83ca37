//! The HTTP API.

mod auth;
pub mod health;
mod invoices;
mod middleware;
mod problem;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use sqlx::PgPool;

use auth::Authenticator;

use crate::config::Config;
use crate::{payments, postgres};

const MAX_BODY_BYTES: usize = 1 << 20;

/// What the handlers share.
pub struct App {
    pub pool: PgPool,
    pub payments: payments::Client,
    authenticator: Authenticator,
    /// Set when the service is told to stop.
    pub draining: AtomicBool,
}

impl App {
    /// Opens the channels and begins to open the pool, which does not have to wait for its database.
    pub async fn new(config: &Config) -> Self {
        let pool = postgres::pool(&config.database, config.database_max_connections);
        tokio::spawn(postgres::open(pool.clone()));
        Self {
            pool,
            payments: payments::Client::connect(&config.payment_targets, config.payment_timeout)
                .await,
            authenticator: Authenticator::new(
                &config.auth_jwt_secret,
                &config.auth_jwt_issuer,
                &config.auth_jwt_audience,
            ),
            draining: AtomicBool::new(false),
        }
    }
}

/// The whole surface.
pub fn router(app: Arc<App>) -> Router {
    // On the methods and not on the router: an unknown route or method is answered before it.
    let authenticate = from_fn_with_state(app.clone(), auth::authenticate);
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route(
            "/v1/invoices/{id}/payment",
            get(invoices::invoice_payment).route_layer(authenticate),
        )
        .fallback(problem::unknown_route)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        // The last one added is the outermost.
        .layer(from_fn(middleware::timeout))
        .layer(from_fn(middleware::recover))
        .layer(from_fn(middleware::access_log))
        .layer(from_fn_with_state(app.clone(), middleware::request_id))
        .with_state(app)
}
