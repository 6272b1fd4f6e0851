//! Plain data that all rooms share: what comes in ([`Event`]), what is to be done ([`Action`]) and
//! what is to be said ([`Report`]).
//!
//! Sources (files, build, server, signals, keys) make events; the supervisor turns events into
//! actions; the effects perform them; the reporter prints reports. Nothing here does anything.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// One round of building and running. Each build gets the next number, and the server that is
/// started from it carries the same one, so that what a superseded round still says is told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a source has seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Watched files changed, and a quiet time has passed since.
    Changed(Vec<Change>),
    /// What the start relied on without asking (see `run::recall`) is no longer so: the manifests are
    /// to be read again.
    Outdated,
    /// A source has something to say that changes nothing (a limit, a fallback).
    Notice(Notice),
    /// What a build says.
    Build(Generation, BuildEvent),
    /// What a server says.
    Server(Generation, ServerEvent),
    /// The tool was signalled.
    Signal(Signal),
    /// The user asked for something.
    Key(Key),
    /// The time that [`deadline`](crate::supervisor) asked for has come.
    Tick,
}

/// A watched path that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The absolute path.
    pub path: PathBuf,
    /// What the file is to the build.
    pub kind: ChangeKind,
    /// Whether the content differs from what was last seen there.
    pub content: Content,
    /// How long ago it was last written, as the file system tells. `None` for what is gone.
    pub age: Option<Duration>,
}

/// What a changed file is to the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// Rust source: when the executable stays the same, the server has no need to restart.
    Source,
    /// `Cargo.toml`, `.cargo/config.toml`, `rust-toolchain.toml`: the entry, the path packages and
    /// the watch set are read again.
    Manifest,
    /// `Cargo.lock`: like a manifest, but cargo writes it itself.
    Lock,
    /// Anything else (a template, a style sheet, a folder): the server restarts, also when the
    /// executable stays the same.
    Asset,
}

/// How a changed file's content compares with what was last seen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Other than last seen, never seen before, gone, or not a regular file.
    New,
    /// Byte for byte what was last seen.
    Same,
}

/// Something a source noticed that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How bad it is.
    pub level: Level,
    /// A stable name for scripts, in kebab case: `watch-limit`, `watch-overflow`, …
    pub code: &'static str,
    /// What happened, in one sentence without a full stop.
    pub text: String,
    /// What the user can do about it.
    pub help: Option<String>,
}

/// How bad a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Shown with `-v`.
    Verbose,
    /// Shown unless `-q`.
    Note,
    /// Always shown.
    Warning,
}

/// What a build says. It ends with exactly one `Finished`.
#[derive(Clone, Debug, PartialEq)]
pub enum BuildEvent {
    /// The manifests were read again, and what came of it is in force: `true` when entry, packages
    /// or watch set are others than before.
    Resolved {
        changed: bool,
        /// What the server is told or run with is other than before (the function, `[env]`, the
        /// runner): it restarts, also when its executable stays the same.
        restart: bool,
    },
    /// Cargo is running.
    Spawned { pid: u32 },
    /// The compiler said something.
    Diagnostic(Diagnostic),
    /// Over.
    Finished(BuildOutcome),
}

/// A message of the compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// `error`, `warning`, … as the compiler names it.
    pub level: String,
    /// The message without its place.
    pub message: String,
    /// As the compiler renders it for a terminal, with ANSI colours.
    pub rendered: String,
    /// The place: path as the compiler names it, line and column, both from 1.
    pub place: Option<(String, usize, usize)>,
}

/// How a build ended.
#[derive(Clone, Debug, PartialEq)]
pub enum BuildOutcome {
    /// There is an executable.
    Succeeded(Artifact),
    /// Cargo ended with this code (or by a signal); it has said why.
    Failed(Exit),
    /// It never came to building: a manifest does not parse, the entry is gone, cargo is missing.
    Broken { message: String, help: Vec<String> },
    /// It was cancelled, and nothing of it is left running.
    Cancelled,
}

/// An executable that a build made (or found fresh).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Where cargo says that it lies.
    pub executable: PathBuf,
    /// What it is: equal identities are equal contents.
    pub identity: Identity,
    /// Tells whether the file is still that one.
    pub stamp: Stamp,
    /// What it may do with a socket of ours.
    pub mentions: Mentions,
    /// Cargo had nothing to do.
    pub fresh: bool,
    /// What build scripts set with `cargo::rustc-env`, and `OUT_DIR`: `cargo run` hands these on.
    pub env: Vec<(String, String)>,
    /// Where `cargo run` lets it look for dynamic libraries, in that order, the toolchain's own
    /// folder left out.
    pub library_paths: Vec<PathBuf>,
}

