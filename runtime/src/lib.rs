//! What a server links to have a composition root, a graceful stop and tracing.
//!
//! ```no_run
//! use axum::routing::get;
//! use stario::{App, Span};
//!
//! async fn bootstrap(app: &mut App, _span: &Span) -> stario::Result {
//!     app.route("/", get(async || "Hello"));
//!     Ok(())
//! }
//!
//! stario::main!(bootstrap);
//! ```
//!
//! Its manifest has two dependencies, of which the first brings the library `stario`:
//!
//! ```toml
//! [dependencies]
//! stario-runtime = "0.1"
//! axum = "0.8"
//! ```
//!
//! The binary runs in three places, without a word changed:
//!
//! - `cargo stario watch main:bootstrap` builds it, and swaps it after every good build: the new
//!   server is ready before the old one goes.
//! - `cargo run` runs it on <http://127.0.0.1:8000>.
//! - systemd runs it in production, see [below](#systemd).
//!
//! # The bootstrap
//!
//! It is the one place where the server is put together: [`App`] takes routes, layers, background
//! tasks and what is to be done at the end. [`Span`] is tracing's; the bootstrap runs inside of it,
//! so what it records there, and its events, are told as the server's start. A binary may have
//! several bootstraps, and `STARIO_BOOTSTRAP` picks one: see [`main!`].
//!
//! A bootstrap that fails or panics ends the process with exit code 1 and a report on stderr, after
//! the hooks that it registered. Until it succeeds nobody can connect to a socket that the server
//! binds for itself, and an inherited one is not accepted from.
//!
//! [`testing`] runs it without a port, and [`dev`] has what helps under `cargo stario watch`.
//!
//! # Long responses
//!
//! [`Alive`] ends a stream when its client leaves or the server stops: server-sent events, above
//! all. Without it an open stream holds up the stop until the deadline.
//!
//! ```
//! use axum::response::IntoResponse;
//! use axum::response::sse::Event;
//! use stario::Alive;
//!
//! # mod clock { pub async fn tick() -> String { String::new() } }
//! async fn events(alive: Alive) -> impl IntoResponse {
//!     alive.sse(async move |out| {
//!         loop {
//!             out.send(Event::default().data(clock::tick().await)).await?;
//!         }
//!     })
//! }
//! ```
//!
//! # The stop
//!
//! SIGTERM and SIGINT (Ctrl-C elsewhere) begin it. In this order:
//!
//! 1. Nothing more is accepted. What waits in the queue of a socket that the server bound for itself
//!    is taken first; the queue of an inherited one belongs to the next server.
//! 2. [`Alive`] streams end, and their connections are closed, so that clients come back to the next
//!    server. [`App::stopping`] is cancelled.
//! 3. Requests in flight are answered, also those whose head has been received in part. A
//!    connection that has not sent a request yet, or that idles between two, may send one more
//!    within half a second of quiet. Every response from now on says `connection: close`. (HTTP/2
//!    connections are told GOAWAY at once.)
//! 4. Background tasks are waited for.
//! 5. Hooks run, the last registered first.
//!
//! All that takes at most `STARIO_GRACE` seconds: steps 1 to 4 get nine tenths. What is not done
//! then is dropped, and counted in a line on stderr. A second signal ends the process at once.
//!
//! | exit code | |
//! |---|---|
//! | 0 | stopped when it was asked to, also where the grace cut something other than a hook |
//! | 1 | the start failed; or a hook failed, panicked or was cut; or a blocked thread held up the stop for longer than the grace |
//! | 2 | a setting is bad |
//! | 128 + signal | a second signal ended it |
//!
//! # Settings
//!
//! From the environment. A variable that is empty counts as not set; a bad value ends the process
//! with a message that names it.
//!
//! | variable | default | |
//! |---|---|---|
//! | `STARIO_HOST` | `127.0.0.1` | name or address to listen on |
//! | `STARIO_PORT`, else `PORT` | `8000` | port to listen on; 0 takes a free one and prints it |
//! | `STARIO_UNIX_SOCKET` | | path to listen on, in place of host and port. What a dead server left there is replaced, nothing else is |
//! | `STARIO_UNIX_SOCKET_MODE` | `0660` | its permissions, octal: who may write may connect. A proxy in the server's group can; systemd's own default for sockets is 0666 |
//! | `STARIO_GRACE` | `5` | seconds that the stop may take, fractions allowed |
//! | `STARIO_TRACER` | `auto` | where spans and events go: `tty`, `json`, `noop`, or `auto`. See [`tracer`] |
//! | `STARIO_BOOTSTRAP` | the first | which bootstrap to run |
//!
//! Inherited sockets (`LISTEN_FDS`, with `LISTEN_PID` naming this process) are served in place of
//! all of that, every one of them, TCP and Unix. `cargo stario` sets these variables for you.
//!
//! # systemd
//!
//! With this socket unit connections wait while the server is restarted, and none is refused:
//!
//! ```ini
//! # /etc/systemd/system/app.socket
//! [Socket]
//! ListenStream=127.0.0.1:8000
//!
//! [Install]
//! WantedBy=sockets.target
//! ```
//!
//! ```ini
//! # /etc/systemd/system/app.service
//! [Unit]
//! Requires=app.socket
//!
//! [Service]
//! Type=notify
//! ExecStart=/usr/local/bin/app
//! Environment=STARIO_GRACE=20
//! # Longer than the grace.
//! TimeoutStopSec=30
//! Restart=on-failure
//! DynamicUser=yes
//! ```
//!
//! The server says `READY=1` when it serves, `STOPPING=1` when the stop begins, and `ERRNO=` with
//! the system's number where one made its start fail. Without the socket unit (and without
//! `Requires=`) it binds for itself, as the settings say.
//!
//! `LISTEN_FDS` and `LISTEN_PID` are taken out of the environment, so that processes which the
//! server starts do not believe that sockets are meant for them. `NOTIFY_SOCKET` stays, since
//! taking it out is `unsafe`; systemd listens to the main process only (`NotifyAccess=main`).
//!
//! # Features
//!
//! `http2`: HTTP/2 without TLS on the same sockets, beside HTTP/1.

