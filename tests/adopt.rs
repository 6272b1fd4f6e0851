//! Servers that bind for themselves and know nothing of the tool: each one's sockets go to the next
//! one. What comes of it when builds fail, addresses change, and servers do what nobody expects. With
//! real servers, which the file `way` tells what to do (fixtures/servers, `binds`).

#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::load::{Connections, Load, Open, Target};
use support::unchanged::address;
use support::{
    PATIENCE, Project, Run, Tool, eventually, get, lives, needs, signal, unchanged,
    wait_until_nothing_is_left,
};

/// No argument.
const NONE: [&str; 0] = [];

/// A server under the tool that is swapped again and again.
struct Adopting {
    project: Project,
    run: Run,
    /// How many events had come when the last change was made.
    mark: usize,
}

impl Adopting {
    /// `binds` going this way, until it listens.
    fn start<const N: usize>(way: &str, arguments: [&str; N]) -> Self {
        Self::on(Project::copy("servers"), "binds", way, arguments, |tool| tool)
    }

    fn on<const N: usize>(
        project: Project,
        server: &str,
        way: &str,
        arguments: [&str; N],
        more: impl FnOnce(Tool) -> Tool,
    ) -> Self {
        project.write("way", way);
        let mut tool = project.tool(["watch", server]);
        tool.command.args(arguments);
        let run = more(tool).start();
        let mut it = Self { project, run, mark: 0 };
        it.wait_for("server-listening");
        it.run.rest();
        it
    }

    /// The next server goes this way.
    fn go(&mut self, way: &str) {
        self.mark = self.run.log.len();
        self.project.write("way", way);
    }

    /// Waits until this event has come since the last change.
    fn wait_until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        match self.run.log[self.mark..].iter().find(|event| wanted(event)) {
            Some(event) => event.clone(),
            None => self.run.wait_until(what, wanted),
        }
    }

    fn wait_for(&mut self, name: &str) -> Value {
        self.wait_until(name, |event| event["event"] == name)
    }

    /// Waits for this event of this generation.
    fn wait_for_of(&mut self, name: &str, generation: u64) -> Value {
        self.wait_until(&format!("{name} of {generation}"), |event| {
            event["event"] == name && event["generation"] == generation
        })
    }

    /// Waits until the next server has a process, which adopts what the last one has: its generation.
    fn spawned(&mut self) -> u64 {
        let spawned = self.wait_for("server-spawned");
        assert_eq!(spawned["listen"], "adopt", "{}", self.run.story());
        assert!(spawned["beside"].is_u64(), "{}", self.run.story());
        spawned["generation"].as_u64().expect("a number")
    }

    /// The generation of the last server that has been started, and its process.
    fn last(&self) -> (u64, u32) {
        let ended = |it: &Value| {
            let same = |other: &&Value| other["generation"] == it["generation"];
            self.run.log.iter().filter(same).any(|other| other["event"] == "server-exited")
        };
        let mut spawned = self.run.log.iter().filter(|it| it["event"] == "server-spawned");
        let spawned = spawned.rfind(|it| !ended(it)).expect("one lives");
        let pid = spawned["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        (spawned["generation"].as_u64().expect("a number"), pid.expect("a process id"))
    }

    /// Waits until somebody at this address answers with this version.
    fn answers(&mut self, address: SocketAddr, version: &str) {
        let end = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < end {
            last = get(address, "/");
            if last.as_deref().and_then(|it| it.split(' ').next()) == Some(version) {
                return;
            }
            // What happens in the meantime is wanted later.
            self.run.next_within(Duration::from_millis(20));
        }
        panic!("{address} never answered {version}, at last {last:?}\n{}", self.run.story());
    }

    /// The next server goes this way, and answers at this address with this version; the old one is
    /// gone. The new one's generation.
    fn swap(&mut self, way: &str, address: SocketAddr, version: &str) -> u64 {
        let (old, pid) = self.last();
        self.go(way);
        let new = self.spawned();
        self.wait_for_of("server-exited", old);
        assert!(!lives(pid), "{}", self.run.story());
        self.answers(address, version);
        self.run.rest();
        new
    }

    /// How often this has been said since the last change.
    fn since(&self, name: &str) -> usize {
        self.run.log[self.mark..].iter().filter(|event| event["event"] == name).count()
    }

    /// Where in the log this event of this generation is.
    fn position(&self, name: &str, generation: u64) -> usize {
        let found = self
            .run
            .log
            .iter()
            .position(|it| it["event"] == name && it["generation"] == generation);
        found.unwrap_or_else(|| panic!("no {name} of {generation}\n{}", self.run.story()))
    }

    /// Ends the tool by this signal; nothing is left of what it had started.
    fn end(mut self, signal: &str, code: Option<i32>) {
        self.run.signal(signal);
        let status = self.run.wait();
        assert_eq!(status.code(), code, "{}", self.run.story());
        if code.is_none() {
            assert_eq!(status.signal(), Some(9), "{}", self.run.story());
        }
        wait_until_nothing_is_left(self.project.root.parent().expect("the temporary folder"));
    }
}