/// The content of an executable, as a hash, and the environment that its build scripts gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(pub u128);

/// Which of systemd's variables an executable has the names of. One that has a name need not make
/// use of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Mentions {
    /// `LISTEN_FDS`: it may take an inherited socket.
    pub listen_fds: bool,
    /// `NOTIFY_SOCKET`: it may say when it is ready.
    pub notify_socket: bool,
}

/// What tells one file at a path from the next one there, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Stamp {
    /// The inode (0 where there is none).
    pub inode: u64,
    /// The modification time.
    pub modified: SystemTime,
    /// In bytes.
    pub length: u64,
}

/// What a server says. After `Spawned` it ends with exactly one `Exited`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// Our listener was bound for it, here.
    Bound(Endpoint),
    /// Our listener could not be bound for it, so it binds for itself.
    NotBound,
    /// It was to adopt sockets, and does not: it binds for itself, and nothing of it is shared. Said
    /// before `Spawned` where that is known beforehand.
    NotAdopted(Unadopted),
    /// It runs as this process, which leads a process group of the same number.
    Spawned { pid: u32 },
    /// It could not be started.
    SpawnFailed { message: String },
    /// The executable is no longer what the build left there; nothing was started.
    Superseded,
    /// It listens on these addresses, ours among them once it shows that it takes that. Said again
    /// when they change.
    Listening(Vec<Endpoint>),
    /// It listens on these addresses by way of us: the next server can have the same sockets. All of
    /// them, each time one comes or goes.
    Adopted(Vec<Endpoint>),
    /// It has begun to accept connections on what it has adopted. Said once, and once more after each
    /// [`Action::Resume`].
    Accepts,
    /// It says that it is ready (`READY=1`).
    Ready,
    /// What only one process can have, and it has. Said once it is ready; of one that adopts sockets
    /// also once it accepts.
    Holds(Vec<Held>),
    /// It says what it is doing (`STATUS=`).
    Status(String),
    /// It says that it is going to end (`STOPPING=1`).
    Stopping,
    /// It waits for something that the server beside which it was started holds.
    Blocked(Vec<Held>),
    /// It is about to be said to have ended: these it wanted, and the server beside which it was
    /// started holds them.
    Conflict(Vec<Held>),
    /// It has not written to any file so far, as far as the system tells. Said before it stops.
    WroteNothing,
    /// The process has ended, and what was left of its group has been killed.
    Exited(Exit),
}

/// Why a server that was to adopt sockets binds for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unadopted {
    /// It has no dynamic loader.
    Static,
    /// Its dynamic loader, of this name, is another than the tool's.
    OtherLoader(String),
    /// It is for another machine, or no executable that we can read.
    OtherMachine,
    /// It is run by another program, of this name.
    Runner(String),
    /// It has an `io_uring`, by which it may accept connections.
    IoUring,
    /// It has bound an address without the C library.
    PastLibc,
    /// It has become another program, in which nothing answers its `bind`.
    Exec,
    /// What answers its `bind` could not be put into it, for this reason.
    NoShim(String),
}

impl fmt::Display for Unadopted {
    /// As the end of «it binds for itself: …».
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static => f.write_str("it is linked statically"),
            Self::OtherLoader(name) => write!(f, "it is loaded by another C library, `{name}`"),
            Self::OtherMachine => f.write_str("it is no executable of this machine's kind"),
            Self::Runner(name) => write!(f, "it is run by `{name}`"),
            Self::IoUring => f.write_str("it uses io_uring"),
            Self::PastLibc => f.write_str("it makes system calls without the C library"),
            Self::Exec => f.write_str("it has replaced itself by another program"),
            Self::NoShim(why) => f.write_str(why),
        }
    }
}

impl Unadopted {
    /// A stable name for scripts, in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::OtherLoader(_) => "other-loader",
            Self::OtherMachine => "other-machine",
            Self::Runner(_) => "runner",
            Self::IoUring => "io-uring",
            Self::PastLibc => "past-libc",
            Self::Exec => "exec",
            Self::NoShim(_) => "no-shim",
        }
    }
}

/// Why a server is not offered our socket, with `--listen auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unoffered {
    /// Nothing in its executable has to do with inherited sockets.
    Unable,
    /// Ours was offered and not taken, by it or by one before it; or it could not be bound.
    Untaken,
}

/// Something that only one process can have at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Held {
    /// An address that it has bound for itself.
    Address(Endpoint),
    /// An address; which one is not known.
    SomeAddress,
    /// A file that it has locked.
    File(PathBuf),
}

