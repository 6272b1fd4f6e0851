//! The server room, with real servers.

#![cfg(unix)]

mod workbench;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cargo_metadata::Package;
use cargo_stario::build::BuildCommand;
use cargo_stario::event::{Artifact, Endpoint, Event, Exit, ServerEvent};
use cargo_stario::server::socket::{bind, free_port};
use cargo_stario::server::{
    CargoQuery, CargoRun, Equipment, Listener, ServerCommand, ServerHandle, Told, Toolchain, spawn,
};
use workbench::{Fixtures, LONG, Workbench, cargo, command, shared_target};

/// A server of the fixtures, built.
struct Bench {
    workbench: Workbench,
    command: ServerCommand,
}

impl Bench {
    async fn of(server: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/servers");
        let (package, mut build) = command(&folder, "servers", server);
        build.options.extend(shared_target());
        Self::build(&package, &build).await
    }

    async fn build(package: &Package, build: &BuildCommand) -> Self {
        let mut workbench = Workbench::new();
        let artifact = workbench.build(build, &[]).await.artifact();
        let command = ServerCommand {
            artifact,
            cargo_run: Arc::new(cargo_run(&query(build), package, build).await),
            arguments: Vec::new(),
            current_dir: build.current_dir.clone(),
            told: Told {
                host: "127.0.0.1".to_owned(),
                port: free_port("127.0.0.1").unwrap(),
                unix_socket: None,
                grace: LONG,
                tracer: None,
                bootstrap: None,
                dev: false,
            },
            ports: Vec::new(),
        };
        Self { workbench, command }
    }

    fn start(&self, listener: Option<&Arc<Listener>>) -> ServerHandle {
        let Workbench { groups, sender, .. } = &self.workbench;
        let equipment = Equipment { listener, notify: None, beside: None, adopter: None };
        spawn(groups, cargo_stario::event::Generation(1), &self.command, &equipment, sender.clone())
    }

