//! The new server beside the old one: when it takes over, and what becomes of it and of the old one
//! when it cannot. With real servers, which the file `way` tells what to do (fixtures/servers,
//! `ready`).

#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::load::{Connections, Load, Open, Target};
use support::{
    Project, Run, Tool, eventually, get, lives, signal, wait_until_nothing_is_left, watchdog,
};

/// No argument.
const NONE: [&str; 0] = [];

/// A server under the tool that is swapped again and again.
struct Swapping {
    project: Project,
    run: Run,
    address: SocketAddr,
    /// The generation that serves.
    serving: u64,
    /// How many events had come when the last change was made.
    mark: usize,
    /// How much had been said by then.
    said: usize,
}

impl Swapping {
    /// `ready` going this way, until it serves. Its temporary files have a folder of their own.
    fn start<const N: usize>(way: &str, arguments: [&str; N]) -> Self {
        Self::on(Project::copy("servers"), way, arguments, |tool| tool)
    }

    fn on<const N: usize>(
        project: Project,
        way: &str,
        arguments: [&str; N],
        more: impl FnOnce(Tool) -> Tool,
    ) -> Self {
        takes_sockets(&project);
        project.write("way", way);
        let folder = Self::temporary(&project);
        fs::create_dir(&folder).expect("it is not there yet");
        let tool = project.tool(["watch", "ready", "--port", "0"]);
        let mut tool = tool.env("TMPDIR", &folder).env("XDG_RUNTIME_DIR", &folder);
        tool.command.args(arguments);
        let mut run = more(tool).start();
        let listening = run.wait_for("server-listening");
        // Not the one that the way has for itself.
        let own = format!("http://127.0.0.1:{}", way.split(' ').nth(2).unwrap_or("none"));
        let all = listening["addresses"].as_array().expect("a list");
        let address = all.iter().find(|it| **it != own).and_then(Value::as_str).expect("ours");
        let address = address.trim_start_matches("http://").parse().expect("an address");
        let serving = listening["generation"].as_u64().expect("a number");
        let mut it = Self { project, run, address, serving, mark: 0, said: 0 };
        it.run.rest();
        it.look_from_here();
        it
    }

    fn temporary(project: &Project) -> PathBuf {
        project.beside("temporary")
    }

    fn look_from_here(&mut self) {
        self.mark = self.run.log.len();
        self.said = self.run.stderr().len();
    }

    /// The next server goes this way.
    fn go(&mut self, way: &str) {
        self.look_from_here();
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

    /// Waits until the next server has a process: its generation.
    fn spawned(&mut self) -> u64 {
        self.wait_for("server-spawned")["generation"].as_u64().expect("a number")
    }

    /// The process of a generation.
    fn pid(&self, generation: u64) -> u32 {
        let spawned =
            self.position(|it| it["event"] == "server-spawned" && it["generation"] == generation);
        let pid = self.run.log[spawned]["pid"].as_u64().expect("a process id");
        u32::try_from(pid).expect("a process id")
    }

    /// Where in the log the last such event is.
    fn position(&self, wanted: impl Fn(&Value) -> bool) -> usize {
        let found = self.run.log.iter().rposition(wanted);
        found.unwrap_or_else(|| panic!("no such event\n{}", self.run.story()))
    }

    fn position_of(&self, name: &str, generation: u64) -> usize {
        self.position(|it| it["event"] == name && it["generation"] == generation)
    }

    /// The next server goes this way, and takes over; the old one is gone.
    fn swap(&mut self, way: &str) {
        let old = self.serving;
        self.go(way);
        self.taken_over();
        self.wait_for_of("server-exited", old);
    }

    /// Waits until the next server serves.
    fn taken_over(&mut self) {
        let old = self.serving;
        let listening = self.wait_until("the next server", |it| {
            it["event"] == "server-listening" && it["generation"].as_u64() > Some(old)
        });
        self.serving = listening["generation"].as_u64().expect("a number");
        let all = listening["addresses"].as_array().expect("a list");
        let address = json!(format!("http://{}", self.address));
        assert!(all.contains(&address), "{listening}\n{}", self.run.story());
    }

    /// Who answers now: its version.
    fn version(&self) -> String {
        let answer = get(self.address, "/");
        let answer = answer.unwrap_or_else(|| panic!("no answer\n{}", self.run.story()));
        answer.split(' ').next().expect("a word").to_owned()
    }

    /// Nobody but this version answers.
    fn answers(&self, version: &str) {
        for _ in 0..20 {
            assert_eq!(self.version(), version, "{}", self.run.story());
        }
    }

    /// Waits until this has been said since the last change, whatever the lines' ends.
    fn says(&mut self, wanted: &str) {
        let from = self.said;
        let said = |run: &Run| run.stderr()[from..].contains(wanted);
        let end = Instant::now() + support::PATIENCE;
        while !said(&self.run) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{wanted:?} is not said\n{}", self.run.story());
            self.run.next_within(Duration::from_millis(20).min(left));
        }
    }

    fn load(&self) -> Load {
        Load::start(&Target::Tcp(self.address), Connections::Fresh, 2)
    }

