//! Who gets the page, as the stream says it. What a browser makes of it is tried out in a browser,
//! by the tool's tests.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::BodyDataStream;
use axum::extract::{Path, RawQuery};
use axum::http::header::COOKIE;
use axum::response::{AppendHeaders, Html, Redirect};
use futures_core::Stream;
use snapbox::{assert_data_eq, str};

use super::*;
use crate::testing::{self, TestApp};

const OURS: &str = "0000000000002000-7";
const OLDER: &str = "0000000000001000-9";
const NEWER: &str = "0000000000003000-5";

async fn home() -> Html<&'static str> {
    Html("<!doctype html>\n<html><body>new</body></html>\n")
}

/// An app whose stream is at `/dev`, for this page.
async fn with<H: Handler<T, ()>, T: 'static>(page: H) -> TestApp {
    let bootstrap = async |app: &mut crate::App, _: &crate::Span| {
        app.route("/dev", stream(page, true, OURS));
        Ok(())
    };
    testing::start(bootstrap).await.expect("it starts")
}

/// An open stream.
struct Tab(Pin<Box<BodyDataStream>>);

impl Tab {
    /// Opens it as a client that was told this generation last, with a page of that one.
    async fn open(app: &TestApp, told: Option<&str>, rendered: Option<&str>) -> Self {
        let rendered = rendered.map(|it| format!("generation={it}&")).unwrap_or_default();
        let mut request = Request::get(format!("/dev?{rendered}datastar=%7B%7D"));
        if let Some(told) = told {
            request = request.header("last-event-id", told);
        }
        let response = app.request(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        Self(Box::pin(response.into_body().into_data_stream()))
    }

    /// What is there to read. Whatever the server has to say is there at once.
    fn read(&mut self) -> Option<String> {
        let mut nobody = Context::from_waker(std::task::Waker::noop());
        match self.0.as_mut().poll_next(&mut nobody) {
            Poll::Ready(Some(Ok(bytes))) => Some(String::from_utf8(bytes.to_vec()).expect("UTF-8")),
            Poll::Ready(Some(Err(error))) => panic!("{error}"),
            Poll::Ready(None) => Some("the end".to_owned()),
            Poll::Pending => None,
        }
    }
}

const ID: &str = "id: 0000000000002000-7\n\n";

#[tokio::test]
async fn a_client_that_was_never_away_gets_no_page() {
    let app = with(home).await;
    let known = [(None, None), (None, Some(OURS)), (Some(OURS), Some(OLDER)), (Some(OURS), None)];
    for (told, rendered) in known {
        let mut tab = Tab::open(&app, told, rendered).await;
        assert_eq!(tab.read().as_deref(), Some(ID), "{told:?} {rendered:?}");
        assert_eq!(tab.read(), None, "it stays open");
    }
}

#[tokio::test]
async fn a_client_that_knows_an_older_server_gets_the_page_once() {
    let app = with(home).await;
    let known = [(Some(OLDER), Some(OLDER)), (None, Some(OLDER)), (Some("what?"), Some(OURS))];
    for (told, rendered) in known {
        let mut tab = Tab::open(&app, told, rendered).await;
        assert_data_eq!(
            tab.read().expect("the page"),
            str![[r#"
event: datastar-patch-elements
data: selector html
data: elements <!doctype html>
data: elements <html><body>new</body></html>
id: 0000000000002000-7


"#]]
        );
        assert_eq!(tab.read(), None, "it stays open");
    }
}

#[tokio::test]
async fn a_client_that_knows_a_newer_server_is_not_thrown_back() {
    let app = with(home).await;
    let mut tab = Tab::open(&app, Some(NEWER), None).await;
    assert_eq!(tab.read(), None);
    app.stop().await.expect("it stops");
    assert_eq!(tab.read().as_deref(), Some("the end"), "it finds the newer one");
}

#[test]
fn a_clock_that_was_set_back_does_not_make_a_server_new_for_ever() {
    assert_eq!(Client::of(Some(NEWER), OURS, 0x4000), Client::Ahead);
    assert_eq!(Client::of(Some(NEWER), OURS, 0x2fff), Client::Behind);
    assert_eq!(Client::of(Some("0000000000002000-8"), OURS, 0x4000), Client::Ahead);
    assert_eq!(Client::of(Some("-"), OURS, 0x4000), Client::Behind);
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams_and_sends_nobody_a_page() {
    let rendered = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&rendered);
    let app = with(async move || {
        *counter.lock().expect("no panic") += 1;
        home().await
    })
    .await;
    let mut open = Tab::open(&app, Some(OURS), None).await;
    assert_eq!(open.read().as_deref(), Some(ID));
    let mut unread = Tab::open(&app, Some(OLDER), None).await;
    assert_eq!(*rendered.lock().expect("no panic"), 1);
    let mut router = app.router();
    let stopping = Alive::new(crate::serve::Connection::new({
        let token = tokio_util::sync::CancellationToken::new();
        token.cancel();
        token
    }));
    app.stop().await.expect("it stops");
    assert_eq!(open.read().as_deref(), Some("the end"));
    assert_eq!(unread.read().as_deref(), Some("the end"), "not even what is ready to be sent");

    let mut request = Request::get("/dev").header("last-event-id", OLDER);
    request.extensions_mut().expect("a request").insert(stopping);
    let request = request.body(Body::empty()).expect("a request");
    let response = tower_service::Service::call(&mut router, request).await.expect("never fails");
    let mut late = Tab(Box::pin(response.into_body().into_data_stream()));
    assert_eq!(late.read().as_deref(), Some("the end"));
    assert_eq!(*rendered.lock().expect("no panic"), 1, "nothing is rendered for it");
}

#[tokio::test]
async fn nothing_happens_outside_of_development() {
    let bootstrap = async |app: &mut crate::App, _: &crate::Span| {
        app.route("/dev", stream(home, false, OURS));
        Ok(())
    };
    let app = testing::start(bootstrap).await.expect("it starts");
    let request = Request::get("/dev").header("last-event-id", OLDER).body(Body::empty());
    let response = app.request(request.expect("a request")).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert!(to_bytes(response.into_body(), 1).await.expect("nothing").is_empty());
}

#[tokio::test]
async fn the_page_is_asked_for_as_for_a_visit() {
    let page = async |Path(room): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap| {
        let seen: Vec<_> = ["accept", "cookie", "datastar-request", "last-event-id"]
            .map(|name| headers.get(name).and_then(|value| value.to_str().ok()))
            .into_iter()
            .flatten()
            .collect();
        let html = format!("<html>{room} {query:?} {seen:?}</html>");
        (AppendHeaders([(SET_COOKIE, "a=1"), (SET_COOKIE, "b=2")]), Html(html))
    };
    let bootstrap = async |app: &mut crate::App, _: &crate::Span| {
        app.route("/{room}/dev", stream(page, true, OURS));
        Ok(())
    };
    let app = testing::start(bootstrap).await.expect("it starts");
    let request = Request::get("/blue/dev?sort=up&generation=0-0&datastar=%7B%7D")
        .header(ACCEPT, "text/event-stream")
        .header(COOKIE, "who=me")
        .header("datastar-request", "true")
        .header("last-event-id", OLDER)
        .body(Body::empty());
    let response = app.request(request.expect("a request")).await;
    assert_eq!(response.headers().get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    let mut tab = Tab(Box::pin(response.into_body().into_data_stream()));
    let event = tab.read().expect("the page");
    let expected = r#"<html>blue Some("sort=up") ["text/html", "who=me"]</html>"#;
    assert!(event.contains(expected), "{event}");
}

#[tokio::test]
async fn what_is_no_page_is_not_sent_and_the_client_stays_behind() {
    let app = with(async || Redirect::to("/login")).await;
    let mut tab = Tab::open(&app, Some(OLDER), None).await;
    assert_eq!(tab.read(), None, "no page, and no id either");
}

#[tokio::test]
async fn a_page_is_understood_however_it_is_written() {
    let app = with(async || Html("<html>\r\n<body>one\rtwo\n\nthree")).await;
    let mut tab = Tab::open(&app, Some(OLDER), None).await;
    assert_data_eq!(
        tab.read().expect("the page"),
        str![[r#"
event: datastar-patch-elements
data: selector html
data: elements <html>
data: elements <body>one
data: elements two
data: elements 
data: elements three</html>
id: 0000000000002000-7


"#]]
    );
}

#[test]
fn the_attribute_says_all_that_the_client_needs() {
    let expression = expression_for("/dev", OURS);
    assert_data_eq!(
        attribute_of(&expression),
        str![[
            r#" data-init="@get('/dev?generation=0000000000002000-7', {retry: 'always', retryInterval: 50, retryMaxWait: 1000, retryMaxCount: Infinity, requestCancellation: 'cleanup', payload: {tab: Math.random()}})""#
        ]]
    );
    // Tests do not run under the tool.
    assert_eq!((attribute("/dev"), super::expression("/dev")), (String::new(), None));
    assert_eq!(mark(), "");
}

#[test]
fn no_path_breaks_out_of_the_attribute() {
    let expression = expression_for("/a b'\"<>&\\`${x}@get(é/dev?a=1&b=2", OURS);
    assert!(
        expression.starts_with(
            "@get('/a%20b%27%22%3C%3E&%5C%60%24%7Bx%7D%40get%28%C3%A9/dev?a=1&b=2&generation="
        ),
        "{expression}"
    );
    assert!(attribute_of(&expression).contains("?a=1&amp;b=2&amp;generation="));
}

#[test]
fn a_generation_has_the_time_of_its_start_in_it() {
    let one = generation();
    assert_eq!(one, generation());
    assert_eq!(Client::of(Some(one), "0000000000000001-1", nanoseconds()), Client::Ahead);
    assert_eq!(Client::of(Some("0000000000000001-1"), one, nanoseconds()), Client::Behind);
    assert!(one.ends_with(&format!("-{:x}", std::process::id())));
}
