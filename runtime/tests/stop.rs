//! The stop: what is answered, what is ended, what is closed, over real sockets.

#![cfg(unix)]

mod support;

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use snapbox::assert_data_eq;
use support::{Client, Server, connect, get, inheriting, setup};

/// How late a request may come: much less than the linger.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// A server with a grace that no test waits for.
fn server() -> (Server, std::net::SocketAddr) {
    let mut server = setup("bootstrap").env("STARIO_GRACE", "60").ready();
    let address = server.address();
    (server, address)
}

/// Its end, and how long that took.
fn ended(server: Server, begun: Instant) -> Duration {
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.text());
    assert!(ended.text().ends_with("second hook\nfirst hook"), "{}", ended.text());
    begun.elapsed()
}

#[test]
fn a_request_in_flight_is_answered() {
    let (mut server, address) = server();
    let mut client = connect(address);
    client.get("/slow/1500");
    server.says("slow begins");
    server.stop();
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.body), (200, "slow"));
    assert!(answer.closes(), "{answer:?}");
    client.closed();
    ended(server, Instant::now());
}

#[test]
fn a_connection_that_has_not_asked_yet_is_answered() {
    let (mut server, address) = server();
    let mut client = connect(address);
    // It has been accepted when a later one is answered.
    assert_eq!(get(address, "/").status, 200);
    server.stop();
    thread::sleep(ON_ITS_WAY);
    client.get("/");
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.body), (200, "Hello"));
    assert!(answer.closes(), "{answer:?}");
    client.closed();
    ended(server, Instant::now());
}

#[test]
fn a_connection_that_idles_may_ask_once_more() {
    let (mut server, address) = server();
    let mut client = connect(address);
    client.get("/");
    assert!(!client.answer().closes());
    server.stop();
    thread::sleep(ON_ITS_WAY);
    client.get("/");
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.body), (200, "Hello"));
    assert!(answer.closes(), "{answer:?}");
    client.closed();
    ended(server, Instant::now());
}

