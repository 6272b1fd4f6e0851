//! Runs a bootstrap without a port, a process or a signal.
//!
//! ```
//! use axum::body::{Body, to_bytes};
//! use axum::http::Request;
//! use axum::routing::get;
//! use stario::{App, Span, testing};
//!
//! async fn bootstrap(app: &mut App, _span: &Span) -> stario::Result {
//!     app.route("/", get(async || "Hello"));
//!     Ok(())
//! }
//!
//! # /* As a test of yours:
//! #[tokio::test]
//! # */ #[tokio::main(flavor = "current_thread")] async fn main() -> stario::Result { says_hello().await }
//! async fn says_hello() -> stario::Result {
//!     let app = testing::start(bootstrap).await?;
//!     let response = app.request(Request::get("/").body(Body::empty())?).await;
//!     assert_eq!(to_bytes(response.into_body(), 100).await?, "Hello");
//!     app.stop().await
//! }
//! ```

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tracing::{Instrument, Span};

use crate::alive::Alive;
use crate::app::{App, Life};
use crate::error::Failed;
use crate::serve::Connection;

/// Seconds that background tasks and hooks get, as a server has by default.
const GRACE: Duration = Duration::from_secs(5);

/// A server that a test asks. See [`start`].
pub struct TestApp {
    router: Router,
    life: Life,
}

/// Runs the bootstrap. Where it fails, the hooks that it registered run, and its error is returned.
pub async fn start(
    bootstrap: impl AsyncFnOnce(&mut App, &Span) -> crate::Result,
) -> crate::Result<TestApp> {
    let mut app = App::with_token(CancellationToken::new());
    let span = tracing::info_span!("bootstrap", name = "test");
    let result = bootstrap(&mut app, &span).instrument(span.clone()).await;
    let (router, life) = app.into_parts();
    match result {
        Ok(()) => Ok(TestApp { router, life }),
        Err(error) => {
            end(life).await;
            Err(error)
        }
    }
}

impl TestApp {
    /// Asks the routes; the response is there when its head is. The future does not hold on to the
    /// app, so that a test can stop it while a request is under way.
    pub fn request<B: Into<Body>>(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Response> + Send + use<B> {
        let mut request = request.map(Into::into);
        let connection = Connection::new(self.life.stopping.child_token());
        request.extensions_mut().insert(Alive::new(connection));
        let mut router = self.router.clone();
        async move {
            match router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    }

    /// The routes, for a test that serves them itself.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Stops: streams of [`Alive`] end, background tasks are waited for, hooks run. An error when
    /// a task did not end or a hook did not do its work within the default grace, five seconds.
    pub async fn stop(self) -> crate::Result {
        match end(self.life).await {
            (0, 0) => Ok(()),
            (tasks, hooks) => {
                let message =
                    format!("{tasks} background tasks and {hooks} hooks did not end well");
                Err(Failed { message, cause: None }.into())
            }
        }
    }
}

async fn end(life: Life) -> (usize, usize) {
    let now = Instant::now();
    life.end(now + GRACE * 9 / 10, now + GRACE).await
}
