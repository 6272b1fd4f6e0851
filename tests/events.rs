//! `--events`: every line is what the README's table says, and `exit` is the last.

#![cfg(unix)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde_json::Value;
use support::{Project, repository, server_source};

/// What the README says that an event has, beside `event` and `time`.
type Table = BTreeMap<String, BTreeSet<String>>;

fn documented() -> Table {
    let readme = fs::read_to_string(repository().join("README.md")).expect("it is there");
    let (_, rest) = readme.split_once("\n| event | fields | |\n").expect("the table of events");
    let rows = rest.lines().skip(1).take_while(|line| line.starts_with('|'));
    let names = |cell: Option<&str>| -> BTreeSet<String> {
        let cell = cell.expect("three cells");
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    rows.map(|row| {
        let mut cells = row.split('|').skip(1);
        let event = names(cells.next()).pop_first().expect("its name");
        (event, names(cells.next()))
    })
    .collect()
}

/// What a field of this name holds.
fn is_right(event: &str, field: &str, value: &Value) -> bool {
    let texts = |value: &Value| value.as_array().is_some_and(|it| it.iter().all(Value::is_string));
    let milliseconds = |value: &Value| value.as_f64().is_some_and(|it| it >= 0.0);
    match (event, field) {
        ("stopping", "signal") => {
            value.is_null() || value.as_str().is_some_and(|it| it.starts_with("SIG"))
        }
        ("exit", "code") => value.as_u64().is_some_and(|it| it < 256),
        ("notice", "help") => value.is_string() || value.is_null(),
        ("build-failed", "message") | ("diagnostic", "path") => {
            value.is_string() || value.is_null()
        }
        (
            "build-failed" | "server-exited" | "server-slow-to-start" | "server-not-ready",
            "serving",
        )
        | (_, "beside") => value.is_u64() || value.is_null(),
        ("notice", "code")
        | (
            _,
            "event" | "message" | "rendered" | "level" | "text" | "executable" | "listen"
            | "status" | "reason",
        ) => value.is_string(),
        (
            _,
            "generation" | "serving" | "expected" | "failed" | "folders" | "files" | "cancelled"
            | "to" | "from",
        ) => value.is_u64(),
        (_, "pid") => value.as_u64().is_some_and(|it| it > 1),
        (_, "code" | "signal") => value.is_i64() || value.is_null(),
        (_, "line" | "column") => value.as_u64().is_some_and(|it| it > 0) || value.is_null(),
        (_, "polling") => value.is_null() || milliseconds(value),
        (_, "time" | "elapsed" | "after" | "kill_in" | "grace") => milliseconds(value),
        (_, "fresh" | "asked" | "waiting" | "retry") => value.is_boolean(),
        (_, "roots" | "paths" | "addresses" | "help" | "holds") => texts(value),
        _ => false,
    }
}

/// Checks every line; returns the names of the events that came.
fn check(log: &[Value]) -> BTreeSet<String> {
    let documented = documented();
    assert!(documented.len() > 20, "{documented:?}");
    let mut time = 0.0;
    for line in log {
        let event = line["event"].as_str().expect("its name");
        let fields = documented.get(event).unwrap_or_else(|| panic!("undocumented: {line}"));
        let keys: Vec<_> = line.as_object().expect("an object").keys().collect();
        assert_eq!(keys[..2], ["event", "time"], "{line}");
        let further: BTreeSet<_> = keys[2..].iter().map(|key| (*key).clone()).collect();
        assert_eq!(further, *fields, "{line}");
        for (field, value) in line.as_object().expect("an object") {
            assert!(is_right(event, field, value), "`{field}` of {line}");
        }
        let now = line["time"].as_f64().expect("checked");
        assert!(now >= time, "time goes back: {line}");
        time = now;
        for path in ["paths", "roots", "executable"] {
            for path in line[path].as_array().into_iter().flatten().chain(line.get(path)) {
                assert!(path.as_str().is_none_or(|it| it.starts_with('/')), "relative: {line}");
            }
        }
        if event == "diagnostic" {
            assert!(!line["rendered"].as_str().expect("checked").contains('\x1b'), "{line}");
        }
    }
    let last = log.last().expect("some event");
    assert_eq!(last["event"], "exit", "{last}");
    log.iter().map(|line| line["event"].as_str().expect("checked").to_owned()).collect()
}

/// The lines of a file.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

#[test]
fn a_varied_session_says_what_is_documented() {
    let project = Project::server("one");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let mut tool = project.tool(["watch", "--port", &port, "--grace", "1.5"]);
    tool.command.env("STARIO_TRACER", "none");
    let mut run = tool.start();
    run.serving();

    // The compiler speaks, with and without a place.
    project.edit("src/main.rs", "fn main", "fn unused() {}\n\nfn man");
    run.wait_for("diagnostic");
    run.wait_for("build-failed");
    project.edit("src/main.rs", "fn man", "fn main");
    run.serving();
    // Nothing that the executable shows.
    let source = project.read("src/main.rs");
    project.write("src/main.rs", source.clone() + "// The end.\n");
    run.wait_for("unchanged");
    // Another port than the one that was named.
    project.edit("src/main.rs", "127.0.0.1:{port}", "127.0.0.1:0");
    run.wait_for("server-elsewhere");
    // A build that is cancelled: its script waits until it is.
    project.write("gate", "");
    project.write(".gitignore", "/target\n/gate\n");
    project.write(
        "build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=src\");\n    \
         while !std::path::Path::new(\"gate\").exists() {\n        std::thread::yield_now();\n    \
         }\n}\n",
    );
    run.serving();
    fs::remove_file(project.path("gate")).unwrap();
    project.edit("src/main.rs", "\"one\"", "\"two\"");
    run.wait_for("build-spawned");
    project.edit("src/main.rs", "\"two\"", "\"three\"");
    run.wait_for("build-cancelled");
    project.write("gate", "");
    run.serving();
    fs::remove_file(project.path("build.rs")).unwrap();
    run.wait_for("build-succeeded");
    // Manifests: one that says something new, one that is wrong.
    let manifest = project.read("Cargo.toml");
    let metadata = "\n[package.metadata.stario]\nwatch-ignore = [\"data/\"]\ngrace = 9\n";
    project.write("Cargo.toml", manifest.clone() + metadata);
    run.wait_for("resolved");
    run.wait_for("build-succeeded");
    project.write("Cargo.toml", manifest.clone() + "\n[package.metadata.stario]\nprot = 1\n");
    let failed = run.wait_for("build-failed");
    assert!(failed["message"].as_str().is_some_and(|it| it.contains("prot")), "{failed}");
    assert!(failed["help"][0].is_string(), "{failed}");
    project.write("Cargo.toml", manifest);
    // A server that ends by itself.
    project.write("src/main.rs", "fn main() {\n    std::process::exit(3);\n}\n");
    run.wait_until("its end", |it| it["event"] == "server-exited" && it["code"] == 3);
    project.write("src/main.rs", server_source("four"));
    run.serving();

    run.signal("TERM");
    let status = run.wait();
    assert_eq!(status.code(), Some(143));
    let seen = check(&run.log);
    for event in [
        "watching",
        "changed",
        "build-started",
        "build-spawned",
        "resolved",
        "diagnostic",
        "build-succeeded",
        "build-failed",
        "build-cancelled",
        "unchanged",
        "server-starting",
        "server-spawned",
        "server-listening",
        "server-elsewhere",
        "server-stopping",
        "server-exited",
        "stopping",
        "exit",
    ] {
        assert!(seen.contains(event), "no {event} came\n{}", run.story());
    }
    let last = run.log.last().unwrap();
    assert_eq!(last["code"], 143);
}

#[test]
fn what_takes_time_is_told_too() {
    let project = Project::copy("servers");
    let mut tool = project.tool(["watch", "ignores-term", "--port", "0", "--grace", "1.5"]);
    tool.command.args(["--poll=200"]);
    let mut run = tool.start();
    let watching = run.wait_for("watching");
    assert_eq!(watching["polling"], 200.0);
    run.serving();
    project.write("new.css", "");
    run.serving();
    run.wait_for("server-slow-to-stop");
    let killed = run.wait_for("server-killed");
    assert_eq!(killed["grace"], 1500.0);
    run.signal("INT");
    run.wait();
    check(&run.log);
}

#[test]
fn a_server_that_listens_nowhere_and_one_that_cannot_start() {
    let project =
        Project::package("fn main() {\n    loop {\n        std::thread::park();\n    }\n}\n");
    let mut run = project.watch([""; 0]);
    run.wait_for("server-silent");
    // The runner that is named is not there.
    project
        .write(".cargo/config.toml", "[target.'cfg(all())']\nrunner = \"/nonexistent/runner\"\n");
    let failed = run.wait_for("server-failed");
    assert!(failed["message"].as_str().is_some_and(|it| it.contains("No such file")), "{failed}");
    run.signal("HUP");
    run.wait();
    check(&run.log);
}

#[test]
fn a_file_gets_the_same_lines_and_exit_is_the_last_one() {
    let project = Project::server("one");
    project.edit("src/main.rs", "fn main", "fn man");
    let events = project.root.with_file_name("events");
    // What was there is replaced.
    fs::write(&events, "old\n").unwrap();
    let mut tool = project.tool(["serve", "--port", "0"]);
    tool.command.arg("--events").arg(&events);
    let finished = tool.finish();
    assert_eq!(finished.status.code(), Some(101), "{}", finished.stderr);
    let log = lines(&fs::read_to_string(&events).unwrap());
    let seen = check(&log);
    assert!(seen.contains("build-failed") && seen.contains("diagnostic"), "{seen:?}");
    assert_eq!(log.last().unwrap()["code"], 101);
}

#[test]
fn serve_tells_up_to_where_it_becomes_the_server() {
    let project = Project::package("fn main() {\n    std::process::exit(3);\n}\n");
    let mut run = project.tool(["serve", "--port", "0"]).start();
    assert_eq!(run.wait().code(), Some(3));
    let names: Vec<_> = run.log.iter().map(|it| it["event"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "build-started",
            "build-spawned",
            "notice",
            "build-succeeded",
            "server-starting",
            "server-spawned"
        ],
        "{}",
        run.story()
    );
}

#[test]
fn a_mistake_after_the_events_were_opened_is_told_there() {
    let project = Project::server("one");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut run = project.tool(["watch", "--port", &port]).start();
    assert_eq!(run.wait().code(), Some(2));
    check(&run.log);
    assert_eq!(run.log.last().unwrap()["code"], 2);
}

#[test]
fn a_mistake_before_anything_is_read_is_told_too() {
    let project = Project::server("one");
    let events = project.beside("events");
    let mut typed = project.tool(["watch", "nosuch:x", "--events"]);
    typed.command.arg(&events);
    let in_environment = project.tool(["serve", "nosuch:x"]).env("STARIO_EVENTS", &events);
    for tool in [typed, in_environment] {
        let finished = tool.finish();
        assert_eq!(finished.status.code(), Some(2), "{}", finished.stderr);
        assert_eq!(finished.stderr.matches("error").count(), 1, "{}", finished.stderr);
        let log = lines(&fs::read_to_string(&events).unwrap());
        check(&log);
        assert_eq!((&log[0]["event"], log.len()), (&"error".into(), 2));
        assert_eq!(log[1]["code"], 2);
        fs::remove_file(&events).unwrap();
    }
}

#[test]
fn what_the_metadata_names_begins_when_that_is_read() {
    let project = Project::server("one");
    let metadata = "\n[package.metadata.stario]\nevents = \"../events\"\n";
    project.write("Cargo.toml", project.read("Cargo.toml") + metadata);
    project.edit("src/main.rs", "fn main", "fn man");
    let finished = project.tool(["serve", "--port", "0"]).finish();
    assert_eq!(finished.status.code(), Some(101), "{}", finished.stderr);
    check(&lines(&fs::read_to_string(project.beside("events")).unwrap()));
}

/// The tool, serving with its events going to this named pipe, ends as it should.
fn serves_and_ends_with_events_to(project: &Project, pipe: &Path) {
    let mut tool = project.tool(["watch", "--port", "0", "--events"]);
    tool.command.arg(pipe);
    let mut run = tool.start_with_events();
    run.wait_for_stderr("Serving");
    project.edit("src/main.rs", "\"one\"", "\"two\"");
    run.wait_for_stderr("Changed");
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(143), "{}", run.story());
    support::wait_until_nothing_is_left(&project.root);
}

