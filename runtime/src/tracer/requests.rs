//! A span for each request, target `stario::request`, with `method`, `route` (the path as it was
//! written in `App::route`; missing where none matched), `path` (without the query, which may hold
//! what is nobody's business) and `status`.
//!
//! The span ends with the response's head: a stream that goes on for hours has been *answered* once
//! it begins. Without `status` the client went away before there was an answer.

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

/// The target of these spans, for `RUST_LOG`.
pub(crate) const TARGET: &str = "stario::request";

/// Puts the span around everything that this router does.
pub(crate) fn layer(router: Router) -> Router {
    router.layer(from_fn(trace))
}

async fn trace(request: Request, next: Next) -> Response {
    let span = info_span!(
        target: TARGET,
        "request",
        method = %request.method(),
        route = Empty,
        path = request.uri().path(),
        status = Empty,
    );
    if let Some(route) = request.extensions().get::<MatchedPath>() {
        span.record("route", route.as_str());
    }
    let response = next.run(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    response
}
