//! Cargo becomes [`BuildEvent`]s: one build at a time, each ending with exactly one `Finished`.
//!
//! A build is cancelled by killing its group, cargo and every rustc below it. When cargo takes a
//! changed file for an old one because of its time stamp, the build is forced (see `memory`).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cargo_metadata::PackageId;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use crate::entry::{LocalPackage, TargetKind};
use crate::error::Failure;
use crate::event::{
    Artifact, BuildEvent, BuildOutcome, Event, Exit, Generation, Level, Mentions, Notice,
};
use crate::link::{Linked, Linking};
use crate::process::Groups;

mod cargo;
mod dep_info;
mod identity;
mod memory;
mod mentions;

use identity::Identified;
pub use identity::{Known, stamp};

use cargo::{Ended, Leaving, Round};
use memory::{Contents, Memory, Unit};

/// What cargo is to build.
#[derive(Clone, Debug)]
pub struct BuildCommand {
    /// The cargo to call.
    pub cargo: PathBuf,
    /// The folder to call it in: the user's.
    pub current_dir: PathBuf,
    /// The workspace's folder. Absolute.
    pub workspace_root: PathBuf,
    /// The package that has the target.
    pub package: PackageId,
    /// The same as `-p` takes it from every cargo: `name@version`.
    pub spec: String,
    /// What kind of target it is.
    pub kind: TargetKind,
    /// The target's name.
    pub target: String,
    /// Cargo's own options, as the user gave them, without those that choose package and target.
    pub options: Vec<OsString>,
    /// How it is linked.
    pub link: Linking,
    /// Every local package that the target depends on.
    pub local: Vec<LocalPackage>,
}

/// Starts builds, and remembers from one to the next what cargo has seen.
#[derive(Debug)]
pub struct Builder {
    groups: Groups,
    events: mpsc::UnboundedSender<Event>,
    memory: Arc<Mutex<Memory>>,
    known: Arc<Mutex<Option<Known>>>,
    leaving: Leaving,
    linked: Arc<Mutex<Option<Notice>>>,
}

impl Builder {
    /// A builder that tells `events` what happens.
    pub fn new(groups: Groups, events: mpsc::UnboundedSender<Event>) -> Self {
        let (memory, known, leaving, linked) = Default::default();
        Self { groups, events, memory, known, leaving, linked }
    }

    /// With an executable that another builder has read: the same one is not read again.
    #[must_use]
    pub fn with(mut self, known: Option<Known>) -> Self {
        self.known = Arc::new(Mutex::new(known));
        self
    }

    /// The executable that was read last.
    pub fn known(&self) -> Option<Known> {
        lock(&self.known).clone()
    }

    /// Waits until the last cargo that has built is gone.
    pub async fn gone(&self) {
        if let Some(leaving) = self.leaving.lock().await.take() {
            // Its panic, or the runtime's end.
            let _ = leaving.await;
        }
    }

    /// Starts a build. `command` comes first, and belongs to the build: reading the manifests again
    /// may take its time, is cancelled with it, and its failure is the build's. `changed`: every
    /// path that changed since the last build that completed. Must be called from the tool's main
    /// thread, within tokio's `current_thread` runtime: see [`Groups::spawn`].
    pub fn spawn(
        &self,
        generation: Generation,
        command: impl Future<Output = Result<BuildCommand, Failure>> + Send + 'static,
        changed: Vec<PathBuf>,
    ) -> BuildHandle {
        let (cancel, mut cancelled) = watch::channel(false);
        let say = Say { generation, events: self.events.clone() };
        let groups = self.groups.clone();
        let (memory, known) = (Arc::clone(&self.memory), Arc::clone(&self.known));
        let (leaving, linked) = (Arc::clone(&self.leaving), Arc::clone(&self.linked));
        tokio::spawn(async move {
            let command = tokio::select! {
                biased;
                () = cancellation(&mut cancelled) => Err(BuildOutcome::Cancelled),
                command = command => command.map_err(broken),
            };
            let outcome = match command {
                Ok(command) => {
                    let say = say.clone();
                    let build = Build {
                        command,
                        changed,
                        cancelled,
                        groups,
                        say,
                        memory,
                        known,
                        leaving,
                        linked,
                    };
                    build.run().await
                }
                Err(outcome) => outcome,
            };
            say.say(BuildEvent::Finished(outcome));
        });
        BuildHandle { cancel }
    }
}

