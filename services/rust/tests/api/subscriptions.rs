use std::collections::HashSet;

use serde_json::{Value, json};
use sqlx::raw_sql;

use crate::testkit::{INVOICE, OTHER_ACCOUNT, SUBSCRIPTION, Stage, UNKNOWN_INVOICE, token};

const PATH: &str = "/v1/subscriptions/b0000000-0000-4000-8000-000000000001";

async fn execute(stage: &Stage, statements: &'static str) {
    let mut connection = stage.database.connect().await;
    let done = raw_sql(statements).execute(&mut connection).await;
    done.expect("execute");
}

#[tokio::test]
async fn subscription_is_created_read_changed_and_deleted() {
    let stage = Stage::new(&[]).await;
    let service = &stage.service;
    let body = r#"{"plan":"team","price_cents":4900,"currency":"EUR"}"#;
    let created = service.write("POST", "/v1/subscriptions", body, &[]).await;
    assert_eq!(
        (created.status, created.header("etag")),
        (201, Some(r#""v1""#))
    );
    let path = created.header("location").expect("a location");
    let id = path
        .strip_prefix("/v1/subscriptions/")
        .expect("a path of ours");
    let expected = format!(
        r#"{{"id":"{id}","plan":"team","status":"active","price_cents":4900,"currency":"EUR","created_at":"#
    );
    assert!(created.body.starts_with(&expected), "{created:?}");
    let read = service.get(path).await;
    assert_eq!((read.status, &read.body), (200, &created.body));
    assert_eq!(read.header("etag"), Some(r#""v1""#));

    let v1 = [("If-Match", r#""v1""#)];
    let changed = service
        .write("PATCH", path, r#"{"status":"canceled"}"#, &v1)
        .await;
    assert_eq!(
        (changed.status, changed.header("etag")),
        (200, Some(r#""v2""#))
    );
    let any = [("If-Match", "*")];
    let revived = service
        .write("PATCH", path, r#"{"status":"active"}"#, &any)
        .await;
    revived.expect(409, "transition_not_allowed");
    service
        .ask("DELETE", path, &v1)
        .await
        .expect(412, "precondition_failed");
    assert_eq!(service.ask("DELETE", path, &[]).await.status, 204);
    service.get(path).await.expect(404, "not_found");
    service
        .ask("DELETE", PATH, &[])
        .await
        .expect(409, "has_invoices");
}

#[tokio::test]
async fn subscription_of_no_account_is_403() {
    let stage = Stage::new(&[]).await;
    let nobody = json!({"sub": UNKNOWN_INVOICE});
    let body = r#"{"plan":"team","price_cents":0,"currency":"EUR"}"#;
    let path = "/v1/subscriptions";
    let answer = stage
        .service
        .write_as(nobody, "POST", path, body, &[])
        .await;
    answer.expect(403, "forbidden");
}

#[tokio::test]
async fn versions_are_heeded() {
    let stage = Stage::new(&[]).await;
    let service = &stage.service;
    let patch = async |headers: &[(&str, &str)]| {
        service
            .write("PATCH", PATH, r#"{"plan":"team"}"#, headers)
            .await
    };
    patch(&[]).await.expect(428, "precondition_required");
    for stale in ["", r#""v2""#, r#"W/"v1""#, "v1", r#""v1";"#] {
        patch(&[("If-Match", stale)])
            .await
            .expect(412, "precondition_failed");
    }
    let changed = patch(&[("If-Match", r#""v7""#), ("If-Match", "\"v8\",\t\"v1\"")]).await;
    assert_eq!(
        (changed.status, changed.header("etag")),
        (200, Some(r#""v2""#))
    );
    for known in ["*", r#""v2""#, r#"W/"v2""#, r#""v1", "v2""#] {
        let answer = service.ask("GET", PATH, &[("If-None-Match", known)]).await;
        assert_eq!(
            (answer.status, answer.header("etag")),
            (304, Some(r#""v2""#)),
            "{known}"
        );
        assert_eq!(answer.header("content-type"), None);
        let head = service.ask("HEAD", PATH, &[("If-None-Match", known)]).await;
        assert_eq!(head.status, 304);
        for answer in [answer, head] {
            assert_eq!(answer.header("content-length"), None);
        }
    }
    for other in ["", r#""v1""#, "v2"] {
        let answer = service.ask("GET", PATH, &[("If-None-Match", other)]).await;
        assert_eq!(answer.status, 200, "{other}");
    }
}

#[tokio::test]
async fn pages_walk_the_whole_list() {
    let stage = Stage::new(&[]).await;
    let service = &stage.service;
    // Ties of created_at too.
    execute(
        &stage,
        "INSERT INTO invoices (id, subscription_id, account_id, status, amount_cents, currency, created_at)
         SELECT gen_random_uuid(), 'b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001',
             'draft', n, 'USD', '2026-03-01'::timestamptz + (n / 4) * interval '1 second'
         FROM generate_series(1, 24) AS n",
    )
    .await;
    let mut ids = Vec::new();
    let mut cursor = String::new();
    let mut query = Some("?limit=7".to_owned());
    while let Some(asked) = query {
        let answer = service.get(&format!("/v1/invoices{asked}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        let items = page["items"].as_array().expect("items");
        ids.extend(items.iter().map(|item| item["id"].to_string()));
        query = page["next"].as_str().map(|next| {
            next.clone_into(&mut cursor);
            format!("?after={next}&limit=7")
        });
    }
    assert_eq!(
        (ids.len(), ids.iter().collect::<HashSet<_>>().len()),
        (25, 25)
    );
    assert_eq!(ids[0], format!("{INVOICE:?}"));

    let other_letter = if cursor.ends_with('A') { 'B' } else { 'A' };
    let forged = format!("after={}{other_letter}", &cursor[..43]);
    let short = format!("after={}", &cursor[..43]);
    let padded = format!("after={cursor}=");
    for bad in [
        &forged,
        &short,
        &padded,
        "after=",
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=01",
        "limit=abc",
        "limit=1&limit=2",
        "limit=%31",
        "&",
        "limit=1&",
        "x=1",
        "limit",
    ] {
        let answer = service.get(&format!("/v1/invoices?{bad}")).await;
        answer.expect(400, "malformed");
    }
    let elsewhere = service
        .get(&format!("/v1/subscriptions?after={cursor}"))
        .await;
    elsewhere.expect(400, "malformed");
    assert_eq!(service.get("/v1/invoices?").await.status, 200);
    let bearer = format!("Bearer {}", token(json!({"sub": OTHER_ACCOUNT})));
    let path = format!("/v1/invoices?after={cursor}");
    let others = service
        .send("GET", &path, &[("Authorization", &bearer)])
        .await;
    others.expect(400, "malformed");
    let empty = service.get("/v1/subscriptions?limit=1").await.json();
    assert_eq!(empty["next"], Value::Null);
}

#[tokio::test]
async fn statement_is_exact() {
    let stage = Stage::new(&[]).await;
    execute(
        &stage,
        "INSERT INTO subscriptions (id, account_id, plan, status, price_cents, currency) VALUES
             ('b0000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000001', 'team', 'active', 4900, 'USD');
         INSERT INTO invoices (id, subscription_id, account_id, status, amount_cents, currency, created_at) VALUES
             (gen_random_uuid(), 'b0000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000001', 'open', 9000, 'USD', '2026-01-31T23:59:59Z'),
             (gen_random_uuid(), 'b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'draft', 1, 'USD', '2026-01-31Z'),
             (gen_random_uuid(), 'b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'open', 1, 'EUR', '2026-01-31Z'),
             (gen_random_uuid(), 'b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'open', 100, 'USD', '2026-03-01Z')",
    )
    .await;
    let answer = stage.service.get(&format!("{PATH}/statement")).await;
    let expected = format!(
        r#"{{"subscription_id":"{SUBSCRIPTION}","currency":"USD","months":[{{"month":"2026-01","invoices":1,"billed_cents":4916,"paid_cents":4916,"balance_cents":0,"rank":2,"account_invoices":2,"account_billed_cents":13916}},{{"month":"2026-03","invoices":1,"billed_cents":100,"paid_cents":0,"balance_cents":100,"rank":1,"account_invoices":1,"account_billed_cents":100}}]}}"#
    );
    assert_eq!((answer.status, answer.body), (200, expected));
    let path = format!("/v1/subscriptions/{UNKNOWN_INVOICE}/statement");
    stage.service.get(&path).await.expect(404, "not_found");
}
