//! The end, however it comes: the tool's, the server's, the watchdog's. Nothing is left of them, the
//! port is free, and the exit code is what the README says.

#![cfg(unix)]

mod support;

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;

use support::{
    EVENTS, Project, Run, TOOL, Tool, eventually, get, has, lives, processes_of, server_source,
    signal, wait_until_nothing_is_left, watchdog,
};

/// No argument.
const NONE: [&str; 0] = [];

/// How the tool may be ended, and its exit code then.
const SIGNALS: [(&str, Option<i32>); 4] =
    [("INT", Some(130)), ("TERM", Some(143)), ("HUP", Some(129)), ("KILL", None)];

/// Sends the tool a signal: it ends as it should, and leaves nothing.
fn end(project: &Project, mut run: Run, (name, code): (&str, Option<i32>)) {
    let watchdog = watchdog(run.pid()).expect("a watchdog");
    run.signal(name);
    let status = run.wait();
    let folder = project.root.parent().expect("the temporary folder");
    if let Some(code) = code {
        assert_eq!(status.code(), Some(code), "{name}\n{}", run.story());
        assert_eq!(processes_of(folder), [], "what it can wait for is gone before it is");
        assert_eq!(run.log.last().expect("events")["code"], code, "{}", run.story());
    } else {
        assert_eq!(status.signal(), Some(9));
        wait_until_nothing_is_left(folder);
    }
    eventually("the watchdog is gone", || !lives(watchdog));
}

fn can_be_bound(address: SocketAddr) {
    TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
}

