//! What the tests of the whole program share: a copy of a fixture in a folder of its own, the tool
//! running on it, and its events, which the tests wait for.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod grpc;
pub mod load;
pub mod unchanged;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use command_fds::{CommandFdExt, FdMapping};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything takes on a busy machine. Only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The tool under test.
pub const TOOL: &str = env!("CARGO_BIN_EXE_cargo-stario");

/// Where the harness reads events from.
pub const EVENTS: [&str; 2] = ["--events", "fd:9"];

/// The repository's folder.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a test that needs this program can run. See [`needs`].
pub fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    needs(program, found)
}

/// Whether a test can run that needs something, which was found or not. Where it cannot, that is
/// noted for the end of `make test`; in CI, where everything is installed, it is a failure.
pub fn needs(what: &str, found: bool) -> bool {
    if !found {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        assert!(std::env::var_os("CI").is_none(), "{test} needs {what}, and CI allows no skip");
        let line = format!("{test}: needs {what}\n");
        eprint!("skipped {line}");
        if let Some(list) = std::env::var_os("STARIO_SKIPPED") {
            let mut list = fs::OpenOptions::new().append(true).create(true).open(list);
            let _ = list.as_mut().map(|list| list.write_all(line.as_bytes()));
        }
    }
    found
}

/// A folder with a project in it, removed at the end.
pub struct Project {
    folder: TempDir,
    /// Where the project lies in it. Without symbolic links.
    pub root: PathBuf,
}

impl Project {
    /// A copy of `fixtures/NAME`, without its target folder.
    pub fn copy(fixture: &str) -> Self {
        let project = Self::empty();
        copy_folder(&repository().join("fixtures").join(fixture), &project.root);
        project
    }

    /// A copy of another fixture, beside the project: what its manifest calls `../NAME`.
    pub fn copy_beside(&self, fixture: &str) {
        let from = repository().join("fixtures").join(fixture);
        copy_folder(&from, &self.root.with_file_name(fixture));
    }

    /// An empty folder.
    pub fn empty() -> Self {
        let folder = TempDir::with_prefix("stario-").expect("a temporary folder");
        let root = folder.path().canonicalize().expect("it exists").join("app");
        fs::create_dir(&root).expect("a folder in it");
        Self { folder, root }
    }

    /// A package `app` without dependencies, its `src/main.rs` like this.
    pub fn package(main: &str) -> Self {
        let project = Self::empty();
        project.write(
            "Cargo.toml",
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n",
        );
        project.write("src/main.rs", main);
        project
    }

    /// A package whose server answers every request with `answer`. Reads `PORT`.
    pub fn server(answer: &str) -> Self {
        let project = Self::package(&server_source(answer));
        project.write(".gitignore", "/target\n");
        project
    }

    /// The path of something in the project.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// The file's text.
    pub fn read(&self, path: impl AsRef<Path>) -> String {
        let path = self.path(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Writes a file in place, with its folders.
    pub fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file in the project")).expect("its folder");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Replaces a text in a file, in place.
    pub fn edit(&self, path: impl AsRef<Path>, from: &str, to: &str) {
        let old = self.read(&path);
        assert!(old.contains(from), "{:?} is not in {}", from, path.as_ref().display());
        self.write(path, old.replace(from, to));
    }

    /// A path beside the project: in its temporary folder, and not watched.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.with_file_name(name)
    }

    /// A place beside the project where somebody reports that a point is reached.
    pub fn meeting_point(&self) -> MeetingPoint {
        MeetingPoint::new(self.beside("reached"))
    }

    /// The tool's command line on this project, to be added to.
    pub fn tool<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Tool {
        let mut command = Command::new(TOOL);
        command
            .arg("stario")
            .args(arguments)
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("NO_COLOR");
        for name in ["PORT", "HOST", "CARGO_TERM_COLOR", "CARGO", "CARGO_MANIFEST_DIR"] {
            command.env_remove(name);
        }
        Tool { command }
    }

    /// `cargo stario watch main` with these further arguments, on a port of its own.
    pub fn watch<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        let mut tool = self.tool(["watch", "--port", "0"]);
        tool.command.args(arguments);
        tool.start()
    }
}

/// A server without dependencies that answers every request with `answer`.
pub fn server_source(answer: &str) -> String {
    format!(
        r#"use std::io::{{Read, Write}};

const ANSWER: &str = "{answer}";

fn main() {{
    let port = std::env::var("PORT").expect("PORT");
    let listener = std::net::TcpListener::bind(format!("127.0.0.1:{{port}}")).expect("a free port");
    for stream in listener.incoming() {{
        let Ok(mut stream) = stream else {{ continue }};
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer);
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: {{}}\r\nconnection: close\r\n\r\n{{ANSWER}}",
            ANSWER.len()
        );
    }}
}}
"#
    )
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    let entries = fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    for entry in entries {
        let entry = entry.expect("an entry");
        if entry.file_name() == "target" {
            continue;
        }
        let to = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("a copy");
        }
    }
}