    /// Ends the tool; nothing of it is left, also no file.
    fn end(mut self, name: &str, code: Option<i32>) {
        self.run.signal(name);
        let status = self.run.wait();
        let folder = self.project.root.parent().expect("the temporary folder");
        wait_until_nothing_is_left(folder);
        TcpListener::bind(self.address).unwrap_or_else(|error| panic!("{}: {error}", self.address));
        let left = || {
            let left = fs::read_dir(Self::temporary(&self.project)).expect("ours").flatten();
            left.map(|entry| entry.file_name()).collect::<Vec<_>>()
        };
        if let Some(code) = code {
            assert_eq!(status.code(), Some(code), "{}", self.run.story());
            assert!(left().is_empty(), "{:?}\n{}", left(), self.run.story());
        } else {
            eventually("nothing is left of its files", || left().is_empty());
            assert_eq!(status.signal(), Some(9));
        }
    }
}

/// Has the fixture depend on what takes sockets by its name, so that it is offered ours.
fn takes_sockets(project: &Project) {
    project.write(
        "listenfd/Cargo.toml",
        "[package]\nname = \"listenfd\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
    );
    project.write("listenfd/src/lib.rs", "");
    let all = project.read("Cargo.toml");
    project.write("Cargo.toml", all + "\n[dependencies]\nlistenfd = { path = \"listenfd\" }\n");
    project.edit(
        "Cargo.lock",
        "[[package]]\nname = \"servers\"\nversion = \"1.2.3-rc.1\"\n",
        "[[package]]\nname = \"listenfd\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"servers\"\n\
         version = \"1.2.3-rc.1\"\ndependencies = [\n \"listenfd\",\n]\n",
    );
}

/// A file beside the project that a server may lock.
fn lock(project: &Project) -> String {
    project.beside("lock").to_str().expect("a plain name").to_owned()
}

// ---- it takes over ----

#[test]
fn the_new_server_is_ready_before_the_old_one_goes() {
    let mut it = Swapping::start("good one", NONE);
    let first = it.position_of("server-spawned", 1);
    assert_eq!(it.run.log[first]["beside"], Value::Null);
    assert_eq!(it.run.log[first]["listen"], "inherit");
    it.answers("one");
    for (old, way) in [(1, "good two"), (2, "good three")] {
        it.swap(way);
        let new = it.serving;
        let order = [
            it.position_of("server-spawned", new),
            it.position_of("server-ready", new),
            it.position_of("server-listening", new),
            it.position_of("server-exited", old),
        ];
        assert!(order.is_sorted(), "{order:?}\n{}", it.run.story());
        assert_eq!(it.run.log[order[0]]["beside"], old);
        let exited = &it.run.log[order[3]];
        assert_eq!((&exited["code"], &exited["asked"]), (&json!(0), &json!(true)));
        it.answers(&way[5..]);
    }
    // Strictly by the protocol: the fixture ends where `LISTEN_PID` is not its own.
    let environment = get(it.address, "/env").expect("it serves");
    let pid = it.pid(it.serving);
    for line in [format!("LISTEN_PID={pid}\n"), "LISTEN_FDS=1\n".into(), "STARIO_DEV=1\n".into()] {
        assert!(environment.contains(&line), "{line}{environment}");
    }
    assert!(environment.contains("\nNOTIFY_SOCKET="), "{environment}");
    assert!(environment.contains("\nLISTEN_FDNAMES="), "{environment}");
    it.end("INT", Some(130));
}

#[test]
fn the_old_one_ends_its_streams_and_finishes_what_it_has_begun() {
    let mut it = Swapping::start("good one", NONE);
    let old = it.serving;
    let gate = it.project.beside("gate");
    it.go(&format!("gated two {}", gate.display()));
    it.wait_for("server-status");
    let events = Open::get(it.address, "/events");
    let slow = Open::get(it.address, "/slow");
    events.wait_for("data: one");
    // Connections are taken in the order in which they come: it has both.
    it.answers("one");
    fs::write(&gate, "").expect("a file");
    it.taken_over();
    assert!(events.finish().ends_with("\n\n"), "it ends between two events");
    eventually("the new one answers", || it.version() == "two");
    it.answers("two");
    assert!(!slow.is_over(), "it takes three seconds");
    assert!(lives(it.pid(old)), "the old one is at it");
    assert!(slow.finish().contains("\r\n\r\none "));
    let exited = it.wait_for_of("server-exited", old);
    assert_eq!((&exited["code"], &exited["asked"]), (&json!(0), &json!(true)));
    // Whoever comes back gets the new one.
    let events = Open::get(it.address, "/events");
    events.wait_for("data: two");
    events.leave();
    it.end("TERM", Some(143));
}

