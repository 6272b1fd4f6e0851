//! Connections, from accepting to the last byte of the last response.
//!
//! `entry` starts it and says when to stop. What is special is the stop: a connection that was
//! accepted but has not sent its request yet, or that idles between two requests, may send one
//! more, which is answered with `connection: close`. Closing it instead, as hyper's graceful
//! shutdown does, loses requests that are on their way.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, StatusCode, Version, header};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower_service::Service;

use crate::alive::Alive;
use crate::listener::{Listener, Stream};

/// How long a connection may be quiet after the stop began before it is closed: time for a request
/// that is on its way, or that the client sends because it does not know yet.
pub(crate) const LINGER: Duration = Duration::from_millis(500);

/// The pause after a failed accept, as when no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What all connections share.
pub(crate) struct Server {
    /// Answers.
    pub(crate) router: Router,
    /// The stop has begun.
    pub(crate) stopping: CancellationToken,
    /// Connections that are left are dropped.
    pub(crate) cut: CancellationToken,
    /// One for each connection, also while a handler has upgraded it.
    pub(crate) connections: TaskTracker,
    /// [`LINGER`], or less where the grace is short.
    pub(crate) linger: Duration,
}

impl Server {
    /// Accepts until the stop. A listener that is ours alone is then emptied.
    pub(crate) async fn accept(self: Arc<Self>, listener: Listener) {
        let mut failing = false;
        while let Some(accepted) = self.stopping.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    self.spawn(stream, peer);
                }
                // That one connection is gone; the next may be fine.
                Err(error) if of_one_connection(&error) => {}
                Err(error) => {
                    if !failing {
                        tracing::error!(%error, "cannot accept connections; trying again");
                    }
                    failing = true;
                    self.stopping.run_until_cancelled(sleep(ACCEPT_PAUSE)).await;
                }
            }
        }
        for (stream, peer) in listener.last() {
            self.spawn(stream, peer);
        }
    }

    fn spawn(self: &Arc<Self>, stream: Stream, peer: Option<SocketAddr>) {
        let server = Arc::clone(self);
        let token = self.connections.token();
        tokio::spawn(async move { server.connection(stream, peer, token).await });
    }

    async fn connection(
        &self,
        stream: Stream,
        peer: Option<SocketAddr>,
        tracked: TaskTrackerToken,
    ) {
        let connection = Connection::new(self.stopping.child_token());
        let io = Io { stream, connection: Arc::clone(&connection), _tracked: tracked };
        let service = service_fn(|request: Request<Incoming>| {
            let connection = Arc::clone(&connection);
            let mut router = self.router.clone();
            async move {
                let version = request.version();
                let in_flight = connection.begin(version);
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(Alive::new(Arc::clone(&connection)));
                if let Some(peer) = peer {
                    request.extensions_mut().insert(ConnectInfo(peer));
                }
                let mut response = match router.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                if connection.stopping.is_cancelled()
                    && version <= Version::HTTP_11
                    && response.status() != StatusCode::SWITCHING_PROTOCOLS
                {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(response.map(|body| Answer { body, _in_flight: in_flight }))
            }
        });

        #[cfg(not(feature = "http2"))]
        let http = hyper::server::conn::http1::Builder::new();
        #[cfg(not(feature = "http2"))]
        let mut served = pin!(http.serve_connection(TokioIo::new(io), service).with_upgrades());
        #[cfg(feature = "http2")]
        let mut http =
            hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
        #[cfg(feature = "http2")]
        http.http2().enable_connect_protocol();
        #[cfg(feature = "http2")]
        let mut served = pin!(http.serve_connection_with_upgrades(TokioIo::new(io), service));

        // An error is the client's: it left, or did not speak HTTP.
        tokio::select! {
            biased;
            _ = served.as_mut() => return,
            () = connection.stopping.cancelled() => {}
        }
        let mut quiet = pin!(sleep(self.linger));
        while !connection.leaves() {
            tokio::select! {
                biased;
                _ = served.as_mut() => return,
                () = self.cut.cancelled() => return,
                () = connection.changed.notified() => {
                    quiet.as_mut().reset(Instant::now() + self.linger);
                }
                () = quiet.as_mut(), if connection.is_quiet() => break,
            }
        }
        served.as_mut().graceful_shutdown();
        tokio::select! {
            _ = served => {}
            () = self.cut.cancelled() => {}
        }
    }
}

/// Whether an accept failed because of the connection that it would have returned.
pub(crate) fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// What a connection is doing.
#[derive(Debug)]
pub(crate) struct Connection {
    stopping: CancellationToken,
    /// Requests whose response is not complete. More than one with HTTP/2 only.
    in_flight: AtomicUsize,
    /// Something came since the last request began: the next one's head, not complete yet.
    heard: AtomicBool,
    /// To be closed when the response is complete.
    leave: AtomicBool,
    http2: AtomicBool,
    changed: Notify,
}

impl Connection {
    pub(crate) fn new(stopping: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            stopping,
            in_flight: AtomicUsize::new(0),
            heard: AtomicBool::new(false),
            leave: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    /// Cancelled when the stop begins.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Close it as soon as the response is complete.
    pub(crate) fn leave(&self) {
        self.leave.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    fn begin(self: &Arc<Self>, version: Version) -> InFlight {
        self.http2.store(version >= Version::HTTP_2, Ordering::Release);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.heard.store(false, Ordering::Release);
        InFlight(Arc::clone(self))
    }

    fn is_quiet(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0 && !self.heard.load(Ordering::Acquire)
    }

    /// HTTP/2 has a word for it (GOAWAY) that loses nothing, so it need not wait.
    fn leaves(&self) -> bool {
        self.leave.load(Ordering::Acquire) || self.http2.load(Ordering::Acquire)
    }
}

/// A request that is being answered.
struct InFlight(Arc<Connection>);

impl Drop for InFlight {
    fn drop(&mut self) {
        // What came meanwhile was the request's body.
        self.0.heard.store(false, Ordering::Release);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

pin_project! {
    /// A response's body: its request is in flight until it is dropped.
    struct Answer {
        #[pin]
        body: Body,
        _in_flight: InFlight,
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pin_project! {
    /// A connection's stream, which notes when something comes.
    struct Io {
        #[pin]
        stream: Stream,
        connection: Arc<Connection>,
        // Counts as long as somebody has the stream: a handler too that upgraded the connection.
        _tracked: TaskTrackerToken,
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buffer.filled().len();
        let result = this.stream.poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.connection.heard.store(true, Ordering::Release);
        }
        result
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(cx)
    }
}

/// Waits for both, until then.
pub(crate) async fn until(end: Instant, work: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = work => true,
        () = sleep_until(end) => false,
    }
}