#[test]
fn a_named_pipe_that_nobody_reads_holds_nothing_up() {
    let project = Project::server("one");
    let pipe = project.beside("events");
    support::make_fifo(&pipe);
    serves_and_ends_with_events_to(&project, &pipe);
}

#[test]
fn a_reader_who_stalls_holds_nothing_up() {
    let project = Project::server("one");
    let pipe = project.beside("events");
    support::make_fifo(&pipe);
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    let mut reader =
        fs::File::options().read(true).write(true).custom_flags(nonblocking).open(&pipe).unwrap();
    // Full: not one line fits in.
    while reader.write(&[b'\n'; 512]).is_ok() {}
    while reader.write(b"\n").is_ok() {}
    serves_and_ends_with_events_to(&project, &pipe);
}

#[test]
fn a_named_pipe_that_we_may_not_write_into_is_a_mistake() {
    if rustix::process::geteuid().is_root() {
        // May write everywhere.
        return;
    }
    let project = Project::server("one");
    let pipe = project.beside("events");
    support::make_fifo(&pipe);
    fs::set_permissions(&pipe, fs::Permissions::from_mode(0o400)).unwrap();
    let mut tool = project.tool(["watch", "--port", "0", "--events"]);
    tool.command.arg(&pipe);
    assert_eq!(tool.finish().status.code(), Some(2));
}

#[test]
fn as_the_readme_reads_them_from_a_named_pipe() {
    let project = Project::server("one");
    let pipe = project.beside("events");
    support::make_fifo(&pipe);
    let mut tool = project.tool(["watch", "--port", "0"]);
    tool.command.arg("--events").arg(&pipe).stderr(std::process::Stdio::null());
    let mut child = tool.command.spawn().unwrap();
    let reader = std::io::BufReader::new(fs::File::open(&pipe).unwrap());
    let mut log = Vec::new();
    for line in std::io::BufRead::lines(reader) {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if event["event"] == "server-listening" {
            support::signal(child.id(), "INT");
        }
        log.push(event);
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    check(&log);
}
