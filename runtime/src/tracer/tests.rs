//! Both outputs, by a subscriber of each test's own, with clocks that tick a millisecond at each
//! look.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use snapbox::{assert_data_eq, str};
use tracing::{Instrument as _, debug, error, info, info_span, warn};

use super::layer::Moment;
use super::*;

/// A writer that hands each piece over.
struct Pieces(Sender<String>);

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8(bytes.to_vec()).expect("UTF-8"));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sink() -> (Sink, Receiver<String>) {
    let (sender, pieces) = channel();
    (Sink::new(Pieces(sender)), pieces)
}

thread_local! {
    static TICKS: Cell<u64> = const { Cell::new(0) };
}

/// Each look at the clocks of this thread is a millisecond after the last.
fn ticking() -> Moment {
    static BASE: OnceLock<Instant> = OnceLock::new();
    let time = Duration::from_millis(TICKS.replace(TICKS.get() + 1));
    Moment {
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + time,
        steady: *BASE.get_or_init(Instant::now) + time,
    }
}

const FOR_EVER: Duration = Duration::from_secs(3600);

fn tree(colours: bool, patience: Duration) -> (impl Subscriber + Send + Sync, Receiver<String>) {
    let (sink, pieces) = sink();
    let tty = tty::Tty::new(sink, colours, patience);
    TICKS.set(0);
    (subscriber(tty, filter(None).expect("the default"), ticking), pieces)
}

fn tty(work: impl FnOnce()) -> String {
    let (subscriber, pieces) = tree(false, FOR_EVER);
    tracing::subscriber::with_default(subscriber, work);
    pieces.try_iter().collect()
}

fn lines(work: impl FnOnce()) -> String {
    TICKS.set(0);
    let (sink, pieces) = sink();
    let subscriber = subscriber(json::Json::new(sink), filter(None).expect("the default"), ticking);
    tracing::subscriber::with_default(subscriber, work);
    pieces.try_iter().collect()
}

fn some_work() {
    let root = info_span!("bootstrap", tiles = 25, name = tracing::field::Empty).entered();
    info!(port = 8000, "listening");
    {
        let _inner = info_span!("connect", to = "a database", tls = true).entered();
        warn!(attempt = 1_u8, share = 0.5, "no answer yet");
        debug!("not shown");
    }
    root.record("name", "board");
    info!(target: "other", "ready");
}