/// A build under way. Dropping it cancels the build.
#[derive(Debug)]
#[must_use = "dropping it cancels the build"]
pub struct BuildHandle {
    cancel: watch::Sender<bool>,
}

impl BuildHandle {
    /// Ends the build: cargo and all below it are killed at once. Its `Finished` follows when
    /// nothing of it is left. Comes to nothing when that was said already.
    pub fn cancel(&self) {
        self.cancel.send_replace(true);
    }
}

/// Why a build ends without an executable.
type Stopped = BuildOutcome;

fn broken(failure: Failure) -> BuildOutcome {
    BuildOutcome::Broken { message: failure.message, help: failure.help }
}

/// Waits until the build is cancelled. A handle that is gone is a cancellation too.
async fn cancellation(cancelled: &mut watch::Receiver<bool>) {
    let _ = cancelled.wait_for(|cancelled| *cancelled).await;
}

/// Who tells what becomes of one build.
#[derive(Clone, Debug)]
struct Say {
    generation: Generation,
    events: mpsc::UnboundedSender<Event>,
}

impl Say {
    fn say(&self, event: BuildEvent) {
        self.send(Event::Build(self.generation, event));
    }

    fn send(&self, event: Event) {
        // Nobody listens: the tool is ending.
        let _ = self.events.send(event);
    }
}

struct Build {
    command: BuildCommand,
    changed: Vec<PathBuf>,
    cancelled: watch::Receiver<bool>,
    groups: Groups,
    say: Say,
    memory: Arc<Mutex<Memory>>,
    known: Arc<Mutex<Option<Known>>>,
    leaving: Leaving,
    /// What was said last of how it is linked.
    linked: Arc<Mutex<Option<Notice>>>,
}

impl Build {
    async fn run(&self) -> BuildOutcome {
        let outcome = match self.rounds().await {
            Ok(round) => self.succeeded(round).await,
            Err(stopped) => stopped,
        };
        if self.is_cancelled() { BuildOutcome::Cancelled } else { outcome }
    }

    /// Runs cargo, and once more when it has missed something.
    async fn rounds(&self) -> Result<Round, Stopped> {
        let (round, missed) = self.round().await?;
        if missed.is_empty() || !self.force(missed).await {
            return Ok(round);
        }
        Ok(self.round().await?.0)
    }

    /// Runs cargo once. Second: the changed files that it took for old ones.
    async fn round(&self) -> Result<(Round, Vec<PathBuf>), Stopped> {
        let changed = self.changed.clone();
        let before = blocking(move || Contents::read(changed)).await;
        let known = lock(&self.known).clone();
        let (known, cancelled) = (known.as_ref(), self.cancelled.clone());
        if let Linking::Once(once) = &self.command.link {
            // Where that cannot be done, the server cannot be started, and the loader says why.
            let _ = once.mend();
        }
        let say = |event| self.say.say(event);
        let (groups, command, leaving) = (&self.groups, &self.command, &self.leaving);
        let round = cargo::run(groups, command, known, leaving, cancelled, say).await;

        let completed = matches!(round.ended, Ended::Exited(Exit::Code(0)));
        let units = self.units(&round).await;
        let paths = before.paths();
        let after = blocking(move || Contents::read(paths)).await;
        {
            let mut memory = lock(&self.memory);
            if completed {
                let missed = memory.missed(&before, &units);
                memory.learn_all(&before, &after);
                if !missed.is_empty() {
                    return Ok((round, missed));
                }
            } else {
                memory.learn_compiled(&before, &after, &units);
            }
        }
        match round.ended {
            Ended::Exited(Exit::Code(0)) => Ok((round, Vec::new())),
            Ended::Exited(exit) => Err(BuildOutcome::Failed(exit)),
            Ended::Cancelled => Err(BuildOutcome::Cancelled),
            Ended::NotStarted(message) => Err(self.not_started(&message)),
        }
    }

    /// What was compiled from what. Costs reading a few files, and only where it is asked for.
    async fn units(&self, round: &Round) -> Vec<Unit> {
        if self.changed.is_empty() {
            return Vec::new();
        }
        let artifacts = round.artifacts.clone();
        let local: Vec<PathBuf> = self.command.local.iter().map(|it| it.root.clone()).collect();
        let workspace = self.command.workspace_root.clone();
        blocking(move || memory::units(&artifacts, &local, &workspace)).await
    }