#[test]
fn connections_that_stay_quiet_are_closed_after_the_linger() {
    let (mut server, address) = server();
    let mut silent = connect(address);
    let mut idle = connect(address);
    idle.get("/");
    assert_eq!(idle.answer().status, 200);
    let begun = Instant::now();
    server.stop();
    silent.closed();
    idle.closed();
    let took = ended(server, begun);
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn half_a_request_counts_as_in_flight() {
    // On a fresh connection, and on one that was answered before.
    for used in [false, true] {
        let (mut server, address) = server();
        let mut client = connect(address);
        if used {
            client.get("/");
            assert_eq!(client.answer().status, 200);
        }
        client.send("POST /echo HTTP/1.1\r\nhost: te");
        assert_eq!(get(address, "/").status, 200);
        server.stop();
        // Well beyond the linger.
        let mut witness = connect_until_refused(address);
        thread::sleep(Duration::from_millis(1200));
        witness.clear();
        client.send("st\r\ncontent-length: 4\r\n\r\nba");
        thread::sleep(Duration::from_millis(700));
        client.send("ck");
        let answer = client.answer();
        assert_eq!((answer.status, &*answer.body), (200, "back"));
        assert!(answer.closes(), "{answer:?}");
        client.closed();
        ended(server, Instant::now());
    }
}

/// Connects until nobody listens any more.
fn connect_until_refused(address: std::net::SocketAddr) -> Vec<std::net::TcpStream> {
    let mut accepted = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect(address) {
        accepted.push(stream);
    }
    accepted
}

#[test]
fn a_response_that_began_before_ends_as_it_would() {
    let (mut server, address) = server();
    let mut client = connect(address);
    client.get("/drip");
    let head = client.head();
    assert!(!head.contains("connection: close"), "{head}");
    server.stop();
    assert_eq!(client.body(&head), "first last");
    // Its client has not heard that the server stops, and may ask once more.
    client.get("/");
    let answer = client.answer();
    assert!(answer.closes(), "{answer:?}");
    client.closed();
    ended(server, Instant::now());
}

#[test]
fn an_event_stream_ends_at_once_and_its_connection_too() {
    let (mut server, address) = server();
    let mut client = connect(address);
    client.get("/events");
    let head = client.head();
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    server.says("sent 2");
    let mut idle = connect(address);
    idle.get("/");
    assert_eq!(idle.answer().status, 200);
    let lingers = thread::spawn(move || {
        idle.closed();
        Instant::now()
    });
    server.stop();
    let body = client.body(&head);
    assert!(body.starts_with("data: 0\n\ndata: 1\n\n"), "{body}");
    client.closed();
    let closed = Instant::now();
    let lingered = lingers.join().unwrap().saturating_duration_since(closed);
    assert!(lingered > Duration::from_millis(100), "it waits as long as others: {lingered:?}");
    let ended = server.ended();
    assert!(ended.log.contains(&"events dropped".to_owned()), "{:?}", ended.log);
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn an_event_stream_whose_client_leaves_is_dropped() {
    let (mut server, address) = server();
    let mut client = connect(address);
    client.get("/events");
    client.head();
    drop(client);
    server.says("events dropped");
}

#[test]
fn a_handler_that_hangs_is_cut_at_the_deadline() {
    let mut server = setup("bootstrap").env("STARIO_GRACE", "6").ready();
    let address = server.address();
    let mut client = connect(address);
    client.get("/hang");
    server.says("hang begins");
    let begun = Instant::now();
    server.stop();
    client.closed();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(5300), "{took:?}");
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(0));
    assert_data_eq!(
        ended.text(),
        snapbox::str![[r#"
...
hang dropped
second hook
first hook
warning: dropped after [..] s (STARIO_GRACE): connections 1, background tasks 0
"#]]
    );
}

#[test]
fn handlers_that_block_every_thread_do_not_outlive_the_grace() {
    let setup = setup("bootstrap").env("STARIO_GRACE", "0.5").env("TOKIO_WORKER_THREADS", "1");
    let mut server = setup.ready();
    let address = server.address();
    let mut client = connect(address);
    client.get("/block");
    server.says("block begins");
    server.signal(Signal::TERM);
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.text().ends_with("error: the stop takes longer than STARIO_GRACE; ending now"),
        "{}",
        ended.text()
    );
}

/// Clients that ask without a pause, until the work is done. Its result outlives them.
fn under_load<T>(ask: impl Fn(&AtomicUsize) + Sync, work: impl FnOnce(&dyn Fn()) -> T) -> T {
    let answered = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    ask(&answered);
                }
            });
        }
        // Also where the work fails.
        let _done = OnDrop(&done);
        work(&|| {
            let enough = answered.load(Ordering::Relaxed) + 500;
            let end = Instant::now() + support::PATIENCE;
            while answered.load(Ordering::Relaxed) < enough {
                assert!(Instant::now() < end, "nobody answers any more");
                thread::yield_now();
            }
        })
    })
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One server after the other on a socket that they share, the next one ready before each stops.
fn swaps(listener: &std::net::TcpListener, answers: &dyn Fn()) -> Server {
    let start =
        || inheriting(vec![listener.try_clone().expect("a descriptor").into()], "$$").ready();
    let mut server = start();
    for _ in 0..5 {
        answers();
        let next = start();
        server.stop();
        answers();
        ended(server, Instant::now());
        server = next;
    }
    answers();
    server
}

#[test]
fn swaps_let_no_fresh_connection_down() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ask = |answered: &AtomicUsize| {
        let answer = get(address, "/");
        assert_eq!((answer.status, &*answer.body), (200, "Hello"));
        answered.fetch_add(1, Ordering::Relaxed);
    };
    drop(under_load(ask, |answers| swaps(&listener, answers)));
}

#[test]
fn swaps_let_no_kept_connection_down() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ask = |answered: &AtomicUsize| {
        let mut client = connect(address);
        // Until the server says that it is the last one, or for so long that the test can end.
        for _ in 0..1000 {
            client.get("/");
            let answer = client.answer();
            assert_eq!((answer.status, &*answer.body), (200, "Hello"));
            answered.fetch_add(1, Ordering::Relaxed);
            if answer.closes() {
                break;
            }
        }
    };
    drop(under_load(ask, |answers| swaps(&listener, answers)));
}

#[test]
fn who_connected_before_the_stop_is_answered() {
    // Once the file is gone nobody can connect, so everybody who did counts.
    let setup = setup("bootstrap").env("STARIO_GRACE", "60");
    let path = setup.path("socket");
    let mut server = setup.env("STARIO_UNIX_SOCKET", &path).ready();
    let ask = |answered: &AtomicUsize| {
        let stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => panic!("{error}"),
        };
        let mut client = Client::new(stream);
        client.get("/");
        let answer = client.answer();
        assert_eq!((answer.status, &*answer.body), (200, "Hello"));
        answered.fetch_add(1, Ordering::Relaxed);
    };
    under_load(ask, |answers| {
        answers();
        server.stop();
        ended(server, Instant::now());
    });
}
