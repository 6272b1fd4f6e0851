//! Swaps under load: nobody is refused, and a server that stops gracefully drops nobody's request.
//!
//! `STARIO_SWAPS` says how many swaps each test makes; `make swaps` makes a hundred and shows what
//! was counted.

#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use support::load::{Connections, Counts, Load, Target};
use support::{Project, Run, eventually, wait_until_nothing_is_left};

/// How many clients ask.
const CLIENTS: usize = 8;

/// How many swaps.
fn swaps() -> usize {
    std::env::var("STARIO_SWAPS").map_or(15, |text| text.parse().expect("STARIO_SWAPS is a number"))
}

/// Swaps under load. `next` has the server of that version built and started.
fn under_load(
    run: &mut Run,
    target: &Target,
    connections: Connections,
    next: impl Fn(&str),
) -> Counts {
    let files = open_files(run);
    let load = Load::start(target, connections, CLIENTS);
    load.wait_for_answers(100);
    let mut versions = Vec::new();
    for number in 1..=swaps() {
        let version = format!("v{number}");
        next(&version);
        // Beside the old one, which answers meanwhile.
        let spawned = run.wait_for("server-spawned");
        assert!(spawned["beside"].is_u64(), "{spawned}\n{}", run.story());
        let generation = &spawned["generation"];
        run.wait_until("its turn", |it| {
            it["event"] == "server-listening" && it["generation"] == *generation
        });
        load.wait_for_version(&version);
        versions.push(version);
    }
    load.wait_for_answers(100);
    let counts = load.stop();
    println!("{connections:?}, {} swaps: {counts}", swaps());
    for version in &versions {
        assert!(counts.versions.contains_key(version), "{version}: {counts}\n{}", run.story());
    }
    assert_eq!(counts.refused, 0, "{counts}\n{}", run.story());
    // It keeps the executables of the two servers before the present one.
    eventually("the tool has no more files open than before", || open_files(run) <= files + 2);
    counts
}

/// How many files the tool has open.
fn open_files(run: &Run) -> usize {
    let all = fs::read_dir(format!("/proc/{}/fd", run.pid()));
    all.expect("it lives").count()
}

/// Nothing at all went wrong.
fn all_is_answered(counts: &Counts, run: &Run) {
    assert_eq!(counts.unanswered(), 0, "{counts}\n{}", run.story());
    assert_eq!(counts.closed_unannounced, 0, "{counts}\n{}", run.story());
    assert_eq!(run.count("server-killed"), 0, "{}", run.story());
}

// ---- a server without dependencies ----

fn ready_under_load(unix_socket: bool, connections: Connections) {
    let project = Project::copy("servers");
    project.write("way", "good one");
    let socket = project.beside("socket");
    let mut run = if unix_socket {
        let path = socket.to_str().expect("a plain name");
        project.watch(["ready", "--listen", "inherit", "--unix-socket", path])
    } else {
        project.watch(["ready", "--listen", "inherit"])
    };
    let address = run.wait_for("server-listening");
    let target =
        if unix_socket { Target::Unix(socket) } else { Target::Tcp(support::address(&address)) };
    let next = |version: &str| {
        if version == "v7" {
            // Among those that are cheap, one that is compiled.
            project.edit("src/lib.rs", "\"one\"", "\"v7\"");
            project.write("way", "good -");
        } else {
            project.write("way", format!("good {version}"));
        }
    };
    run.rest();
    let counts = under_load(&mut run, &target, connections, next);
    all_is_answered(&counts, &run);
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(143));
    wait_until_nothing_is_left(&project.root);
}

#[test]
fn each_fresh_connection_is_taken_and_answered() {
    ready_under_load(false, Connections::Fresh);
}

#[test]
fn each_request_on_a_kept_connection_is_answered() {
    ready_under_load(false, Connections::KeptAlive);
}

#[test]
fn each_fresh_connection_to_a_unix_socket_is_taken_and_answered() {
    ready_under_load(true, Connections::Fresh);
}

#[test]
fn each_request_on_a_kept_connection_to_a_unix_socket_is_answered() {
    ready_under_load(true, Connections::KeptAlive);
}

// ---- an axum server ----

/// Takes what this project left there out of the target folder that all runs of this test share:
/// what stays are the dependencies.
struct Cleaned<'a>(&'a Project, &'a Path);