/// Nobody listens there.
fn refuses(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err_and(|it| it.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Clients who ask during what this does, and lose nothing.
fn nothing_is_lost(
    it: &mut Adopting,
    address: SocketAddr,
    what: impl FnOnce(&mut Adopting, &Load),
) {
    let load = Load::start(&Target::Tcp(address), Connections::Fresh, 4);
    load.wait_for_answers(10);
    what(it, &load);
    load.wait_for_answers(10);
    let counts = load.stop();
    assert_eq!(counts.unanswered(), 0, "{counts}\n{}", it.run.story());
}

// ---- swaps ----

#[test]
fn an_unchanged_server_is_swapped_without_a_gap() {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    nothing_is_lost(&mut it, address, |it, _| {
        for version in ["two", "three", "four"] {
            let (old, _) = it.last();
            let new = it.swap(&format!("good {version} {address}"), address, version);
            let retired = it.wait_for_of("server-retired", old);
            assert_eq!(retired["to"], new, "{}", it.run.story());
            let order = ["server-retired", "server-exited"].map(|name| it.position(name, old));
            assert!(order.is_sorted(), "{}", it.run.story());
            assert_eq!(it.wait_for_of("server-listening", new)["addresses"], json!([url(address)]));
        }
    });
    assert_eq!(it.run.count("server-resumed"), 0, "{}", it.run.story());
    assert_eq!(it.run.count("server-killed"), 0, "{}", it.run.story());
    it.end("TERM", Some(143));
}

#[test]
fn a_server_that_is_compiled_anew_is_swapped_without_a_gap() {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    nothing_is_lost(&mut it, address, |it, load| {
        let (old, _) = it.last();
        it.mark = it.run.log.len();
        it.project.edit("src/way.rs", "{} {}\\n", "compiled-{} {}\\n");
        it.spawned();
        load.wait_for_version("compiled-one");
        it.wait_for_of("server-exited", old);
    });
    it.end("TERM", Some(143));
}

#[test]
fn whatever_way_it_accepts_it_is_swapped_without_a_gap() {
    let address = address();
    let mut it = Adopting::start(&format!("turns one {address}"), NONE);
    nothing_is_lost(&mut it, address, |it, _| {
        let ways = ["turns", "turns", "polls", "polls", "clones", "clones", "prefork", "prefork"];
        for (number, way) in ways.into_iter().enumerate() {
            let version = format!("{way}-{number}");
            it.swap(&format!("{way} {version} {address}"), address, &version);
        }
    });
    assert_eq!(it.run.count("server-not-adopted"), 0, "{}", it.run.story());
    it.end("TERM", Some(143));
}

#[test]
fn a_request_under_way_is_answered_by_the_old_one() {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    let (old, pid) = it.last();
    let open = Open::get(address, "/gated");
    // It has been accepted once a later one is answered.
    it.answers(address, "one");
    it.go(&format!("good two {address}"));
    it.spawned();
    it.answers(address, "two");
    it.wait_for_of("server-retired", old);
    assert!(!open.is_over() && lives(pid), "{}", it.run.story());
    it.project.write("answer-gate", "");
    let answer = open.finish();
    assert!(answer.ends_with(&format!("one {pid}\n")), "{answer}");
    it.wait_for_of("server-exited", old);
    it.end("TERM", Some(143));
}

#[test]
fn a_server_that_starts_slowly_leaves_the_old_one_to_answer() {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    let (old, _) = it.last();
    nothing_is_lost(&mut it, address, |it, load| {
        it.go(&format!("gated-bind two {address}"));
        it.spawned();
        load.wait_for_answers(50);
        it.answers(address, "one");
        assert_eq!(it.since("server-retired"), 0, "{}", it.run.story());
        it.project.write("gate", "");
        load.wait_for_version("two");
        it.wait_for_of("server-exited", old);
    });
    it.end("TERM", Some(143));
}

#[test]
fn a_server_that_listens_and_does_not_accept_yet_loses_nobody() {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    let (old, pid) = it.last();
    nothing_is_lost(&mut it, address, |it, load| {
        it.go(&format!("gated-accept two {address}"));
        it.spawned();
        it.wait_for_of("server-retired", old);
        assert!(lives(pid), "the new one has not shown that it accepts\n{}", it.run.story());
        it.project.write("gate", "");
        load.wait_for_version("two");
        it.wait_for_of("server-exited", old);
    });
    it.end("TERM", Some(143));
}

#[test]
fn a_server_on_one_ipv6_address_is_swapped_without_a_gap() {
    // The kernel changes an option of a socket that is bound to one.
    let address = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, unchanged::port()));
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    nothing_is_lost(&mut it, address, |it, _| {
        for version in ["two", "three"] {
            it.swap(&format!("good {version} {address}"), address, version);
            assert_eq!(it.since("server-conflict"), 0, "{}", it.run.story());
        }
    });
    it.end("TERM", Some(143));
}