#[test]
fn a_stream_that_the_old_one_does_not_end_holds_nobody_up() {
    let mut it = Swapping::start("holds-events one", ["--grace", "3"]);
    let events = Open::get(it.address, "/events");
    events.wait_for("data: one");
    let old = it.serving;
    it.go("good two");
    it.taken_over();
    eventually("the new one answers", || it.version() == "two");
    assert!(lives(it.pid(old)) && !events.is_over(), "{}", it.run.story());
    // Nothing of its own keeps an address from anybody.
    let slow = it.wait_for_of("server-slow-to-stop", old);
    assert_eq!(slow["addresses"], json!([]), "{slow}");
    let exited = it.wait_for_of("server-exited", old);
    assert_eq!((&exited["signal"], &exited["asked"]), (&json!(9), &json!(true)), "{exited}");
    eventually("the stream is over", || events.is_over());
    it.answers("two");
    it.end("TERM", Some(143));
}

#[test]
fn a_new_server_that_takes_its_time_is_waited_for_and_says_what_it_does() {
    let mut it = Swapping::start("good one", NONE);
    let gate = it.project.beside("gate");
    it.go(&format!("gated two {}", gate.display()));
    let status = it.wait_for("server-status");
    assert_eq!(status["status"], "waiting at the gate");
    let slow = it.wait_for("server-slow-to-start");
    assert_eq!((&slow["generation"], &slow["serving"]), (&status["generation"], &json!(1)));
    assert!(slow["after"].as_f64() >= Some(2000.0), "{slow}");
    it.says("waiting at the gate");
    it.says("the old one answers meanwhile");
    it.answers("one");
    fs::write(&gate, "").expect("a file");
    it.taken_over();
    eventually("the new one answers", || it.version() == "two");
    it.wait_for_of("server-exited", 1);
    it.answers("two");
    assert_eq!(it.run.count("server-not-ready"), 0);
}

#[test]
fn a_change_while_the_new_one_starts_is_another_new_one() {
    let mut it = Swapping::start("good one", NONE);
    let load = it.load();
    for number in 1..=3 {
        let gate = it.project.beside("never");
        it.go(&format!("gated passed-over-{number} {}", gate.display()));
        it.wait_for("server-status");
        let passed_over = it.spawned();
        it.go(&format!("good new-{number}"));
        it.taken_over();
        assert!(it.serving > passed_over);
        let exited = it.wait_for_of("server-exited", passed_over);
        assert_eq!(exited["asked"], true, "{exited}");
        load.wait_for_version(&format!("new-{number}"));
    }
    let counts = load.stop();
    assert_eq!(counts.unanswered(), 0, "{counts}\n{}", it.run.story());
    assert!(!counts.versions.keys().any(|it| it.starts_with("passed-over")), "{counts}");
    it.end("TERM", Some(143));
}

#[test]
fn somebody_who_saves_all_the_time_is_served_all_the_time() {
    let mut it = Swapping::start("good one", NONE);
    let load = it.load();
    for number in 1..=40 {
        it.go(&format!("good v{number}"));
        load.wait_for_answers(20);
    }
    load.wait_for_version("v40");
    it.run.rest();
    it.answers("v40");
    let counts = load.stop();
    assert_eq!(counts.unanswered(), 0, "{counts}\n{}", it.run.story());
    assert_eq!(it.run.count("server-killed"), 0, "{}", it.run.story());
    it.end("TERM", Some(143));
}

#[test]
fn of_all_that_a_server_says_what_counts_is_heard() {
    let mut it = Swapping::start("good one", NONE);
    it.go("talkative two");
    let new = it.spawned();
    let ready = it.wait_for_of("server-ready", new);
    it.taken_over();
    it.wait_for_of("server-exited", 1);
    let of_new = |name: &str| {
        let all = it.run.log.iter();
        all.filter(|it| it["event"] == name && it["generation"] == new).collect::<Vec<_>>()
    };
    assert_eq!(of_new("server-ready").len(), 1);
    let statuses = of_new("server-status");
    let said: Vec<_> = statuses.iter().map(|it| it["status"].as_str().expect("text")).collect();
    assert_eq!(said.first(), Some(&"READY=1"));
    assert!(said.contains(&"step 1999") && said.contains(&"here we are"), "{said:?}");
    assert!(ready["time"].as_f64() >= statuses[2000]["time"].as_f64(), "not before it was said");
    it.answers("two");
    it.end("TERM", Some(143));
}

