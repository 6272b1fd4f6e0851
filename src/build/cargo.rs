//! One run of cargo: its command line, its messages, its end.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cargo_metadata::{Artifact, BuildScript, Message, PackageId, diagnostic};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::identity::{Content, Known};
use super::{BuildCommand, Paths, cancellation};
use crate::entry::TargetKind;
use crate::event::{BuildEvent, Diagnostic, Exit};
use crate::link::{self, Linking};
use crate::process::{Environment, Group, Groups, Program, Stream};

/// How long to go on reading when cargo has ended and somebody else (a daemon that a compiler
/// wrapper has left behind) still holds its stdout.
const DRAIN: Duration = Duration::from_secs(1);

/// How long cargo may take for its last words (`Finished …`) after it has told us that it has built. Then
/// it puts itself away, for some tens of milliseconds with a few hundred crates: nobody waits for that.
const LAST_WORDS: Duration = Duration::from_millis(3);
const BUILT: Exit = Exit::Code(0);

/// A cargo that has built and is about to end.
pub(super) type Leaving = Arc<Mutex<Option<JoinHandle<()>>>>;

/// What cargo writes to its stdout.
type Lines = BufReader<ChildStdout>;

/// How a run of cargo ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself.
    Exited(Exit),
    /// By us.
    Cancelled,
    /// It never ran, for this reason.
    NotStarted(String),
}

/// What a run of cargo has brought.
pub(super) struct Round {
    /// How it ended.
    pub(super) ended: Ended,
    /// What was built or found fresh.
    pub(super) artifacts: Vec<Artifact>,
    scripts: Vec<BuildScript>,
    /// The executable is read from when cargo names it: it has an end of its own to come to.
    content: Option<JoinHandle<io::Result<Content>>>,
}

impl Round {
    fn new() -> Self {
        Self { ended: Ended::Cancelled, artifacts: Vec::new(), scripts: Vec::new(), content: None }
    }

    /// The executable of the command's target, and whether it was fresh.
    pub(super) fn artifact(&self, command: &BuildCommand) -> Option<(PathBuf, bool)> {
        let found = |artifact| Some((executable(artifact, command)?, artifact.fresh));
        self.artifacts.iter().rev().find_map(found)
    }

    /// What is in the executable.
    pub(super) async fn content(&mut self, executable: &Path) -> io::Result<Content> {
        let known = match self.content.take() {
            Some(reading) => reading.await.ok().and_then(Result::ok),
            None => None,
        };
        let executable = executable.to_owned();
        super::blocking(move || Content::read(&executable, known)).await
    }

    /// What the package's build script set, and its `OUT_DIR`.
    pub(super) fn script_env(&self, package: &PackageId) -> Vec<(String, String)> {
        let Some(script) = self.scripts.iter().find(|it| it.package_id == *package) else {
            return Vec::new();
        };
        let mut env = script.env.clone();
        if !script.out_dir.as_str().is_empty() {
            env.push(("OUT_DIR".to_owned(), script.out_dir.to_string()));
        }
        env
    }

    /// Where `cargo run` lets the executable look for dynamic libraries, apart from the toolchain's
    /// own: what build scripts named inside the profile's folder, that folder, and its `deps`.
    pub(super) fn library_paths(&self, executable: &Path) -> Vec<PathBuf> {
        let Some(mut root) = executable.parent() else { return Vec::new() };
        if root.ends_with("examples") {
            root = root.parent().unwrap_or(root);
        }
        let named: Paths = self
            .scripts
            .iter()
            .flat_map(|script| &script.linked_paths)
            .map(|path| without_kind(path.as_str()))
            .filter(|path| path.starts_with(root))
            .collect();
        let mut paths: Vec<PathBuf> = named.into_iter().collect();
        paths.push(root.to_owned());
        paths.push(self.deps_folder().unwrap_or_else(|| root.join("deps")));
        paths
    }

    /// The folder of the libraries that were built for the target, wherever `build.build-dir` has
    /// moved it.
    fn deps_folder(&self) -> Option<PathBuf> {
        let mut folders = self
            .artifacts
            .iter()
            .filter(|artifact| artifact.target.is_lib())
            .filter_map(|artifact| artifact.filenames.first()?.parent());
        folders
            .find(|folder| folder.ends_with("deps"))
            .map(|folder| folder.as_std_path().to_owned())
    }
}

/// The artifact's executable, if it is the command's.
fn executable(artifact: &Artifact, command: &BuildCommand) -> Option<PathBuf> {
    let ours = artifact.package_id == command.package
        && artifact.target.name == command.target
        && match command.kind {
            TargetKind::Bin => artifact.target.is_bin(),
            TargetKind::Example => artifact.target.is_example(),
        };
    let executable = artifact.executable.as_ref().filter(|_| ours)?;
    Some(executable.clone().into_std_path_buf())
}

/// `native=/path` and the like, without what stands before the path.
fn without_kind(path: &str) -> PathBuf {
    let kinds = ["native=", "dependency=", "crate=", "framework=", "all="];
    PathBuf::from(kinds.iter().find_map(|kind| path.strip_prefix(kind)).unwrap_or(path))
}