impl Drop for Cleaned<'_> {
    fn drop(&mut self) {
        let _ = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
            .args(["clean", "--quiet", "--package", "axum-listenfd", "--target-dir"])
            .arg(self.1)
            .current_dir(&self.0.root)
            .status();
    }
}

#[test]
fn an_axum_server_on_the_inherited_socket_refuses_nobody() {
    let project = Project::copy("axum-listenfd");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axum-listenfd");
    let _cleaned = Cleaned(&project, &target);
    let mut tool = project.tool(["watch", "main:bootstrap", "--port", "0", "--locked"]);
    tool.command.arg("--target-dir").arg(&target);
    let mut run = tool.start();
    let address = Target::Tcp(run.serving());
    for connections in [Connections::Fresh, Connections::KeptAlive] {
        run.rest();
        let next = |version: &str| project.write("greeting.txt", format!("{version}\n"));
        let counts = under_load(&mut run, &address, connections, next);
        // Hyper's graceful shutdown closes a connection that has been accepted and has not sent its
        // request yet, and one that idles between two: the only requests that may get lost.
        assert_eq!(counts.unanswered(), counts.dropped, "{counts}\n{}", run.story());
        project.write("greeting.txt", "one\n");
        run.wait_for("server-listening");
    }
    assert_eq!(run.count("server-killed"), 0, "{}", run.story());
}

// ---- the clients themselves ----

/// Answers one connection after the other as told, the last one for ever.
fn answering(ways: &'static [fn(TcpStream)]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            ways[number.min(ways.len() - 1)](stream);
        }
    });
    address
}

/// Reads a request and answers it with this.
fn say(stream: &mut TcpStream, words: &str) {
    let mut buffer = [0; 1024];
    if stream.read(&mut buffer).is_ok_and(|count| count > 0) {
        let _ = stream.write_all(words.as_bytes());
    }
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none";
const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntwo";

#[test]
fn the_clients_tell_what_becomes_of_a_request() {
    let address = answering(&[
        |mut stream| say(&mut stream, ""),
        |mut stream| say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\non"),
        |mut stream| say(&mut stream, "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
        |mut stream| say(&mut stream, "what?\r\n\r\n"),
        |mut stream| say(&mut stream, LAST),
    ]);
    let load = Load::start(&Target::Tcp(address), Connections::Fresh, 1);
    load.wait_for_answers(3);
    let counts = load.stop();
    let wrong = [counts.dropped, counts.cut, counts.failed, counts.strange, counts.refused];
    assert_eq!(wrong, [1, 1, 1, 1, 0], "{counts}");
    assert_eq!(counts.unanswered(), 4, "{counts}");
    assert_eq!(counts.versions.keys().collect::<Vec<_>>(), ["two"]);
    assert_eq!(counts.connections, counts.answered + 4, "{counts}");
}

#[test]
fn the_clients_tell_how_a_kept_connection_ended() {
    let address = answering(&[
        // In order.
        |mut stream| {
            say(&mut stream, GOOD);
            say(&mut stream, LAST);
        },
        // A request too many.
        |mut stream| {
            say(&mut stream, GOOD);
            say(&mut stream, "");
        },
        // Without a word.
        |mut stream| say(&mut stream, GOOD),
        |mut stream| say(&mut stream, LAST),
    ]);
    let load = Load::start(&Target::Tcp(address), Connections::KeptAlive, 1);
    load.wait_for_answers(5);
    let counts = load.stop();
    // The client may ask again before it can see the third one's end.
    assert_eq!(counts.dropped + counts.closed_unannounced, 2, "{counts}");
    assert!(counts.dropped >= 1 && counts.dropped == counts.unanswered(), "{counts}");
    assert_eq!(counts.closed, counts.versions["two"], "{counts}");
    assert_eq!(counts.versions["one"], 3, "{counts}");
}

#[test]
fn the_clients_tell_when_nobody_is_there() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let load = Load::start(&Target::Tcp(gone), Connections::Fresh, 1);
    eventually("some time", {
        let end = std::time::Instant::now() + std::time::Duration::from_millis(50);
        move || std::time::Instant::now() > end
    });
    let counts = load.stop();
    assert!(counts.refused > 0 && counts.refused == counts.unanswered(), "{counts}");
}