#[test]
fn whoever_waits_for_the_tool_hears_nothing_of_its_servers() {
    let project = Project::copy("servers");
    let path = project.beside("somebody");
    let somebody = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    let mut it = Swapping::on(project, "good one", NONE, |tool| tool.env("NOTIFY_SOCKET", &path));
    it.swap("good two");
    it.end("TERM", Some(143));
    somebody.set_nonblocking(true).expect("a socket");
    let error = somebody.recv(&mut [0; 100]).expect_err("nothing came");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_broken_build_while_the_new_one_starts_stops_neither() {
    let mut it = Swapping::start("good one", NONE);
    let gate = it.project.beside("gate");
    it.go(&format!("gated two {}", gate.display()));
    it.wait_for("server-status");
    it.project.edit("src/lib.rs", "pub const ANSWER", "pub cnost ANSWER");
    assert_eq!(it.wait_for("build-failed")["serving"], 1);
    it.answers("one");
    fs::write(&gate, "").expect("a file");
    it.taken_over();
    it.wait_for_of("server-exited", 1);
    it.answers("two");
    it.look_from_here();
    it.project.write("way", "good -");
    it.project.edit("src/lib.rs", "pub cnost ANSWER", "pub const ANSWER");
    it.project.edit("src/lib.rs", "\"one\"", "\"three\"");
    eventually("the mended one answers", || it.version() == "three");
    it.end("TERM", Some(143));
}

#[test]
fn several_old_ones_stop_at_once() {
    let mut it = Swapping::start("deaf one", ["--grace", "10"]);
    for way in ["deaf two", "deaf three", "good four"] {
        it.go(way);
        it.taken_over();
    }
    let old: Vec<_> = [1, 2, 3].map(|generation| it.pid(generation)).into();
    assert!(old.iter().all(|pid| lives(*pid)), "nobody waited for them\n{}", it.run.story());
    it.look_from_here();
    for generation in 1..=3 {
        let exited = it.wait_for_of("server-exited", generation);
        assert_eq!((&exited["signal"], &exited["asked"]), (&json!(9), &json!(true)), "{exited}");
    }
    assert_eq!(it.run.count("server-killed"), 3, "{}", it.run.story());
    it.run.wait_for_stderr("did not stop within 10 s and was killed");
    it.answers("four");
    it.end("INT", Some(130));
}

#[test]
fn a_server_that_says_that_it_stops_is_heard() {
    let mut it = Swapping::start("good one", NONE);
    get(it.address, "/leave");
    let leaving = it.wait_for("server-leaving");
    assert_eq!(leaving["generation"], 1);
    let exited = it.wait_for("server-exited");
    assert_eq!((&exited["code"], &exited["asked"]), (&json!(0), &json!(false)));
    it.says("the server says that it is stopping by itself");
    // Connections wait for the next one.
    let waiting = Open::get(it.address, "/");
    it.go("good two");
    it.taken_over();
    assert!(waiting.finish().contains("\r\n\r\ntwo "));
    it.end("TERM", Some(143));
}

// ---- it cannot ----

#[test]
fn a_new_server_that_fails_leaves_the_old_one_where_it_is() {
    let mut it = Swapping::start("good one", ["--ready-timeout", "3", "--grace", "3"]);
    let load = it.load();
    let cases = [
        ("panic", Some(101), None, "no database"),
        ("exit-one", Some(1), None, "the new server ended before it was ready: exit code 1"),
        ("exit-zero", Some(0), None, "the new server ended before it was ready: exit code 0"),
        ("killed", None, Some(9), "the new server ended before it was ready: signal 9 (SIGKILL)"),
        ("never-ready", None, Some(15), "the new server was not ready within 3 s"),
        ("never-ready-deaf", None, Some(9), "the new server was not ready within 3 s"),
    ];
    for (way, code, signal, said) in cases {
        let old = it.serving;
        it.go(&format!("{way} broken-{way}"));
        let new = it.spawned();
        let in_time = way.starts_with("never");
        if in_time {
            let late = it.wait_for_of("server-not-ready", new);
            assert_eq!(late["serving"], old, "{late}");
            assert!(late["after"].as_f64() >= Some(3000.0), "{late}");
        }
        let exited = it.wait_for_of("server-exited", new);
        assert_eq!((&exited["code"], &exited["signal"]), (&json!(code), &json!(signal)), "{way}");
        assert_eq!(exited["asked"], in_time, "{exited}");
        it.says(said);
        it.says("the last good server goes on");
        if !in_time {
            assert_eq!(exited["serving"], old, "{exited}");
        }
        assert!(!lives(it.pid(new)), "{way}");
        assert!(lives(it.pid(old)), "{way}\n{}", it.run.story());
        it.answers(if old == 1 { "one" } else { "good-again" });
        it.swap("good good-again");
        eventually("the mended one answers", || it.version() == "good-again");
    }
    let counts = load.stop();
    assert_eq!(counts.unanswered(), 0, "{counts}\n{}", it.run.story());
    assert_eq!(counts.versions.keys().collect::<Vec<_>>(), ["good-again", "one"], "{counts}");
    // What else it may be is said once.
    let hint = "if it wants a port or a file that the old one holds";
    assert_eq!(it.run.stderr().matches(hint).count(), 1, "{}", it.run.story());
    it.end("TERM", Some(143));
}

#[test]
fn what_was_compiled_into_it_is_mended_or_taken_back() {
    const MAIN: &str = "src/bin/ready.rs";
    const GOOD: &str = "const WAY: &str = \"good\";";
    const PANIC: &str = "const WAY: &str = \"panic\";";
    let project = Project::copy("servers");
    let mut it = Swapping::on(project, "", NONE, |tool| tool);
    it.answers("one");

    it.look_from_here();
    it.project.edit(MAIN, GOOD, PANIC);
    let new = it.spawned();
    assert_eq!(it.wait_for_of("server-exited", new)["serving"], 1);
    it.answers("one");
    // What runs is what is there again: nothing to start.
    it.look_from_here();
    it.project.edit(MAIN, PANIC, GOOD);
    assert_eq!(it.wait_for("unchanged")["serving"], 1, "{}", it.run.story());
    it.answers("one");

    it.look_from_here();
    it.project.edit(MAIN, GOOD, PANIC);
    let new = it.spawned();
    assert_eq!(it.wait_for_of("server-exited", new)["serving"], 1);
    it.look_from_here();
    it.project.edit("src/lib.rs", "\"one\"", "\"two\"");
    it.project.edit(MAIN, PANIC, GOOD);
    it.taken_over();
    it.wait_for_of("server-exited", 1);
    it.answers("two");
    it.end("INT", Some(130));
}

#[test]
fn a_server_that_ends_as_soon_as_it_is_ready_is_mended_by_the_next_change() {
    let mut it = Swapping::start("good one", NONE);
    it.go("dies-when-ready two");
    let new = it.spawned();
    let exited = it.wait_for_of("server-exited", new);
    assert_eq!((&exited["code"], &exited["asked"]), (&json!(1), &json!(false)), "{exited}");
    it.says("exit code 1");
    it.wait_for_of("server-exited", 1);
    // Nobody is refused.
    let waiting = Open::get(it.address, "/");
    it.go("good three");
    it.taken_over();
    assert!(waiting.finish().contains("\r\n\r\nthree "));
    it.end("TERM", Some(143));
}

#[test]
fn when_the_old_one_dies_meanwhile_the_new_one_serves() {
    let mut it = Swapping::start("good one", NONE);
    let gate = it.project.beside("gate");
    it.go(&format!("gated two {}", gate.display()));
    it.wait_for("server-status");
    signal(it.pid(1), "KILL");
    let exited = it.wait_for_of("server-exited", 1);
    assert_eq!((&exited["signal"], &exited["asked"]), (&json!(9), &json!(false)), "{exited}");
    let waiting = Open::get(it.address, "/");
    fs::write(&gate, "").expect("a file");
    it.taken_over();
    assert!(waiting.finish().contains("\r\n\r\ntwo "));
    it.swap("good three");
    it.answers("three");
    it.end("TERM", Some(143));
}

#[test]
fn a_server_that_no_longer_says_when_it_is_ready_is_not_swapped_in() {
    let mut it = Swapping::start("good one", ["--ready-timeout", "3"]);
    it.go("mute two");
    let new = it.spawned();
    assert_eq!(it.wait_for_of("server-not-ready", new)["serving"], 1);
    it.wait_for_of("server-exited", new);
    it.says("READY=1");
    it.answers("one");
    it.swap("good three");
    it.answers("three");
    it.end("TERM", Some(143));
}

// ---- both want the same ----

/// The old one holds what the new one wants, and goes first for it.
fn started_once_more(mut it: Swapping, way: &str, argument: &str, held: &str) {
    it.go(&format!("{way} two {argument}"));
    let failed = it.spawned();
    let exited = it.wait_for_of("server-exited", failed);
    assert_eq!((&exited["code"], &exited["serving"]), (&json!(1), &json!(1)), "{exited}");
    let conflict = it.wait_for_of("server-conflict", failed);
    assert_eq!((&conflict["serving"], &conflict["retry"]), (&json!(1), &json!(true)), "{conflict}");
    let holds = conflict["holds"][0].as_str().expect("something");
    assert!(holds.contains(held), "{conflict}");
    it.wait_for_of("server-exited", 1);
    it.says("could not start beside the old one");
    it.says("it is started once more, the old one stopped first");
    eventually("the new one answers", || it.version() == "two");
    it.run.rest();
    it.serving = failed;

    // Known from now on: the next one comes when the old one is gone.
    it.go(&format!("{way} three {argument}"));
    let next = it.spawned();
    it.wait_for_of("server-listening", next);
    it.serving = next;
    it.wait_for_of("server-exited", failed);
    let spawned = it.position_of("server-spawned", next);
    assert!(it.position_of("server-exited", failed) < spawned, "{}", it.run.story());
    assert_eq!(it.run.log[spawned]["beside"], Value::Null);
    eventually("the third one answers", || it.version() == "three");
    assert_eq!(it.run.count("server-conflict"), 1, "{}", it.run.story());
    it.run.rest();

    // Until it is over: one that holds nothing, and some time to see that.
    let end = Instant::now() + support::PATIENCE;
    for number in 4.. {
        let (old, version) = (it.serving, format!("v{number}"));
        it.swap(&format!("good {version}"));
        eventually("the next one answers", || it.version() == version);
        if it.run.log[it.position_of("server-spawned", it.serving)]["beside"] == old {
            break;
        }
        assert!(Instant::now() < end, "{}", it.run.story());
        it.run.rest();
    }
    it.end("INT", Some(130));
}

#[test]
fn a_lock_that_the_old_one_has_is_tried_once_more() {
    let project = Project::copy("servers");
    let lock = lock(&project);
    let it = Swapping::on(project, &format!("lock one {lock}"), NONE, |tool| tool);
    started_once_more(it, "lock", &lock, &lock);
}

#[test]
fn a_port_that_the_old_one_has_is_tried_once_more() {
    let port = free_port().to_string();
    // With `auto` it is shared: the next test.
    let it = Swapping::start(&format!("port one {port}"), ["--listen", "inherit"]);
    started_once_more(it, "port", &port, &port);
}

#[test]
#[cfg(target_os = "linux")]
fn a_port_that_a_server_has_beside_ours_is_shared() {
    let port = free_port();
    let mut it = Swapping::start(&format!("port one {port}"), NONE);
    for version in ["two", "three"] {
        let old = it.serving;
        it.go(&format!("port {version} {port}"));
        let new = it.spawned();
        it.taken_over();
        let spawned = it.position_of("server-spawned", new);
        assert_eq!(it.run.log[spawned]["beside"], old, "{}", it.run.story());
        // Until then both answer.
        it.wait_for_of("server-exited", old);
        it.answers(version);
        it.run.rest();
    }
    assert_eq!(it.run.count("server-conflict"), 0, "{}", it.run.story());
    it.end("INT", Some(130));
}

#[test]
fn an_old_server_that_was_stopped_for_one_that_fails_anyway_serves_again() {
    const MAIN: &str = "src/bin/ready.rs";
    const GOOD: &str = "Some(fixed_port())";
    const PANIC: &str = "panic!(\"no disk\")";
    let way = format!("port one {}", free_port());
    let mut it = Swapping::start(&way, ["--listen", "inherit"]);
    // It holds a port, and the new one fails for another reason: nobody can tell that before.
    it.project.edit(MAIN, GOOD, PANIC);
    let failed = it.spawned();
    it.wait_for_of("server-conflict", failed);
    let restored = it.wait_for("server-restored");
    assert_eq!((&restored["generation"], &restored["failed"]), (&json!(1), &json!(failed)));
    it.says("the last good server: the new one has failed");
    it.look_from_here();
    it.wait_for_of("server-listening", 1);
    it.answers("one");

    it.look_from_here();
    it.project.write("way", "good two");
    it.project.edit(MAIN, PANIC, GOOD);
    it.taken_over();
    it.wait_for_of("server-exited", 1);
    it.answers("two");
    it.end("INT", Some(130));
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

#[test]
fn a_lock_that_the_new_one_waits_for_is_noticed() {
    let project = Project::copy("servers");
    let lock = lock(&project);
    let way = |version: &str| format!("waits-for-lock {version} {lock}");
    let mut it = Swapping::on(project, &way("one"), NONE, |tool| tool);
    it.go(&way("two"));
    let new = it.spawned();
    let conflict = it.wait_for_of("server-conflict", new);
    assert_eq!((&conflict["serving"], &conflict["retry"]), (&json!(1), &json!(false)));
    assert!(conflict["holds"][0].as_str().is_some_and(|it| it.contains(&lock)), "{conflict}");
    it.wait_for_of("server-exited", 1);
    it.taken_over();
    assert_eq!(it.serving, new, "the same process goes on");
    it.says("waits for what the old one holds");
    eventually("the new one answers", || it.version() == "two");
    assert_eq!(it.run.count("server-not-ready"), 0);
    it.run.rest();
    // Known from now on.
    it.go(&way("three"));
    it.taken_over();
    assert_eq!(it.run.log[it.position_of("server-spawned", it.serving)]["beside"], Value::Null);
    eventually("the third one answers", || it.version() == "three");
    assert_eq!(it.run.count("server-conflict"), 1, "{}", it.run.story());
    it.end("TERM", Some(143));
}

#[test]
fn a_lock_that_somebody_else_has_is_no_conflict() {
    let project = Project::copy("servers");
    let path = lock(&project);
    let held = fs::File::create(&path).expect("a file");
    held.lock().expect("it can be locked");
    let mut it = Swapping::on(project, "good one", NONE, |tool| tool);
    it.go(&format!("lock two {path}"));
    let new = it.spawned();
    assert_eq!(it.wait_for_of("server-exited", new)["serving"], 1);
    it.says("the last good server goes on");
    it.run.rest();
    assert_eq!(it.run.count("server-conflict"), 0, "{}", it.run.story());
    it.answers("one");
    it.end("TERM", Some(143));
}

#[test]
fn a_new_server_that_binds_for_itself_does_not_stand_in_the_way() {
    let mut it = Swapping::start("good one", NONE);
    // The tool's listener has the address, and so it cannot.
    it.go("binds-itself two");
    let new = it.spawned();
    let exited = it.wait_for_of("server-exited", new);
    assert_eq!(exited["code"], 98, "{exited}");
    it.run.rest();
    eventually("somebody answers", || ["one", "two"].contains(&it.version().as_str()));
    it.swap("good three");
    eventually("the mended one answers", || it.version() == "three");
    it.end("TERM", Some(143));
}

#[test]
fn a_new_server_that_tells_that_it_binds_for_itself_is_let() {
    let mut it = Swapping::start("good one", NONE);
    it.go("binds-itself-and-tells two");
    let new = it.spawned();
    it.wait_for_of("server-conflict", new);
    it.wait_for("listener-given-up");
    it.taken_over();
    eventually("it answers", || it.version() == "two");
    it.run.rest();
    it.swap("binds-itself-and-tells three");
    eventually("the next one answers", || it.version() == "three");
    it.end("TERM", Some(143));
}

#[test]
fn a_second_signal_does_not_wait_for_any_of_them() {
    let mut it = Swapping::start("deaf one", ["--grace", "3600"]);
    it.go("deaf two");
    it.taken_over();
    it.go("never-ready-deaf three");
    it.spawned();
    it.run.signal("TERM");
    it.run.wait_for("stopping");
    it.end("INT", Some(143));
}

#[test]
fn a_new_server_that_listens_elsewhere_is_found_there() {
    let mut it = Swapping::start("good one", NONE);
    let port = free_port();
    it.go(&format!("binds-elsewhere two {port}"));
    let new = it.spawned();
    let there = json!([format!("http://127.0.0.1:{port}")]);
    it.wait_until("its own address", |event| {
        event["event"] == "server-listening"
            && event["generation"] == new
            && event["addresses"] == there
    });
    it.wait_for_of("server-exited", 1);
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], port));
    assert!(get(elsewhere, "/").is_some_and(|it| it.starts_with("two ")));
    it.end("TERM", Some(143));
}