pub mod alive;
mod app;
pub mod dev;
mod entry;
mod error;
mod hooks;
mod listener;
mod notify;
mod serve;
mod settings;
pub mod testing;
pub mod tracer;

pub use axum;
pub use tokio_util::sync::CancellationToken;
pub use tracing::Span;

pub use crate::alive::Alive;
pub use crate::app::App;
pub use crate::error::{Error, Result};
pub use crate::hooks::Outcome;

/// Defines `fn main`: it runs one of these bootstraps, as [`App`] describes.
///
/// A bootstrap is an `async fn(app: &mut App, span: &Span) -> stario::Result`; its future need not
/// be `Send`. `STARIO_BOOTSTRAP` names the one to run, as it is written here (without spaces and
/// without a leading `crate::` or `self::`); the first is the default.
///
/// ```no_run
/// use stario::{App, Span};
///
/// mod admin {
///     use stario::{App, Span};
///
///     pub async fn bootstrap(_app: &mut App, _span: &Span) -> stario::Result {
///         Ok(())
///     }
/// }
///
/// async fn bootstrap(_app: &mut App, _span: &Span) -> stario::Result {
///     Ok(())
/// }
///
/// stario::main!(bootstrap, admin::bootstrap);
/// ```
#[macro_export]
macro_rules! main {
    ($($bootstrap:path),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::__private::main(&[$(
                $crate::__private::Bootstrap {
                    path: ::core::stringify!($bootstrap),
                    run: |app, span| ::std::boxed::Box::pin($bootstrap(app, span)),
                },
            )+])
        }
    };
}

/// What [`main!`] expands to. No part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::entry::{Bootstrap, main};
}
