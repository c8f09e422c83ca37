use billing::payments::proto;
use hmac::Hmac;
use serde_json::{Value, json};
use sha2::{Sha256, Sha512};
use tokio::net::TcpListener;
use tonic::Code;
use uuid::Uuid;

use crate::testkit::{
    INVOICE, OTHER_INVOICE, PATH, Service, Stage, UNKNOWN_INVOICE, claims, is_loaded, now, sign,
    silent_provider, statements, token,
};

const GOOD_TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn payment_of_own_invoice() {
    let stage = Stage::new(&[]).await;
    let answer = stage.service.get(PATH).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["invoice_id"], INVOICE);
    assert_eq!(stage.provider.received().len(), 1);
    let call = &stage.provider.received()[0];
    // The request itself may take 5 s, less than a call.
    let limit = call.get("grpc-timeout").unwrap().to_str().unwrap();
    let limit_us: u64 = limit.strip_suffix('u').unwrap().parse().unwrap();
    assert!((1..=5_000_000).contains(&limit_us), "{limit}");
    assert!(call.get("traceparent").is_none());

    // HEAD is GET without the body.
    let bearer = format!("Bearer {}", token(json!({})));
    let head = stage
        .service
        .send("HEAD", PATH, &[("Authorization", &bearer)])
        .await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(
        head.header("content-length"),
        answer.header("content-length")
    );
}

#[tokio::test]
async fn payment_body_is_exact() {
    let stage = Stage::new(&[]).await;
    let answer = stage.service.get(PATH).await;
    assert_eq!(
        answer.body,
        r#"{"invoice_id":"c0000000-0000-4000-8000-000000000001","status":"paid","amount_cents":4916,"currency":"USD","created_at":"2026-01-02T03:04:05.000006Z","subscription":{"id":"b0000000-0000-4000-8000-000000000001","plan":"team","status":"active"},"payment":{"id":"pay_c0000000","status":"succeeded","amount_cents":4916,"currency":"USD","updated_at":"2026-01-02T03:04:05.678Z"}}"#
    );
    let mut names: Vec<&str> = answer
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["content-length", "content-type", "date", "x-request-id"]
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        answer.header("content-length"),
        Some(answer.body.len().to_string().as_str())
    );
}

#[tokio::test]
async fn payment_of_unknown_invoice_is_404() {
    let stage = Stage::new(&[]).await;
    let path = format!("/v1/invoices/{UNKNOWN_INVOICE}/payment");
    let answer = stage.service.get(&path).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (404, "not_found")
    );
    assert_eq!(answer.json()["detail"], "There is no such invoice.");
    assert!(stage.provider.received().is_empty());
}

#[tokio::test]
async fn payment_of_other_accounts_invoice_is_404() {
    let stage = Stage::new(&[]).await;
    let path = format!("/v1/invoices/{OTHER_INVOICE}/payment");
    let answer = stage.service.get(&path).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (404, "not_found")
    );
    assert_eq!(answer.json()["detail"], "There is no such invoice.");
    assert!(stage.provider.received().is_empty());
}

#[tokio::test]
async fn bad_ids_are_400() {
    let service = Service::start(&[]).await;
    for id in [
        "0",
        "-1",
        "9223372036854775808",
        "C0000000-0000-4000-8000-000000000001",
        "c0000000000040008000000000000001",
        "{c0000000-0000-4000-8000-000000000001}",
        "%630000000-0000-4000-8000-000000000001",
        "c0000000-0000-4000-8000-000000000001%20",
        "c0000000-0000-4000-8000-00000000000",
        "%ff",
        "%2f",
        "1%20OR%201=1",
    ] {
        let path = format!("/v1/invoices/{id}/payment");
        let answer = service.get(&format!("{path}?limit=1")).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "malformed"),
            "{id}"
        );
        assert_eq!(answer.json()["instance"], path);
    }
}