// ---- as the user wants it ----

#[test]
fn the_old_one_can_be_stopped_first() {
    let metadata = |project: &Project, text: &str| {
        project.edit(
            "Cargo.toml",
            "[workspace]",
            &format!("[package.metadata.stario]\n{text}\n\n[workspace]"),
        );
    };
    let by_flag = Swapping::start("good one", ["--swap", "stop-first"]);
    let by_variable = Swapping::on(Project::copy("servers"), "good one", NONE, |tool| {
        tool.env("STARIO_SWAP", "stop-first")
    });
    let project = Project::copy("servers");
    metadata(&project, "swap = \"stop-first\"");
    let by_metadata = Swapping::on(project, "good one", NONE, |tool| tool);
    for mut it in [by_flag, by_variable, by_metadata] {
        let load = it.load();
        for version in ["two", "three"] {
            let old = it.serving;
            it.swap(&format!("good {version}"));
            let spawned = it.position_of("server-spawned", it.serving);
            assert!(it.position_of("server-exited", old) < spawned, "{}", it.run.story());
            assert_eq!(it.run.log[spawned]["beside"], Value::Null);
            load.wait_for_version(version);
        }
        let counts = load.stop();
        assert_eq!(counts.unanswered(), 0, "{counts}\n{}", it.run.story());
        it.end("TERM", Some(143));
    }
}

