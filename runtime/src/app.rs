//! `App`: what a bootstrap fills. Routes and layers become one axum router; background tasks and
//! hooks become the [`Life`] that `entry` and `testing` end.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::Poll;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, Route};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::{panic_message, report};
use crate::hooks::{Hooks, Outcome};
use crate::tracer;

/// The server that a bootstrap puts together.
///
/// Routes are axum's, with nothing added. Their paths and what they panic on (two routes of one
/// path, a path without its slash) is told in axum's `Router`; a panic in a bootstrap ends the
/// process before anything is served.
///
/// # State
///
/// The app's own router has none, so that modules with states of different types can share it.
/// State is given where the routes are:
///
/// ```
/// use axum::extract::State;
/// use axum::routing::get;
/// use axum::{Extension, Router};
/// use stario::{App, Span};
///
/// #[derive(Clone)]
/// struct Pool;
///
/// async fn home(State(_pool): State<Pool>) {}
/// async fn about(Extension(_pool): Extension<Pool>) {}
///
/// async fn bootstrap(app: &mut App, _span: &Span) -> stario::Result {
///     let pool = Pool;
///     // One route.
///     app.route("/", get(home).with_state(pool.clone()));
///     // Several at once.
///     app.merge(Router::new().route("/home", get(home)).with_state(pool.clone()));
///     // Whatever asks for it.
///     app.route("/about", get(about)).layer(Extension(pool));
///     Ok(())
/// }
/// ```
pub struct App {
    router: Router,
    layers: Vec<Box<dyn FnOnce(Router) -> Router + Send>>,
    life: Life,
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}

impl App {
    /// An empty one. [`main!`](crate::main) and [`testing::start`](crate::testing::start) make it
    /// for you; one of your own serves nothing until [`App::into_router`] is served.
    pub fn new() -> Self {
        Self::with_token(CancellationToken::new())
    }

    pub(crate) fn with_token(stopping: CancellationToken) -> Self {
        let life = Life { tasks: TaskTracker::new(), stopping, hooks: Hooks::default() };
        Self { router: Router::new(), layers: Vec::new(), life }
    }

    fn change(&mut self, change: impl FnOnce(Router) -> Router) -> &mut Self {
        self.router = change(std::mem::take(&mut self.router));
        self
    }

    /// Answers a path: `app.route("/users/{id}", get(show).put(update))`.
    pub fn route(&mut self, path: &str, methods: MethodRouter) -> &mut Self {
        self.change(|router| router.route(path, methods))
    }

    /// Puts a router's routes below a path, which they do not see.
    pub fn nest(&mut self, path: &str, router: Router) -> &mut Self {
        self.change(|all| all.nest(path, router))
    }

    /// Takes a router's routes as they are.
    pub fn merge(&mut self, router: impl Into<Router>) -> &mut Self {
        self.change(|all| all.merge(router.into()))
    }

    /// Answers what no route does. Without it that is an empty 404.
    pub fn fallback<H: Handler<T, ()>, T: 'static>(&mut self, handler: H) -> &mut Self {
        self.change(|router| router.fallback(handler))
    }

    /// Puts a tower layer around every route and the fallback, also those that are added later.
    ///
    /// Of several layers the last one added is the outermost, as in axum: it sees a request first
    /// and its response last. For some routes only, use axum's `MethodRouter::layer` or merge a
    /// router that has the layer.
    pub fn layer<L>(&mut self, layer: L) -> &mut Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.layers.push(Box::new(move |router| router.layer(layer)));
        self
    }

    /// Runs a background task, from now on. The stop waits for it, so it has to watch
    /// [`App::stopping`] if it would not end by itself; hooks run after it. One that panics is
    /// reported, and the server goes on.
    ///
    /// ```
    /// # async fn save() {}
    /// # fn bootstrap(app: &mut stario::App) {
    /// let stopping = app.stopping();
    /// app.spawn(async move {
    ///     while stopping
    ///         .run_until_cancelled(tokio::time::sleep(std::time::Duration::from_secs(60)))
    ///         .await
    ///         .is_some()
    ///     {
    ///         save().await;
    ///     }
    /// });
    /// # }
    /// ```
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.life.tasks.spawn(async move {
            match catch(task).await {
                Ok(output) => output,
                Err(payload) => {
                    report(format_args!(
                        "a background task panicked: {}",
                        panic_message(&*payload)
                    ));
                    resume_unwind(payload)
                }
            }
        })
    }

    /// A token that is cancelled when the stop begins: `stopping.cancelled().await`. It can be
    /// cloned into handlers and tasks. Cancelling it does not stop the server.
    pub fn stopping(&self) -> CancellationToken {
        self.life.stopping.child_token()
    }

    /// Does this when the server stops, after the last request is answered and the background
    /// tasks have ended; the hook registered last runs first. Hooks also run when the bootstrap
    /// fails after it registered them. One that fails or panics does not keep the others from
    /// running, but makes the exit code 1.
    ///
    /// The future may return nothing, or a `Result` with any error.
    pub fn on_shutdown(
        &mut self,
        hook: impl Future<Output: Outcome> + Send + 'static,
    ) -> &mut Self {
        self.life.hooks.push(hook);
        self
    }

    /// The routes with their layers, for a server or a test of your own. Hooks are dropped;
    /// background tasks go on and nobody waits for them.
    pub fn into_router(self) -> Router {
        self.into_parts().0
    }

    pub(crate) fn into_parts(self) -> (Router, Life) {
        let router = self.layers.into_iter().fold(self.router, |router, layer| layer(router));
        (tracer::requests::layer(router), self.life)
    }
}

/// What lives as long as the server: background tasks and hooks.
pub(crate) struct Life {
    pub(crate) tasks: TaskTracker,
    pub(crate) stopping: CancellationToken,
    hooks: Hooks,
}

impl Life {
    /// Tells the tasks to stop, waits for them until `tasks_end`, then runs the hooks until `end`.
    /// Returns how many tasks were left, and how many hooks did not do their work.
    pub(crate) async fn end(self, tasks_end: Instant, end: Instant) -> (usize, usize) {
        self.stopping.cancel();
        self.tasks.close();
        let left = match tokio::time::timeout_at(tasks_end, self.tasks.wait()).await {
            Ok(()) => 0,
            Err(_late) => self.tasks.len(),
        };
        (left, self.hooks.run(end).await)
    }
}

/// What a panic carries.
pub(crate) type Payload = Box<dyn std::any::Any + Send>;

/// The future's output, or what its panic carried.
pub(crate) async fn catch<F: Future>(future: F) -> Result<F::Output, Payload> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |cx| {
        let future: Pin<&mut F> = future.as_mut();
        // It is not polled again after a panic.
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await
}