#[tokio::test]
async fn bad_tokens_are_401() {
    let service = Service::start(&[]).await;
    let good = token(json!({}));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let payload = head.split_once('.').unwrap().1;
    // {"alg":"none","typ":"JWT"}
    let alg_none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
    let signed = |changes: Value| token(changes);
    let tokens = [
        ("garbage", "garbage".to_owned()),
        (
            "wrong secret",
            sign::<Hmac<Sha256>>("HS256", &"x".repeat(32), &claims(json!({}))),
        ),
        ("alg none", alg_none),
        (
            "HS512",
            sign::<Hmac<Sha512>>(
                "HS512",
                "0123456789abcdef0123456789abcdef",
                &claims(json!({})),
            ),
        ),
        ("no signature", format!("{head}.")),
        ("padding", format!("{head}.{signature}=")),
        ("four parts", format!("{good}.x")),
        ("expired", signed(json!({"exp": now() - 3600}))),
        ("expires now", signed(json!({"exp": now()}))),
        ("no exp", signed(json!({"exp": null}))),
        ("exp as string", signed(json!({"exp": "9999999999"}))),
        ("wrong iss", signed(json!({"iss": "https://other.test"}))),
        ("iss array", signed(json!({"iss": ["https://issuer.test"]}))),
        ("no iss", signed(json!({"iss": null}))),
        ("wrong aud", signed(json!({"aud": "other"}))),
        ("aud array", signed(json!({"aud": ["billing"]}))),
        ("no aud", signed(json!({"aud": null}))),
        ("missing sub", signed(json!({"sub": null}))),
        ("sub not uuid", signed(json!({"sub": "one"}))),
        ("nbf in future", signed(json!({"nbf": now() + 3600}))),
        ("nbf as string", signed(json!({"nbf": "0"}))),
    ];
    let mut cases: Vec<(&str, Vec<String>)> = tokens
        .into_iter()
        .map(|(name, token)| (name, vec![format!("Bearer {token}")]))
        .collect();
    cases.push(("none", vec![]));
    cases.push(("other scheme", vec![format!("Basic {good}")]));
    cases.push(("two headers", vec![format!("Bearer {good}"); 2]));
    for (name, values) in cases {
        let headers: Vec<(&str, &str)> = values
            .iter()
            .map(|value| ("Authorization", value.as_str()))
            .collect();
        let answer = service.send("GET", PATH, &headers).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (401, "unauthenticated"),
            "{name}"
        );
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{name}");
    }

    // The scheme is compared without case: on to the id, which is bad.
    let bearer = format!("bEARER {good}");
    let answer = service
        .send(
            "GET",
            "/v1/invoices/0/payment",
            &[("Authorization", &bearer)],
        )
        .await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn request_id_is_echoed_and_sent_on() {
    let mut stage = Stage::new(&[]).await;
    let bearer = format!("Bearer {}", token(json!({})));
    for id in ["r", r#"!"${jndi:x}\~"#, &"x".repeat(64)] {
        let headers = [("Authorization", bearer.as_str()), ("X-Request-Id", id)];
        let answer = stage.service.send("GET", PATH, &headers).await;
        assert_eq!(
            (answer.status, answer.header("x-request-id")),
            (200, Some(id))
        );
        let call = stage.provider.received().pop().unwrap();
        assert_eq!(call.get("x-request-id").unwrap(), id);
        assert_eq!(stage.service.log("request").await["request_id"], id);
    }
}

#[tokio::test]
async fn bad_request_id_is_replaced() {
    let service = Service::start(&[]).await;
    let long = "x".repeat(65);
    let cases: [&[&str]; 6] = [&[], &[""], &["a b"], &["é"], &[&long], &["a", "b"]];
    for values in cases {
        let headers: Vec<_> = values
            .iter()
            .map(|value| ("X-Request-Id", *value))
            .collect();
        let answer = service.send("GET", "/livez", &headers).await;
        let id = answer.header("x-request-id").expect("one request id");
        let id = Uuid::try_parse(id).unwrap_or_else(|_| panic!("{values:?} became {id:?}"));
        assert_eq!(id.get_version_num(), 4);
    }
}

#[tokio::test]
async fn traceparent_is_passed_on() {
    let stage = Stage::new(&[]).await;
    let bearer = format!("Bearer {}", token(json!({})));
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Traceparent", GOOD_TRACEPARENT),
    ];
    assert_eq!(stage.service.send("GET", PATH, &headers).await.status, 200);
    let call = stage.provider.received().pop().unwrap();
    assert_eq!(call.get("traceparent").unwrap(), GOOD_TRACEPARENT);
}

