//! Sets the stage: a database of one's own, a provider, tokens, and the service itself.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use billing::payments::proto;
use billing::payments::proto::payments_server::{Payments, PaymentsServer};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::metadata::MetadataMap;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

// Rows that every test database has: an invoice of each of two accounts.
pub const ACCOUNT: &str = "a0000000-0000-4000-8000-000000000001";
pub const OTHER_ACCOUNT: &str = "a0000000-0000-4000-8000-000000000002";
pub const SUBSCRIPTION: &str = "b0000000-0000-4000-8000-000000000001";
pub const OTHER_SUBSCRIPTION: &str = "b0000000-0000-4000-8000-000000000002";
pub const INVOICE: &str = "c0000000-0000-4000-8000-000000000001";
pub const OTHER_INVOICE: &str = "c0000000-0000-4000-8000-000000000002";
pub const UNKNOWN_INVOICE: &str = "c0000000-0000-4000-8000-000000000003";
const ROWS: &str = "
INSERT INTO accounts (id, number, name) VALUES
    ('a0000000-0000-4000-8000-000000000001', 900001, 'One'),
    ('a0000000-0000-4000-8000-000000000002', 900002, 'Other');
INSERT INTO subscriptions (id, account_id, plan, status, price_cents, currency) VALUES
    ('b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'team', 'active', 4900, 'USD'),
    ('b0000000-0000-4000-8000-000000000002', 'a0000000-0000-4000-8000-000000000002', 'starter', 'active', 900, 'EUR');
INSERT INTO invoices (id, subscription_id, account_id, status, amount_cents, currency, created_at) VALUES
    ('c0000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000001',
     'a0000000-0000-4000-8000-000000000001', 'paid', 4916, 'USD', '2026-01-02T03:04:05.000006Z'),
    ('c0000000-0000-4000-8000-000000000002', 'b0000000-0000-4000-8000-000000000002',
     'a0000000-0000-4000-8000-000000000002', 'open', 900, 'EUR', '2026-01-02T03:04:05Z');
";

/// The measured request.
pub const PATH: &str = "/v1/invoices/c0000000-0000-4000-8000-000000000001/payment";

/// A copy of the database that `DATABASE_URL` names, dropped in the end.
pub struct Database {
    options: PgConnectOptions,
    name: String,
}

impl Database {
    pub async fn new() -> Self {
        let database = Self::unmade();
        database.create().await;
        database
    }

    /// One that does not exist yet.
    pub fn unmade() -> Self {
        let name = format!("billing_test_{}", Uuid::new_v4().simple());
        Self {
            options: template().database(&name),
            name,
        }
    }

    pub async fn create(&self) {
        let template = template()
            .get_database()
            .expect("DATABASE_URL names a database")
            .to_owned();
        let statement = format!(r#"CREATE DATABASE {} TEMPLATE "{template}""#, self.name);
        let deadline = Instant::now() + DEADLINE;
        loop {
            match administer(&statement).await {
                Ok(()) => break,
                // Somebody looks at the template, such as another test.
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55006") => {
                    assert!(Instant::now() < deadline, "the template is in use: {error}");
                    sleep(LOOK_AGAIN_AFTER).await;
                }
                Err(error) => panic!("create the test database: {error}"),
            }
        }
        let mut connection = self.connect().await;
        raw_sql(ROWS)
            .execute(&mut connection)
            .await
            .expect("insert the test rows");
        connection.close().await.expect("close");
    }

    pub async fn remove(&self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        administer(&statement)
            .await
            .expect("drop the test database");
    }

    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.options)
            .await
            .expect("connect to the test database")
    }

    fn url(&self) -> String {
        self.options.to_url_lossy().into()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // On a thread, since a destructor cannot wait for the runtime that it runs in.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                runtime.expect("a runtime").block_on(self.remove());
            });
        });
    }
}

fn template() -> PgConnectOptions {
    let url = std::env::var("DATABASE_URL")
        .expect("set DATABASE_URL to a migrated database that the tests may copy");
    url.parse().expect("DATABASE_URL is a postgres:// URL")
}

async fn administer(statement: &str) -> sqlx::Result<()> {
    let mut connection = template().database("postgres").connect().await?;
    raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await?;
    connection.close().await
}

const UPDATED_AT_UNIX_MS: i64 = 1_767_323_045_678;