    /// What it says next, but for `WroteNothing`, which may come at any time.
    async fn next(&mut self) -> ServerEvent {
        loop {
            match self.workbench.next().await {
                Event::Server(_, ServerEvent::WroteNothing) => {}
                Event::Server(_, event) => return event,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn spawned(&mut self) -> u32 {
        match self.next().await {
            ServerEvent::Spawned { pid } => pid,
            other => panic!("{other:?}"),
        }
    }

    async fn listening(&mut self) -> Vec<Endpoint> {
        match self.next().await {
            ServerEvent::Listening(endpoints) => endpoints,
            other => panic!("{other:?}"),
        }
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.command.told.port).into()
    }
}

async fn cargo_run(query: &CargoQuery, package: &Package, build: &BuildCommand) -> CargoRun {
    Toolchain::ask(query, None).await.unwrap().cargo_run(package, &build.workspace_root)
}

fn query(build: &BuildCommand) -> CargoQuery {
    CargoQuery {
        cargo: cargo(),
        current_dir: build.current_dir.clone(),
        target: None,
        config: Vec::new(),
    }
}

/// The body of the answer.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_server_is_told_where_to_listen_and_found_there_and_ends_by_sigterm() {
    let mut bench = Bench::of("direct").await;
    let handle = bench.start(None);
    let pid = bench.spawned().await;
    assert_eq!(bench.listening().await, [Endpoint::Tcp(bench.address())]);
    assert_eq!(get(bench.address(), "/"), format!("one {pid}\n"));
    handle.terminate();
    assert_eq!(bench.next().await, ServerEvent::Exited(Exit::Signal(15)));
    handle.terminate();
    handle.kill();
}

#[tokio::test]
async fn a_server_that_listens_elsewhere_is_found_there() {
    let mut bench = Bench::of("hardcoded").await;
    let port = free_port("127.0.0.1").unwrap();
    bench.command.arguments = vec![port.to_string().into()];
    let _handle = bench.start(None);
    bench.spawned().await;
    assert_eq!(bench.listening().await, [Endpoint::Tcp(([127, 0, 0, 1], port).into())]);
}

#[tokio::test]
async fn a_server_inherits_our_socket_under_its_own_process_id() {
    let mut bench = Bench::of("inherit").await;
    let listener = Arc::new(bind("127.0.0.1", 0, None).unwrap());
    let address = ([127, 0, 0, 1], listener.port().unwrap()).into();
    let handle = bench.start(Some(&listener));
    let pid = bench.spawned().await;
    assert_eq!(get(address, "/"), format!("one {pid}\n"));
    // It shows that it makes use of it.
    #[cfg(target_os = "linux")]
    assert_eq!(bench.listening().await, [Endpoint::Tcp(address)]);

    handle.kill();
    assert_eq!(bench.next().await, ServerEvent::Exited(Exit::Signal(9)));
    // Nobody accepts, and nobody is refused.
    TcpStream::connect(address).unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_take_our_socket_shows_it() {
    let mut bench = Bench::of("direct").await;
    let listener = Arc::new(bind("127.0.0.1", 0, None).unwrap());
    let _handle = bench.start(Some(&listener));
    let pid = bench.spawned().await;
    assert_eq!(bench.listening().await, [Endpoint::Tcp(bench.address())]);
    assert!(!listener.taken(pid, false));
}

#[test]
fn a_shared_listener_that_became_nonblocking_is_taken() {
    let listener = Arc::new(bind("127.0.0.1", 0, None).unwrap());
    // Somebody who does not have it.
    let other = std::os::unix::process::parent_id();
    assert!(!listener.taken(other, false));
    // As an event loop does in another process: the flag belongs to all who share it.
    let copy = listener.as_fd().try_clone_to_owned().unwrap();
    TcpListener::from(copy).set_nonblocking(true).unwrap();
    assert!(listener.taken(other, false));
    // It may have been the server beside it.
    assert!(!listener.taken(other, true));
    listener.reset();
    assert!(!listener.taken(other, false));
}

#[tokio::test]
async fn an_end_by_itself_is_told_with_its_code() {
    let mut bench = Bench::of("crash-start").await;
    let _handle = bench.start(None);
    bench.spawned().await;
    assert_eq!(bench.next().await, ServerEvent::Exited(Exit::Code(7)));
}

#[tokio::test]
async fn a_crash_while_it_serves_is_told_too() {
    let mut bench = Bench::of("crash-later").await;
    let _handle = bench.start(None);
    bench.spawned().await;
    bench.listening().await;
    get(bench.address(), "/crash");
    assert_eq!(bench.next().await, ServerEvent::Exited(Exit::Code(3)));
}

#[tokio::test]
async fn who_ignores_sigterm_is_ended_by_sigkill() {
    let mut bench = Bench::of("ignores-term").await;
    let handle = bench.start(None);
    bench.spawned().await;
    bench.listening().await;
    handle.terminate();
    get(bench.address(), "/");
    handle.kill();
    assert_eq!(bench.next().await, ServerEvent::Exited(Exit::Signal(9)));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn when_a_server_has_ended_its_children_and_grandchildren_have_too() {
    let mut bench = Bench::of("grandchildren").await;
    let handle = bench.start(None);
    let group = bench.spawned().await;
    bench.listening().await;
    workbench::eventually(|| workbench::members(group).len() == 4).await;
    handle.terminate();
    assert_eq!(bench.next().await, ServerEvent::Exited(Exit::Signal(15)));
    assert_eq!(workbench::members(group), [""; 0]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn dropping_the_handle_ends_the_server() {
    let mut bench = Bench::of("silent").await;
    let handle = bench.start(None);
    let group = bench.spawned().await;
    drop(handle);
    assert_eq!(bench.next().await, ServerEvent::Exited(Exit::Signal(9)));
    assert_eq!(workbench::members(group), [""; 0]);
}

#[tokio::test]
async fn an_executable_that_was_replaced_is_not_started() {
    let mut bench = Bench::of("silent").await;
    let folder = tempfile::tempdir().unwrap();
    let executable = folder.path().join("silent");
    std::fs::copy(&bench.command.artifact.executable, &executable).unwrap();
    bench.command.artifact.stamp = cargo_stario::build::stamp(&executable).unwrap();
    bench.command.artifact.executable = executable.clone();
    std::fs::remove_file(&executable).unwrap();
    std::fs::write(&executable, "the next one, half written").unwrap();
    let _handle = bench.start(None);
    assert_eq!(bench.next().await, ServerEvent::Superseded);
}

#[tokio::test]
async fn what_cannot_be_started_is_told_with_the_reason() {
    let mut bench = Bench::of("silent").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    bench.command.artifact = Artifact {
        executable: file.path().to_owned(),
        stamp: cargo_stario::build::stamp(file.path()).unwrap(),
        ..bench.command.artifact.clone()
    };
    let _handle = bench.start(None);
    let ServerEvent::SpawnFailed { message } = bench.next().await else { panic!() };
    assert!(message.contains("Permission denied"), "{message}");
}

#[tokio::test]
async fn the_environment_is_what_cargo_run_gives_and_ours() {
    let fixtures = Fixtures::package(&[
        (
            "Cargo.toml",
            r#"
            [package]
            name = "env-probe"
            version = "1.2.3-rc.1"
            edition = "2024"
            rust-version = "1.85"
            description = "Says what it is given"
            authors = ["Ann <ann@example.org>", "Bob"]
            license-file = "LICENSE"
            homepage = "https://example.org"
            [workspace]
            "#,
        ),
        ("README.md", "# Probe"),
        ("LICENSE", ""),
        (
            "build.rs",
            r#"
            fn main() {
                let out = std::env::var("OUT_DIR").unwrap();
                println!("cargo::rustc-env=FROM_SCRIPT=yes");
                println!("cargo::rustc-link-search=native={out}");
                println!("cargo::rustc-link-search=native=/usr/lib");
            }
            "#,
        ),
        (
            "src/main.rs",
            r#"
            fn main() {
                let mut all: Vec<_> = std::env::vars().map(|(k, v)| format!("{k}={v}\n")).collect();
                all.push(format!("(cwd)={}\n", std::env::current_dir().unwrap().display()));
                std::fs::write(std::env::args().nth(1).unwrap(), all.concat()).unwrap();
            }
            "#,
        ),
        (
            ".cargo/config.toml",
            r#"
            [env]
            PLAIN = "plain"
            RELATIVE = { value = "some/file", relative = true }
            HOME = "not this one"
            USER = { value = "forced", force = true }
            CARGO_PKG_NAME = { value = "never", force = true }
            "#,
        ),
    ]);
    let folder = fixtures.path("src");
    let (package, build) = command(&folder, "env-probe", "env-probe");
    let mut bench = Bench::build(&package, &build).await;
    let mut query = query(&build);
    query.config = vec!["env.TYPED='typed'".to_owned()];
    bench.command.cargo_run = Arc::new(cargo_run(&query, &package, &build).await);

    let expected = fixtures.path("expected");
    let status = Command::new(cargo())
        .args(["run", "--quiet", "--config", "env.TYPED='typed'", "--"])
        .arg(&expected)
        .current_dir(&folder)
        .status()
        .unwrap();
    assert!(status.success());

    let given = fixtures.path("given");
    bench.command.arguments = vec![given.clone().into()];
    bench.command.told.bootstrap = Some("admin::bootstrap".to_owned());
    bench.command.told.dev = true;
    let _handle = bench.start(None);
    bench.spawned().await;
    assert_eq!(bench.next().await, ServerEvent::Exited(Exit::Code(0)));

    let mut expected = variables(&expected);
    let port = bench.command.told.port.to_string();
    for (name, value) in [
        ("HOST", "127.0.0.1"),
        ("STARIO_HOST", "127.0.0.1"),
        ("PORT", &port),
        ("STARIO_PORT", &port),
        ("STARIO_GRACE", &LONG.as_secs().to_string()),
        ("STARIO_BOOTSTRAP", "admin::bootstrap"),
        ("STARIO_DEV", "1"),
    ] {
        expected.insert(name.to_owned(), value.to_owned());
    }
    assert_eq!(variables(&given), expected);
}

#[tokio::test]
async fn a_runner_stands_before_the_executable() {
    let fixtures = Fixtures::package(&[
        ("Cargo.toml", "[package]\nname = \"probe\"\nedition = \"2024\"\n[workspace]\n"),
        ("src/main.rs", "fn main() { std::process::exit(std::env::args().count() as i32); }"),
        (
            ".cargo/config.toml",
            "[target.'cfg(all())']\nrunner = [\"sh\", \"-c\", '\"$@\" more', \"sh\"]\n",
        ),
    ]);
    let (package, build) = command(&fixtures.path(""), "probe", "probe");
    let mut bench = Bench::build(&package, &build).await;
    bench.command.arguments = vec!["one".into()];
    let _handle = bench.start(None);
    bench.spawned().await;
    assert_eq!(bench.next().await, ServerEvent::Exited(Exit::Code(3)));
}

fn variables(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_the_holder() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let failure = bind("127.0.0.1", port, None).unwrap_err();
    assert_eq!(failure.code, 2);
    let process = format!("(process {})", std::process::id());
    assert!(failure.message.contains(&format!("127.0.0.1:{port} is taken by")), "{failure}");
    assert!(failure.message.contains(&process), "{failure}");
    assert!(failure.help[0].contains("--port 0"), "{:?}", failure.help);
}

#[test]
fn hosts_are_names_and_addresses_with_and_without_brackets() {
    for host in ["localhost", "127.0.0.1", "0.0.0.0"] {
        bind(host, 0, None).unwrap();
    }
    if TcpListener::bind("[::1]:0").is_ok() {
        bind("::1", 0, None).unwrap();
        bind("[::1]", 0, None).unwrap();
    }
    assert_eq!(bind("no such host", 0, None).unwrap_err().code, 2);
    assert!(bind("192.0.2.1", 0, None).unwrap_err().message.contains("192.0.2.1"));
}

#[test]
fn a_unix_socket_is_there_as_long_as_its_listener() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    let listener = Arc::new(bind("unused", 0, Some(&path)).unwrap());
    assert_eq!(listener.endpoint(), &Endpoint::Unix(path.clone()));
    let taken = bind("unused", 0, Some(&path)).unwrap_err();
    assert!(taken.message.contains("a server is listening"), "{taken}");
    drop(listener);
    assert!(!path.exists());

    // Left behind by somebody who was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(bind("unused", 0, Some(&path)).unwrap());

    std::fs::write(&path, "precious").unwrap();
    let no_socket = bind("unused", 0, Some(&path)).unwrap_err();
    assert!(no_socket.message.contains("no socket"), "{no_socket}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}