// ---- builds that fail ----

#[test]
fn a_server_that_fails_before_it_binds_changes_nothing() {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    let (old, _) = it.last();
    nothing_is_lost(&mut it, address, |it, load| {
        it.go(&format!("fails two {address}"));
        let new = it.spawned();
        assert_eq!(it.wait_for_of("server-exited", new)["serving"], old);
        it.run.rest();
        load.wait_for_answers(10);
        it.answers(address, "one");
        assert_eq!(it.since("server-retired"), 0, "{}", it.run.story());
        it.swap(&format!("good three {address}"), address, "three");
    });
    it.end("TERM", Some(143));
}

#[test]
fn a_server_that_finds_an_address_taken_is_told_so_and_changes_nothing() {
    let (own, taken) = (address(), address());
    let _stranger = TcpListener::bind(taken).expect("nobody else has it");
    let mut it = Adopting::start(&format!("good one {own}"), NONE);
    let (old, _) = it.last();
    nothing_is_lost(&mut it, own, |it, _| {
        it.go(&format!("good two {own} {taken}"));
        let new = it.spawned();
        let exited = it.wait_for_of("server-exited", new);
        assert_eq!((&exited["code"], &exited["serving"]), (&json!(98), &json!(old)));
        it.run.wait_for_stderr(&format!("could not listen on {taken}: Address already in use"));
        // This test's own process.
        it.run.wait_for_stderr(&format!("(process {})", std::process::id()));
        it.run.rest();
        it.answers(own, "one");
        it.swap(&format!("good three {own}"), own, "three");
    });
    it.end("TERM", Some(143));
}

