use tokio::net::TcpStream;

use crate::testkit::{Database, PATH, Stage, eventually};

#[tokio::test]
async fn ready_follows_the_database() {
    let stage = Stage::with(Database::unmade(), &[]).await;
    let service = &stage.service;
    assert_eq!(
        service.send("GET", "/livez", &[]).await.body,
        r#"{"status":"ok"}"#
    );
    let not_ready = service.send("GET", "/readyz", &[]).await;
    assert_eq!(
        (not_ready.status, not_ready.body.as_str()),
        (
            503,
            r#"{"status":"not_ready","database":"unavailable","payments":"ok"}"#
        )
    );
    let has_status = async |status| service.send("GET", "/readyz", &[]).await.status == status;

    stage.database.create().await;
    eventually("ready", async || has_status(200).await).await;
    assert_eq!(
        service.send("GET", "/readyz", &[]).await.body,
        r#"{"status":"ready","database":"ok","payments":"ok"}"#
    );
    stage.database.remove().await;
    eventually("not ready", async || has_status(503).await).await;
    stage.database.create().await;
    eventually("ready again", async || has_status(200).await).await;
}

#[tokio::test]
async fn draining_is_not_ready() {
    let mut stage = Stage::new(&[("SHUTDOWN_DRAIN_SECONDS", "300")]).await;
    assert_eq!(stage.service.get(PATH).await.status, 200);
    stage.service.terminate().await;
    stage.service.log("draining").await;
    let answer = stage.service.send("GET", "/readyz", &[]).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (
            503,
            r#"{"status":"draining","database":"ok","payments":"ok"}"#
        )
    );
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(stage.service.send("GET", "/livez", &[]).await.status, 200);
    assert_eq!(stage.service.get(PATH).await.status, 200);

    stage.service.terminate().await;
    assert_eq!(stage.service.exited().await.code(), Some(1));
}

#[tokio::test]
async fn graceful_stop_finishes_requests_in_flight() {
    let mut stage = Stage::new(&[("SHUTDOWN_DRAIN_SECONDS", "0")]).await;
    let address = stage.service.address;
    stage.provider.hold();
    let in_flight = async { stage.service.get(PATH).await };
    let stop = async {
        stage.provider.held().await;
        stage.service.terminate().await;
        eventually("refused", || async {
            TcpStream::connect(address).await.is_err()
        })
        .await;
        stage.provider.release();
    };
    let (answer, ()) = tokio::join!(in_flight, stop);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(stage.service.exited().await.code(), Some(0));
    let log = stage.service.rest_of_log().await;
    assert!(
        log.last()
            .is_some_and(|line| line.contains(r#""message":"stopped""#)),
        "{log:?}"
    );
}

#[tokio::test]
async fn stop_does_not_wait_for_a_connection_without_a_request() {
    let changes = [
        ("SHUTDOWN_DRAIN_SECONDS", "0"),
        ("SHUTDOWN_GRACE_SECONDS", "3"),
    ];
    let mut stage = Stage::new(&changes).await;
    let _silent = TcpStream::connect(stage.service.address)
        .await
        .expect("connect");
    // Accepted, since one that came later is answered.
    assert_eq!(stage.service.send("GET", "/livez", &[]).await.status, 200);
    stage.service.terminate().await;
    assert_eq!(stage.service.exited().await.code(), Some(0));
}
