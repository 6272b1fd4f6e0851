//! Servers that know nothing of the tool, swapped under load: as their frameworks' own examples have
//! them, they refuse nobody and drop nothing.
//!
//! `STARIO_SWAPS` says how many swaps each makes; `make adopt` makes fifty and shows a table.

#![cfg(target_os = "linux")]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::sync::Once;

use serde_json::Value;
use support::load::{Connections, Counts, Load, Target};
use support::{
    Project, Run, Tool, eventually, lives, needs, unchanged, wait_until_nothing_is_left,
};

/// How many clients ask.
const CLIENTS: usize = 8;

/// How many swaps.
fn swaps() -> usize {
    std::env::var("STARIO_SWAPS").map_or(3, |text| text.parse().expect("STARIO_SWAPS is a number"))
}

/// A line of the table; its head before the first one.
fn tell(server: &str, connections: Connections, counts: &Counts) {
    static HEAD: Once = Once::new();
    HEAD.call_once(|| {
        println!(
            "\n{:16} {:9} {:>5} {:>8} {:>8} {:>10} {:>7} {:>11}",
            "server", "clients", "swaps", "requests", "refused", "unanswered", "closed", "slowest"
        );
    });
    println!(
        "{server:16} {:9} {:>5} {:>8} {:>8} {:>10} {:>7} {:>8.1} ms",
        format!("{connections:?}"),
        swaps(),
        counts.answered + counts.unanswered(),
        counts.refused,
        counts.unanswered() - counts.refused,
        counts.closed_unannounced,
        counts.slowest.as_secs_f64() * 1e3,
    );
}

/// The generation that an event is about.
fn generation(event: &Value) -> u64 {
    event["generation"].as_u64().expect("a generation")
}

/// Swaps the server so often, under load on each of these targets. What was counted on each.
fn under_load(
    project: &Project,
    run: &mut Run,
    targets: &[Target],
    connections: Connections,
) -> Vec<Counts> {
    let clients = CLIENTS / targets.len();
    let loads: Vec<Load> =
        targets.iter().map(|target| Load::start(target, connections, clients)).collect();
    for load in &loads {
        load.wait_for_answers(20);
    }
    let mut old = run.log.iter().rfind(|it| it["event"] == "server-spawned").cloned();
    for number in 1..=swaps() {
        let version = format!("{connections:?}-{number}");
        project.write("version", &version);
        let spawned = run.wait_for("server-spawned");
        assert_eq!(spawned["listen"], "adopt", "{}", run.story());
        let before = old.replace(spawned.clone()).expect("one has served before");
        // Beside the old one, which answers meanwhile.
        assert_eq!(spawned["beside"], before["generation"], "{}", run.story());
        for load in &loads {
            load.wait_for_version(&version);
        }
        let before = (generation(&before), before["pid"].as_u64().expect("a process id"));
        run.wait_until("the old one's end", |it| {
            it["event"] == "server-exited" && generation(it) == before.0
        });
        let pid = u32::try_from(before.1).expect("a process id");
        eventually("the old process is gone", || !lives(pid));
    }
    for load in &loads {
        load.wait_for_answers(20);
    }
    loads.into_iter().map(Load::stop).collect()
}

/// Ends the tool; nothing is left.
fn end(project: &Project, mut run: Run) {
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(143), "{}", run.story());
    wait_until_nothing_is_left(&project.root);
}

/// Swaps a server that runs; what was counted is shown, and is as it should be. What was counted on
/// each target, in each way that clients come.
fn swapped(
    server: &str,
    (project, mut run): (Project, Run),
    targets: &[Target],
    ways: &[Connections],
) -> Vec<Vec<Counts>> {
    let mut all = Vec::new();
    for &connections in ways {
        run.rest();
        let counted = under_load(&project, &mut run, targets, connections);
        for counts in &counted {
            tell(server, connections, counts);
            assert_eq!(counts.refused, 0, "{counts}\n{}", run.story());
            if connections == Connections::Fresh {
                assert_eq!(counts.given_back, 0, "{counts}\n{}", run.story());
            }
            assert_eq!(counts.unanswered(), 0, "{counts}\n{}", run.story());
        }
        all.push(counted);
    }
    assert_eq!(run.count("server-killed"), 0, "{}", run.story());
    assert_eq!(run.count("server-not-adopted"), 0, "{}", run.story());
    end(&project, run);
    all
}

/// Starts it; it listens.
fn started(project: Project, tool: Tool) -> (Project, Run) {
    let mut run = tool.start();
    run.wait_for("server-listening");
    (project, run)
}

/// Each way that clients come.
const ALL: &[Connections] = &[Connections::Fresh, Connections::KeptAlive];

/// A server on one TCP address.
fn on_tcp(server: &str, ways: &[Connections]) {
    let project = Project::empty();
    let address = unchanged::address();
    let tool = unchanged::tool(&project, server, &address.to_string());
    swapped(server, started(project, tool), &[Target::Tcp(address)], ways);
}