#[test]
fn a_temporary_folder_with_too_long_a_name_for_sockets_is_no_obstacle() {
    let project = Project::copy("servers");
    let too_long = project.beside(&"long".repeat(25));
    fs::create_dir(&too_long).expect("it is not there yet");
    let mut it = Swapping::on(project, "good one", NONE, |tool| tool.env("TMPDIR", &too_long));
    let old = it.serving;
    it.swap("good two");
    assert_eq!(it.run.log[it.position_of("server-spawned", it.serving)]["beside"], old);
    assert_eq!(fs::read_dir(&too_long).expect("a folder").count(), 0, "what was tried is gone");
    it.end("TERM", Some(143));
}

#[test]
fn side_by_side_can_be_insisted_on() {
    let project = Project::copy("servers");
    let lock = lock(&project);
    let arguments = ["--swap", "overlap", "--ready-timeout", "3"];
    let mut it = Swapping::on(project, &format!("lock one {lock}"), arguments, |tool| tool);
    it.go(&format!("lock two {lock}"));
    let new = it.spawned();
    let conflict = it.wait_for_of("server-conflict", new);
    assert_eq!(conflict["retry"], false, "{conflict}");
    it.says("the old server holds what the new one wants");
    it.says("--swap auto");
    it.run.rest();
    it.answers("one");
    it.go(&format!("waits-for-lock three {lock}"));
    let new = it.spawned();
    it.wait_for_of("server-not-ready", new);
    it.wait_for_of("server-exited", new);
    it.answers("one");
    it.swap("good four");
    eventually("it answers", || it.version() == "four");
    it.end("TERM", Some(143));
}

