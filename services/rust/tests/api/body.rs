use serde_json::json;

use crate::testkit::{
    Answer, OTHER_SUBSCRIPTION, SUBSCRIPTION, Service, Stage, UNKNOWN_INVOICE, exchange, head,
    token,
};

const PATH: &str = "/v1/subscriptions";
const LIMIT_BYTES: usize = 1 << 20;

/// Sends these headers of a POST and what comes after them.
async fn raw(service: &Service, headers: &[(&str, &str)], rest: &[u8]) -> Answer {
    let bearer = format!("Bearer {}", token(json!({})));
    let own = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let head = head("POST", PATH, &[&own, headers].concat());
    exchange(service.address, "POST", &[head.as_bytes(), rest].concat()).await
}

#[tokio::test]
async fn malformed_bodies_are_400() {
    let service = Service::start(&[]).await;
    let nested = r#"{"a":"#.repeat(20_000);
    let lists = "[".repeat(20_000);
    let bodies: [&[u8]; 29] = [
        b"",
        b"null",
        b"[]",
        br#""x""#,
        b"1",
        b"{",
        b"{}{}",
        b"{} x",
        b"{,}",
        br#"{"plan":"team",}"#,
        b"{plan:1}",
        "\u{feff}{}".as_bytes(),
        br#"{"plan":"team","plan":"team"}"#,
        br#"{"plan":"team","pl\u0061n":"team"}"#,
        br#"{"x":1,"x":2}"#,
        br#"{"plan":[]}"#,
        br#"{"plan":{}}"#,
        br#"{"plan":NaN}"#,
        br#"{"a":01}"#,
        b"{\"plan\":\"\xff\"}",
        br#"{"plan":"\ud800"}"#,
        br#"{"plan":"\udc00\ud800"}"#,
        br#"{"plan":"\ud800\u0041"}"#,
        br#"{"plan":"\u0000"}"#,
        br#"{"\u0000":1}"#,
        b"{\"plan\":\"\0\"}",
        br#"{"plan":"a\x41"}"#,
        nested.as_bytes(),
        lists.as_bytes(),
    ];
    for body in bodies {
        let length = body.len().to_string();
        let answer = raw(&service, &[("Content-Length", &length)], body).await;
        answer.expect(400, "malformed");
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
        assert!(
            answer.body.contains("flat JSON object"),
            "{shown}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn wrong_fields_are_named_in_order() {
    let stage = Stage::new(&[]).await;
    let of_mine = format!(
        r#"{{"subscription_id":"{SUBSCRIPTION}","status":"paid","amount_cents":0,"currency":"EUR"}}"#
    );
    let of = |id| format!(r#"{{"subscription_id":"{id}","amount_cents":1,"currency":"EUR"}}"#);
    let (of_nobody, of_other) = (of(UNKNOWN_INVOICE), of(OTHER_SUBSCRIPTION));
    let none_of_yours = r#"[{"field":"subscription_id","detail":"is none of your subscriptions"}]"#;
    for (path, body, status, errors) in [
        (
            PATH,
            "{}",
            400,
            r#"[{"field":"plan","detail":"is required"},{"field":"price_cents","detail":"is required"},{"field":"currency","detail":"is required"}]"#,
        ),
        (
            PATH,
            r#"{"plan":null,"price_cents":1.0,"currency":7,"Plan":1}"#,
            400,
            r#"[{"field":"plan","detail":"has to be a string"},{"field":"price_cents","detail":"has to be an integer"},{"field":"currency","detail":"has to be a string"},{"field":"","detail":"has a field that this operation does not take"}]"#,
        ),
        (
            PATH,
            r#"{"plan":"\ud83d\ude00\\u0000","price_cents":1000000000001,"currency":"usd"}"#,
            422,
            r#"[{"field":"plan","detail":"has to be starter, team or business"},{"field":"price_cents","detail":"has to be from 0 to 1000000000000"},{"field":"currency","detail":"is not a known currency"}]"#,
        ),
        (
            "/v1/invoices",
            r#"{"subscription_id":"X","status":"paid","amount_cents":0,"currency":"EUR"}"#,
            400,
            r#"[{"field":"subscription_id","detail":"has to be a lower-case UUID"}]"#,
        ),
        (
            "/v1/invoices",
            &of_mine,
            422,
            r#"[{"field":"status","detail":"has to be draft or open"},{"field":"amount_cents","detail":"has to be from 1 to 1000000000000"}]"#,
        ),
        ("/v1/invoices", &of_nobody, 422, none_of_yours),
        ("/v1/invoices", &of_other, 422, none_of_yours),
    ] {
        let answer = stage.service.write("POST", path, body, &[]).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(
            answer.body.ends_with(&format!(r#","errors":{errors}}}"#)),
            "{body}: {answer:?}"
        );
    }
    let path = format!("{PATH}/{SUBSCRIPTION}");
    let any = [("If-Match", "*")];
    for number in [
        "-0",
        "1e3",
        "1.5",
        "1e400",
        "9223372036854775808",
        "true",
        r#""1""#,
        "null",
    ] {
        let body = format!(r#"{{"price_cents":{number}}}"#);
        let answer = stage.service.write("PATCH", &path, &body, &any).await;
        let errors = r#"[{"field":"price_cents","detail":"has to be an integer"}]"#;
        assert!(
            answer.status == 400 && answer.body.contains(errors),
            "{number}: {answer:?}"
        );
    }
    let answer = stage.service.write("PATCH", &path, "{ }", &any).await;
    let errors = r#"[{"field":"","detail":"has to name at least one field"}]"#;
    assert!(
        answer.status == 400 && answer.body.contains(errors),
        "{answer:?}"
    );
}

#[tokio::test]
async fn only_json_in_utf8_is_taken() {
    let service = Service::start(&[]).await;
    for good in [
        "application/json",
        "Application/JSON",
        "application/json ; charset=UTF-8",
        r#"application/json;charset="utf-8""#,
    ] {
        // Without a body.
        let answer = service.ask("POST", PATH, &[("Content-Type", good)]).await;
        answer.expect(400, "malformed");
    }
    let json = ("Content-Type", "application/json");
    let bad: [&[(&str, &str)]; 8] = [
        &[],
        &[("Content-Type", "")],
        &[("Content-Type", "text/plain")],
        &[("Content-Type", "application/json; charset=utf-16")],
        &[("Content-Type", "application/json; a=b")],
        &[("Content-Type", "application/jsonx")],
        &[json, json],
        &[json, ("Content-Encoding", "gzip")],
    ];
    for headers in bad {
        let answer = service.ask("POST", PATH, headers).await;
        answer.expect(415, "unsupported_media_type");
    }
    let identity = [json, ("Content-Encoding", "identity")];
    service
        .ask("POST", PATH, &identity)
        .await
        .expect(400, "malformed");
}

#[tokio::test]
async fn bodies_over_the_limit_are_413() {
    let service = Service::start(&[]).await;
    let body = format!("{{}}{}", " ".repeat(LIMIT_BYTES - 2));
    service
        .write("POST", PATH, &body, &[])
        .await
        .expect(400, "malformed");
    // Of a length that is told, before it comes.
    let length = (LIMIT_BYTES + 1).to_string();
    let answer = raw(&service, &[("Content-Length", &length)], b"").await;
    answer.expect(413, "body_too_large");
    assert_eq!(answer.header("connection"), Some("close"));
    // Of one that is not.
    let chunk = format!("{:x}\r\n{}", LIMIT_BYTES + 1, " ".repeat(LIMIT_BYTES + 1));
    let chunked = [("Transfer-Encoding", "chunked")];
    let answer = raw(&service, &chunked, chunk.as_bytes()).await;
    answer.expect(413, "body_too_large");
}

#[tokio::test]
async fn slow_and_broken_bodies_are_refused() {
    let mut service = Service::start(&[]).await;
    let answer = raw(&service, &[("Content-Length", "10")], b"{").await;
    answer.expect(408, "body_timeout");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(service.log("request").await["status"], 408);
    let answer = raw(&service, &[("Transfer-Encoding", "chunked")], b"zz\r\n").await;
    answer.expect(400, "malformed");
    assert_eq!(service.log("request").await["status"], 400);
}
