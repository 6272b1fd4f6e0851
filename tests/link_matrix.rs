//! Real sets of dependencies, linked once and linked plainly: what a server answers, what it prints when it
//! panics, and how it ends is the same both ways. `fixtures/matrix` has a server for each set. The servers are
//! built into one target folder (`target/matrix`), where each crate of others is compiled once and stays; the
//! tests wait there for each other.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::{Project, Run, Tool, eventually, get, has, lives, needs, repository};

/// Longer than the first build of all sets takes, which a test may have to wait for.
const BUILDING: Duration = Duration::from_secs(3000);
/// What all servers print when they are told to exit.
const LAST_WORD: &str = "exits\n";

/// A server of the matrix.
struct Server {
    project: Project,
    package: &'static str,
    /// Where its workspace is in the project.
    workspace: &'static str,
    target: PathBuf,
    env: Vec<(&'static str, PathBuf)>,
    /// What to ask for, and something that is in the answer.
    routes: &'static [(&'static str, &'static str)],
    /// Routes with a handler that panics.
    panics: &'static [&'static str],
    /// What it prints last when it is asked for `/exit`.
    last_word: &'static str,
}

/// What there is to be seen of a server from outside.
#[derive(Debug)]
struct Seen {
    answers: Vec<(&'static str, Option<String>)>,
    /// What it has printed, backtraces for the most part.
    printed: Vec<String>,
    exit: Option<i32>,
    /// The same two where it ends by a panic in `main`.
    end: (Vec<String>, Option<i32>),
}

fn target() -> PathBuf {
    repository().join("target/matrix")
}

impl Server {
    fn new(package: &'static str, routes: &'static [(&'static str, &'static str)]) -> Self {
        let project = Project::copy("matrix");
        let (workspace, target, env) = (".", target(), Vec::new());
        let (panics, last_word) = (["/panic"].as_slice(), LAST_WORD);
        Self { project, package, workspace, target, env, routes, panics, last_word }
    }

    fn serve(&self, link: &str) -> Tool {
        let tool = self.project.tool(["serve", "--package", self.package, "--port", "0"]);
        let mut tool = self.env.iter().fold(tool, |tool, (name, value)| tool.env(name, value));
        tool.command.args(["--link", link, "--target-dir"]).arg(&self.target);
        tool.current_dir(self.project.path(self.workspace)).env("RUST_BACKTRACE", "1")
    }

    /// Second: what the tool says of the link, and why.
    fn see(&self, link: &str) -> (Seen, Option<(String, String)>) {
        let mut run = self.serve(link).start();
        let address = listening(&mut run);
        let paths = self.routes.iter().map(|(path, _)| path).chain(self.panics);
        let answers = paths.map(|path| (*path, get(address, path))).collect();
        // It is gone before it has answered.
        let _ = get(address, "/exit");
        run.wait_for_stderr(self.last_word);
        let exit = run.wait().code();
        let printed = printed(&run.stderr());

        let mut tool = self.serve(link);
        tool.command.args(["--", "panic"]);
        let finished = tool.finish();
        let end = (self::printed(&finished.stderr), finished.status.code());
        (Seen { answers, printed, exit, end }, linked(&run))
    }

    /// Asserts that it is linked in this way if it can be, and is the same server both ways.
    fn is_the_same_both_ways(&self, wanted: &str) {
        let (plain, how) = self.see("plain");
        assert_eq!(how, None, "that is how it is wanted");
        self.is_right(&plain);
        let (once, how) = self.see("once");
        let (how, why) = how.expect("the tool says how it was linked");
        // What is seen comes first: a server that is wrong is worse than one that was linked plainly.
        assert_eq!(once.answers, plain.answers, "{why}");
        assert_eq!(once.printed, plain.printed, "{why}");
        assert_eq!((once.exit, once.end), (plain.exit, plain.end), "{why}");
        assert_eq!(how, wanted, "{why}");
    }

    #[track_caller]
    fn is_right(&self, seen: &Seen) {
        for ((path, wanted), (_, answer)) in self.routes.iter().zip(&seen.answers) {
            let answer = answer.as_deref().unwrap_or_else(|| panic!("{path}: {seen:#?}"));
            assert!(answer.contains(wanted), "{path}: {wanted:?} is not in {answer:?}");
        }
        assert_eq!((seen.exit, seen.end.1), (Some(7), Some(101)), "{seen:#?}");
        let (panic, end) = (seen.printed.join("\n"), seen.end.0.join("\n"));
        for (trace, message) in [(panic, "src/main.rs:"), (end, "told to end")] {
            assert!(trace.contains("stack backtrace:") && trace.contains(message), "{trace}");
            assert!(trace.contains("src/main.rs:"), "the user's lines: {trace}");
        }
    }

