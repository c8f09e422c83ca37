//! The settings, from the environment; the contract has their table.

use std::env::VarError;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tonic::transport::Endpoint;
use tracing::Level;

const JWT_SECRET_BYTES_MIN: usize = 32;
const PAYMENT_TARGETS_MAX: usize = 64;

/// All settings, checked.
#[derive(Clone)]
pub struct Config {
    pub database: PgConnectOptions,
    pub payment_targets: Vec<Endpoint>,
    pub auth_jwt_secret: String,
    pub auth_jwt_issuer: String,
    pub auth_jwt_audience: String,
    pub listen_addr: SocketAddr,
    pub database_max_connections: u32,
    pub payment_timeout: Duration,
    pub log_level: Level,
    pub worker_threads: usize,
    pub sweep_interval: Duration,
    pub shutdown_drain: Duration,
    pub shutdown_grace: Duration,
}

/// What is wrong with the settings, all of it. It names settings and never shows a value.
#[derive(Debug, thiserror::Error)]
#[error("bad settings: {}", .0.join("; "))]
pub struct Problems(Vec<String>);

impl Config {
    /// Loads the settings through `lookup`, which is `std::env::var` but for tests.
    pub fn load(lookup: impl Fn(&str) -> Result<String, VarError>) -> Result<Self, Problems> {
        let mut reader = Reader {
            lookup,
            problems: Vec::new(),
        };
        let config = reader.config();
        match config {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => Err(Problems(reader.problems)),
        }
    }
}

impl fmt::Debug for Config {
    /// Without secrets: they would end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("database", &"***")
            .field("payment_targets", &self.payment_targets)
            .field("auth_jwt_secret", &"***")
            .field("auth_jwt_issuer", &self.auth_jwt_issuer)
            .field("auth_jwt_audience", &self.auth_jwt_audience)
            .field("listen_addr", &self.listen_addr)
            .field("database_max_connections", &self.database_max_connections)
            .field("payment_timeout", &self.payment_timeout)
            .field("log_level", &self.log_level)
            .field("worker_threads", &self.worker_threads)
            .field("sweep_interval", &self.sweep_interval)
            .field("shutdown_drain", &self.shutdown_drain)
            .field("shutdown_grace", &self.shutdown_grace)
            .finish()
    }
}

/// Reads one setting after the other and collects what is wrong with them.
struct Reader<F> {
    lookup: F,
    problems: Vec<String>,
}

impl<F: Fn(&str) -> Result<String, VarError>> Reader<F> {
    fn config(&mut self) -> Option<Config> {
        // Each is read before any is missed, so that all problems are found.
        let database = self.required("DATABASE_URL", "must be a postgres:// URL", database);
        let targets = self.required(
            "PAYMENT_TARGETS",
            "must be 1 to 64 host:port, comma-separated",
            payment_targets,
        );
        let secret = self.required("AUTH_JWT_SECRET", "must have 32 bytes at least", |text| {
            (text.len() >= JWT_SECRET_BYTES_MIN).then(|| text.to_owned())
        });
        let issuer = self.required("AUTH_JWT_ISSUER", "must not be empty", not_empty);
        let audience = self.required("AUTH_JWT_AUDIENCE", "must not be empty", not_empty);
        let listen_addr = self.optional("LISTEN_ADDR", "must be ip:port", |text| {
            text.unwrap_or("127.0.0.1:8080").parse().ok()
        });
        let connections = self.number("DATABASE_MAX_CONNECTIONS", 16, 1..=1000);
        let payment_timeout_ms = self.number("PAYMENT_TIMEOUT_MS", 1000, 1..=60_000);
        let log_level =
            self.optional(
                "LOG_LEVEL",
                "must be debug, info, warn or error",
                |text| match text {
                    Some("debug") => Some(Level::DEBUG),
                    None | Some("info") => Some(Level::INFO),
                    Some("warn") => Some(Level::WARN),
                    Some("error") => Some(Level::ERROR),
                    Some(_) => None,
                },
            );
        let worker_threads = self.number("WORKER_THREADS", cpus(), 1..=1024);
        let sweep_interval_ms = self.number("SWEEP_INTERVAL_MS", 1000, 100..=3_600_000);
        let drain_seconds = self.number("SHUTDOWN_DRAIN_SECONDS", 5, 0..=300);
        let grace_seconds = self.number("SHUTDOWN_GRACE_SECONDS", 20, 1..=300);
        Some(Config {
            database: database?,
            payment_targets: targets?,
            auth_jwt_secret: secret?,
            auth_jwt_issuer: issuer?,
            auth_jwt_audience: audience?,
            listen_addr: listen_addr?,
            database_max_connections: connections?,
            payment_timeout: Duration::from_millis(payment_timeout_ms?.into()),
            log_level: log_level?,
            worker_threads: worker_threads? as usize,
            sweep_interval: Duration::from_millis(sweep_interval_ms?.into()),
            shutdown_drain: Duration::from_secs(drain_seconds?.into()),
            shutdown_grace: Duration::from_secs(grace_seconds?.into()),
        })
    }

    fn required<T>(
        &mut self,
        name: &str,
        rule: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        match (self.lookup)(name) {
            Err(VarError::NotPresent) => self.problem(name, "is missing"),
            Err(VarError::NotUnicode(_)) => self.problem(name, rule),
            Ok(text) => parse(&text).or_else(|| self.problem(name, rule)),
        }
    }

    fn optional<T>(
        &mut self,
        name: &str,
        rule: &str,
        parse: impl Fn(Option<&str>) -> Option<T>,
    ) -> Option<T> {
        let parsed = match (self.lookup)(name) {
            Err(VarError::NotPresent) => parse(None),
            Err(VarError::NotUnicode(_)) => None,
            Ok(text) => parse(Some(&text)),
        };
        parsed.or_else(|| self.problem(name, rule))
    }

    fn number(&mut self, name: &str, default: u32, range: RangeInclusive<u32>) -> Option<u32> {
        let rule = format!(
            "must be a whole number from {} to {}",
            range.start(),
            range.end()
        );
        self.optional(name, &rule, |text| match text {
            None => Some(default),
            // Digits alone: `parse` takes a sign.
            Some(text) if text.starts_with('+') => None,
            Some(text) => text.parse().ok().filter(|number| range.contains(number)),
        })
    }

    fn problem<T>(&mut self, name: &str, problem: impl Display) -> Option<T> {
        self.problems.push(format!("{name} {problem}"));
        None
    }
}

fn not_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn database(url: &str) -> Option<PgConnectOptions> {
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    url.parse().ok().filter(|_| is_postgres)
}

fn payment_targets(text: &str) -> Option<Vec<Endpoint>> {
    let targets: Option<Vec<_>> = text.split(',').map(payment_target).collect();
    targets.filter(|targets| targets.len() <= PAYMENT_TARGETS_MAX)
}

fn payment_target(target: &str) -> Option<Endpoint> {
    let (host, port) = target.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let endpoint = Endpoint::from_shared(format!("http://{host}:{port}")).ok()?;
    // Nothing but a host before the port: no user, no path.
    let is_host = endpoint.uri().authority()?.host() == host && !host.is_empty();
    is_host.then_some(endpoint)
}

/// The CPUs that the process may use. Go rounds a quota up and takes two at least, Rust rounds it
/// down: a comparison names `WORKER_THREADS`.
fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(1024) as u32)
}
