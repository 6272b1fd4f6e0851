//! `Alive`: who ends a long response, and what becomes of its producer.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use axum::response::sse::Event;
use axum::routing::get;
use futures_util::StreamExt;
use stario::alive::{Left, Sender};
use stario::testing::{TestApp, start};
use stario::{Alive, App, Span};
use tokio::sync::mpsc;

/// An app whose only answer is this.
async fn answering<H, T>(handler: H) -> TestApp
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    let app = start(async |app: &mut App, _: &Span| {
        app.route("/", get(handler));
        Ok(())
    });
    app.await.expect("nothing can fail")
}

async fn open(app: &TestApp) -> Response {
    app.request(Request::new(Body::empty())).await
}

/// The next piece of the body.
async fn piece(body: &mut Body) -> Option<String> {
    let mut body = pin!(body);
    let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await?;
    let bytes = frame.expect("no error").into_data().expect("no trailers");
    Some(String::from_utf8(bytes.to_vec()).expect("text"))
}

/// Whether the body has nothing to say now.
fn waits(body: &mut Body) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    matches!(pin!(body).poll_frame(&mut cx), Poll::Pending)
}

#[tokio::test]
async fn a_producer_sends_and_ends() {
    let handler = async |alive: Alive| {
        alive.sse(async move |out| {
            for number in 0..3 {
                out.send(Event::default().data(number.to_string())).await?;
            }
            Ok(())
        })
    };
    let app = answering(handler).await;
    let mut body = open(&app).await.into_body();
    let mut all = Vec::new();
    while let Some(piece) = piece(&mut body).await {
        all.push(piece);
    }
    assert_eq!(all, ["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"]);
}

#[tokio::test]
async fn a_producer_that_fails_ends_the_stream_after_what_it_sent() {
    let handler = async |alive: Alive| {
        alive.sse(async move |out| {
            out.send(Event::default().data("first")).await?;
            Err("no luck")?;
            Ok(())
        })
    };
    let app = answering(handler).await;
    let mut body = open(&app).await.into_body();
    assert_eq!(piece(&mut body).await.as_deref(), Some("data: first\n\n"));
    assert_eq!(piece(&mut body).await, None);
}

/// A handler whose producer sends once and then waits for good, and what tells when it is dropped.
async fn endless() -> (TestApp, mpsc::UnboundedReceiver<()>) {
    // The other end hears when it is dropped.
    let (guard, dropped) = mpsc::unbounded_channel();
    let guard = std::sync::Arc::new(std::sync::Mutex::new(Some(guard)));
    let handler = async move |alive: Alive| {
        let guard = guard.lock().expect("nobody panics").take().expect("one request");
        alive.sse(async move |out| {
            let _guard = guard;
            out.send(Event::default().data("first")).await?;
            std::future::pending().await
        })
    };
    (answering(handler).await, dropped)
}

#[tokio::test]
async fn a_producer_is_dropped_when_the_client_leaves() {
    let (app, mut dropped) = endless().await;
    let mut body = open(&app).await.into_body();
    assert_eq!(piece(&mut body).await.as_deref(), Some("data: first\n\n"));
    assert!(waits(&mut body));
    assert!(dropped.try_recv().is_err());
    drop(body);
    assert_eq!(dropped.recv().await, None);
}

#[tokio::test]
async fn a_producer_is_dropped_and_the_response_complete_when_the_server_stops() {
    let (app, mut dropped) = endless().await;
    let mut body = open(&app).await.into_body();
    assert_eq!(piece(&mut body).await.as_deref(), Some("data: first\n\n"));
    assert!(waits(&mut body));
    app.stop().await.unwrap();
    assert_eq!(piece(&mut body).await, None);
    drop(body);
    assert_eq!(dropped.recv().await, None);
}

#[tokio::test]
async fn a_producer_in_a_task_of_its_own_learns_that_nobody_listens() {
    let (sender, mut told) = mpsc::unbounded_channel();
    let handler = async move |alive: Alive| {
        let sender = sender.clone();
        alive.sse(async move |out: Sender<Event>| {
            tokio::spawn(async move {
                out.send(Event::default().data("first")).await?;
                out.left().await;
                let _ = sender.send(out.send(Event::default()).await);
                Ok::<_, Left>(())
            });
            Ok(())
        })
    };
    let app = answering(handler).await;
    let mut body = open(&app).await.into_body();
    assert_eq!(piece(&mut body).await.as_deref(), Some("data: first\n\n"));
    assert!(waits(&mut body));
    drop(body);
    assert_eq!(told.recv().await, Some(Err(Left)));
}

#[tokio::test]
async fn any_stream_ends_when_the_server_stops() {
    let (sender, mut receiver) = mpsc::unbounded_channel::<&str>();
    let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let stream = std::sync::Arc::new(std::sync::Mutex::new(Some(stream)));
    let handler = async move |alive: Alive| {
        let stream = stream.lock().expect("nobody panics").take().expect("one request");
        Body::from_stream(alive.stream(stream.map(Ok::<_, Infallible>)))
    };
    let app = answering(handler).await;
    let mut body = open(&app).await.into_body();
    sender.send("one").unwrap();
    sender.send("two").unwrap();
    assert_eq!(piece(&mut body).await.as_deref(), Some("one"));
    assert_eq!(piece(&mut body).await.as_deref(), Some("two"));
    app.stop().await.unwrap();
    assert_eq!(piece(&mut body).await, None);
}

#[tokio::test]
async fn a_handler_may_wait_for_the_stop() {
    let (sender, mut begun) = mpsc::unbounded_channel();
    let handler = async move |alive: Alive| {
        assert!(!alive.is_stopped());
        sender.send(()).expect("the test waits");
        alive.stopped().await;
        assert!(alive.is_stopped());
        "stopped"
    };
    let app = answering(handler).await;
    let asked = tokio::spawn(app.request(Request::new(Body::empty())));
    begun.recv().await.expect("the handler begins");
    assert!(!asked.is_finished());
    app.stop().await.unwrap();
    let body = asked.await.expect("it does not panic").into_body();
    assert_eq!(axum::body::to_bytes(body, 100).await.unwrap(), "stopped");
}

#[tokio::test]
async fn served_by_somebody_else_it_ends_with_the_client_only() {
    use tower_service::Service;
    let mut app = App::new();
    app.route("/", get(async |alive: Alive| alive.is_stopped().to_string()));
    let response = app.into_router().call(Request::new(Body::empty())).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    assert_eq!(body, "false");
}