    #[track_caller]
    fn is_the_same_linked_once(&self) {
        self.is_the_same_both_ways("linked-once");
    }
}

/// Waits until the server listens, however long it is built; returns where.
fn listening(run: &mut Run) -> SocketAddr {
    loop {
        match run.next_within(BUILDING) {
            Some(event) if event["event"] == "server-spawned" => break,
            Some(_) => {}
            None => panic!("no server came\n{}", run.story()),
        }
    }
    let address = |run: &Run| {
        let stdout = run.stdout();
        stdout.lines().find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
    };
    // The tool becomes the server.
    eventually("it listens, or has ended", || address(run).is_some() || !lives(run.pid()));
    address(run).unwrap_or_else(|| panic!("it has ended\n{}", run.story()))
}

/// How it was linked, and why.
fn linked(run: &Run) -> Option<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().map(ToOwned::to_owned);
    run.log.iter().find_map(|event| {
        let code = text(&event["code"]).filter(|code| code.starts_with("linked-"))?;
        Some((code, text(&event["text"])?))
    })
}

/// What the server has printed from its first panic on, but what is not the same in two runs: the thread's
/// number, and the folder that the sources were in. That of a crate that another test has built is another
/// one; its lines are the same.
fn printed(stderr: &str) -> Vec<String> {
    let from = stderr.find("\nthread '").unwrap_or(stderr.len());
    let lines = stderr[from..].lines().filter(|line| !line.is_empty());
    let line = |line: &str| {
        let line = line.trim();
        if let Some((thread, (_, place))) = line
            .split_once(" (")
            .filter(|_| line.starts_with("thread '"))
            .and_then(|(thread, rest)| Some((thread, rest.split_once(") ")?)))
        {
            return format!("{thread} {place}");
        }
        match line.strip_prefix("at ").map(|place| (place, place.split_once("/app/"))) {
            Some((_, Some((_, place)))) => format!("at {place}"),
            Some((place, None)) => format!("at {}", place.trim_start_matches("./")),
            None => line.to_owned(),
        }
    };
    lines.map(line).collect()
}

#[test]
fn axum_is_the_same_linked_once() {
    let routes = &[("/", "axum"), ("/greet/you", "hello you"), ("/blocking", "Some(55) Some(55)")];
    Server::new("on-axum", routes).is_the_same_linked_once();
}

#[test]
fn actix_web_is_the_same_linked_once() {
    let routes = &[("/", "actix"), ("/greet/you", "hello you")];
    Server::new("on-actix-web", routes).is_the_same_linked_once();
}

#[test]
fn rocket_is_the_same_linked_once() {
    let routes = &[("/", "rocket"), ("/greet/you?times=2", "hello youhello you")];
    Server::new("on-rocket", routes).is_the_same_linked_once();
}

#[test]
fn sqlx_is_the_same_linked_once() {
    let routes =
        &[("/", "2 two 2.5, 1 one 1.5"), ("/version", "3."), ("/error", "no such column: absent")];
    Server::new("on-sqlx", routes).is_the_same_linked_once();
}

#[test]
fn rusqlite_is_the_same_linked_once() {
    let routes = &[
        ("/", "2 two, 1 one"),
        ("/version", "3."),
        ("/function", "42"),
        ("/function-panics", "unwinding panic"),
    ];
    Server::new("on-rusqlite", routes).is_the_same_linked_once();
}

#[test]
fn diesel_is_the_same_linked_once() {
    let routes = &[
        ("/", "3 [Note { id: 3, text: \"three\" }, Note { id: 2, text: \"two\" }]"),
        ("/version", "3."),
        ("/unique", "UNIQUE constraint failed: notes.id"),
    ];
    Server::new("on-diesel", routes).is_the_same_linked_once();
}

#[test]
fn reqwest_over_rustls_is_the_same_linked_once() {
    const TLS: &str = "Some(TLSv1_3) Some(TLS13_";
    let routes = &[("/", TLS), ("/redirect", TLS), ("/untrusted", "invalid peer certificate: ")];
    Server::new("on-reqwest-rustls", routes).is_the_same_linked_once();
}

#[test]
fn reqwest_over_the_systems_tls_is_the_same_linked_once() {
    let pkg_config = Command::new("pkg-config").args(["--exists", "openssl"]).status();
    if needs("the headers of OpenSSL, by pkg-config", pkg_config.is_ok_and(|it| it.success())) {
        const TLS: &str = "over the system's TLS";
        let routes = &[("/", TLS), ("/redirect", TLS), ("/untrusted", "certificate verify failed")];
        Server::new("on-reqwest-native-tls", routes).is_the_same_linked_once();
    }
}

#[test]
fn ring_is_the_same_linked_once() {
    let routes = &[
        ("/", "SHA256:"),
        ("/sha512", "SHA512:"),
        ("/mac", " true"),
        ("/seal", "["),
        ("/sign", "[true, false]"),
        ("/derive", "["),
    ];
    Server::new("on-ring", routes).is_the_same_linked_once();
}