impl Held {
    /// Whether the one may be what the other names.
    pub fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::SomeAddress, Self::Address(_)) | (Self::Address(_), Self::SomeAddress) => true,
            _ => self == other,
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(Endpoint::Tcp(address)) => write!(f, "{address}"),
            Self::Address(endpoint @ Endpoint::Unix(_)) => endpoint.fmt(f),
            Self::SomeAddress => f.write_str("an address"),
            Self::File(path) => write!(f, "a lock on `{}`", path.display()),
        }
    }
}

/// How the new server takes over from the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Swap {
    /// As the servers before have shown: side by side where that is known to go.
    #[default]
    Auto,
    /// The old one stays until the new one is ready, wherever both can have the socket.
    Overlap,
    /// The old one is stopped first.
    StopFirst,
}

/// Where a server can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// The TCP port.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    /// As something to click on: an unspecified address is shown as the loopback that reaches it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) if address.ip().is_unspecified() => {
                write!(f, "http://localhost:{}", address.port())
            }
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Signals that the tool answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// `kill`, or a service manager.
    Terminate,
    /// The terminal went away.
    Hangup,
}

impl Signal {
    /// The exit code of what it ends: 128 and its number, as a shell has it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// What the user can ask for on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Build, and start the server anew whatever comes of it.
    Restart,
    /// Stop everything, exit 0.
    Quit,
    /// Say which keys there are.
    Help,
}

/// How a server is given its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// It binds for itself.
    Direct,
    /// It inherits ours.
    Inherit,
    /// It binds for itself, and what it binds is shared with the next one.
    Adopt,
}

/// What is to be done. Made by the supervisor, performed by the effects.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Action {
    /// Start a build. No other is running.
    Build(BuildOrder),
    /// End the build, cargo and all below it. Answered by its `Finished`.
    CancelBuild(Generation),
    /// Start a server.
    Start {
        generation: Generation,
        artifact: Artifact,
        handover: Handover,
        /// What it binds for itself is to be shared with the next one. Always so with
        /// [`Handover::Adopt`], and while it is open whether servers take our socket.
        adopts: bool,
        /// The one that goes on serving until this one is ready.
        beside: Option<Beside>,
        /// It has run before. Its executable is no longer where cargo put it.
        again: bool,
    },
    /// Have the server accept no more connections on what it has adopted. What waits to be accepted
    /// is left to the other servers that have the same sockets.
    Retire(Generation),
    /// Have the server accept connections again.
    Resume(Generation),
    /// Ask the server's group to stop (SIGTERM) once what it has accepted allows for it. It is
    /// retired.
    Drain(Generation),
    /// Ask the server's group to stop (SIGTERM) now. Comes to nothing where it has been asked.
    Terminate(Generation),
    /// Make the server's group stop (SIGKILL).
    Kill(Generation),
    /// Close the listener that was offered: the server does not take it.
    GiveUpListener,
    /// Say it.
    Report(Report),
    /// End the tool with this exit code. Nothing of ours is left running.
    Exit(u8),
}

/// A server that goes on serving until another one is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Its process.
    pub pid: u32,
    /// The files that it has locked, where that is known.
    pub locked: Option<Vec<PathBuf>>,
}

/// A build to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOrder {
    /// Its number.
    pub generation: Generation,
    /// Read the manifests again first: entry, path packages, watch set.
    pub resolve: bool,
    /// Every path that changed since the last build that completed; where cargo does not see one of
    /// them for its old time stamp, the build is forced.
    pub changed: Vec<PathBuf>,
}

/// What is done about a server that cannot start beside the one that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// It has ended, and is started once more when the old one is gone.
    StartedAgain,
    /// It waits, and the old one is stopped.
    OldOneStopped,
    /// The user wants both side by side: nothing.
    Nothing,
}