#[test]
fn the_first_server_is_told_that_its_address_is_taken() {
    let taken = address();
    let stranger = TcpListener::bind(taken).expect("nobody else has it");
    let project = Project::copy("servers");
    project.write("way", format!("good one {taken}"));
    let mut run = project.tool(["watch", "binds"]).start();
    assert_eq!(run.wait_for("server-spawned")["listen"], "adopt", "{}", run.story());
    assert_eq!(run.wait_for("server-exited")["code"], 98, "{}", run.story());
    run.wait_for_stderr(&format!("could not listen on {taken}: Address already in use"));
    run.wait_for_stderr(&format!("port {} is taken by", taken.port()));
    run.wait_for_stderr(&format!("(process {})", std::process::id()));
    drop(stranger);
    project.write("way", format!("good two {taken}"));
    run.wait_for("server-listening");
    let answer = get(taken, "/").expect("an answer");
    assert!(answer.starts_with("two "), "{answer}");
}

#[test]
fn a_server_that_dies_once_it_listens_gives_way_to_the_old_one() {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    let (old, _) = it.last();
    nothing_is_lost(&mut it, address, |it, load| {
        for version in ["two", "again"] {
            it.go(&format!("dies-listening {version} {address}"));
            let new = it.spawned();
            let exited = it.wait_for_of("server-exited", new);
            assert_eq!(exited["code"], 101, "{}", it.run.story());
            assert_eq!(it.wait_for_of("server-resumed", old)["from"], new);
            load.wait_for_answers(10);
            it.answers(address, "one");
            it.run.rest();
        }
        it.swap(&format!("good three {address}"), address, "three");
        it.wait_for_of("server-exited", old);
    });
    it.end("TERM", Some(143));
}

// ---- addresses that change ----

#[test]
fn a_server_that_moves_is_found_and_its_old_address_is_given_up() {
    let (old, new) = (address(), address());
    let mut it = Adopting::start(&format!("good one {old}"), NONE);
    let generation = it.swap(&format!("good two {new}"), new, "two");
    it.wait_until("the new address", |event| {
        event["event"] == "server-listening"
            && event["generation"] == generation
            && event["addresses"] == json!([url(new)])
    });
    it.run.wait_for_stderr(&format!("Serving {}", url(new)));
    eventually("the old address is given up", || refuses(old));
    TcpListener::bind(old).expect("anybody can have it");
    // And back.
    it.swap(&format!("good three {old}"), old, "three");
    eventually("the address in between is given up", || refuses(new));
    it.end("TERM", Some(143));
}

#[test]
fn an_address_comes_and_goes() {
    let (first, second) = (address(), address());
    let mut it = Adopting::start(&format!("good one {first}"), NONE);
    nothing_is_lost(&mut it, first, |it, _| {
        for round in 0..2 {
            let (two, three) = (format!("two-{round}"), format!("three-{round}"));
            let new = it.swap(&format!("good {two} {first} {second}"), first, &two);
            it.answers(second, &two);
            it.wait_until("both addresses", |event| {
                event["event"] == "server-listening"
                    && event["generation"] == new
                    && event["addresses"].as_array().is_some_and(|all| all.len() == 2)
            });
            let new = it.swap(&format!("good {three} {first}"), first, &three);
            eventually("the second address is given up", || refuses(second));
            let listening = it.wait_for_of("server-listening", new);
            assert_eq!(listening["addresses"], json!([url(first)]), "{}", it.run.story());
        }
    });
    it.end("TERM", Some(143));
}

#[test]
fn port_zero_stays_the_port_that_it_was() {
    let mut it = Adopting::start("good v0 127.0.0.1:0 127.0.0.1:0", NONE);
    let listening = it.wait_until("both ports", |event| {
        event["event"] == "server-listening"
            && event["addresses"].as_array().is_some_and(|all| all.len() == 2)
    });
    let addresses: Vec<SocketAddr> = listening["addresses"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it.as_str().expect("an address").trim_start_matches("http://").parse())
        .collect::<Result<_, _>>()
        .expect("addresses");
    for number in 1..=5 {
        let version = format!("v{number}");
        it.swap(&format!("good {version} 127.0.0.1:0 127.0.0.1:0"), addresses[0], &version);
        it.answers(addresses[1], &version);
    }
    it.end("TERM", Some(143));
}

