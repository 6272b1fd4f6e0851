//! What the tests of the whole process share: the server of `examples/workbench.rs`, its lines,
//! what it tells its supervisor, and a client that does exactly what it is told.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything takes on a busy machine. Only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The server's executable.
pub fn workbench() -> PathBuf {
    let test = std::env::current_exe().expect("we run");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps");
    let path = folder.join("examples/workbench");
    assert!(path.is_file(), "{} is built with the tests", path.display());
    path
}

/// Whether a test that needs this program can run. Where it cannot, that is noted for the end of
/// `make test`; in CI it is a failure.
pub fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    if !found {
        let test = thread::current().name().unwrap_or("a test").to_owned();
        assert!(std::env::var_os("CI").is_none(), "{test} needs {program}, and CI allows no skip");
        let line = format!("{test}: needs {program}\n");
        eprint!("skipped {line}");
        if let Some(list) = std::env::var_os("STARIO_SKIPPED") {
            let mut list = fs::OpenOptions::new().append(true).create(true).open(list);
            let _ = list.as_mut().map(|list| list.write_all(line.as_bytes()));
        }
    }
    found
}

/// The server's command line and a supervisor's socket, to be added to.
#[must_use]
pub struct Setup {
    pub command: Command,
    folder: TempDir,
    supervisor: UnixDatagram,
}

/// The server with this bootstrap, on a port of its own.
pub fn setup(bootstrap: &str) -> Setup {
    setup_of(Command::new(workbench())).env("STARIO_BOOTSTRAP", bootstrap)
}

/// The same, with another program in front.
pub fn setup_of(mut command: Command) -> Setup {
    let folder = TempDir::with_prefix("stario-").expect("a temporary folder");
    let path = folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).expect("a socket");
    supervisor.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
    for name in [
        "STARIO_HOST",
        "STARIO_UNIX_SOCKET",
        "STARIO_UNIX_SOCKET_MODE",
        "STARIO_GRACE",
        "STARIO_DEV",
        "PORT",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
    ] {
        command.env_remove(name);
    }
    command
        .env("NOTIFY_SOCKET", path)
        .env("STARIO_PORT", "0")
        .env("STARIO_TRACER", "noop")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    Setup { command, folder, supervisor }
}

/// A server that inherits these, `LISTEN_PID` being this.
pub fn inheriting(sockets: Vec<OwnedFd>, pid: &str) -> Setup {
    use command_fds::{CommandFdExt, FdMapping};
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("LISTEN_PID={pid} exec \"$0\"")).arg(workbench());
    let count = sockets.len();
    let mappings = sockets.into_iter().zip(3..);
    let mappings = mappings.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect()).expect("one each");
    setup_of(command).env("STARIO_BOOTSTRAP", "bootstrap").env("LISTEN_FDS", count.to_string())
}

impl Setup {
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn start(mut self) -> Server {
        let mut child = self.command.spawn().expect("the server starts");
        drop(self.command);
        let stderr =
            BufReader::new(child.stderr.take().map_or_else(
                || Box::new(std::io::empty()) as Box<dyn Read + Send>,
                |it| Box::new(it),
            ));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stderr.lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let Self { folder, supervisor, .. } = self;
        Server { child, lines, log: Vec::new(), supervisor, told: Vec::new(), folder }
    }

    /// Starts it and waits until it is ready.
    pub fn ready(self) -> Server {
        let mut server = self.start();
        server.told("READY=1");
        server
    }

    /// Starts it where it ends by itself.
    pub fn finish(self) -> Ended {
        self.start().ended()
    }
}

/// A running server. Killed at the end of the test.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    /// Every line so far.
    pub log: Vec<String>,
    supervisor: UnixDatagram,
    /// Everything that the supervisor was told so far.
    pub told: Vec<String>,
    folder: TempDir,
}

