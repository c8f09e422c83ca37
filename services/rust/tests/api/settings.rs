use std::env::VarError;

use billing::config::Config;

use crate::testkit::{billing, environment};

#[tokio::test]
async fn settings_problems_are_named_together() {
    let none = billing([]).output().await.expect("run");
    assert_eq!(none.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&none.stderr),
        "billing: bad settings: DATABASE_URL is missing; PAYMENT_TARGETS is missing; \
         AUTH_JWT_SECRET is missing; AUTH_JWT_ISSUER is missing; AUTH_JWT_AUDIENCE is missing\n"
    );
    assert!(none.stdout.is_empty());

    let bad = [
        ("DATABASE_URL", "mysql://canary"),
        ("PAYMENT_TARGETS", "canary:1,canary"),
        ("AUTH_JWT_SECRET", "canary, 31 bytes, one too short"),
        ("AUTH_JWT_ISSUER", ""),
        ("AUTH_JWT_AUDIENCE", ""),
        ("LISTEN_ADDR", "canary:80"),
        ("DATABASE_MAX_CONNECTIONS", "0"),
        ("PAYMENT_TIMEOUT_MS", "60001"),
        ("LOG_LEVEL", "canary"),
        ("WORKER_THREADS", "+1"),
        ("SWEEP_INTERVAL_MS", "99"),
        ("SHUTDOWN_DRAIN_SECONDS", ""),
        ("SHUTDOWN_GRACE_SECONDS", "18446744073709551616"),
    ];
    let all = bad.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let all = billing(all).output().await.expect("run");
    assert_eq!(all.status.code(), Some(2));
    let message = String::from_utf8_lossy(&all.stderr);
    for (name, _) in bad {
        assert!(
            message.contains(&format!("{name} must")),
            "{name} in {message}"
        );
    }
    assert!(!message.contains("canary"), "{message}");

    for (name, value) in bad {
        let one = environment()
            .into_iter()
            .chain([(name.to_owned(), value.to_owned())]);
        let one = billing(one).output().await.expect("run");
        assert_eq!(one.status.code(), Some(2), "{name}");
        let message = String::from_utf8_lossy(&one.stderr);
        assert!(
            message.starts_with(&format!("billing: bad settings: {name} must")),
            "{message}"
        );
        assert!(!message.contains(';'), "{message}");
    }
}

#[test]
fn settings_secrets_are_masked() {
    let lookup = |name: &str| match name {
        "DATABASE_URL" => Ok("postgres://user:canary@host/name".to_owned()),
        "AUTH_JWT_SECRET" => Ok("canary".repeat(6)),
        name => environment()
            .into_iter()
            .find_map(|(found, value)| (found == name).then_some(value))
            .ok_or(VarError::NotPresent),
    };
    let shown = format!("{:?}", Config::load(lookup).expect("good settings"));
    assert!(shown.contains("https://issuer.test"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}
