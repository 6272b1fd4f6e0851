//! `cargo stario serve`, which becomes the server; and the socket that servers inherit, under both
//! commands.

#![cfg(unix)]

mod support;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use support::{
    EVENTS, Finished, PATIENCE, Project, Run, TOOL, Tool, eventually, get, get_unix, processes_of,
    wait_until_nothing_is_left,
};

fn serve<const N: usize>(project: &Project, arguments: [&str; N]) -> Tool {
    let mut tool = project.tool(["serve"]);
    tool.command.args(arguments);
    tool
}

/// The address of the `direct` fixture, from what it prints.
fn printed_address(run: &Run) -> SocketAddr {
    let address = || {
        let stdout = run.stdout();
        stdout.lines().find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
    };
    eventually("it says where it listens", || address().is_some());
    address().expect("just seen")
}

/// `NAME=VALUE` lines.
fn variables(text: &str) -> HashMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

#[test]
fn the_tool_becomes_the_server() {
    let project = Project::copy("servers");
    let mut run = serve(&project, ["direct", "--port", "0"]).start();
    let spawned = run.wait_for("server-spawned");
    assert_eq!(spawned["pid"], run.pid());
    let address = printed_address(&run);
    // The fixture answers with its process id.
    assert_eq!(get(address, "/"), Some(format!("one {}\n", run.pid())));
    let all: Vec<_> = processes_of(&project.root).into_iter().map(|(pid, _)| pid).collect();
    assert_eq!(all, [run.pid()], "there is nobody else");

    // Its signals are the server's own.
    run.signal("TERM");
    assert_eq!(run.wait().signal(), Some(15));
}

#[test]
fn the_exit_is_the_servers() {
    let project = Project::copy("servers");
    let Finished { status, stderr, .. } = serve(&project, ["crash-start"]).finish();
    assert_eq!(status.code(), Some(7), "{stderr}");
    assert!(stderr.ends_with("no database\n"), "nothing is added: {stderr}");

    // As a shell sees the end by a signal.
    let project = Project::package("fn main() { std::process::abort(); }\n");
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$0\" \"$@\"; exit $?", TOOL, "stario", "serve"]);
    let finished = Tool { command: shell }.current_dir(&project.root).finish();
    assert_eq!(finished.status.code(), Some(128 + 6), "{}", finished.stderr);
}

#[test]
fn a_build_that_fails_is_101_and_a_mistake_is_2() {
    let project = Project::package("fn main() { nothing }\n");
    let Finished { status, stderr, .. } = serve(&project, []).finish();
    assert_eq!(status.code(), Some(101));
    assert_eq!(stderr.matches("cannot find value `nothing`").count(), 1, "{stderr}");
    let Finished { status, stderr, .. } = serve(&project, ["main:bootstrap"]).finish();
    assert_eq!(status.code(), Some(2), "{stderr}");
    let Finished { status, stderr, .. } = serve(&project, ["--port", "x"]).finish();
    assert_eq!(status.code(), Some(2), "{stderr}");
}

#[test]
fn nothing_is_shared_with_a_next_one_that_does_not_come() {
    let project = Project::package("fn main() {}\n");
    let note = "Note the server binds for itself";
    let said = |tool: Tool| {
        let Finished { status, stderr, .. } = tool.finish();
        assert_eq!(status.code(), Some(0), "{stderr}");
        stderr.contains(note)
    };
    assert!(said(serve(&project, ["--port", "0", "--listen", "adopt"])));
    let metadata = "\n[package.metadata.stario]\nlisten = \"adopt\"\n";
    project.write("Cargo.toml", project.read("Cargo.toml") + metadata);
    assert!(!said(serve(&project, ["--port", "0"])));
    assert!(said(serve(&project, ["--port", "0", "-v"])));
    assert!(!said(serve(&project, ["--port", "0", "-v", "--listen", "direct"])));
}