#[test]
fn a_port_that_is_tried_first_can_be_a_child_process_s() {
    let (own, child) = (address(), address());
    let way = |version: &str| format!("leaves-first-to-child {version} {child} {own}");
    let mut it = Adopting::start(&way("one"), NONE);
    for version in ["one", "two", "three"] {
        if version != "one" {
            // Its child has the port until it is gone, so this cannot be a swap like the others.
            it.go(&way(version));
        }
        it.answers(own, version);
        it.answers(child, version);
    }
    it.end("TERM", Some(143));
}

// ---- what the server and its children see ----

#[test]
fn server_and_children_have_the_environment_that_they_would_have() {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    for version in ["two", "three"] {
        for path in ["/env", "/child-env"] {
            let environment = get(address, path).expect("an answer");
            assert!(environment.contains("PATH="), "{environment}");
            for name in ["LD_PRELOAD=", "STARIO_ADOPT=", "LISTEN_FDS="] {
                assert!(!environment.contains(name), "{path} {name}\n{environment}");
            }
        }
        it.swap(&format!("good {version} {address}"), address, version);
    }
    it.end("TERM", Some(143));
}

#[test]
fn what_the_user_preloads_is_kept() {
    let project = Project::copy("servers");
    let source = project.beside("mine.rs");
    let library = project.beside("libmine.so");
    let text = "#[unsafe(no_mangle)]\npub extern \"C\" fn mine_of_the_user() {}\n";
    fs::write(&source, text).expect("a file");
    let built = Command::new("rustc")
        .args(["--edition", "2024", "--crate-type", "cdylib", "-C", "panic=abort", "-o"])
        .args([&library, &source])
        .status()
        .expect("rustc is there");
    assert!(built.success());
    let address = address();
    let mut it = Adopting::on(project, "binds", &format!("good one {address}"), NONE, |tool| {
        tool.env("LD_PRELOAD", &library)
    });
    for version in ["two", "three"] {
        let (_, pid) = it.last();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it lives");
        let name = library.to_str().expect("a plain name");
        assert!(maps.contains(name), "{maps}");
        for path in ["/env", "/child-env"] {
            let environment = get(address, path).expect("an answer");
            assert!(
                environment.lines().any(|line| line == format!("LD_PRELOAD={name}")),
                "{path}\n{environment}"
            );
        }
        it.swap(&format!("good {version} {address}"), address, version);
    }
    it.end("TERM", Some(143));
}

// ---- servers that do with their sockets what few do ----

/// The time that a process has had of the processors, in hundredths of a second (`proc_pid_stat(5)`).
fn processor_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    // Behind the name, which may have spaces in it: `utime` and `stime`.
    let (_, numbers) = stat.rsplit_once(')').expect("the name's end");
    numbers.split_whitespace().skip(11).take(2).map(|it| it.parse::<u64>().expect("ticks")).sum()
}

#[test]
fn a_server_that_becomes_another_program_has_its_address_to_itself() {
    let address = address();
    let mut it = Adopting::start(&format!("execs one {address}"), NONE);
    it.answers(address, "one");
    let why = "another program";
    assert!(it.run.stderr().contains(why), "{}", it.run.story());
    // What the shim's end of the socket has left behind does not keep the tool busy.
    let before = processor_time(it.run.pid());
    it.run.settle_for(Duration::from_secs(2));
    let took = processor_time(it.run.pid()) - before;
    assert!(took < 20, "{took} of 200\n{}", it.run.story());
    for (way, version) in [("good", "two"), ("execs", "three"), ("execs", "four"), ("good", "five")]
    {
        it.go(&format!("{way} {version} {address}"));
        it.answers(address, version);
        it.run.rest();
        // One that was started beside the old one may meet that, and is stopped anyhow.
        let failed = it.run.log[it.mark..].iter().any(|event| event["asked"] == false);
        assert!(!failed, "{}", it.run.story());
    }
    it.end("INT", Some(130));
    TcpListener::bind(address).expect("it is free");
}

