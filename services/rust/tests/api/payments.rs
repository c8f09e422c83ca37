use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use sqlx::raw_sql;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::Code;

use crate::testkit::{
    INVOICE, OTHER_INVOICE, Provider, Stage, eventually, head, is_loaded, silent_provider,
    statements, token,
};

#[tokio::test]
async fn pay_answers_and_replays() {
    let stage = Stage::new(&[]).await;
    let service = &stage.service;
    let invoice = service.create("open").await;
    let first = service.pay(&invoice, "k").await;
    let asked = stage.provider.asked();
    assert_eq!(asked.len(), 1);
    let attempt = &asked[0].idempotency_key;
    assert!(attempt.starts_with("att-"), "{asked:?}");
    assert_eq!(asked[0].invoice_id, invoice);
    let expected = format!(
        r#"{{"invoice_id":"{invoice}","status":"paid","payment":{{"id":"pay_{attempt}","status":"succeeded","amount_cents":4916,"currency":"EUR","updated_at":"2026-01-02T03:04:05.678Z"}}}}"#
    );
    assert_eq!((first.status, &first.body), (200, &expected));
    assert_eq!(first.header("idempotency-replayed"), None);

    let again = service.pay(&invoice, "k").await;
    assert_eq!((again.status, &again.body), (200, &expected));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.header("content-type"), Some("application/json"));
    let other = service.pay(&invoice, "another").await;
    other.expect(409, "already_paid");
    let end = format!(r#","payment_id":"pay_{attempt}"}}"#);
    assert!(other.body.ends_with(&end), "{other:?}");
    let path = format!("/v1/invoices/{invoice}/pay");
    let key = [("Idempotency-Key", "k")];
    let reused = service.write("POST", &path, "{ }", &key).await;
    reused.expect(422, "idempotency_key_reused");
    let seeded = service.pay(INVOICE, "seeded").await;
    assert!(
        seeded.body.ends_with(r#","payment_id":null}"#),
        "{seeded:?}"
    );
    let read = service.get(&format!("/v1/invoices/{invoice}")).await;
    assert_eq!(read.header("etag"), Some(r#""v2""#));
    assert_eq!(read.json()["payment_id"], format!("pay_{attempt}"));
}

#[tokio::test]
async fn bad_keys_are_400() {
    let stage = Stage::new(&[]).await;
    let service = &stage.service;
    let path = format!("/v1/invoices/{INVOICE}/pay");
    let (most, too_long) = ("k".repeat(255), "k".repeat(256));
    let bad: [&[&str]; 6] = [&[], &[""], &[&too_long], &["a b"], &["é"], &["a", "a"]];
    for keys in bad {
        let headers: Vec<_> = keys.iter().map(|key| ("Idempotency-Key", *key)).collect();
        let answer = service.write("POST", &path, "{}", &headers).await;
        answer.expect(400, "malformed");
    }
    service
        .pay(INVOICE, &most)
        .await
        .expect(409, "already_paid");
    let key = [("Idempotency-Key", "k")];
    let answer = service.write("POST", &path, r#"{"a":1}"#, &key).await;
    answer.expect(400, "malformed");
    let draft = service.create("draft").await;
    service.pay(&draft, "k").await.expect(409, "not_payable");
    service
        .pay(OTHER_INVOICE, "k")
        .await
        .expect(404, "not_found");
}

#[tokio::test]
async fn declined_payment_is_kept() {
    let stage = Stage::new(&[]).await;
    let service = &stage.service;
    stage.provider.decline();
    let invoice = service.create("open").await;
    let first = service.pay(&invoice, "k").await;
    first.expect(402, "payment_declined");
    let again = service.pay(&invoice, "k").await;
    assert_eq!((again.status, &again.body), (402, &first.body));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(
        again.header("content-type"),
        Some("application/problem+json")
    );
    service
        .pay(&invoice, "new")
        .await
        .expect(402, "payment_declined");
    let asked = stage.provider.asked();
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0].idempotency_key, asked[1].idempotency_key);
}

#[tokio::test]
async fn unknown_outcome_is_sent_again_with_the_same_key() {
    let spoils: [fn(&Provider); 3] = [
        |provider| provider.fail_with(Code::Unavailable),
        |provider| provider.fail_with(Code::InvalidArgument),
        |provider| provider.overcharge(1),
    ];
    let mut stage = Stage::new(&[]).await;
    for (n, spoil) in spoils.iter().enumerate() {
        let invoice = stage.service.create("open").await;
        let key = format!("k{n}");
        spoil(&stage.provider);
        let first = stage.service.pay(&invoice, &key).await;
        first.expect(503, "payment_outcome_unknown");
        assert_eq!(first.header("retry-after"), Some("1"));
        let line = stage.service.log("payment outcome unknown").await;
        assert_eq!(
            (&line["level"], &line["tries"]),
            (&json!("WARN"), &json!(1))
        );
        assert_eq!(line["request_id"].as_str(), first.header("x-request-id"));
        let path = format!("/v1/invoices/{invoice}");
        let any = [("If-Match", "*")];
        let patched = stage
            .service
            .write("PATCH", &path, r#"{"status":"void"}"#, &any)
            .await;
        patched.expect(409, "payment_in_progress");
        assert_eq!(patched.header("retry-after"), Some("1"));

        stage.provider.fail_with(None);
        stage.provider.overcharge(0);
        assert_eq!(stage.service.pay(&invoice, &key).await.status, 200);
        let asked = &stage.provider.asked()[2 * n..];
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[0].idempotency_key, asked[1].idempotency_key);
    }
}

#[tokio::test]
async fn slow_charge_is_504() {
    let (_silent, target) = silent_provider().await;
    let changes = [("PAYMENT_TIMEOUT_MS", "100"), ("PAYMENT_TARGETS", &target)];
    let stage = Stage::new(&changes).await;
    let invoice = stage.service.create("open").await;
    let answer = stage.service.pay(&invoice, "k").await;
    answer.expect(504, "payment_outcome_unknown");
}

#[tokio::test]
async fn only_one_of_many_pays() {
    let stage = Stage::new(&[]).await;
    let invoice = stage.service.create("open").await;
    stage.provider.hold();
    let mut calls: FuturesUnordered<_> = ["a", "a", "b", "b", "c", "c", "d", "d"]
        .into_iter()
        .map(|key| stage.service.pay(&invoice, key))
        .collect();
    while calls.len() > 1 {
        let refused = calls.next().await.expect("an answer");
        refused.expect(409, "payment_in_progress");
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    stage.provider.release();
    assert_eq!(calls.next().await.expect("an answer").status, 200);
    assert_eq!(stage.provider.asked().len(), 1);
}

/// Hangs up once the provider has the call.
async fn pay_and_hang_up(stage: &Stage, invoice: &str) {
    let bearer = format!("Bearer {}", token(json!({})));
    let path = format!("/v1/invoices/{invoice}/pay");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Idempotency-Key", "k"),
        ("Content-Type", "application/json"),
        ("Content-Length", "2"),
    ];
    let request = head("POST", &path, &headers) + "{}";
    let connection = TcpStream::connect(stage.service.address).await;
    let mut connection = connection.expect("connect");
    let sent = connection.write_all(request.as_bytes()).await;
    sent.expect("send");
    stage.provider.held().await;
}

#[tokio::test]
async fn payment_goes_on_without_its_client() {
    let mut stage = Stage::new(&[]).await;
    let invoice = stage.service.create("open").await;
    stage.service.log("request").await;
    stage.provider.hold();
    pay_and_hang_up(&stage, &invoice).await;
    let line = stage.service.log("request").await;
    assert_eq!((&line["status"], &line["bytes"]), (&json!(499), &json!(0)));
    assert_eq!(line["route"], "/v1/invoices/{id}/pay");
    assert!(line.get("error").is_none(), "{line}");

    stage.provider.release();
    let is_paid = async || stage.service.pay(&invoice, "k").await.status == 200;
    eventually("paid", is_paid).await;
    let answer = stage.service.pay(&invoice, "k").await;
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    assert_eq!(stage.provider.asked().len(), 1);
}

#[tokio::test]
async fn stop_waits_for_a_payment_without_its_client() {
    let mut stage = Stage::new(&[("SHUTDOWN_DRAIN_SECONDS", "0")]).await;
    let invoice = stage.service.create("open").await;
    stage.provider.hold();
    pay_and_hang_up(&stage, &invoice).await;
    stage.service.terminate().await;
    let address = stage.service.address;
    let is_refused = async || TcpStream::connect(address).await.is_err();
    eventually("refused", is_refused).await;
    stage.provider.release();
    assert_eq!(stage.service.exited().await.code(), Some(0));
    let mut connection = stage.database.connect().await;
    let paid: i64 =
        sqlx::query_scalar("SELECT count(*) FROM invoices WHERE id = $1::uuid AND status = 'paid'")
            .bind(&invoice)
            .fetch_one(&mut connection)
            .await
            .expect("read");
    assert_eq!(paid, 1);
}

#[tokio::test]
async fn sweeper_sends_again_and_expires_keys() {
    // A tick in sixty deletes keys, the first of them after thirty.
    let mut stage = Stage::new(&[("SWEEP_INTERVAL_MS", "100")]).await;
    let invoice = stage.service.create("open").await;
    stage.provider.fail_with(Code::Unavailable);
    let unknown = stage.service.pay(&invoice, "k").await;
    unknown.expect(503, "payment_outcome_unknown");
    stage.provider.fail_with(None);
    let old = stage.service.create("open").await;
    assert_eq!(stage.service.pay(&old, "old").await.status, 200);
    let mut connection = stage.database.connect().await;
    raw_sql(
        "UPDATE payment_attempts SET next_try_at = now() WHERE state = 'pending';
         UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'old'",
    )
    .execute(&mut connection)
    .await
    .expect("make it time");
    assert!(stage.service.log("sweep").await["attempts"].is_u64());
    let is_paid = async || {
        let read = stage.service.get(&format!("/v1/invoices/{invoice}")).await;
        read.json()["status"] == "paid"
    };
    eventually("paid by the sweeper", is_paid).await;
    let answer = stage.service.pay(&invoice, "k").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    let asked = stage.provider.asked();
    let of_it: Vec<_> = asked
        .iter()
        .filter(|asked| asked.invoice_id == invoice)
        .collect();
    assert!(of_it.len() >= 2, "{asked:?}");
    assert!(
        of_it
            .iter()
            .all(|asked| asked.idempotency_key == of_it[0].idempotency_key)
    );
    let is_gone = async || stage.service.pay(&old, "old").await.status == 409;
    eventually("the key is gone", is_gone).await;
}

#[tokio::test]
async fn pay_runs_just_its_statements() {
    // One connection: it has been made when the first answer is there.
    let stage = Stage::new(&[("DATABASE_MAX_CONNECTIONS", "1")]).await;
    let mut observer = stage.database.connect().await;
    if !is_loaded(&mut observer).await {
        return;
    }
    let invoice = stage.service.create("open").await;
    let total = async |observer: &mut _| -> i64 {
        let counted = statements(observer).await;
        counted.iter().map(|(_, calls)| calls).sum()
    };
    let before = total(&mut observer).await;
    assert_eq!(stage.service.pay(&invoice, "k").await.status, 200);
    let counted = statements(&mut observer).await;
    assert_eq!(total(&mut observer).await - before, 13, "{counted:?}");
    assert_eq!(stage.service.pay(&invoice, "k").await.status, 200);
    assert_eq!(total(&mut observer).await - before, 14);
}