/// Runs cargo to the end of its build or to the cancellation. When it returns, nothing of it is building.
/// `known`: the executable as it was read last. `leaving`: the cargo before, which may still have the build
/// folder, and then this one.
pub(super) async fn run(
    groups: &Groups,
    command: &BuildCommand,
    known: Option<&Known>,
    leaving: &Leaving,
    mut cancelled: watch::Receiver<bool>,
    say: impl Fn(BuildEvent),
) -> Round {
    let mut round = Round::new();
    if *cancelled.borrow() {
        return round;
    }
    if let Some(before) = leaving.lock().await.take() {
        tokio::select! {
            biased;
            () = cancellation(&mut cancelled) => return round,
            _ = before => {}
        }
    }
    let mut group = match groups.spawn(program(command)).await {
        Ok(group) => group,
        Err(error) => {
            round.ended = Ended::NotStarted(error.to_string());
            return round;
        }
    };
    say(BuildEvent::Spawned { pid: group.pid() });
    let stdout = group.take_stdout();
    let mut rest = None;
    let ended = {
        let mut reading = std::pin::pin!(read(stdout, command, known, &mut round, &say));
        let working = async {
            let exit = tokio::select! {
                exit = group.leader() => exit,
                read = &mut reading => {
                    rest = read;
                    return match rest {
                        Some(_) => timeout(LAST_WORDS, group.leader()).await.unwrap_or(BUILT),
                        None => group.leader().await,
                    };
                }
            };
            let _ = timeout(DRAIN, reading).await;
            exit
        };
        tokio::select! {
            biased;
            () = cancellation(&mut cancelled) => Ended::Cancelled,
            exit = working => Ended::Exited(exit),
        }
    };
    if matches!(ended, Ended::Exited(_)) {
        *leaving.lock().await = Some(tokio::spawn(leave(group, rest)));
    } else {
        group.kill();
        group.wait().await;
    }
    round.ended = ended;
    round
}

/// A cargo that does not build any more. It may still be saying something.
async fn leave(group: Group, rest: Option<Lines>) {
    let listening = async {
        if let Some(mut rest) = rest {
            // Who reads it no longer can do nothing about an error.
            let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = group.wait() => {}
        () = listening => {}
    }
}

fn program(command: &BuildCommand) -> Program {
    Program {
        executable: command.cargo.clone(),
        arguments: arguments(command),
        environment: Environment::default(),
        current_dir: command.current_dir.clone(),
        stdout: Stream::Piped,
        stderr: Stream::Inherited,
        socket: None,
        preload: None,
    }
}

/// Cargo's command line, made by escargot, which asks for JSON messages.
fn arguments(command: &BuildCommand) -> Vec<OsString> {
    // Flags for the final target alone, which `cargo build` does not take.
    let flags = match &command.link {
        Linking::Once(once) => link::driver().map(|driver| once.rustc_args(&driver)),
        Linking::Plain { .. } => None,
    };
    let cargo = escargot::Cargo::new();
    let build = if flags.is_some() { cargo.build_with("rustc") } else { cargo.build() };
    let build = build.package(&command.spec);
    let build = match command.kind {
        TargetKind::Bin => build.bin(&command.target),
        TargetKind::Example => build.example(&command.target),
    };
    build
        // Adds colours to the JSON that escargot asked for; who prints them may strip them.
        .arg("--message-format=json-diagnostic-rendered-ansi")
        .args(&command.options)
        .args(flags.iter().map(|_| "--"))
        .args(flags.iter().flatten())
        .into_command()
        .get_args()
        .map(ToOwned::to_owned)
        .collect()
}

/// Takes in cargo's messages until they end, or until it has built: then there may be more of them.
async fn read(
    stdout: Option<ChildStdout>,
    command: &BuildCommand,
    known: Option<&Known>,
    round: &mut Round,
    say: &impl Fn(BuildEvent),
) -> Option<Lines> {
    let stdout = stdout?;
    let mut lines = BufReader::new(stdout);
    let mut line = Vec::new();
    let mut said = HashSet::new();
    // A read error is an end like any other: cargo's exit code tells the rest.
    while lines.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        for message in Message::parse_stream(line.as_slice()).map_while(Result::ok) {
            match message {
                Message::CompilerArtifact(artifact) => {
                    if let Some(executable) = executable(&artifact, command) {
                        let known = known.and_then(|known| known.of(&executable));
                        let reading = move || Content::read(&executable, known);
                        round.content = Some(spawn_blocking(reading));
                    }
                    round.artifacts.push(artifact);
                }
                Message::BuildScriptExecuted(script) => round.scripts.push(script),
                Message::CompilerMessage(message) => {
                    if let Some(diagnostic) = diagnostic(message.message)
                        // A library is compiled once for each of its uses.
                        && said.insert(diagnostic.rendered.clone())
                    {
                        say(BuildEvent::Diagnostic(diagnostic));
                    }
                }
                Message::BuildFinished(finished) if finished.success => return Some(lines),
                // What a macro or a build script prints.
                Message::TextLine(text) => drop(writeln!(io::stderr(), "{text}")),
                _ => {}
            }
        }
        line.clear();
    }
    None
}

/// `None` for the compiler's sums (`2 warnings emitted`), which cargo leaves out as well.
fn diagnostic(message: diagnostic::Diagnostic) -> Option<Diagnostic> {
    let text = &message.message;
    let sum = text.starts_with("aborting due to")
        || text.ends_with("warning emitted")
        || text.ends_with("warnings emitted");
    if sum {
        return None;
    }
    let span = message.spans.iter().find(|span| span.is_primary);
    Some(Diagnostic {
        level: level(message.level).to_owned(),
        place: span.map(|span| (span.file_name.clone(), span.line_start, span.column_start)),
        rendered: message.rendered.unwrap_or_else(|| format!("{text}\n")),
        message: message.message,
    })
}

fn level(level: diagnostic::DiagnosticLevel) -> &'static str {
    use diagnostic::DiagnosticLevel as L;
    match level {
        L::Ice => "error: internal compiler error",
        L::Error => "error",
        L::Warning => "warning",
        L::FailureNote => "failure-note",
        L::Note => "note",
        L::Help => "help",
        _ => "unknown",
    }
}