fn executable(path: &Path, script: &str) {
    fs::write(path, script).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn ended_before_the_first_build_it_leaves_nothing() {
    let project = Project::server("one");
    let reached = project.meeting_point();
    let cargo = project.beside("cargo");
    let script = format!(
        "#!/bin/sh\ntrap '' HUP INT TERM\nsleep 1000 &\necho > {}\nwait\n",
        reached.path.display()
    );
    executable(&cargo, &script);
    for ending in SIGNALS {
        let mut run = project.tool(["watch", "--port", "0"]).env("CARGO", &cargo).start();
        reached.wait();
        if ending.0 == "INT" {
            run.wait_for_stderr("`cargo metadata` takes its time");
        }
        end(&project, run, ending);
    }
}

/// A build script that reports, with a child of its own, and goes on for ever, unless there is a
/// file `gate`.
fn waits_at(project: &Project, reached: &Path) {
    project.write(
        "build.rs",
        format!(
            "fn main() {{
    println!(\"cargo::rerun-if-changed=src\");
    if !std::path::Path::new(\"gate\").exists() {{
        let _child = std::process::Command::new(\"sleep\").arg(\"1000\").spawn().unwrap();
        std::fs::write(\"{}\", \"here\").unwrap();
        loop {{
            std::thread::park();
        }}
    }}
}}
",
            reached.display()
        ),
    );
    project.write(".gitignore", "/target\n/gate\n");
}

#[test]
fn ended_during_a_build_it_leaves_nothing() {
    let project = Project::server("one");
    let reached = project.meeting_point();
    waits_at(&project, &reached.path);
    for ending in SIGNALS {
        let run = project.watch(NONE);
        reached.wait();
        end(&project, run, ending);
    }
}

#[test]
fn ended_during_a_build_beside_a_server_it_leaves_nothing() {
    let project = Project::server("one");
    let reached = project.meeting_point();
    waits_at(&project, &reached.path);
    for (number, ending) in SIGNALS.into_iter().enumerate() {
        project.write("gate", "");
        let mut run = project.watch(NONE);
        let address = run.serving();
        fs::remove_file(project.path("gate")).expect("it is there");
        project.write("src/main.rs", server_source(&format!("number {number}")));
        reached.wait();
        end(&project, run, ending);
        can_be_bound(address);
    }
}

#[test]
fn ended_beside_a_server_it_leaves_nothing() {
    let project = Project::copy("servers");
    for server in ["direct", "grandchildren"] {
        for ending in SIGNALS {
            let mut run = project.watch([server]);
            let address = run.serving();
            end(&project, run, ending);
            can_be_bound(address);
        }
    }
}

/// A server with a child in a process group of its own, which ignores what it can.
#[cfg(target_os = "linux")]
fn with_a_group_of_its_own(answer: &str) -> String {
    server_source(answer).replacen(
        "fn main() {",
        "fn main() {
    let mut child = std::process::Command::new(\"sh\");
    child.args([\"-c\", \"trap '' HUP INT TERM; sleep 1000 & wait\"]);
    std::os::unix::process::CommandExt::process_group(&mut child, 0).spawn().unwrap();",
        1,
    )
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_that_left_the_group_ends_too() {
    let project = Project::server("one");
    for (number, ending) in SIGNALS.into_iter().enumerate() {
        project.write("src/main.rs", with_a_group_of_its_own(&format!("number {number}")));
        // What is gone first can be told only where the old server is stopped first.
        let mut run = project.watch(["--listen", "direct"]);
        let address = run.serving();
        let children = || -> Vec<u32> {
            let all = processes_of(&project.root).into_iter();
            all.filter(|(_, line)| line.contains("sleep 1000")).map(|(pid, _)| pid).collect()
        };
        eventually("the server's children", || children().len() == 2);
        let old = children();
        // A swap.
        project.write("src/main.rs", with_a_group_of_its_own(&format!("then {number}")));
        assert_eq!(run.serving(), address);
        assert!(old.iter().all(|pid| !lives(*pid)), "gone before the next server starts");
        // And a server that ends by itself.
        project.edit("src/main.rs", "let port", "std::process::exit(3);\n    let port");
        run.wait_until("its end", |it| it["event"] == "server-exited" && it["code"] == 3);
        assert!(children().is_empty(), "nothing is left of it");

        project.write("src/main.rs", with_a_group_of_its_own(&format!("last {number}")));
        run.serving();
        end(&project, run, ending);
        can_be_bound(address);
    }
}

#[test]
fn a_second_signal_does_not_wait_for_a_server_that_does_not_stop() {
    let project = Project::copy("servers");
    // Nobody here waits that long.
    let run = || project.watch(["ignores-term", "--grace", "3600"]);
    for (first, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut run = run();
        let address = run.serving();
        run.signal(first);
        run.wait_for("stopping");
        end(&project, run, ("INT", Some(code)));
        can_be_bound(address);
    }
    let mut run = run();
    let address = run.serving();
    end(&project, run, ("KILL", None));
    can_be_bound(address);
}

#[test]
fn a_watchdog_that_is_killed_changes_nothing() {
    let project = Project::copy("servers");
    for ending in SIGNALS {
        let mut run = project.watch(["grandchildren"]);
        let address = run.serving();
        let tool = run.pid();
        let first = watchdog(tool).expect("a watchdog");
        signal(first, "KILL");
        eventually("another one", || watchdog(tool).is_some_and(|pid| pid != first));
        assert!(get(address, "/").is_some(), "the server goes on");
        end(&project, run, ending);
        can_be_bound(address);
    }
}

#[test]
fn killed_together_with_its_watchdog_it_leaves_no_server() {
    let project = Project::copy("servers");
    // Nobody is left to remove the folder of the sockets.
    let temporary = project.beside("temporary");
    fs::create_dir(&temporary).expect("it is not there yet");
    let tool = project.tool(["watch", "direct", "--port", "0"]).env("TMPDIR", &temporary);
    let mut run = tool.start();
    let address = run.serving();
    signal(watchdog(run.pid()).expect("a watchdog"), "KILL");
    run.signal("KILL");
    run.wait();
    wait_until_nothing_is_left(&project.root);
    can_be_bound(address);
}

#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let project = Project::server("one");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", TOOL]);
    command.args(["stario", "watch", "--port", "0"]).current_dir(&project.root);
    let mut run = Tool { command }.start();
    let address = run.serving();
    run.signal("HUP");
    project.edit("src/main.rs", "\"one\"", "\"two\"");
    run.wait_for_answer(address, "two");
    assert_eq!(run.count("stopping"), 0);
    end(&project, run, ("TERM", Some(143)));
}

/// `PATH` with the tool in front, so that `cargo stario` is the one under test.
fn path() -> OsString {
    let mut folders = vec![Path::new(TOOL).parent().expect("a folder").to_owned()];
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    std::env::join_paths(folders).expect("it was one before")
}

#[test]
fn under_make_ctrl_c_leaves_nothing() {
    if !has("make") {
        return;
    }
    let project = Project::server("one");
    let line = format!("dev:\n\tcargo stario watch --port 0 {}\n", EVENTS.join(" "));
    project.write("Makefile", line);
    let mut command = Command::new("make");
    // Ctrl-C reaches everybody in the foreground: make, its shell, and us.
    command.arg("dev").current_dir(&project.root).env("PATH", path()).process_group(0);
    let mut run = Tool { command }.start_with_events();
    let address = run.serving();
    let group = i32::try_from(run.pid()).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process_group(group.expect("a group"), rustix::process::Signal::INT)
        .expect("it lives");
    let status = run.wait();
    assert!(!status.success());
    assert_eq!(run.log.last().expect("events")["code"], 130);
    wait_until_nothing_is_left(&project.root);
    can_be_bound(address);
}

#[test]
fn nobody_reading_is_no_reason_to_stop() {
    let project = Project::server("one");
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" \"$@\" 2>&1 | head -1; echo over", TOOL]);
    command.args(["stario", "watch", "--port", "0"]).args(EVENTS).current_dir(&project.root);
    let mut run = Tool { command }.start_with_events();
    // Cargo gives up when it cannot print; we do not.
    run.wait_until("end of the build", |event| {
        event["event"] == "build-failed" || event["event"] == "server-listening"
    });
    project.edit("src/main.rs", "\"one\"", "\"two\"");
    run.wait_for("build-started");
    // Whatever it is: cargo may be the first, waiting for a lock.
    eventually("the first line", || run.stdout().contains('\n'));

    let tools = processes_of(&project.root);
    let (tool, _) = tools.iter().find(|(_, line)| line.starts_with(TOOL)).expect("it lives");
    signal(*tool, "INT");
    assert_eq!(run.wait_for("exit")["code"], 130);
    run.wait();
    wait_until_nothing_is_left(&project.root);
}

#[test]
fn a_slow_server_is_waited_for_as_long_as_it_takes_and_no_longer() {
    let project = Project::copy("servers");
    let mut tool = project.tool(["watch", "slow-stop", "--port", "0", "--grace", "3600"]);
    // The next server waits only for one whose address it cannot share.
    tool.command.args(["--listen", "direct"]).args(EVENTS).args(["--", "1500"]);
    let mut run = tool.start_with_events();
    let address = run.serving();
    project.edit("src/lib.rs", "\"one\"", "\"two\"");
    let slow = run.wait_for("server-slow-to-stop");
    assert_eq!(slow["addresses"], serde_json::json!([format!("http://{address}")]));
    assert!(slow["kill_in"].as_f64().is_some_and(|it| it > 3e6), "{slow}");
    let stopped = run.wait_for("server-exited");
    assert_eq!((&stopped["asked"], &stopped["code"]), (&true.into(), &0.into()));
    assert_eq!(run.serving(), address);
    assert_eq!(run.count("server-killed"), 0);
    let pid = slow["pid"].as_u64().expect("a pid");
    let said = format!("Waiting for the old server to stop (pid {pid}, on http://{address})");
    run.wait_for_stderr(&said);

    // And so at the end.
    run.signal("INT");
    run.wait_for("server-slow-to-stop");
    run.wait_for_stderr("Waiting for the server to stop");
    assert_eq!(run.wait().code(), Some(130));
    assert_eq!(run.count("server-killed"), 0);
    can_be_bound(address);
}

#[test]
fn a_server_that_does_not_stop_is_killed_after_the_grace() {
    let project = Project::copy("servers");
    // The next server waits only for one whose address it cannot share.
    let mut run = project.watch(["ignores-term", "--grace", "1.5", "--listen", "direct"]);
    let address = run.serving();
    project.edit("src/lib.rs", "\"one\"", "\"two\"");
    let slow = run.wait_for("server-slow-to-stop");
    let killed = run.wait_for("server-killed");
    assert_eq!(killed["pid"], slow["pid"]);
    assert_eq!(killed["grace"].as_f64(), Some(1500.0));
    let stopped = run.wait_for("server-exited");
    assert_eq!((&stopped["asked"], &stopped["signal"]), (&true.into(), &9.into()));
    assert_eq!(run.serving(), address);
    run.wait_for_stderr("did not stop within 1.5 s and was killed");
}

#[test]
fn what_the_server_prints_passes_unchanged_and_its_stdin_is_empty() {
    let project = Project::package(
        "use std::io::{Read, Write};
fn main() {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).unwrap();
    let all: Vec<u8> = (0..=255).collect();
    std::io::stdout().write_all(&all).unwrap();
    std::io::stderr().write_all(&all).unwrap();
    std::process::exit(input.len() as i32);
}
",
    );
    // With a stdin that would never end.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut tool = project.tool(["watch", "--port", "0"]);
    tool.command.stdin(reader);
    let mut run = tool.start();
    assert_eq!(run.wait_for("server-exited")["code"], 0, "it has read nothing");
    run.wait_for_stderr("Exited");
    let all: Vec<u8> = (0..=255).collect();
    eventually("all is there", || run.raw().0.len() >= all.len());
    let (stdout, stderr) = run.raw();
    assert_eq!(stdout, all);
    assert!(stderr.windows(all.len()).any(|part| part == all), "{}", run.story());
    drop(writer);
}

#[test]
fn what_the_tool_itself_writes_is_no_change() {
    let project = Project::server("one");
    let log = fs::File::create(project.path("log")).expect("a file");
    let mut tool = project.tool(["watch", "--port", "0", "--events", "events"]);
    tool.command.stdout(log.try_clone().expect("a copy")).stderr(log);
    let mut child = tool.command.spawn().expect("the tool starts");
    let has = |name: &str, count: usize| {
        let events = fs::read_to_string(project.path("events")).unwrap_or_default();
        events.matches(&format!("\"event\":\"{name}\"")).count() >= count
    };
    eventually("it serves", || has("server-listening", 1));
    project.edit("src/main.rs", "\"one\"", "\"two\"");
    eventually("it serves again", || has("server-listening", 2));
    assert!(!has("changed", 2), "{}", project.read("events"));
    assert!(project.read("log").contains("Serving"));
    signal(child.id(), "TERM");
    child.wait().expect("our child");
    assert!(!has("changed", 2), "{}", project.read("events"));
}
