//! The server that the tests of the whole process run: it says on stderr what it does, a line each,
//! and has a bootstrap for everything that can go wrong.

use std::io;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path};
use axum::response::IntoResponse;
use axum::response::sse::Event;
use axum::routing::{get, post};
use stario::{Alive, App, Span};

fn say(what: impl std::fmt::Display) {
    eprintln!("{what}");
}

/// Says so when it is dropped.
struct Dropped(&'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        say(format_args!("{} dropped", self.0));
    }
}

async fn hello() -> &'static str {
    "Hello"
}

async fn hang() {
    let _dropped = Dropped("hang");
    say("hang begins");
    std::future::pending::<()>().await;
}

async fn slow(Path(milliseconds): Path<u64>) -> impl IntoResponse {
    say("slow begins");
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "slow"
}

/// Its head is sent at once, the rest when the server has begun to stop and idle connections are
/// closed.
async fn drip(alive: Alive) -> impl IntoResponse {
    axum::body::Body::from_stream(Box::pin(Drip { alive, step: 0, wait: None }))
}

struct Drip {
    alive: Alive,
    step: u8,
    wait: Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl futures_core::Stream for Drip {
    type Item = Result<&'static str, io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        use std::task::{Poll, ready};
        match self.step {
            0 => {
                self.step = 1;
                let alive = self.alive.clone();
                self.wait = Some(Box::pin(async move {
                    alive.stopped().await;
                    tokio::time::sleep(Duration::from_millis(900)).await;
                }));
                Poll::Ready(Some(Ok("first ")))
            }
            1 => {
                ready!(self.wait.as_mut().expect("step 0 set it").as_mut().poll(cx));
                self.step = 2;
                Poll::Ready(Some(Ok("last")))
            }
            _ => Poll::Ready(None),
        }
    }
}

async fn events(alive: Alive) -> impl IntoResponse {
    alive.sse(async move |out| {
        let _dropped = Dropped("events");
        for number in 0_u64.. {
            out.send(Event::default().data(number.to_string())).await?;
            say(format_args!("sent {number}"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    })
}

/// Blocks a thread, for good.
async fn block() {
    say("block begins");
    std::thread::sleep(Duration::from_secs(3600));
}

async fn peer(ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>) -> String {
    peer.ip().to_string()
}

fn routes(app: &mut App) {
    app.route("/", get(hello))
        .route("/slow/{milliseconds}", get(slow))
        .route("/hang", get(hang))
        .route("/block", get(block))
        .route("/drip", get(drip))
        .route("/events", get(events))
        .route("/echo", post(async |body: String| body))
        .route("/peer", get(peer));
}

/// All routes, two hooks.
async fn bootstrap(app: &mut App, _span: &Span) -> stario::Result {
    say("bootstrap");
    routes(app);
    app.on_shutdown(async { say("first hook") });
    app.on_shutdown(async { say("second hook") });
    Ok(())
}

mod failing {
    use super::{App, Dropped, Span, io, routes, say};

    fn with_hooks(app: &mut App) {
        routes(app);
        app.on_shutdown(async { say("first hook") });
        app.on_shutdown(async { say("second hook") });
    }

    /// With an error of the system below one of its own.
    pub(super) async fn error(app: &mut App, _span: &Span) -> stario::Result {
        #[derive(Debug)]
        struct NoDatabase(io::Error);
        impl std::fmt::Display for NoDatabase {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("cannot open the database")
            }
        }
        impl std::error::Error for NoDatabase {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }

        with_hooks(app);
        let opened = std::fs::File::open("/nowhere/at/all").map_err(NoDatabase);
        opened?;
        Ok(())
    }

    pub(super) async fn panic(app: &mut App, _span: &Span) -> stario::Result {
        with_hooks(app);
        panic!("no such luck");
    }

    /// Never gets there.
    pub(super) async fn never(app: &mut App, _span: &Span) -> stario::Result {
        with_hooks(app);
        let _dropped = Dropped("bootstrap");
        say("bootstrap");
        std::future::pending().await
    }

    /// Three hooks: the one in the middle fails.
    pub(super) async fn hook(app: &mut App, _span: &Span) -> stario::Result {
        routes(app);
        app.on_shutdown(async { say("first hook") });
        app.on_shutdown(async { Err::<(), _>("no luck") });
        app.on_shutdown(async { say("third hook") });
        Ok(())
    }

    /// Its last hook never ends.
    pub(super) async fn hung_hook(app: &mut App, _span: &Span) -> stario::Result {
        with_hooks(app);
        app.on_shutdown(std::future::pending::<()>());
        Ok(())
    }
}

/// Background tasks: one that ends when it is told to, one that panics.
async fn background(app: &mut App, _span: &Span) -> stario::Result {
    let stopping = app.stopping();
    app.spawn(async move {
        stopping.cancelled().await;
        say("task ends");
    });
    app.spawn(async { panic!("of a task") });
    app.on_shutdown(async { say("hook") });
    Ok(())
}

/// A background task that does not end.
async fn stubborn(app: &mut App, _span: &Span) -> stario::Result {
    app.spawn(std::future::pending::<()>());
    app.on_shutdown(async { say("hook") });
    Ok(())
}

/// What a process that the server starts finds in its environment.
async fn child(app: &mut App, _span: &Span) -> stario::Result {
    let child = async || {
        let output = std::process::Command::new("env").output().expect("env is there");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    app.route("/", get(child));
    Ok(())
}

stario::main!(
    bootstrap,
    self::failing::error,
    failing::panic,
    failing::never,
    failing::hook,
    crate::failing::hung_hook,
    background,
    stubborn,
    child,
);