#[test]
fn a_server_may_close_its_listener_and_open_it_again() {
    let address = address();
    let mut it = Adopting::start(&format!("reopens one {address}"), NONE);
    // The first one is answered by the listener that is closed then.
    for _ in 0..3 {
        it.answers(address, "one");
    }
    for version in ["two", "three"] {
        it.swap(&format!("reopens {version} {address}"), address, version);
        // Once more by the other one; and by now it is not closed for good.
        it.run.settle_for(Duration::from_millis(1500));
        nothing_is_lost(&mut it, address, |_, load| load.wait_for_version(version));
    }
    it.swap(&format!("good four {address}"), address, "four");
    assert_eq!(it.run.count("server-not-adopted"), 0, "{}", it.run.story());
    it.end("TERM", Some(143));
}

#[test]
fn a_server_that_listens_long_after_it_has_bound_is_waited_for() {
    let address = address();
    let mut it = Adopting::start(&format!("listens-late one {address}"), NONE);
    nothing_is_lost(&mut it, address, |it, _| {
        for version in ["two", "three"] {
            let (old, _) = it.last();
            let new = it.swap(&format!("listens-late {version} {address}"), address, version);
            // Not before: until then the old one answers.
            assert!(it.position("server-retired", old) > it.position("server-spawned", new));
            let listening = it.position("server-listening", new);
            assert!(it.position("server-retired", old) < listening, "{}", it.run.story());
        }
    });
    assert_eq!(it.run.count("server-not-adopted"), 0, "{}", it.run.story());
    assert_eq!(it.run.count("server-resumed"), 0, "{}", it.run.story());
    it.end("TERM", Some(143));
}

#[test]
fn who_came_in_the_meantime_is_answered_by_the_one_that_resumes() {
    let (project, address) = (Project::empty(), address());
    let mut run = unchanged::tool(&project, "axum-checks", &address.to_string()).start();
    run.wait_for("server-listening");
    run.rest();
    let mut it = Adopting { project, run, mark: 0 };
    it.answers(address, "v0");
    for version in ["broken-1", "broken-2"] {
        let (old, _) = it.last();
        it.mark = it.run.log.len();
        it.project.write("version", version);
        let new = it.spawned();
        it.wait_for_of("server-retired", old);
        // The only one: none that comes later wakes the old one's event loop.
        let open = Open::get(address, "/");
        it.project.write(format!("{version}-gate"), "");
        assert_eq!(it.wait_for_of("server-exited", new)["code"], 101, "{}", it.run.story());
        it.wait_for_of("server-resumed", old);
        let answer = open.finish();
        assert!(answer.contains("\r\n\r\nv0 "), "{answer}");
        it.run.rest();
    }
    it.mark = it.run.log.len();
    it.project.write("version", "v1");
    it.answers(address, "v1");
    it.end("TERM", Some(143));
}

// ---- the end ----

/// A swap whose old server cannot end: it owes an answer that it never gives.
fn draining() -> (Adopting, SocketAddr, Open) {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), ["--grace", "3600"]);
    let (old, pid) = it.last();
    let open = Open::get(address, "/forever");
    it.answers(address, "one");
    it.go(&format!("good two {address}"));
    it.spawned();
    it.answers(address, "two");
    it.wait_for_of("server-retired", old);
    assert!(lives(pid), "{}", it.run.story());
    (it, address, open)
}

#[test]
fn ctrl_c_does_not_wait_for_what_drains() {
    let (it, address, _open) = draining();
    it.end("INT", Some(130));
    TcpListener::bind(address).expect("it is free");
}

#[test]
fn kill_9_leaves_nothing_of_what_drains() {
    let (it, address, _open) = draining();
    it.end("KILL", None);
    eventually("it is free", || TcpListener::bind(address).is_ok());
}