#[test]
fn the_server_is_told_what_the_readme_says() {
    let project = Project::copy("servers");
    let line = ["--host", "localhost", "--port", "0", "--tracer", "none", "--listen", "direct"];
    let tool = || {
        let mut tool = serve(&project, ["env"]);
        tool.command.args(line).args(["--", "once"]);
        // What is set for the tool is not the server's.
        tool.env("STARIO_DEV", "1").env("STARIO_UNIX_SOCKET", "").env("LISTEN_FDS", "7")
    };
    let Finished { status, stdout, stderr } = tool().finish();
    assert_eq!(status.code(), Some(0), "{stderr}");
    let told = variables(&stdout);
    assert_eq!((told["HOST"], told["STARIO_HOST"]), ("localhost", "localhost"));
    let port: u16 = told["PORT"].parse().expect("a port");
    assert_ne!(port, 0);
    assert_eq!(told["STARIO_PORT"], told["PORT"]);
    assert_eq!(told["STARIO_TRACER"], "none");
    assert_eq!(told["CARGO_PKG_NAME"], "servers");
    assert_eq!(Path::new(told["(cwd)"]), project.root);
    for name in ["STARIO_DEV", "STARIO_UNIX_SOCKET", "STARIO_BOOTSTRAP", "LISTEN_FDS"] {
        assert!(!told.contains_key(name), "{name} is set");
    }

    let function = project.read("src/bin/env.rs") + "\npub fn bootstrap() {}\n";
    project.write("src/bin/env.rs", function);
    let mut tool = project.tool(["watch", "env:bootstrap", "--port", "0"]);
    tool.command.args(EVENTS).args(["--", "once"]);
    let mut run = tool.start_with_events();
    assert_eq!(run.wait_for("server-exited")["code"], 0);
    eventually("its last line", || run.stdout().contains("(cwd)="));
    let stdout = run.stdout();
    let told = variables(&stdout);
    assert_eq!(told["STARIO_DEV"], "1");
    assert_eq!(told["STARIO_BOOTSTRAP"], "bootstrap");
    assert_eq!((told["HOST"], told["STARIO_HOST"]), ("127.0.0.1", "127.0.0.1"));
}

#[test]
fn arguments_behind_two_dashes_are_the_servers() {
    let project = Project::package(
        "fn main() { print!(\"{:?}\", std::env::args_os().skip(1).collect::<Vec<_>>()); }\n",
    );
    let arguments = ["main", "--", "a b", "--port", "-q", "--", ""];
    let finished = serve(&project, arguments).finish();
    assert_eq!(finished.stdout, r#"["a b", "--port", "-q", "--", ""]"#, "{}", finished.stderr);
}

#[test]
fn ctrl_c_during_the_build_leaves_nothing() {
    let project = Project::server("one");
    let reached = project.meeting_point();
    project.write(
        "build.rs",
        format!(
            "fn main() {{
    let _child = std::process::Command::new(\"sleep\").arg(\"1000\").spawn().unwrap();
    std::fs::write(\"{}\", \"here\").unwrap();
    loop {{
        std::thread::park();
    }}
}}
",
            reached.path.display()
        ),
    );
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut run = serve(&project, ["--port", "0"]).start();
        reached.wait();
        run.signal(signal);
        assert_eq!(run.wait().code(), Some(code));
        assert_eq!(processes_of(&project.root), []);
    }
    let mut run = serve(&project, ["--port", "0"]).start();
    reached.wait();
    run.signal("KILL");
    run.wait();
    wait_until_nothing_is_left(&project.root);
}

#[test]
fn serve_hands_its_socket_on_under_the_servers_own_process_id() {
    let project = Project::copy("servers");
    // The fixture ends with 4 where `LISTEN_PID` is not its own.
    let mut run = serve(&project, ["inherit", "--port", "0", "--listen", "inherit"]).start();
    let address = run.serving();
    assert_eq!(get(address, "/"), Some(format!("one {}\n", run.pid())));

    let socket = project.beside("socket");
    let path = socket.to_str().expect("a plain name");
    let arguments = ["graceful", "--unix-socket", path, "--listen", "inherit"];
    let mut run = serve(&project, arguments).start();
    let listening = run.wait_for("server-listening");
    assert_eq!(listening["addresses"], serde_json::json!([format!("unix:{path}")]));
    let answer = get_unix(&socket).expect("an answer");
    assert_eq!(answer, format!("one {}\n", run.pid()));
}