/// A payment provider in this process.
pub struct Provider {
    pub target: String,
    desk: Arc<Desk>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Desk {
    received: Mutex<Vec<MetadataMap>>,
    failure: Mutex<Option<Code>>,
    asked: Mutex<Vec<proto::CreatePaymentRequest>>,
    declining: AtomicBool,
    excess_cents: AtomicI64,
    alter: Mutex<Option<fn(&mut proto::Payment)>>,
    holding: watch::Sender<bool>,
    held: Held,
}

/// A permit for each call that is kept.
struct Held(Semaphore);

impl Default for Held {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Provider {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("listen for the provider");
        let target = listener.local_addr().expect("an address").to_string();
        let desk = Arc::new(Desk::default());
        let service = PaymentsServer::from_arc(desk.clone());
        let server = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .expect("serve payments");
        });
        Self {
            target,
            desk,
            server,
        }
    }

    /// Makes each call fail; `None` ends that.
    pub fn fail_with(&self, code: impl Into<Option<Code>>) {
        *self.desk.failure.lock().unwrap() = code.into();
    }

    /// Makes each charge declined.
    pub fn decline(&self) {
        self.desk.declining.store(true, Ordering::SeqCst);
    }

    /// Makes the amount of each answered charge wrong by this.
    pub fn overcharge(&self, excess_cents: i64) {
        self.desk.excess_cents.store(excess_cents, Ordering::SeqCst);
    }

    /// Changes each payment that is looked up.
    pub fn alter(&self, change: fn(&mut proto::Payment)) {
        *self.desk.alter.lock().unwrap() = Some(change);
    }

    /// Keeps calls unanswered until `release`.
    pub fn hold(&self) {
        self.desk.holding.send_replace(true);
    }

    pub fn release(&self) {
        self.desk.holding.send_replace(false);
    }

    /// Waits for a call that is kept.
    pub async fn held(&self) {
        let held = timeout(DEADLINE, self.desk.held.0.acquire()).await;
        held.expect("a call").expect("an open desk").forget();
    }

    /// Each charge that was asked for so far.
    pub fn asked(&self) -> Vec<proto::CreatePaymentRequest> {
        self.desk.asked.lock().unwrap().clone()
    }

    /// The metadata of each call so far.
    pub fn received(&self) -> Vec<MetadataMap> {
        self.desk.received.lock().unwrap().clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Desk {
    /// What comes before any answer.
    async fn receive<T>(&self, request: Request<T>) -> Result<T, Status> {
        self.received
            .lock()
            .unwrap()
            .push(request.metadata().clone());
        if *self.holding.borrow() {
            self.held.0.add_permits(1);
            let mut holding = self.holding.subscribe();
            holding.wait_for(|holding| !holding).await.expect("a desk");
        }
        match *self.failure.lock().unwrap() {
            Some(code) => Err(Status::new(code, "as the test wants it")),
            None => Ok(request.into_inner()),
        }
    }
}

#[tonic::async_trait]
impl Payments for Desk {
    /// Answers the same for the same invoice.
    async fn get_payment(
        &self,
        request: Request<proto::GetPaymentRequest>,
    ) -> Result<Response<proto::Payment>, Status> {
        let invoice_id = self.receive(request).await?.invoice_id;
        let mut payment = proto::Payment {
            payment_id: format!("pay_{}", &invoice_id[..8]),
            invoice_id,
            status: proto::PaymentStatus::Succeeded.into(),
            amount_cents: 4916,
            currency: "USD".to_owned(),
            updated_at_unix_ms: UPDATED_AT_UNIX_MS,
            idempotency_key: String::new(),
        };
        if let Some(change) = *self.alter.lock().unwrap() {
            change(&mut payment);
        }
        Ok(Response::new(payment))
    }

    /// Answers the same for the same key.
    async fn create_payment(
        &self,
        request: Request<proto::CreatePaymentRequest>,
    ) -> Result<Response<proto::Payment>, Status> {
        self.asked.lock().unwrap().push(request.get_ref().clone());
        let charge = self.receive(request).await?;
        let status = match self.declining.load(Ordering::SeqCst) {
            true => proto::PaymentStatus::Declined,
            false => proto::PaymentStatus::Succeeded,
        };
        Ok(Response::new(proto::Payment {
            payment_id: format!("pay_{}", charge.idempotency_key),
            invoice_id: charge.invoice_id,
            status: status.into(),
            amount_cents: charge.amount_cents + self.excess_cents.load(Ordering::SeqCst),
            currency: charge.currency,
            updated_at_unix_ms: UPDATED_AT_UNIX_MS,
            idempotency_key: charge.idempotency_key,
        }))
    }
}

/// What the service under test expects of a token.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "billing";

/// A good set for `ACCOUNT`; `changes` replace members of it, a null removes one.
pub fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": ACCOUNT,
        "exp": now() + 3600,
    });
    for (name, value) in changes.as_object().expect("changes are an object") {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims
}