#[test]
fn kill_9_in_the_middle_of_a_swap_leaves_nothing() {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    let (old, _) = it.last();
    it.go(&format!("gated-accept two {address}"));
    it.spawned();
    it.wait_for_of("server-retired", old);
    it.end("KILL", None);
    eventually("it is free", || TcpListener::bind(address).is_ok());
}

// ---- as the user wants it ----

#[test]
fn adopting_can_be_asked_for_and_refused() {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), ["--listen", "adopt"]);
    it.swap(&format!("good two {address}"), address, "two");
    it.end("TERM", Some(143));
    let mut it = Adopting::start(&format!("good one {address}"), ["--listen", "direct"]);
    it.go(&format!("good two {address}"));
    let spawned = it.wait_for("server-spawned");
    assert_eq!((&spawned["listen"], &spawned["beside"]), (&json!("direct"), &Value::Null));
    it.answers(address, "two");
    assert_eq!(it.run.count("server-not-adopted"), 0, "{}", it.run.story());
    it.end("TERM", Some(143));
}

// ---- those that cannot ----

/// Three swaps of a server that cannot adopt: the old one is stopped first, which is said once, and
/// why.
fn falls_back(it: &mut Adopting, address: SocketAddr, why: &str, change: impl Fn(&Project, &str)) {
    for version in ["two", "three", "four"] {
        it.mark = it.run.log.len();
        let (old, _) = it.last();
        change(&it.project, version);
        it.wait_for_of("server-exited", old);
        let spawned = it.wait_for("server-spawned");
        // It is tried again with each build where only the process shows that it cannot be.
        assert_eq!(spawned["beside"], Value::Null, "{}", it.run.story());
        it.answers(address, version);
        it.run.rest();
    }
    assert_eq!(it.run.count("server-not-adopted"), 1, "{}", it.run.story());
    assert_eq!(it.run.count("server-retired"), 0, "{}", it.run.story());
    let said = it.run.log.iter().find(|event| event["event"] == "server-not-adopted");
    let said = said.expect("it has been counted");
    assert!(said["text"].as_str().is_some_and(|it| it.contains(why)), "{}", it.run.story());
    assert_eq!(it.run.stderr().matches(why).count(), 1, "{}", it.run.story());
}

/// The same of a server of `fixtures/servers`.
fn falls_back_by_way(project: Project, server: &str, why: &str) {
    let address = address();
    let way = |version: &str| format!("good {version} {address}");
    let mut it = Adopting::on(project, server, &way("one"), NONE, |tool| tool);
    falls_back(&mut it, address, why, |project, version| project.write("way", way(version)));
    it.end("TERM", Some(143));
}

#[test]
fn a_static_server_is_stopped_first() {
    let project = Project::copy("servers");
    let flags = "[build]\nrustflags = [\"-C\", \"target-feature=+crt-static\"]\n";
    project.write(".cargo/config.toml", flags);
    falls_back_by_way(project, "binds", "linked statically");
}

#[test]
fn a_server_that_makes_its_own_system_calls_is_stopped_first() {
    falls_back_by_way(Project::copy("servers"), "raw", "without the C library");
}

#[test]
fn a_server_with_a_runner_is_stopped_first() {
    let project = Project::copy("servers");
    project.write(".cargo/config.toml", "[target.'cfg(all())']\nrunner = [\"env\", \"A=b\"]\n");
    falls_back_by_way(project, "binds", "run by `env`");
}

#[test]
fn a_server_on_io_uring_is_stopped_first() {
    let project = Project::empty();
    let address = address();
    let mut run = unchanged::tool(&project, "uring-hello", &address.to_string()).start();
    run.wait_for("server-listening");
    run.rest();
    let mut it = Adopting { project, run, mark: 0 };
    it.answers(address, "v0");
    falls_back(&mut it, address, "io_uring", |project, version| project.write("version", version));
    it.end("TERM", Some(143));
}

