use axum::Router;
use axum::body::{Body, to_bytes};
use axum::middleware::from_fn;
use axum::routing::get;
use tower::ServiceExt;

use super::*;

#[tokio::test]
async fn a_panic_is_500_problem() {
    let panicking = || async { panic!("boom") as Response };
    let meta = CallMeta {
        request_id: HeaderValue::from_static("r-1"),
        traceparent: None,
        deadline: None,
    };
    let router = Router::new()
        .route("/panic", get(panicking))
        .layer(from_fn(recover))
        .layer(Extension(meta));
    let request = Request::get("/panic?query").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let cause = response.extensions().get().and_then(Problem::cause);
    assert_eq!(cause, Some("panic: boom"));
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(
        body,
        r#"{"type":"https://bakeoff.invalid/problems/internal","title":"Internal error","status":500,"detail":"The service failed.","instance":"/panic","request_id":"r-1"}"#
    );
}