#[test]
fn watch_hands_its_socket_on_under_the_servers_own_process_id() {
    let project = Project::copy("servers");
    let mut run = project.watch(["inherit", "--listen", "inherit"]);
    for answer in ["one", "two", "three"] {
        let pid = run.wait_for("server-spawned")["pid"].clone();
        let address = run.serving();
        assert_eq!(get(address, "/"), Some(format!("{answer} {pid}\n")));
        let next = if answer == "one" { "two" } else { "three" };
        project.edit("src/lib.rs", &format!("\"{answer}\""), &format!("\"{next}\""));
        if answer == next {
            break;
        }
    }
}

/// Clients that connect one after the other until they are told to stop.
struct Clients {
    stop: Arc<AtomicBool>,
    all: Vec<JoinHandle<Vec<io::Result<String>>>>,
}

impl Clients {
    fn start(count: usize, ask: impl Fn() -> io::Result<String> + Clone + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let all = (0..count).map(|_| {
            let (ask, stop) = (ask.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                let mut answers = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    answers.push(ask());
                }
                answers
            })
        });
        Self { all: all.collect(), stop }
    }

    /// Every answer: the first word of each.
    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let answers = self.all.into_iter().flat_map(|it| it.join().expect("it did not panic"));
        answers
            .map(|answer| {
                let answer = answer.expect("every connection is taken and answered");
                answer.split(' ').next().unwrap_or_default().to_owned()
            })
            .collect()
    }
}

fn ask_tcp(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    body.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, answer))
}

/// Two swaps under clients that never stop asking.
fn swaps_without_a_refusal(
    mut run: Run,
    project: &Project,
    ask: impl Fn() -> io::Result<String> + Clone + Send + 'static,
) {
    let first = ask().expect("it serves");
    assert!(first.starts_with("one "), "{first}");
    let clients = Clients::start(3, ask.clone());
    for (from, to) in [("one", "two"), ("two", "three")] {
        project.edit("src/lib.rs", &format!("\"{from}\""), &format!("\"{to}\""));
        run.wait_for("server-listening");
    }
    eventually("the last one answers", || ask().is_ok_and(|it| it.starts_with("three ")));
    let answers = clients.stop();
    for wanted in ["one", "two"] {
        assert!(answers.iter().any(|it| it == wanted), "{wanted} never answered\n{}", run.story());
    }
    assert_eq!(run.count("server-killed"), 0);
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(143));
}

#[test]
fn between_two_servers_connections_to_a_port_wait() {
    let project = Project::copy("servers");
    let mut run = project.watch(["graceful", "--listen", "inherit"]);
    let address = run.serving();
    swaps_without_a_refusal(run, &project, move || ask_tcp(address));
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_that_makes_the_unix_socket_itself_is_found_there() {
    let project = Project::package(
        "fn main() {
    let path = std::env::var(\"STARIO_UNIX_SOCKET\").unwrap();
    let _ = std::fs::remove_file(&path);
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    let answer = b\"HTTP/1.1 200 OK\\r\\ncontent-length: 3\\r\\n\\r\\none\";
    for stream in listener.incoming() {
        std::io::Write::write_all(&mut stream.unwrap(), answer).unwrap();
    }
}
",
    );
    let path = project.beside("socket");
    let path = path.to_str().expect("a folder of ours");
    let mut run = project.watch(["--listen", "direct", "--unix-socket", path]);
    let there = serde_json::json!([format!("unix:{path}")]);
    assert_eq!(run.wait_for("server-listening")["addresses"], there);
    project.edit("src/main.rs", "\\none", "\\ntwo");
    assert_eq!(run.wait_for("server-listening")["addresses"], there);
    assert_eq!(run.count("server-silent"), 0);
}

#[test]
fn between_two_servers_connections_to_a_unix_socket_wait() {
    let project = Project::copy("servers");
    let socket = project.beside("socket");
    let path = socket.to_str().expect("a plain name").to_owned();
    let mut run = project.watch(["graceful", "--listen", "inherit", "--unix-socket", &path]);
    run.wait_for("server-listening");
    let asked = socket.clone();
    swaps_without_a_refusal(run, &project, move || get_unix(&asked));
    assert!(!socket.exists(), "the socket's file goes with the tool");
}