#[test]
fn zstd_is_the_same_linked_once() {
    let routes = &[
        ("/", "[40, 181, 47, 253, "),
        ("/version", "1."),
        ("/back", "true 95000"),
        ("/damaged", ""),
    ];
    Server::new("on-zstd", routes).is_the_same_linked_once();
}

/// What the linker gathers would be gathered on each side for itself.
#[test]
fn linkme_is_linked_plainly_and_finds_all_that_is_in_its_slice() {
    Server::new("on-linkme", &[("/", "2 [42, 441]")]).is_the_same_both_ways("linked-plainly");
}

#[test]
fn inventory_finds_all_that_registers_itself_linked_once() {
    let routes = &[("/", "3 [\"one\", \"three\", \"two\"]"), ("/counted", "3")];
    Server::new("on-inventory", routes).is_the_same_linked_once();
}

#[test]
fn functions_before_main_and_after_it_run_once_linked_once() {
    let mut server = Server::new("on-ctor", &[("/", "1 [\"1 argument\"]"), ("/made", "5 in a")]);
    server.last_word = "exits\nafter 1\n";
    server.is_the_same_linked_once();
}

#[test]
fn tracing_collects_the_same_spans_linked_once() {
    let routes = &[
        ("/", "WARN message=seen more=27 in inner in outer\", \"INFO message=alone"),
        ("/written", "WARN outer:inner{number=26}: on_tracing: seen more=27"),
        ("/nobody", "[]"),
    ];
    Server::new("on-tracing", routes).is_the_same_linked_once();
}

#[test]
fn jemalloc_allocates_for_both_sides_linked_once() {
    let routes = &[
        ("/", "true"),
        ("/own", "true"),
        ("/std", "true"),
        ("/dependency", "true"),
        ("/across", "true"),
    ];
    Server::new("on-jemalloc", routes).is_the_same_linked_once();
}

#[test]
fn mimalloc_allocates_for_both_sides_linked_once() {
    let routes = &[
        ("/", "true"),
        ("/std", "true"),
        ("/dependency", "true"),
        ("/nobody", "false"),
        ("/across", "4195072"),
    ];
    Server::new("on-mimalloc", routes).is_the_same_linked_once();
}

#[test]
fn a_plugin_that_is_loaded_finds_its_own_names_linked_once() {
    let routes = &[
        ("/", "12"),
        // Its own, and not the server's.
        ("/zstd", "1"),
        ("/sqlite", "2"),
        ("/count", "[1, 3, 6]"),
    ];
    let mut server = Server::new("on-dlopen", routes);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "plugin", "--target-dir"])
        .arg(target())
        .current_dir(&server.project.root)
        .status();
    assert!(built.expect("cargo").success());
    server.env.push(("PLUGIN", target().join("debug/libplugin.so")));
    server.is_the_same_linked_once();
}

#[test]
fn c_of_the_users_own_keeps_its_state_linked_once() {
    let routes = &[
        ("/", "[101, 103, 106] 106 3 3"),
        ("/set", "1001"),
        ("/sort", "[1, 2, 3]"),
        ("/database", "1027"),
    ];
    Server::new("on-own-c", routes).is_the_same_linked_once();
}

#[test]
fn c_of_the_users_own_finds_that_of_a_dependency_linked_once() {
    Server::new("on-own-c-on-sqlite", &[("/", "2")]).is_the_same_linked_once();
}

#[test]
fn what_is_static_in_a_dependency_is_there_once_linked_once() {
    if !has("git") {
        return;
    }
    let routes = &[
        ("/", "static: (1, 2, true)\nstatic by its name: (0, 3, true)\n"),
        ("/", "lazy thread-local: ([\"initialised\", \"user\"], [\"initialised\", \"user\", "),
        ("/", "their panic here: Some(Token(2))\n"),
        ("/", "our panic there: Err(Some(Token(3)))\n"),
        ("/", "by C's names: (6, 3, 8)\n"),
        ("/", "its destructors: 3\n"),
    ];
    let mut server = Server::new("on-statics", routes);
    server.workspace = "statics";
    // Its repository is another one each time, and so is all that is built of it.
    server.target = server.project.beside("target");
    server.panics = &["/panic", "/panic-there"];
    let repository = server.project.beside("tally");
    fs::rename(server.project.path("statics/tally"), &repository).expect("it is ours");
    commit(&repository);
    let url = format!("file://{}", repository.display());
    server.project.edit("statics/Cargo.toml", "file:///REPOSITORY", &url);
    // Nothing of it stays behind among the user's own checkouts.
    server.env.push(("CARGO_HOME", server.project.beside("cargo")));
    server.is_the_same_linked_once();
}

/// Makes a git repository of a folder, with all that is in it.
fn commit(folder: &Path) {
    let words = ["init --quiet", "add .", "commit --quiet --message all"];
    for words in words {
        let done = Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@localhost"])
            .args(words.split(' '))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .current_dir(folder)
            .status();
        assert!(done.expect("git").success(), "git {words}");
    }
}