#[test]
fn who_never_says_when_it_is_ready_can_be_side_by_side_too() {
    let mut it = Swapping::start("mute one", ["--swap", "overlap"]);
    let load = it.load();
    for version in ["two", "three"] {
        let old = it.serving;
        it.swap(&format!("mute {version}"));
        let spawned = &it.run.log[it.position_of("server-spawned", it.serving)];
        assert_eq!(spawned["beside"], old, "{}", it.run.story());
        load.wait_for_version(version);
    }
    let counts = load.stop();
    assert_eq!(counts.unanswered(), 0, "{counts}\n{}", it.run.story());
    assert_eq!(it.run.count("server-not-ready"), 0, "{}", it.run.story());
    it.end("TERM", Some(143));
}

#[test]
fn the_time_to_be_ready_comes_from_the_environment_and_the_metadata() {
    let by_variable = Swapping::on(Project::copy("servers"), "good one", NONE, |tool| {
        tool.env("STARIO_READY_TIMEOUT", "0.5")
    });
    let project = Project::copy("servers");
    project.edit(
        "Cargo.toml",
        "[workspace]",
        "[package.metadata.stario]\nready-timeout = 0.5\n\n[workspace]",
    );
    let by_metadata = Swapping::on(project, "good one", NONE, |tool| tool);
    for mut it in [by_variable, by_metadata] {
        it.go("never-ready two");
        let late = it.wait_for("server-not-ready");
        // Not the default, which is 30 s.
        assert!(late["after"].as_f64().is_some_and(|it| (500.0..25e3).contains(&it)), "{late}");
        it.answers("one");
        it.end("TERM", Some(143));
    }
}