/// The tool, not started yet.
#[must_use]
pub struct Tool {
    /// To be added to.
    pub command: Command,
}

impl Tool {
    /// One more environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Another folder to start in.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it to its end. For what ends by itself.
    pub fn finish(mut self) -> Finished {
        let output = self.command.output().expect("the tool starts");
        Finished {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts it, with its events on a pipe.
    pub fn start(mut self) -> Run {
        self.command.args(EVENTS);
        self.start_with_events()
    }

    /// Starts it where [`EVENTS`] are among the arguments already: as the words of somebody else's
    /// command line.
    pub fn start_with_events(mut self) -> Run {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let events = OwnedFd::from(writer);
        self.command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .fd_mappings(vec![FdMapping { parent_fd: events, child_fd: 9 }])
            .expect("one mapping");
        let mut child = self.command.spawn().expect("the tool starts");
        // It keeps the writing end of the pipe; ours has to go for the end to be seen.
        drop(self.command);

        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        let (sender, events) = channel();
        thread::spawn(move || read_events(reader, &sender));
        Run { child, events, log: Vec::new(), stdout, stderr }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let text = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&text);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = from.read(&mut buffer)
            && count > 0
        {
            into.lock().expect("no reader panics").extend_from_slice(&buffer[..count]);
        }
    });
    text
}

/// Makes a named pipe.
pub fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo is there");
    assert!(made.success());
}

/// The events that the tool writes into this named pipe, one run after the other.
pub fn read_events_of(path: &Path) -> Receiver<Value> {
    let (sender, events) = channel();
    let path = path.to_owned();
    thread::spawn(move || {
        while let Ok(file) = fs::File::open(&path) {
            read_events(file, &sender);
        }
    });
    events
}

fn read_events(from: impl Read, to: &Sender<Value>) {
    for line in BufReader::new(from).lines() {
        let Ok(line) = line else { return };
        let event = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("not a JSON object: {error}: {line}"));
        if to.send(event).is_err() {
            return;
        }
    }
}

/// A named pipe. Whoever writes into it waits there until it is read, which is at once.
pub struct MeetingPoint {
    /// Where it is.
    pub path: PathBuf,
    words: Receiver<String>,
}

impl MeetingPoint {
    fn new(path: PathBuf) -> Self {
        make_fifo(&path);
        let (sender, words) = channel();
        let from = path.clone();
        thread::spawn(move || {
            while let Ok(words) = fs::read_to_string(&from) {
                if sender.send(words).is_err() {
                    return;
                }
            }
        });
        Self { path, words }
    }

    /// Waits until somebody is there; returns what they wrote.
    pub fn wait(&self) -> String {
        self.words.recv_timeout(PATIENCE).expect("somebody gets there")
    }
}

/// What a run to the end left.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it printed there.
    pub stdout: String,
    /// All that it printed there.
    pub stderr: String,
}