#[tokio::test]
async fn invalid_traceparent_is_dropped() {
    let stage = Stage::new(&[]).await;
    let bearer = format!("Bearer {}", token(json!({})));
    let cases: [&[&str]; 7] = [
        &[""],
        &["01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        &["00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"],
        &["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
        &["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
        &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"],
        &[GOOD_TRACEPARENT, GOOD_TRACEPARENT],
    ];
    for values in cases {
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(values.iter().map(|value| ("Traceparent", *value)));
        assert_eq!(stage.service.send("GET", PATH, &headers).await.status, 200);
        let call = stage.provider.received().pop().unwrap();
        assert!(call.get("traceparent").is_none(), "{values:?}");
    }
}

#[tokio::test]
async fn unknown_route_is_404_problem() {
    let service = Service::start(&[]).await;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "//livez",
        "/livez/",
        "/v1/invoices/",
        "/v1/invoices/0/x%2f",
        "/v1/invoices//payment",
    ] {
        let answer = service.send("GET", path, &[("X-Request-Id", "r-1")]).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(
            answer.body,
            format!(
                r#"{{"type":"https://bakeoff.invalid/problems/not_found","title":"Not found","status":404,"detail":"There is no such resource.","instance":"{path}","request_id":"r-1"}}"#
            )
        );
        assert_eq!(answer.problem(), "not_found");
        let answer = service.send("POST", path, &[]).await;
        answer.expect(404, "not_found");
        assert_eq!(answer.header("allow"), None, "{path}");
    }
}

const ALLOWED: [(&str, &str); 9] = [
    ("/v1/subscriptions", "GET,HEAD,POST,OPTIONS"),
    ("/v1/invoices", "GET,HEAD,POST,OPTIONS"),
    ("/v1/subscriptions/0", "GET,HEAD,PATCH,DELETE,OPTIONS"),
    ("/v1/invoices/0", "GET,HEAD,PATCH,DELETE,OPTIONS"),
    ("/v1/subscriptions/0/statement", "GET,HEAD,OPTIONS"),
    ("/v1/invoices/0/payment", "GET,HEAD,OPTIONS"),
    ("/v1/invoices/0/pay", "POST,OPTIONS"),
    ("/livez", "GET,HEAD,OPTIONS"),
    ("/readyz", "GET,HEAD,OPTIONS"),
];

#[tokio::test]
async fn wrong_method_is_405_with_allow() {
    let service = Service::start(&[]).await;
    // Without a token: the method is looked at first.
    for (path, allow) in ALLOWED {
        for method in [
            "GET", "POST", "PATCH", "PUT", "DELETE", "TRACE", "get", "INVENTED",
        ] {
            if !allow.split(',').any(|allowed| allowed == method) {
                let answer = service.send(method, path, &[]).await;
                answer.expect(405, "method_not_allowed");
                assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn options_says_what_is_allowed() {
    let service = Service::start(&[]).await;
    for (path, allow) in ALLOWED {
        let path = format!("{path}?query");
        let answer = service.send("OPTIONS", &path, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (204, Some(allow)));
        for absent in ["content-type", "content-length"] {
            assert_eq!(answer.header(absent), None, "{path}");
        }
    }
}

#[tokio::test]
async fn provider_errors_are_mapped() {
    let stage = Stage::new(&[]).await;
    for (code, status, problem, retry_after) in [
        (Code::Unavailable, 503, "payment_unavailable", Some("1")),
        (Code::DeadlineExceeded, 504, "payment_timeout", Some("1")),
        (Code::Internal, 502, "payment_failed", None),
        (Code::NotFound, 502, "payment_failed", None),
    ] {
        stage.provider.fail_with(code);
        let answer = stage.service.get(PATH).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, problem),
            "{code:?}"
        );
        assert_eq!(answer.header("retry-after"), retry_after, "{code:?}");
    }
}

#[tokio::test]
async fn unusable_answers_of_the_provider_are_502() {
    let stage = Stage::new(&[]).await;
    let changes: [fn(&mut proto::Payment); 5] = [
        |payment| payment.invoice_id = OTHER_INVOICE.to_owned(),
        |payment| payment.invoice_id.clear(),
        |payment| payment.updated_at_unix_ms = 253_402_300_800_000,
        |payment| payment.updated_at_unix_ms = -62_135_596_800_001,
        |payment| payment.updated_at_unix_ms = i64::MAX,
    ];
    for change in changes {
        stage.provider.alter(change);
        stage.service.get(PATH).await.expect(502, "payment_failed");
    }
    stage
        .provider
        .alter(|payment| payment.updated_at_unix_ms = 253_402_300_799_999);
    let answer = stage.service.get(PATH).await;
    assert!(
        answer.body.contains(r#""9999-12-31T23:59:59.999Z""#),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn unreachable_provider_is_503() {
    let hangs_up = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let target = hangs_up.local_addr().expect("an address").to_string();
    let hanging_up = tokio::spawn(async move {
        loop {
            drop(hangs_up.accept().await);
        }
    });
    for target in ["127.0.0.1:1", &target] {
        let stage = Stage::new(&[("PAYMENT_TARGETS", target)]).await;
        let answer = stage.service.get(PATH).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "payment_unavailable")
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
        let ready = stage.service.send("GET", "/readyz", &[]).await;
        assert_eq!(
            (ready.status, &ready.json()["payments"]),
            (200, &json!("unavailable"))
        );
    }
    hanging_up.abort();
}

#[tokio::test]
async fn slow_provider_is_504() {
    let (_silent, target) = silent_provider().await;
    let changes = [("PAYMENT_TIMEOUT_MS", "50"), ("PAYMENT_TARGETS", &target)];
    let stage = Stage::new(&changes).await;
    let answer = stage.service.get(PATH).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (504, "payment_timeout")
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn database_gone_is_503() {
    let stage = Stage::new(&[]).await;
    assert_eq!(stage.service.get(PATH).await.status, 200);
    stage.database.remove().await;
    for _ in 0..4 {
        let answer = stage.service.get(PATH).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (503, "database_unavailable")
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(stage.provider.received().len(), 1);
}

#[tokio::test]
async fn access_log_line_has_the_schema() {
    let mut stage = Stage::new(&[]).await;
    assert_eq!(stage.service.send("GET", "/livez", &[]).await.status, 200);
    let answer = stage.service.get(PATH).await;
    let mut line = stage.service.log("request").await;
    let timestamp = line["timestamp"].take();
    let timestamp = timestamp.as_str().expect("text");
    let shape: String = timestamp
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{timestamp}");
    assert!(
        line["latency_us"]
            .take()
            .as_u64()
            .is_some_and(|latency_us| latency_us > 0)
    );
    assert_eq!(
        line,
        json!({
            "timestamp": null,
            "level": "INFO",
            "message": "request",
            "request_id": answer.header("x-request-id"),
            "method": "GET",
            "route": "/v1/invoices/{id}/payment",
            "status": 200,
            "latency_us": null,
            "bytes": answer.body.len(),
        })
    );

    // A failure says why; nothing matched, no route.
    let answer = stage.service.send("GET", PATH, &[]).await;
    let line = stage.service.log("request").await;
    assert_eq!(
        (&line["status"], &line["bytes"]),
        (&json!(401), &json!(answer.body.len()))
    );
    assert!(line["error"].is_string());
    stage.service.send("GET", "/nowhere", &[]).await;
    assert_eq!(stage.service.log("request").await["route"], "");
}

#[tokio::test]
async fn invoice_lives_by_its_transitions() {
    let stage = Stage::new(&[]).await;
    let service = &stage.service;
    let patch = async |id: &str, body| {
        let path = format!("/v1/invoices/{id}");
        service
            .write("PATCH", &path, body, &[("If-Match", "*")])
            .await
    };
    let draft = service.create("draft").await;
    let changed = patch(&draft, r#"{"amount_cents":1,"currency":"JPY"}"#).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let changed = patch(&draft, r#"{"status":"open","amount_cents":2}"#).await;
    assert_eq!(
        (changed.status, changed.header("etag")),
        (200, Some(r#""v3""#))
    );
    let expected = r#""open","amount_cents":2,"currency":"JPY","payment_id":null"#;
    assert!(changed.body.contains(expected), "{changed:?}");
    for (id, body, problem) in [
        (draft.as_str(), r#"{"amount_cents":2}"#, "not_draft"),
        (&draft, r#"{"status":"draft"}"#, "transition_not_allowed"),
        (INVOICE, r#"{"status":"void"}"#, "transition_not_allowed"),
    ] {
        patch(id, body).await.expect(409, problem);
    }
    let path = format!("/v1/invoices/{draft}");
    service
        .ask("DELETE", &path, &[])
        .await
        .expect(409, "not_draft");
    assert_eq!(patch(&draft, r#"{"status":"void"}"#).await.status, 200);
    let reopened = patch(&draft, r#"{"status":"open"}"#).await;
    reopened.expect(409, "transition_not_allowed");
    assert_eq!(patch(&draft, r#"{"status":"void"}"#).await.status, 200);
    let others = patch(OTHER_INVOICE, r#"{"status":"void"}"#).await;
    others.expect(404, "not_found");

    let path = format!("/v1/invoices/{}", service.create("draft").await);
    let headers = [("If-Match", r#""v1""#)];
    assert_eq!(service.ask("DELETE", &path, &headers).await.status, 204);
    service.get(&path).await.expect(404, "not_found");
}

#[tokio::test]
async fn statements_are_exactly_two() {
    const REQUESTS: i64 = 5;
    // One connection: it has been made when the first answer is there.
    let stage = Stage::new(&[("DATABASE_MAX_CONNECTIONS", "1")]).await;
    let mut connection = stage.database.connect().await;
    if !is_loaded(&mut connection).await {
        return;
    }
    assert_eq!(stage.service.get(PATH).await.status, 200);
    sqlx::query(
        "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()",
    )
    .execute(&mut connection)
    .await
    .expect("reset the counts");
    for _ in 0..REQUESTS {
        assert_eq!(stage.service.get(PATH).await.status, 200);
    }
    let counted = statements(&mut connection).await;
    let expected = [
        "SELECT id, plan, status FROM subscriptions WHERE id = $1 AND account_id = $2",
        "SELECT id, subscription_id, status, amount_cents, currency, created_at FROM invoices WHERE id = $1 AND account_id = $2",
    ];
    assert_eq!(counted, expected.map(|query| (query.to_owned(), REQUESTS)));
}
