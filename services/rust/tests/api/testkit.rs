//! Sets the stage: a database of one's own, a provider, tokens, and the service itself.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use billing::payments::proto;
use billing::payments::proto::payments_server::{Payments, PaymentsServer};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Notify;
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
    holding: AtomicBool,
    held: Notify,
    released: Notify,
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

    pub fn fail_with(&self, code: Code) {
        *self.desk.failure.lock().unwrap() = Some(code);
    }

    /// Keeps calls unanswered until `release`.
    pub fn hold(&self) {
        self.desk.holding.store(true, Ordering::SeqCst);
    }

    pub fn release(&self) {
        self.desk.released.notify_one();
    }

    /// Waits for a call that is kept.
    pub async fn held(&self) {
        timeout(DEADLINE, self.desk.held.notified())
            .await
            .expect("a call");
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

#[tonic::async_trait]
impl Payments for Desk {
    /// Answers the same for the same invoice.
    async fn get_payment(
        &self,
        request: Request<proto::GetPaymentRequest>,
    ) -> Result<Response<proto::Payment>, Status> {
        self.received
            .lock()
            .unwrap()
            .push(request.metadata().clone());
        if self.holding.load(Ordering::SeqCst) {
            self.held.notify_one();
            self.released.notified().await;
        }
        if let Some(code) = *self.failure.lock().unwrap() {
            return Err(Status::new(code, "as the test wants it"));
        }
        let invoice_id = request.into_inner().invoice_id;
        Ok(Response::new(proto::Payment {
            payment_id: format!("pay_{}", &invoice_id[..8]),
            invoice_id,
            status: proto::PaymentStatus::Succeeded.into(),
            amount_cents: 4916,
            currency: "USD".to_owned(),
            updated_at_unix_ms: 1_767_323_045_678,
            idempotency_key: String::new(),
        }))
    }

    async fn create_payment(
        &self,
        _request: Request<proto::CreatePaymentRequest>,
    ) -> Result<Response<proto::Payment>, Status> {
        Err(Status::unimplemented("no test charges"))
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
    sign(Algorithm::HS256, SECRET, &claims(changes))
}

/// Makes a token of any kind.
pub fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(algorithm), claims, &key).expect("sign a token")
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
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
        let bearer = format!("Bearer {}", token(json!({})));
        self.send("GET", path, &[("Authorization", &bearer)]).await
    }

    /// Asks with just these headers.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        send(self.address, method, path, headers).await
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

/// Asks once on a connection of its own.
pub async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let exchange = async {
        let mut connection = BufReader::new(TcpStream::connect(address).await?);
        connection.write_all(request.as_bytes()).await?;
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
    if has_body {
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