/// What a server left.
pub struct Ended {
    pub status: ExitStatus,
    /// All lines.
    pub log: Vec<String>,
    /// All that the supervisor was told.
    pub told: Vec<String>,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits for a line that begins like this; returns the rest of it.
    pub fn says(&mut self, start: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if let Some(rest) = line.strip_prefix(start) {
                        return rest.to_owned();
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {start:?} in {:#?}", self.log),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended without {start:?}: {:#?}", self.log)
                }
            }
        }
    }

    /// Waits until the supervisor is told this.
    pub fn told(&mut self, wanted: &str) {
        let mut buffer = [0; 4096];
        while !self.told.iter().any(|line| line == wanted) {
            let got = self.supervisor.recv(&mut buffer);
            let count = got.unwrap_or_else(|error| {
                let lines: Vec<_> = self.lines.try_iter().collect();
                panic!("no {wanted}: {error}; told {:?}, said {lines:#?}", self.told)
            });
            let message = std::str::from_utf8(&buffer[..count]).expect("text");
            self.told.extend(message.lines().map(str::to_owned));
        }
    }

    /// Where it says that it listens.
    pub fn address(&mut self) -> SocketAddr {
        self.says("Listening on http://").parse().expect("an address")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is a child of ours");
    }

    /// Tells it to stop, and waits until the stop has begun.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.told("STOPPING=1");
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break status;
            }
            assert!(Instant::now() < end, "it does not end: {:#?}", self.log);
            thread::sleep(Duration::from_millis(5));
        };
        let mut log = std::mem::take(&mut self.log);
        log.extend(self.lines.iter());
        let mut told = std::mem::take(&mut self.told);
        let mut buffer = [0; 4096];
        self.supervisor.set_nonblocking(true).expect("a socket");
        while let Ok(count) = self.supervisor.recv(&mut buffer) {
            let message = std::str::from_utf8(&buffer[..count]).expect("text");
            told.extend(message.lines().map(str::to_owned));
        }
        let folder = std::mem::replace(&mut self.folder, TempDir::new().expect("a folder"));
        Ended { status, log, told, folder }
    }
}

impl Ended {
    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All lines as one text.
    pub fn text(&self) -> String {
        self.log.join("\n")
    }
}

/// A connection that does exactly what it is told.
pub struct Client<S = TcpStream> {
    stream: BufReader<S>,
}

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// Whether the server said that it closes the connection.
    pub fn closes(&self) -> bool {
        self.head.contains("\r\nconnection: close\r\n")
    }
}

/// Connects.
pub fn connect(address: SocketAddr) -> Client {
    let stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
    stream.set_nodelay(true).expect("a TCP stream");
    Client { stream: BufReader::new(stream) }
}

/// Asks on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    let mut client = connect(address);
    client.get(path);
    client.answer()
}

impl<S: Read + Write> Client<S> {
    pub fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).expect("it is open");
    }

    pub fn get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
    }

    /// The next response's head, in lower case, with its empty line.
    pub fn head(&mut self) -> String {
        self.try_head().expect("a response")
    }

    fn try_head(&mut self) -> std::io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head.to_lowercase())
    }

    /// A line of the body.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line
    }

    /// The next response.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("a complete response")
    }

    pub fn try_answer(&mut self) -> std::io::Result<Answer> {
        let head = self.try_head()?;
        let status = head[9..12].parse().expect("a status");
        let body = self.try_body(&head)?;
        Ok(Answer { status, head, body })
    }

    /// The body of a response with this head.
    pub fn body(&mut self, head: &str) -> String {
        self.try_body(head).expect("a complete body")
    }

    fn try_body(&mut self, head: &str) -> std::io::Result<String> {
        if let Some(length) = head.split("content-length: ").nth(1) {
            let length = length.lines().next().and_then(|length| length.parse().ok());
            let mut body = vec![0; length.expect("a length")];
            self.stream.read_exact(&mut body)?;
            return Ok(String::from_utf8(body).expect("text"));
        }
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let mut body = String::new();
        loop {
            let mut size = String::new();
            if self.stream.read_line(&mut size)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk)?;
            if size == 0 {
                return Ok(body);
            }
            body.push_str(std::str::from_utf8(&chunk[..size]).expect("text"));
        }
    }

    /// Waits until the server closes the connection, with nothing more on it.
    pub fn closed(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("a clean end");
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
}