#[test]
fn a_tree_for_people() {
    assert_data_eq!(
        tty(some_work),
        str![[r#"
01:46:40.000Z bootstrap 6.0 ms tiles=25 name=board
  INFO stario::tracer::tests: listening port=8000
  connect 2.0 ms to="a database" tls=true
    WARN stario::tracer::tests: no answer yet attempt=1 share=0.5
  INFO other: ready

"#]]
    );
}

#[test]
fn an_object_a_line_for_programs() {
    assert_data_eq!(
        lines(some_work),
        str![[r#"
{"event":"listening","level":"info","target":"stario::tracer::tests","time":1000000000001,"parent":1,"fields":{"port":8000}}
{"event":"no answer yet","level":"warn","target":"stario::tracer::tests","time":1000000000003,"parent":2,"fields":{"attempt":1,"share":0.5}}
{"span":"connect","level":"info","target":"stario::tracer::tests","time":1000000000002,"duration":2.0,"id":2,"parent":1,"fields":{"to":"a database","tls":true}}
{"event":"ready","level":"info","target":"other","time":1000000000005,"parent":1,"fields":{}}
{"span":"bootstrap","level":"info","target":"stario::tracer::tests","time":1000000000000,"duration":6.0,"id":1,"parent":null,"fields":{"tiles":25,"name":"board"}}

"#]]
    );
}

#[test]
fn what_is_said_outside_of_spans_is_shown_at_once() {
    assert_data_eq!(
        tty(|| info!("alone")),
        str![[r#"
01:46:40.000Z INFO stario::tracer::tests: alone

"#]]
    );
}

#[test]
fn no_value_reaches_a_terminal_raw() {
    let evil = || {
        let _span = info_span!("s\x1b[1m", field = "\x1b]0;title\x07 \"x\"").entered();
        info!(shown = %"a\u{9b}31m", debug = ?"\x1b", "one\ntwo\r\u{202e}three\x7f");
    };
    for out in [tty(evil), lines(evil)] {
        let raw: Vec<_> = out.chars().filter(|it| text::acts(*it) && *it != '\n').collect();
        assert!(raw.is_empty(), "{raw:?} in {out}");
    }
    assert_eq!(tty(evil).lines().count(), 2, "a message cannot make lines of its own");
    for line in lines(evil).lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
    let said: serde_json::Value =
        serde_json::from_str(lines(evil).lines().next().expect("the event")).expect("JSON");
    assert_eq!(said["event"], "one\ntwo\r\u{202e}three\x7f", "a program reads what was said");
}

#[test]
fn an_error_says_what_caused_it() {
    #[derive(Debug)]
    struct Outer(io::Error);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no board")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let outer = Outer(io::Error::other("disk on fire"));
    let out = lines(|| error!(error = &outer as &dyn std::error::Error, "failed"));
    assert!(out.contains(r#""fields":{"error":"no board: disk on fire"}"#), "{out}");
}

#[test]
fn what_cannot_be_a_number_in_json_is_text() {
    let out = lines(|| info!(infinite = f64::INFINITY, big = u128::MAX, "numbers"));
    assert!(
        out.contains(r#"{"infinite":"inf","big":"340282366920938463463374607431768211455"}"#),
        "{out}"
    );
}

#[test]
fn the_newest_value_of_a_field_counts() {
    let out = lines(|| {
        let span = info_span!("work", left = 2);
        span.record("left", 1);
        span.record("left", 0);
    });
    assert!(out.contains(r#""fields":{"left":0}"#), "{out}");
}

#[test]
fn a_value_that_says_something_itself_holds_nothing_up() {
    struct Chatty;
    impl fmt::Debug for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            info!("while being written");
            f.write_str("chatty")
        }
    }
    let out = tty(|| {
        let span = info_span!("work", of = tracing::field::Empty).entered();
        span.record("of", tracing::field::debug(Chatty));
    });
    assert!(out.contains("of=chatty\n  INFO"), "{out}");
}

#[test]
fn colours_come_only_where_they_are_wanted() {
    let (subscriber, pieces) = tree(true, FOR_EVER);
    tracing::subscriber::with_default(subscriber, || warn!("careful"));
    let out: String = pieces.try_iter().collect();
    assert!(out.contains("\x1b[33mWARN\x1b[0m"), "{out:?}");
    assert!(!tty(|| warn!("careful")).contains('\x1b'));
}

#[test]
fn what_a_long_span_says_is_not_held_back_for_ever() {
    let (subscriber, pieces) = tree(false, Duration::from_millis(20));
    tracing::subscriber::with_default(subscriber, || {
        let _stream = info_span!("stream", room = "blue").entered();
        let _inner = info_span!("inner").entered();
        info!("first");
        let piece = pieces.recv_timeout(Duration::from_secs(60)).expect("it comes by itself");
        assert!(
            piece.ends_with(" stream › inner › INFO stario::tracer::tests: first\n"),
            "{piece}"
        );
        info!("second");
        let piece = pieces.try_recv().expect("from now on at once");
        assert!(
            piece.ends_with(" stream › inner › INFO stario::tracer::tests: second\n"),
            "{piece}"
        );
    });
    let rest: Vec<_> = pieces.try_iter().collect();
    assert_eq!(rest.len(), 2, "each span, and nothing twice: {rest:?}");
    assert!(rest[0].contains(" stream › inner "), "{rest:?}");
    assert!(rest[1].contains("stream ") && rest[1].ends_with(" room=blue\n"), "{rest:?}");
}

#[test]
fn what_is_held_back_is_shown_at_the_end_of_the_process() {
    let (sink, pieces) = sink();
    let output = tty::Tty::new(sink, false, FOR_EVER);
    let guard = Guard(Some(output.held()));
    let subscriber = subscriber(output, filter(None).expect("the default"), ticking);
    tracing::subscriber::with_default(subscriber, || {
        let span = info_span!("never over").entered();
        info!("said");
        std::mem::forget(span);
        drop(guard);
        let piece = pieces.try_recv().expect("shown");
        assert!(piece.ends_with(" never over › INFO stario::tracer::tests: said\n"), "{piece}");
    });
}

#[tokio::test]
async fn spans_of_other_tasks_are_below_the_one_that_started_them() {
    let (subscriber, pieces) = tree(false, FOR_EVER);
    // All tasks of this test run in this thread.
    let _default = tracing::subscriber::set_default(subscriber);
    let tasks = info_span!("parent").in_scope(|| {
        ["left", "right"].map(|name| {
            tokio::spawn(async move { info!("in {name}") }.instrument(info_span!("task", name)))
        })
    });
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_data_eq!(
        pieces.try_iter().collect::<String>(),
        str![[r#"
01:46:40.000Z parent 3.0 ms
  task 5.0 ms name=left
    INFO stario::tracer::tests: in left
  task 7.0 ms name=right
    INFO stario::tracer::tests: in right

"#]]
    );
}

/// What a server with these requests' spans prints for one request.
async fn request(method: &str, path: &str) -> String {
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/tiles/{id}", get(async || info!("looking it up")))
        .route("/broken", get(async || axum::http::StatusCode::INTERNAL_SERVER_ERROR))
        .route("/never", get(std::future::pending::<()>));
    let mut router = requests::layer(router);
    let request = Request::builder().method(method).uri(path).body(Body::empty());
    let (subscriber, pieces) = tree(false, FOR_EVER);
    let answer = tower_service::Service::call(&mut router, request.expect("a request"));
    // All of it runs in this thread.
    let _default = tracing::subscriber::set_default(subscriber);
    let _ = tokio::time::timeout(Duration::from_millis(50), answer).await;
    pieces.try_iter().collect()
}

#[tokio::test]
async fn a_request_is_shown_by_its_route() {
    assert_data_eq!(
        request("GET", "/?secret=1").await,
        str![[r#"
01:46:40.000Z GET / 200 2.0 ms

"#]]
    );
    assert_data_eq!(
        request("GET", "/tiles/3").await,
        str![[r#"
01:46:40.000Z GET /tiles/{id} 200 3.0 ms path=/tiles/3
  INFO stario::tracer::tests: looking it up

"#]]
    );
    assert_data_eq!(
        request("GET", "/nowhere").await,
        str![[r#"
01:46:40.000Z GET /nowhere 404 2.0 ms

"#]]
    );
    assert_data_eq!(
        request("GET", "/broken").await,
        str![[r#"
01:46:40.000Z GET /broken 500 2.0 ms

"#]]
    );
    assert_data_eq!(
        request("GET", "/never").await,
        str![[r#"
01:46:40.000Z GET /never left unanswered 3.0 ms

"#]]
    );
}

#[test]
fn the_filter_is_targets_and_levels() {
    assert!(filter(Some(" ")).is_ok());
    assert!(filter(Some("warn,app=debug,app::board=off")).is_ok());
    let error = filter(Some("app=loud=er")).expect_err("nonsense");
    assert!(error.starts_with("RUST_LOG is \"app=loud=er\", but it has to be"), "{error}");
}