/// A server that shares what it binds is followed by one that cannot: that is started once more, with
/// the old one stopped first, and the next one that can shares again.
fn is_followed_by_one_that_cannot(change: impl Fn(&Project), back: impl Fn(&Project), why: &str) {
    let address = address();
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    it.swap(&format!("good two {address}"), address, "two");
    let (old, _) = it.last();
    it.go(&format!("good three {address}"));
    change(&it.project);
    it.answers(address, "three");
    it.wait_for_of("server-exited", old);
    it.run.wait_for_stderr(why);
    it.run.rest();
    assert_eq!(it.since("server-restored"), 0, "{}", it.run.story());
    // From then on not even tried beside the old one.
    it.go(&format!("good four {address}"));
    assert_eq!(it.wait_for("server-spawned")["beside"], Value::Null, "{}", it.run.story());
    it.answers(address, "four");
    it.run.rest();
    it.go(&format!("good five {address}"));
    back(&it.project);
    it.answers(address, "five");
    it.run.rest();
    it.swap(&format!("good six {address}"), address, "six");
    it.end("TERM", Some(143));
}

#[test]
fn a_server_that_becomes_a_static_one_is_started_alone() {
    let flags = |flags: &'static str| {
        move |project: &Project| {
            project.write(".cargo/config.toml", format!("[build]\nrustflags = [{flags}]\n"));
        }
    };
    let linked_statically = flags("\"-C\", \"target-feature=+crt-static\"");
    is_followed_by_one_that_cannot(linked_statically, flags(""), "linked statically");
}

/// A program with more rights than its user, as the loader sees it, gets nothing preloaded.
#[test]
fn a_server_in_which_the_shim_is_not_loaded_is_started_alone() {
    let output = Command::new("id").arg("-G").output().expect("every system has `id`");
    let groups = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let is_root = rustix::process::getuid().is_root();
    let other = groups.split(' ').nth(1).or(is_root.then_some("1"));
    let Some(group) = other.filter(|_| needs("a second group", other.is_some())) else { return };
    let link = format!(
        "#!/bin/sh\ncc \"$@\" || exit\nwhile [ \"$1\" != -o ]; do shift; done\n\
         case $2 in *binds*) chgrp {group} \"$2\" && chmod g+s \"$2\";; esac\n"
    );
    let with_rights = |project: &Project| {
        project.write("linker/cc", &link);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(project.path("linker/cc"), mode).expect("it is ours");
        let linker = "[target.'cfg(all())']\nlinker = \"./linker/cc\"\n";
        project.write(".cargo/config.toml", linker);
        project.edit("src/bin/binds.rs", "no database", "no data base");
    };
    let without = |project: &Project| {
        project.write(".cargo/config.toml", "");
        project.edit("src/bin/binds.rs", "no data base", "no database");
    };
    is_followed_by_one_that_cannot(with_rights, without, "has not loaded the shim");
}

#[test]
fn a_server_that_comes_to_make_its_own_system_calls_has_its_address_once_the_old_one_is_gone() {
    let address = address();
    let raw = Project::copy("servers").read("src/bin/raw.rs");
    let mut it = Adopting::start(&format!("good one {address}"), NONE);
    it.swap(&format!("good two {address}"), address, "two");
    let (old, pid) = it.last();
    it.go(&format!("good three {address}"));
    it.project.write("src/bin/binds.rs", &raw);
    let new = it.spawned();
    assert_eq!(it.wait_for_of("server-exited", new)["serving"], old, "{}", it.run.story());
    it.answers(address, "two");
    // What it had is kept for the next one no more.
    signal(pid, "KILL");
    it.wait_for_of("server-exited", old);
    it.run.rest();
    it.go(&format!("good four {address}"));
    it.answers(address, "four");
    assert_eq!(it.since("server-exited"), 0, "{}", it.run.story());
    it.run.wait_for_stderr("without the C library");
    it.end("TERM", Some(143));
}
