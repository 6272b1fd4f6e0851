//! `App` and `stario::testing`: what a bootstrap puts together, without a port.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use stario::{App, Span, testing};

async fn ask(app: &testing::TestApp, path: &str) -> (StatusCode, String) {
    let response = app.request(Request::get(path).body(Body::empty()).unwrap()).await;
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn ok(body: &str) -> (StatusCode, String) {
    (StatusCode::OK, body.to_owned())
}

#[tokio::test]
async fn routes_of_all_kinds_answer() {
    let state =
        |name: &str| get(async |State(name): State<String>| name).with_state(name.to_owned());
    let app = testing::start(async |app: &mut App, _: &Span| {
        app.route("/", state("home"))
            .nest("/admin", Router::new().route("/", state("admin")))
            .merge(Router::new().route("/merged", get(async || "merged")))
            .fallback(async || (StatusCode::NOT_FOUND, "nothing here"));
        Ok(())
    });
    let app = app.await.unwrap();
    assert_eq!(ask(&app, "/").await, ok("home"));
    assert_eq!(ask(&app, "/admin").await, ok("admin"));
    assert_eq!(ask(&app, "/merged").await, ok("merged"));
    let missing = (StatusCode::NOT_FOUND, "nothing here".to_owned());
    assert_eq!(ask(&app, "/missing").await, missing);
    app.stop().await.unwrap();
}

/// Puts its name in front of the body.
async fn mark(name: &'static str, request: Request, next: Next) -> Response {
    let body = next.run(request).await.into_body();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Response::new(Body::from([name.as_bytes(), b" ", &body].concat()))
}

#[tokio::test]
async fn a_layer_is_around_every_route_and_the_last_one_is_outermost() {
    let app = testing::start(async |app: &mut App, _: &Span| {
        app.route("/before", get(async || "before"));
        app.layer(from_fn(async |request, next| mark("first", request, next).await));
        app.layer(from_fn(async |request, next| mark("second", request, next).await));
        app.route("/after", get(async || "after"));
        app.fallback(async || "fallback");
        Ok(())
    });
    let app = app.await.unwrap();
    assert_eq!(ask(&app, "/before").await, ok("second first before"));
    assert_eq!(ask(&app, "/after").await, ok("second first after"));
    assert_eq!(ask(&app, "/missing").await, ok("second first fallback"));
}

/// What happened, in its order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn add(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    /// Adds this when it is run.
    fn when_run(&self, what: &'static str) -> impl Future<Output = ()> + Send + use<> {
        let log = self.clone();
        async move { log.add(what) }
    }

    fn all(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn hooks_run_at_the_stop_the_last_one_first() {
    let log = Log::default();
    let app = testing::start(async |app: &mut App, _: &Span| {
        app.on_shutdown(log.when_run("first")).on_shutdown(log.when_run("second"));
        Ok(())
    });
    let app = app.await.unwrap();
    assert_eq!(log.all(), [""; 0]);
    app.stop().await.unwrap();
    assert_eq!(log.all(), ["second", "first"]);
}

#[tokio::test]
async fn a_failing_bootstrap_runs_the_hooks_that_it_registered() {
    let log = Log::default();
    let app = testing::start(async |app: &mut App, _: &Span| {
        app.on_shutdown(log.when_run("first")).on_shutdown(log.when_run("second"));
        Err("no luck")?;
        app.on_shutdown(log.when_run("third"));
        Ok(())
    });
    let error = app.await.err().expect("it fails");
    assert_eq!(error.to_string(), "no luck");
    assert_eq!(log.all(), ["second", "first"]);
}

fn panicking(message: &str) {
    panic!("{message}");
}

#[tokio::test]
async fn hooks_that_fail_or_panic_keep_no_other_from_running() {
    let log = Log::default();
    let app = testing::start(async |app: &mut App, _: &Span| {
        app.on_shutdown(log.when_run("first"));
        app.on_shutdown(async { panicking("of a hook") });
        app.on_shutdown(log.when_run("second"));
        app.on_shutdown(async { "x".parse::<u16>() });
        app.on_shutdown(log.when_run("third"));
        Ok(())
    });
    let error = app.await.unwrap().stop().await.unwrap_err();
    assert_eq!(error.to_string(), "0 background tasks and 2 hooks did not end well");
    assert_eq!(log.all(), ["third", "second", "first"]);
}

#[tokio::test]
async fn background_tasks_end_before_the_hooks_run() {
    let log = Log::default();
    let app = testing::start(async |app: &mut App, _: &Span| {
        let (stopping, log) = (app.stopping(), log.clone());
        app.on_shutdown(log.when_run("hook"));
        app.spawn(async move {
            stopping.cancelled().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            log.add("task");
        });
        Ok(())
    });
    app.await.unwrap().stop().await.unwrap();
    assert_eq!(log.all(), ["task", "hook"]);
}

#[tokio::test]
async fn a_background_tasks_handle_has_what_it_returned() {
    let app = testing::start(async |app: &mut App, _: &Span| {
        assert_eq!(app.spawn(async { 7 }).await?, 7);
        let panicked = app.spawn(async { panic!("of a task") }).await;
        assert!(panicked.is_err_and(|error| error.is_panic()));
        Ok(())
    });
    app.await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn cancelling_the_token_does_not_stop_the_server() {
    let mut tokens = Vec::new();
    let app = testing::start(async |app: &mut App, _: &Span| {
        tokens.extend([app.stopping(), app.stopping()]);
        Ok(())
    });
    let app = app.await.unwrap();
    tokens[0].cancel();
    assert!(!tokens[1].is_cancelled());
    app.stop().await.unwrap();
    assert!(tokens[1].is_cancelled());
}

#[tokio::test]
async fn state_of_a_hook_may_be_used_up_in_it() {
    // As `pool.close()` does.
    struct Pool(Log);
    impl Pool {
        async fn close(self) -> Result<(), std::io::Error> {
            self.0.add("closing");
            tokio::task::yield_now().await;
            self.0.add("closed");
            Ok(())
        }
    }
    let log = Log::default();
    let app = testing::start(async |app: &mut App, _: &Span| {
        let pool = Pool(log.clone());
        app.on_shutdown(async move { pool.close().await });
        Ok(())
    });
    app.await.unwrap().stop().await.unwrap();
    assert_eq!(log.all(), ["closing", "closed"]);
}

#[test]
fn an_error_prints_its_chain() {
    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no port")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let error = stario::Error::from(Outer("x".parse::<u16>().unwrap_err()));
    assert_eq!(format!("{error}"), "no port");
    assert_eq!(format!("{error:#}"), "no port: invalid digit found in string");
    assert_eq!(format!("{error:?}"), "no port\n  caused by: invalid digit found in string");
    assert!(error.downcast_ref::<Outer>().is_some());
}