// ---- the end in the middle of it ----

/// How the tool may be ended, and its exit code then.
const SIGNALS: [(&str, Option<i32>); 3] = [("INT", Some(130)), ("TERM", Some(143)), ("KILL", None)];

#[test]
fn ended_while_the_new_one_starts_it_leaves_nothing() {
    for (name, code) in SIGNALS {
        let mut it = Swapping::start("good one", NONE);
        it.go(&format!("gated two {}", it.project.beside("never").display()));
        it.wait_for("server-status");
        let new = it.spawned();
        let pids = [it.pid(1), it.pid(new)];
        assert!(pids.iter().all(|pid| lives(*pid)));
        it.end(name, code);
        assert!(!pids.iter().any(|pid| lives(*pid)), "{name}");
    }
}

#[test]
fn ended_while_old_ones_stop_it_leaves_nothing() {
    for (name, code) in SIGNALS {
        let mut it = Swapping::start("deaf one", ["--grace", "2"]);
        it.go("deaf two");
        it.taken_over();
        it.go("never-ready-deaf three");
        it.spawned();
        it.end(name, code);
    }
}

/// A server that takes the socket on descriptor 3 and says that it is ready, in as few lines as that
/// takes.
const TAKES_THE_SOCKET: &str = r#"
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixDatagram;

fn main() {
    assert_eq!(std::env::var("LISTEN_FDS").as_deref(), Ok("1"));
    let listener = unsafe { TcpListener::from_raw_fd(3) };
    let notify = std::env::var("NOTIFY_SOCKET").expect("under the tool");
    UnixDatagram::unbound().unwrap().send_to(b"READY=1", notify).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nVERSION");
    }
}
"#;

#[test]
fn code_that_learns_to_take_the_socket_is_swapped_without_a_gap_and_back() {
    let project = Project::server("one");
    let mut run = project.tool(["watch", "--port", "0"]).start();
    let address = run.serving();
    let spawned = |run: &mut Run| {
        let spawned = run.wait_for("server-spawned");
        let listening = run.wait_for("server-listening");
        assert_eq!(support::address(&listening), address);
        // The old one does not finish what it has accepted.
        let living = |run: &Run| run.count("server-spawned") - run.count("server-exited");
        while living(run) > 1 {
            run.wait_for("server-exited");
        }
        (spawned["listen"].as_str().unwrap().to_owned(), spawned["beside"].is_u64())
    };
    let answers = |version: &str| assert_eq!(get(address, "/").as_deref(), Some(version));
    let own = if cfg!(target_os = "linux") { "adopt" } else { "direct" };
    let first = run.log.iter().find(|it| it["event"] == "server-spawned").unwrap();
    assert_eq!(first["listen"], own);
    answers("one");

    project.write("src/main.rs", TAKES_THE_SOCKET.replace("VERSION", "two"));
    assert_eq!(spawned(&mut run), ("inherit".to_owned(), false));
    answers("two");
    project.write("src/main.rs", TAKES_THE_SOCKET.replace("VERSION", "three"));
    assert_eq!(spawned(&mut run), ("inherit".to_owned(), true));
    answers("three");
    // Who cannot take it any more binds for itself: our listener is not in its way.
    project.write("src/main.rs", support::server_source("four"));
    assert_eq!(spawned(&mut run), (own.to_owned(), false));
    answers("four");
    run.signal("INT");
    assert_eq!(run.wait().code(), Some(130));
    wait_until_nothing_is_left(&project.root);
}

#[test]
fn a_watchdog_that_is_killed_in_the_middle_changes_nothing() {
    for (name, code) in SIGNALS {
        let mut it = Swapping::start("deaf one", ["--grace", "2"]);
        it.go(&format!("gated two {}", it.project.beside("never").display()));
        it.wait_for("server-status");
        let tool = it.run.pid();
        let first = watchdog(tool).expect("a watchdog");
        signal(first, "KILL");
        eventually("another one", || watchdog(tool).is_some_and(|pid| pid != first));
        it.answers("one");
        it.end(name, code);
    }
}