/// What is to be said, to people and to scripts.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Files are watched from now on.
    Watching {
        /// What the user would call it: the folders, files and globs.
        roots: Vec<PathBuf>,
        /// Folders that are kept an eye on.
        folders: usize,
        /// Files in them that count.
        files: usize,
        /// They are looked at this often, in place of being told by the system.
        polling: Option<Duration>,
    },
    /// Files changed (those that count).
    Changed { paths: Vec<PathBuf> },
    /// A build starts.
    BuildStarted { generation: Generation },
    /// Cargo runs.
    BuildSpawned { generation: Generation, pid: u32 },
    /// Entry, packages or watch set are others than before.
    Resolved { generation: Generation },
    /// The compiler said something.
    Diagnostic { generation: Generation, diagnostic: Diagnostic },
    /// A build succeeded.
    BuildSucceeded { generation: Generation, elapsed: Duration, fresh: bool },
    /// A build failed; `serving` is the generation that goes on serving.
    BuildFailed {
        generation: Generation,
        elapsed: Duration,
        exit: Option<Exit>,
        message: Option<String>,
        help: Vec<String>,
        serving: Option<Generation>,
    },
    /// A newer change ended the build.
    BuildCancelled { generation: Generation, elapsed: Duration },
    /// Changes keep coming: this build is left to finish.
    BuildKept { generation: Generation, cancelled: u32 },
    /// The executable is what the living server was started from: it goes on.
    Unchanged { generation: Generation, serving: Generation },
    /// A server is starting.
    ServerStarting { generation: Generation, executable: PathBuf },
    /// It has a process. `beside`: the generation that goes on serving until this one is ready.
    ServerSpawned {
        generation: Generation,
        pid: u32,
        handover: Handover,
        beside: Option<Generation>,
        /// Why it is not offered our socket, where nobody has asked for that.
        unoffered: Option<Unoffered>,
    },
    /// It was to adopt sockets, and binds for itself. Said once for the same reason.
    ServerNotAdopted { generation: Generation, why: Unadopted },
    /// It accepts no more connections: these are left to the generation `to`.
    ServerRetired { generation: Generation, to: Generation },
    /// It accepts connections again, since generation `after` has come to nothing.
    ServerResumed { generation: Generation, after: Generation },
    /// It says that it is ready. `after`: since its start.
    ServerReady { generation: Generation, after: Duration },
    /// It says what it is doing. `starting`: on its way to be ready.
    ServerStatus { generation: Generation, status: String, starting: bool },
    /// It says that it is going to end, and nobody has asked it to.
    ServerLeaving { generation: Generation },
    /// It has not said so far that it is ready.
    ServerSlowToStart { generation: Generation, after: Duration, serving: Option<Generation> },
    /// It has not said in time that it is ready. Where another one serves, that stays, and this one
    /// is stopped.
    ServerNotReady {
        generation: Generation,
        after: Duration,
        serving: Option<Generation>,
        /// Where it listens for itself.
        endpoints: Vec<Endpoint>,
        /// Its word was waited for; else that it listens.
        word: bool,
    },
    /// It cannot start beside the one that serves, which holds these.
    ServerConflict {
        generation: Generation,
        serving: Generation,
        holds: Vec<Held>,
        way_out: WayOut,
    },
    /// It can be reached here. `after`: since its start.
    ServerListening { generation: Generation, endpoints: Vec<Endpoint>, after: Duration },
    /// It listens elsewhere than the port that the user named. Said once for the same addresses.
    ServerElsewhere { generation: Generation, expected: u16, endpoints: Vec<Endpoint> },
    /// It has not listened on anything so far.
    ServerSilent { generation: Generation, after: Duration },
    /// It binds for itself, so that our listener is given up.
    ListenerGivenUp { generation: Generation },
    /// It has been asked to stop.
    ServerStopping { generation: Generation, pid: Option<u32> },
    /// It takes long to stop, and holds these addresses until it does. `awaited`: the next server
    /// starts, or the tool ends, when it is gone.
    ServerSlowToStop {
        generation: Generation,
        pid: Option<u32>,
        endpoints: Vec<Endpoint>,
        kill_in: Duration,
        awaited: bool,
    },
    /// It did not stop in time and is killed.
    ServerKilled { generation: Generation, pid: Option<u32>, grace: Duration },
    /// The new one has failed also without the old one, which is started again.
    ServerRestored { generation: Generation, failed: Generation },
    /// It has ended. `asked`: because we asked it to. `waiting`: nothing is being built, so the next
    /// change is waited for. `serving`: it had not taken over yet from this one, which goes on.
    ServerExited {
        generation: Generation,
        exit: Exit,
        asked: bool,
        waiting: bool,
        serving: Option<Generation>,
    },
    /// It could not be started.
    ServerFailed { generation: Generation, message: String },
    /// These files are written by each round itself, and no longer start the next one.
    LoopEnded { paths: Vec<PathBuf> },
    /// A source's notice.
    Notice(Notice),
    /// Which keys there are.
    Keys,
    /// Everything is being stopped.
    Stopping { signal: Option<Signal> },
    /// A mistake of the user's ends the tool.
    Failed(Failure),
    /// The end; nothing of ours is left running.
    Exit { code: u8 },
}
