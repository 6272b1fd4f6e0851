//! The span around each request.

use axum::Router;

/// Puts the span around everything that this router does.
pub(crate) fn layer(router: Router) -> Router {
    router
}