    /// Makes cargo see the files, as `touch` would. `false` when that failed.
    async fn force(&self, missed: Vec<PathBuf>) -> bool {
        let paths = missed.clone();
        let touched = blocking(move || paths.iter().try_for_each(|path| touch(path))).await;
        let names: Vec<_> = missed.iter().map(|path| path.display().to_string()).collect();
        let names = names.join(", ");
        let notice = match &touched {
            Ok(()) => Notice {
                level: Level::Verbose,
                code: "forced-rebuild",
                text: format!("cargo took {names} for older than it is: building again"),
                help: None,
            },
            Err(error) => Notice {
                level: Level::Warning,
                code: "stale-build",
                text: format!("cargo did not see the change of {names}: {error}"),
                help: Some("save it with another content".to_owned()),
            },
        };
        self.say.send(Event::Notice(notice));
        touched.is_ok()
    }

    async fn succeeded(&self, mut round: Round) -> BuildOutcome {
        let Some(found) = round.artifact(&self.command) else {
            return BuildOutcome::Broken {
                message: format!(
                    "cargo built, but named no executable for `{}`",
                    self.command.target
                ),
                help: Vec::new(),
            };
        };
        let executable = found.0;
        let fresh = found.1;
        let env = round.script_env(&self.command.package);
        let library_paths = round.library_paths(&executable);
        match round.content(&executable).await {
            Ok(content) => {
                *lock(&self.known) = Some(Known::new(&executable, content));
                let Identified { identity, stamp, mut mentions } = content.identify(&env);
                if let Some(library) = self.linked() {
                    mentions.listen_fds |= library.listen_fds;
                    mentions.notify_socket |= library.notify_socket;
                }
                BuildOutcome::Succeeded(Artifact {
                    executable,
                    identity,
                    stamp,
                    mentions,
                    fresh,
                    env,
                    library_paths,
                })
            }
            Err(error) => BuildOutcome::Broken {
                message: format!("could not read `{}`: {error}", executable.display()),
                help: Vec::new(),
            },
        }
    }

    /// Says how it is linked, where that was not said before. Returns what the shared object mentions, if
    /// it is linked against one.
    fn linked(&self) -> Option<Mentions> {
        let (notice, mentions) = match &self.command.link {
            Linking::Plain { because: None } => return None,
            Linking::Plain { because: Some(because) } => (plainly(because), None),
            Linking::Once(once) => match once.record()?.linked {
                Linked::Plainly(because) => (plainly(&because), None),
                Linked::Once(library) => (linked_once(&library.path), Some(library.mentions)),
            },
        };
        let mut said = lock(&self.linked);
        if said.as_ref() != Some(&notice) {
            *said = Some(notice.clone());
            self.say.send(Event::Notice(notice));
        }
        mentions
    }

    fn not_started(&self, message: &str) -> BuildOutcome {
        BuildOutcome::Broken {
            message: format!("could not run `{}`: {message}", self.command.cargo.display()),
            help: vec!["install cargo from https://rustup.rs, or name it in `CARGO`".to_owned()],
        }
    }

    fn is_cancelled(&self) -> bool {
        // A handle that is gone is a cancellation too.
        *self.cancelled.borrow() || self.cancelled.has_changed().is_err()
    }
}

fn plainly(because: &str) -> Notice {
    Notice {
        level: Level::Verbose,
        code: "linked-plainly",
        text: format!("the executable is linked in whole, because {because}"),
        help: None,
    }
}

fn linked_once(library: &Path) -> Notice {
    Notice {
        level: Level::Verbose,
        code: "linked-once",
        text: format!("the dependencies are linked once, into `{}`", library.display()),
        help: None,
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both are changed as a whole.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets a file's times to now. Both of them: to Linux, and so to whoever watches the file, setting
/// the modification time alone is a write.
fn touch(path: &Path) -> std::io::Result<()> {
    // Windows asks for the right to write; elsewhere it would look like a write.
    let file = std::fs::OpenOptions::new().read(true).write(cfg!(windows)).open(path)?;
    let now = std::time::SystemTime::now();
    file.set_times(std::fs::FileTimes::new().set_accessed(now).set_modified(now))
}

/// Runs what blocks on another thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and so is whoever waits for this.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Distinct paths in order, as cargo keeps them.
type Paths = BTreeSet<PathBuf>;