/// The running tool. Killed at the end of the test, and everything below it with it.
pub struct Run {
    child: Child,
    events: Receiver<Value>,
    /// Every event so far.
    pub log: Vec<Value>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Run {
    /// The tool's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next event, if one comes in this time; `None` also when no more can come.
    pub fn next_within(&mut self, time: Duration) -> Option<Value> {
        let event = self.events.recv_timeout(time).ok()?;
        self.log.push(event.clone());
        Some(event)
    }

    /// Waits for an event that this says yes to; those before it are passed over.
    pub fn wait_until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    self.log.push(event.clone());
                    if wanted(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what} came\n{}", self.story()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the tool ended before {what} came\n{}", self.story())
                }
            }
        }
    }

    /// Waits for the next event of this name.
    pub fn wait_for(&mut self, name: &str) -> Value {
        self.wait_until(name, |event| event["event"] == name)
    }

    /// Waits until a server listens; returns its address.
    pub fn serving(&mut self) -> SocketAddr {
        let event = self.wait_for("server-listening");
        address(&event)
    }

    /// Waits until the server at `address` answers like this, as somebody with a browser would.
    pub fn wait_for_answer(&mut self, address: SocketAddr, wanted: &str) {
        let end = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < end {
            last = get(address, "/");
            if last.as_deref() == Some(wanted) {
                return;
            }
            // Between two looks there is always something to hear or to wait for.
            self.next_within(Duration::from_millis(20));
        }
        panic!("{address} never answered {wanted:?}, at last {last:?}\n{}", self.story());
    }

    /// Waits until this has been printed on stderr.
    pub fn wait_for_stderr(&mut self, wanted: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.stderr().contains(wanted) {
            assert!(Instant::now() < end, "{wanted:?} was never printed\n{}", self.story());
            self.next_within(Duration::from_millis(20));
        }
    }

    /// Until nothing has happened for a while: the state to check what should not have happened.
    pub fn settle(&mut self, quiet: Duration) {
        while self.next_within(quiet).is_some() {}
    }

    /// Waits until no build is under way and no server is on its way up, and no event has come for
    /// a moment.
    pub fn rest(&mut self) {
        const MOMENT: Duration = Duration::from_millis(300);
        let end = Instant::now() + PATIENCE;
        let mut wait = Duration::ZERO;
        while Instant::now() < end {
            if self.next_within(wait).is_some() {
                wait = Duration::ZERO;
            } else if wait == MOMENT && !self.is_under_way() {
                return;
            } else {
                wait = MOMENT;
            }
        }
        panic!("no rest\n{}", self.story());
    }

    /// Whether a build or the start of a server has begun and not ended.
    fn is_under_way(&self) -> bool {
        let (mut building, mut starting) = (false, false);
        for event in &self.log {
            match event["event"].as_str().expect("a name") {
                "build-started" => building = true,
                "build-succeeded" | "build-failed" | "build-cancelled" => building = false,
                "server-starting" => starting = true,
                "server-listening" | "server-silent" | "server-exited" | "server-failed" => {
                    starting = false;
                }
                _ => {}
            }
        }
        building || starting
    }

    /// Takes in all events of so much time, however many there are.
    pub fn settle_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while self.next_within(end.saturating_duration_since(Instant::now())).is_some() {}
    }

    /// How many events of this name have come so far.
    pub fn count(&self, name: &str) -> usize {
        self.log.iter().filter(|event| event["event"] == name).count()
    }

    /// Sends the tool a signal, by number.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for the tool's end.
    pub fn wait(&mut self) -> ExitStatus {
        while let Ok(event) = self.events.recv_timeout(PATIENCE) {
            self.log.push(event);
        }
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            assert!(Instant::now() < end, "the tool does not end\n{}", self.story());
            thread::yield_now();
        }
    }

    /// What has been printed on stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().expect("no reader panics")).into_owned()
    }

    /// What has been printed on stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().expect("no reader panics")).into_owned()
    }

    /// The same, byte for byte.
    pub fn raw(&self) -> (Vec<u8>, Vec<u8>) {
        let copy = |from: &Mutex<Vec<u8>>| from.lock().expect("no reader panics").clone();
        (copy(&self.stdout), copy(&self.stderr))
    }

    /// Everything so far, for the message of a failed test.
    pub fn story(&self) -> String {
        let mut story = String::from("---- events\n");
        for event in &self.log {
            let _ = writeln!(story, "{event}");
        }
        let _ = write!(story, "---- stderr\n{}---- stdout\n{}", self.stderr(), self.stdout());
        story
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // The watchdog ends whatever the tool had started.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first address of a `server-listening` event.
pub fn address(event: &Value) -> SocketAddr {
    let url = event["addresses"][0].as_str().expect("an address");
    url.trim_start_matches("http://").parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// When an event happened.
pub fn time_of(event: &Value) -> SystemTime {
    let milliseconds = event["time"].as_f64().expect("a time");
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(milliseconds / 1000.0)
}

/// The body of the answer; `None` where nobody answers.
pub fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    // In one piece: the fixtures read once.
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// The same through a Unix socket.
pub fn get_unix(path: &Path) -> std::io::Result<String> {
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned()))
}

/// Sends a signal to a process.
pub fn signal(pid: u32, name: &str) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = match name {
        "INT" => Signal::INT,
        "TERM" => Signal::TERM,
        "HUP" => Signal::HUP,
        "KILL" => Signal::KILL,
        _ => panic!("no signal {name}"),
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("a living process");
}

/// Whether a process lives (one that has ended and was not waited for does not).
pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        // The state comes behind the name, which may hold anything, in brackets.
        !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
    })
}

/// The watchdog of a running tool.
pub fn watchdog(tool: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{tool}/task/{tool}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.contains("__watchdog") && lives(*pid)
    })
}

/// Waits until this is so.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Every living process that is in this folder, or whose command line names it.
pub fn processes_of(folder: &Path) -> Vec<(u32, String)> {
    let needle = folder.as_os_str().as_encoded_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("procfs").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == std::process::id() || !lives(pid) {
            continue;
        }
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if cwd.starts_with(folder) || command.windows(needle.len()).any(|part| part == needle) {
            found.push((pid, String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// Waits until no process of this folder is left; what the test was about.
pub fn wait_until_nothing_is_left(folder: &Path) {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = processes_of(folder);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "left behind: {left:?}");
        thread::yield_now();
    }
}
