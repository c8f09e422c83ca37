//! Health checks.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::App;
use crate::payments;
use crate::postgres;

const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Serialize)]
pub struct Liveness {
    status: &'static str,
}

#[derive(Serialize)]
pub struct Readiness {
    status: &'static str,
    database: &'static str,
    payments: &'static str,
}

/// `GET /livez`: the process serves.
pub async fn livez() -> Json<Liveness> {
    Json(Liveness { status: "ok" })
}

/// `GET /readyz`: the database answers and the service is not about to stop. The provider's state
/// is named and decides nothing.
pub async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Readiness>) {
    let database_is_ready = postgres::is_ready(&app.pool).await;
    let (code, status) = if app.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if database_is_ready {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    let readiness = Readiness {
        status,
        database: if database_is_ready {
            "ok"
        } else {
            "unavailable"
        },
        payments: match app.payments.state() {
            payments::State::Unknown => "unknown",
            payments::State::Ok => "ok",
            payments::State::Unavailable => "unavailable",
        },
    };
    (code, Json(readiness))
}

/// Asks the service at `addr` for `/livez`: the `healthcheck` command, for images without a shell.
pub fn probe(addr: SocketAddr) -> io::Result<()> {
    let mut connection = TcpStream::connect_timeout(&addr, PROBE_TIMEOUT)?;
    connection.set_read_timeout(Some(PROBE_TIMEOUT))?;
    connection.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    match status {
        Some("200") => Ok(()),
        Some(status) => Err(io::Error::other(format!("/livez answered {status}"))),
        None => Err(io::Error::other("/livez was not answered in HTTP")),
    }
}
