//! [`Alive`]: ends a long response when its client leaves or the server stops.
//!
//! A response that is streamed for hours must not hold up the stop. A stream that ends because of
//! the stop tells its connection to close, so that the client comes back on a new one, to the next
//! server.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::sse::{Event, Sse};
use futures_core::Stream;
use pin_project_lite::pin_project;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::error::report;
use crate::serve::Connection;

/// An extractor that knows when a long response has to end.
///
/// Put it around whatever sends:
///
/// - [`Alive::sse`]: server-sent events, from a future with a loop in it.
/// - [`Alive::stream`]: a stream that you have, for `Sse::new` or `Body::from_stream`.
/// - [`Alive::stopped`]: what is neither, as a websocket's loop. (A connection that a handler has
///   upgraded counts as a connection until it is closed, so the stop waits for it.)
///
/// ```
/// # async fn next_message() -> Option<String> { None }
/// # async fn socket(alive: stario::Alive) {
/// loop {
///     tokio::select! {
///         message = next_message() => {
///             let Some(_message) = message else { break };
///             // Answer it.
///         }
///         () = alive.stopped() => break,
///     }
/// }
/// # }
/// ```
///
/// A handler that has not answered yet needs none of it: its future is dropped when its client
/// leaves, and the stop waits for its answer.
///
/// Under [`testing`](crate::testing) the stop is `TestApp::stop`. In a router that something else
/// serves there is no stop, and streams end with their client only.
#[derive(Clone, Debug)]
pub struct Alive {
    connection: Arc<Connection>,
}

impl Alive {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    /// The stream, until the server stops. It is dropped when the client leaves, at the latest when
    /// the next item cannot be sent: over HTTP the server notices at once.
    ///
    /// ```
    /// use axum::body::Body;
    /// use axum::response::IntoResponse;
    /// use futures_util::stream::{self, StreamExt};
    /// use stario::Alive;
    ///
    /// async fn zeros(alive: Alive) -> impl IntoResponse {
    ///     let zeros = stream::repeat("0").map(std::io::Result::Ok);
    ///     Body::from_stream(alive.stream(zeros))
    /// }
    /// ```
    pub fn stream<S: Stream>(&self, stream: S) -> AliveStream<S> {
        AliveStream {
            stream,
            stopped: self.connection.stopping().clone().cancelled_owned(),
            connection: Arc::clone(&self.connection),
            ended: false,
        }
    }

    /// A response of server-sent events, from a future that sends them.
    ///
    /// The future is dropped where it waits when the client leaves or the server stops, with all
    /// that it holds; it need not watch for either. It may end by itself, which ends the response.
    /// An error does that too, and is reported on stderr.
    ///
    /// ```
    /// use axum::response::IntoResponse;
    /// use axum::response::sse::{Event, KeepAlive};
    /// use stario::Alive;
    /// use tokio::sync::broadcast;
    ///
    /// async fn news(alive: Alive) -> impl IntoResponse {
    ///     # let (sender, _) = broadcast::channel::<String>(16);
    ///     let mut news = sender.subscribe();
    ///     let events = alive.sse(async move |out| {
    ///         while let Ok(line) = news.recv().await {
    ///             out.send(Event::default().data(line)).await?;
    ///         }
    ///         Ok(())
    ///     });
    ///     // A comment now and then, so that proxies do not take it for dead.
    ///     events.keep_alive(KeepAlive::default())
    /// }
    /// ```
    ///
    /// What is to be done when it ends belongs into the `Drop` of something that the future holds.
    pub fn sse<F>(&self, produce: impl FnOnce(Sender<Event>) -> F) -> Sse<Events<F>>
    where
        F: Future<Output = crate::Result> + Send + 'static,
    {
        Sse::new(Events { stream: self.produce(produce) })
    }

    /// A stream of items of any kind, from a future that sends them, as [`Alive::sse`] does it.
    pub fn produce<T, F>(&self, produce: impl FnOnce(Sender<T>) -> F) -> AliveStream<Produced<T, F>>
    where
        F: Future<Output = crate::Result>,
    {
        let (sender, receiver) = mpsc::channel(1);
        let producer = Some(produce(Sender(sender)));
        self.stream(Produced { producer, receiver })
    }

    /// Waits until the stop begins.
    pub async fn stopped(&self) {
        self.connection.stopping().cancelled().await;
    }

    /// Whether the stop has begun.
    pub fn is_stopped(&self) -> bool {
        self.connection.stopping().is_cancelled()
    }
}

impl<S: Sync> FromRequestParts<S> for Alive {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let alive = parts.extensions.get::<Self>().cloned();
        // Served by somebody else: there is no stop that we know of.
        Ok(alive.unwrap_or_else(|| Self::new(Connection::new(CancellationToken::new()))))
    }
}

pin_project! {
    /// A stream that ends when the server stops. See [`Alive::stream`].
    pub struct AliveStream<S> {
        #[pin]
        stream: S,
        #[pin]
        stopped: WaitForCancellationFutureOwned,
        connection: Arc<Connection>,
        ended: bool,
    }
}

impl<S: Stream> Stream for AliveStream<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        if this.stopped.poll(cx).is_ready() {
            *this.ended = true;
            this.connection.leave();
            return Poll::Ready(None);
        }
        this.stream.poll_next(cx)
    }
}

/// Where a producer sends to. See [`Alive::sse`].
#[derive(Debug)]
pub struct Sender<T>(mpsc::Sender<T>);

impl<T> Sender<T> {
    /// Sends an item, once the one before it is on its way to the client.
    ///
    /// Fails when nobody listens any more: in a task that was spawned. The future that was given
    /// to [`Alive::sse`] is dropped before that.
    pub async fn send(&self, item: T) -> Result<(), Left> {
        self.0.send(item).await.map_err(|_| Left)
    }

    /// Waits until nobody listens any more. For a task that was spawned, as [`Sender::send`] says.
    pub async fn left(&self) {
        self.0.closed().await;
    }
}

/// The client left, or the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left;

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the client left, or the server stops")
    }
}

impl std::error::Error for Left {}

pin_project! {
    /// What a producer sends. See [`Alive::produce`].
    pub struct Produced<T, F> {
        #[pin]
        producer: Option<F>,
        receiver: mpsc::Receiver<T>,
    }
}

impl<T, F: Future<Output = crate::Result>> Stream for Produced<T, F> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut this = self.project();
        if let Some(producer) = this.producer.as_mut().as_pin_mut()
            && let Poll::Ready(result) = producer.poll(cx)
        {
            // Its sender goes with it: what it sent is still received, then the stream ends.
            this.producer.set(None);
            if let Err(error) = result
                && error.downcast_ref::<Left>().is_none()
            {
                report(format_args!("a stream ended early: {error:?}"));
            }
        }
        this.receiver.poll_recv(cx)
    }
}

pin_project! {
    /// Events that cannot fail, as axum wants them. See [`Alive::sse`].
    pub struct Events<F> {
        #[pin]
        stream: AliveStream<Produced<Event, F>>,
    }
}

impl<F: Future<Output = crate::Result>> Stream for Events<F> {
    type Item = Result<Event, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project().stream.poll_next(cx).map(|event| event.map(Ok))
    }
}