#[test]
fn axum() {
    on_tcp("axum-plain", ALL);
}

#[test]
fn axum_that_stops_gracefully() {
    on_tcp("axum-graceful", ALL);
}

#[test]
fn actix() {
    on_tcp("actix-hello", ALL);
}

#[test]
fn rocket() {
    let project = Project::empty();
    let address = unchanged::address();
    let tool = unchanged::tool(&project, "rocket-hello", "")
        .env("ROCKET_ADDRESS", address.ip().to_string())
        .env("ROCKET_PORT", address.port().to_string())
        .env("ROCKET_LOG_LEVEL", "critical");
    swapped("rocket-hello", started(project, tool), &[Target::Tcp(address)], ALL);
}

#[test]
fn warp() {
    on_tcp("warp-hello", ALL);
}

#[test]
fn poem() {
    on_tcp("poem-hello", ALL);
}

#[test]
fn hyper() {
    on_tcp("hyper-hello", ALL);
}

#[test]
fn hyper_that_stops_gracefully() {
    on_tcp("hyper-graceful", ALL);
}

#[test]
fn tiny_http() {
    // Its connections have two descriptors each: nobody knows when it is done with both.
    on_tcp("tiny-threads", &[Connections::Fresh]);
}

#[test]
fn the_standard_library() {
    on_tcp("std-threads", ALL);
}

#[test]
fn tonic() {
    let project = Project::empty();
    let address = unchanged::address();
    let tool = unchanged::tool(&project, "tonic-hello", &address.to_string());
    swapped("tonic-hello", started(project, tool), &[Target::Grpc(address)], ALL);
}

#[test]
fn axum_on_two_ports() {
    let project = Project::empty();
    let (address, admin) = (unchanged::address(), unchanged::address());
    let tool =
        unchanged::tool(&project, "axum-two", &address.to_string()).env("ADMIN", admin.to_string());
    let targets = [Target::Tcp(address), Target::Tcp(admin)];
    for counted in swapped("axum-two", started(project, tool), &targets, ALL) {
        // On kept connections, too, which go from one server to the next.
        for (counts, application) in counted.iter().zip(["", "of admin"]) {
            let answered: Vec<_> = counts.applications.keys().collect();
            assert_eq!(answered, [application], "{counts}");
        }
    }
}

#[test]
fn axum_on_a_unix_socket() {
    let project = Project::empty();
    let path = project.beside("sockets").join("axum");
    let tool = unchanged::tool(&project, "axum-unix", path.to_str().expect("a plain name"));
    swapped("axum-unix", started(project, tool), &[Target::Unix(path.clone())], ALL);
    assert!(!path.exists(), "the last one has removed it, as it would without us");
}

#[test]
fn axum_on_port_zero() {
    let project = Project::empty();
    let tool = unchanged::tool(&project, "axum-zero", "");
    let mut run = tool.start();
    // The same one, time and again.
    let address = run.serving();
    swapped("axum-zero", (project, run), &[Target::Tcp(address)], ALL);
}

#[test]
fn axum_on_every_address() {
    if !needs("IPv6", TcpListener::bind("[::1]:0").is_ok()) {
        return;
    }
    let project = Project::empty();
    let port = unchanged::port();
    let tool = unchanged::tool(&project, "axum-v6", &format!("[::]:{port}"));
    let targets = ["127.0.0.1", "::1"].map(|ip| {
        let ip = ip.parse().expect("an address");
        Target::Tcp(SocketAddr::new(ip, port))
    });
    swapped("axum-v6", started(project, tool), &targets, ALL);
}

// ---- that the clients would see it ----

/// What is refused while the old one is stopped first is counted, and nobody else is.
fn stopped_first(target: impl Fn(SocketAddr) -> Target) {
    let project = Project::empty();
    let address = unchanged::address();
    let server =
        if matches!(target(address), Target::Grpc(_)) { "tonic-hello" } else { "axum-plain" };
    let mut tool = unchanged::tool(&project, server, &address.to_string());
    tool.command.args(["--listen", "direct"]);
    let mut run = tool.start();
    run.wait_for("server-listening");
    run.rest();
    let load = Load::start(&target(address), Connections::Fresh, CLIENTS);
    load.wait_for_answers(20);
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(143), "{}", run.story());
    load.wait_for_refusal();
    let counts = load.stop();
    assert!(counts.refused > 0 && counts.answered >= 20, "{counts}");
    assert_eq!(counts.connections, counts.answered + counts.unanswered() - counts.refused);
    assert_eq!(counts.versions.keys().collect::<Vec<_>>(), ["v0"], "{counts}");
}

#[test]
fn the_clients_see_that_a_server_is_gone() {
    stopped_first(Target::Tcp);
}

#[test]
fn the_clients_of_grpc_see_that_a_server_is_gone() {
    stopped_first(Target::Grpc);
}