/// Signs claims as the service expects.
pub fn token(changes: Value) -> String {
    sign::<Hmac<Sha256>>("HS256", SECRET, &claims(changes))
}

/// Makes a token of any kind.
pub fn sign<M: Mac + KeyInit>(algorithm: &str, secret: &str, claims: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": algorithm}).to_string();
    let claims = claims.to_string();
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = message.join(".");
    let mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).expect("a key");
    let signature = mac.chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A provider that takes connections and says nothing, and its address. One that holds a call would
/// answer `CANCELLED` when the call's time is up, and be heard before our own timer if that is late.
pub async fn silent_provider() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let target = listener.local_addr().expect("an address").to_string();
    (listener, target)
}

/// The environment of a service that may be reached by nobody and reaches nothing.
pub fn environment() -> Vec<(String, String)> {
    [
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
        ("PAYMENT_TARGETS", "127.0.0.1:1"),
        ("AUTH_JWT_SECRET", SECRET),
        ("AUTH_JWT_ISSUER", ISSUER),
        ("AUTH_JWT_AUDIENCE", AUDIENCE),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("DATABASE_MAX_CONNECTIONS", "2"),
        // Nothing in a test depends on how fast this machine is.
        ("PAYMENT_TIMEOUT_MS", "30000"),
        ("SHUTDOWN_GRACE_SECONDS", "60"),
        // Nor on what a sweep finds, but for the tests of it.
        ("SWEEP_INTERVAL_MS", "3600000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The binary with just this environment.
pub fn billing(environment: impl IntoIterator<Item = (String, String)>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_billing"));
    command
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The service as a process, ended with this.
pub struct Service {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub address: SocketAddr,
}

impl Service {
    /// Starts it with `changes` of the environment and waits until it listens.
    pub async fn start(changes: &[(&str, &str)]) -> Self {
        let changes = changes
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        let mut command = billing(environment().into_iter().chain(changes));
        let mut child = command
            .stderr(Stdio::inherit())
            .spawn()
            .expect("start the service");
        let stdout = child.stdout.take().expect("a pipe");
        let mut service = Self {
            child,
            lines: BufReader::new(stdout).lines(),
            address: SocketAddr::from(([0; 4], 0)),
        };
        let listening = service.log("listening").await;
        service.address = listening["address"]
            .as_str()
            .expect("text")
            .parse()
            .expect("ip:port");
        service
    }

    /// The next log line with this message.
    pub async fn log(&mut self, message: &str) -> Value {
        let found = async {
            loop {
                let line = self.lines.next_line().await.expect("readable");
                let line = line.unwrap_or_else(|| panic!("no {message:?} in the log"));
                let line: Value = serde_json::from_str(&line).expect("each line is JSON");
                if line["message"] == message {
                    return line;
                }
            }
        };
        timeout(DEADLINE, found)
            .await
            .unwrap_or_else(|_| panic!("no {message:?} in time"))
    }

    /// The log up to its end, as text.
    pub async fn rest_of_log(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.lines.next_line().await.expect("readable") {
            lines.push(line);
        }
        lines
    }

    /// Asks with a good token.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    /// Asks with a good token and these headers.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {}", token(json!({})));
        let headers = [&[("Authorization", bearer.as_str())], headers].concat();
        self.send(method, path, &headers).await
    }

    /// Asks with a good token, these headers and a JSON body.
    pub async fn write(
        &self,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.write_as(json!({}), method, path, body, headers).await
    }

    /// The same with another token's claims.
    pub async fn write_as(
        &self,
        changes: Value,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let bearer = format!("Bearer {}", token(changes));
        let own = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let length = body.len().to_string();
        let headers = [&own, headers, &[("Content-Length", &length)]].concat();
        let head = head(method, path, &headers);
        exchange(self.address, method, format!("{head}{body}").as_bytes()).await
    }

    /// Creates an invoice of the account and returns its id.
    pub async fn create(&self, status: &str) -> String {
        let body = format!(
            r#"{{"subscription_id":"{SUBSCRIPTION}","status":"{status}","amount_cents":4916,"currency":"EUR"}}"#
        );
        let created = self.write("POST", "/v1/invoices", &body, &[]).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.json()["id"].as_str().expect("an id").to_owned()
    }

    pub async fn pay(&self, invoice: &str, key: &str) -> Answer {
        let path = format!("/v1/invoices/{invoice}/pay");
        let headers = [("Idempotency-Key", key)];
        self.write("POST", &path, "{}", &headers).await
    }

    /// Asks with just these headers.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let head = head(method, path, headers);
        exchange(self.address, method, head.as_bytes()).await
    }

    pub async fn terminate(&self) {
        let id = self.child.id().expect("it runs").to_string();
        let kill = Command::new("sh")
            .args(["-c", "kill -TERM $0", &id])
            .status()
            .await;
        assert!(kill.expect("run kill").success());
    }

    pub async fn exited(&mut self) -> ExitStatus {
        timeout(DEADLINE, self.child.wait())
            .await
            .expect("an end in time")
            .expect("an end")
    }
}

/// A service with a database and a provider of its own.
pub struct Stage {
    pub service: Service,
    pub provider: Provider,
    pub database: Database,
}

impl Stage {
    pub async fn new(changes: &[(&str, &str)]) -> Self {
        Self::with(Database::new().await, changes).await
    }

    pub async fn with(database: Database, changes: &[(&str, &str)]) -> Self {
        let provider = Provider::new().await;
        let url = database.url();
        let own = [
            ("DATABASE_URL", url.as_str()),
            ("PAYMENT_TARGETS", &provider.target),
        ];
        Self {
            service: Service::start(&[&own, changes].concat()).await,
            provider,
            database,
        }
    }
}

/// A response that has been read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The value of a header that is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(found, _)| found == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// Whether it has the status, and is a problem of this name.
    #[track_caller]
    pub fn expect(&self, status: u16, problem: &str) {
        assert_eq!(
            (self.status, self.problem().as_str()),
            (status, problem),
            "{self:?}"
        );
    }

    /// The last part of the type of the problem in the body.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let body = self.json();
        assert_eq!(body["status"], self.status);
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        let problem = body["type"]
            .as_str()
            .and_then(|r#type| r#type.strip_prefix("https://bakeoff.invalid/problems/"));
        problem.expect("a type of ours").to_owned()
    }
}

/// The head of a request.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

/// Sends a request on a connection of its own.
pub async fn exchange(address: SocketAddr, method: &str, request: &[u8]) -> Answer {
    let exchange = async {
        let mut connection = BufReader::new(TcpStream::connect(address).await?);
        // An answer may come before all of it is sent, and the connection be closed then.
        drop(connection.write_all(request).await);
        read_answer(&mut connection, method != "HEAD").await
    };
    timeout(DEADLINE, exchange)
        .await
        .expect("an answer in time")
        .expect("an answer")
}

async fn read_answer(
    connection: &mut BufReader<TcpStream>,
    has_body: bool,
) -> std::io::Result<Answer> {
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != "\r\n") {
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        assert!(
            line.ends_with("\r\n"),
            "an answer that breaks off: {lines:?} {line:?}"
        );
        lines.push(line);
    }
    let status = lines[0].split(' ').nth(1).expect("a status");
    let headers = lines[1..lines.len() - 1].iter().map(|line| {
        let (name, value) = line.trim_end().split_once(": ").expect("a header");
        (name.to_ascii_lowercase(), value.to_owned())
    });
    let mut answer = Answer {
        status: status.parse().expect("a number"),
        headers: headers.collect(),
        body: String::new(),
    };
    if has_body && ![204, 304].contains(&answer.status) {
        let length = answer.header("content-length").expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        connection.read_exact(&mut body).await?;
        answer.body = String::from_utf8(body).expect("text");
    }
    Ok(answer)
}

/// Asks again and again until it holds.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// Whether statements are counted in this database, after a try.
pub async fn is_loaded(connection: &mut PgConnection) -> bool {
    let made = sqlx::query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
    let made = made.execute(connection).await;
    if let Err(error) = &made {
        eprintln!("not checked: {error}");
    }
    made.is_ok()
}

/// The statements of requests in this database, and how often each was called.
pub async fn statements(connection: &mut PgConnection) -> Vec<(String, i64)> {
    sqlx::query_as(
        "SELECT query, calls FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid \
         WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%' \
         AND query NOT LIKE 'UPDATE payment_attempts SET lease_until = now() + $1%' ORDER BY query",
    )
    .fetch_all(connection)
    .await
    .expect("read the counts")
}
