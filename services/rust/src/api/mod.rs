//! The HTTP API.

mod auth;
mod body;
mod form;
pub mod health;
mod invoices;
mod middleware;
mod payments;
mod problem;
mod query;
mod statement;
mod subscriptions;
mod versions;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, any, get, post};
use chrono::{DateTime, SecondsFormat, Utc};

use auth::Authenticator;
use problem::Problem;
use query::CursorKey;

use crate::config::Config;
use crate::paying::Payer;
use crate::payments::Client;
use crate::postgres::{self, Pool};

/// What the handlers share.
pub struct App {
    pub pool: Pool,
    pub payments: Arc<Client>,
    pub payer: Arc<Payer>,
    authenticator: Authenticator,
    cursor_key: CursorKey,
    /// Set when the service is told to stop.
    pub draining: AtomicBool,
}

impl App {
    /// Opens the channels and begins to open the pool, which does not have to wait for its database.
    pub async fn new(config: &Config) -> Self {
        let pool = postgres::pool(&config.database, config.database_max_connections);
        tokio::spawn(postgres::open(pool.clone()));
        let payments = Client::connect(&config.payment_targets, config.payment_timeout).await;
        let payments = Arc::new(payments);
        let payer = Payer::new(config, pool.clone(), payments.clone(), payments::render);
        Self {
            pool,
            payments,
            payer: Arc::new(payer),
            authenticator: Authenticator::new(
                &config.auth_jwt_secret,
                &config.auth_jwt_issuer,
                &config.auth_jwt_audience,
            ),
            cursor_key: CursorKey::new(&config.auth_jwt_secret),
            draining: AtomicBool::new(false),
        }
    }
}

/// The whole surface.
pub fn router(app: Arc<App>) -> Router {
    use {invoices as i, subscriptions as s};
    // On the methods and not on the router: an unknown route or method is answered before it.
    let authenticated = |methods: MethodRouter<Arc<App>>| {
        methods.route_layer(from_fn_with_state(app.clone(), auth::authenticate))
    };
    let limited = |methods| authenticated(methods).route_layer(from_fn(middleware::timeout));
    let list = "GET,HEAD,POST,OPTIONS";
    let one = "GET,HEAD,PATCH,DELETE,OPTIONS";
    let read = "GET,HEAD,OPTIONS";
    let routes = [
        ("/livez", read, get(health::livez)),
        ("/readyz", read, get(health::readyz)),
        (
            "/v1/subscriptions",
            list,
            limited(get(s::list).post(s::create)),
        ),
        (
            "/v1/subscriptions/{id}",
            one,
            limited(get(s::get).patch(s::patch).delete(s::delete)),
        ),
        (
            "/v1/subscriptions/{id}/statement",
            read,
            limited(get(statement::statement)),
        ),
        ("/v1/invoices", list, limited(get(i::list).post(i::create))),
        (
            "/v1/invoices/{id}",
            one,
            limited(get(i::get).patch(i::patch).delete(i::delete)),
        ),
        (
            "/v1/invoices/{id}/payment",
            read,
            limited(get(i::invoice_payment)),
        ),
        (
            "/v1/invoices/{id}/pay",
            "POST,OPTIONS",
            authenticated(post(payments::pay)),
        ),
    ];
    let mut router = Router::new();
    for (path, allowed, methods) in routes {
        let options = async move || (StatusCode::NO_CONTENT, [(header::ALLOW, allowed)]);
        // Said here and not left to axum, which says it with an unknown route of the shape, too.
        let other = async move || ([(header::ALLOW, allowed)], Problem::METHOD_NOT_ALLOWED);
        router = router.route(path, any(other).merge(methods.options(options)));
    }
    router
        .fallback(problem::unknown_route)
        // The last one added is the outermost.
        .layer(from_fn(middleware::recover))
        .layer(from_fn(middleware::access_log))
        .layer(from_fn_with_state(app.clone(), middleware::request_id))
        .with_state(app)
}

/// A time of the database's, as it is answered.
fn microseconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
