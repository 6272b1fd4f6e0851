//! What is in force of the user's project: the plan, and what `cargo run` would add to the server's
//! environment. Read at the start, and again as a whole when a manifest has changed.
//!
//! A start relies on what the last one was told (`recall`), where it can; cargo and rustc are asked
//! later, then.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::build::{BuildCommand, Known};
use crate::error::Failure;
use crate::event::{Level, Notice};
use crate::plan::{self, Host, Plan, Source};
use crate::process::Groups;
use crate::server::{CargoQuery, CargoRun, OWN_HOST, Toolchain};

use super::recall::{self, Answers};

/// Shared between the loop and the build that reads the manifests again.
#[derive(Clone, Debug)]
pub(super) struct Project {
    source: Arc<Source>,
    groups: Groups,
    read: Arc<Mutex<Read>>,
}

/// What was read together.
#[derive(Clone, Debug)]
struct Read {
    plan: Arc<Plan>,
    cargo_run: Arc<CargoRun>,
    /// What cargo and rustc have said, until it is kept for the next start.
    answers: Option<Arc<Answers>>,
    /// And when.
    said: Said,
    /// The executable as it was read at the last start, or at this one.
    executable: Option<Known>,
}

/// When cargo and rustc have said what is relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// At the last start.
    Before,
    /// When they were asked.
    Now,
    /// Before a manifest changed and could not be read.
    Once,
}

/// What reading again has brought.
pub(super) struct Reread {
    /// Entry, packages or watch set are others than before.
    pub(super) changed: bool,
    /// What a server is told or run with is other than before.
    pub(super) restart: bool,
    /// What changed and only a new start can bring about.
    pub(super) notice: Option<Notice>,
}

impl Project {
    /// Reads the manifests. With `recalls`, what was said of them at the last start will do, until
    /// [`Project::holds`].
    pub(super) async fn open(
        source: Source,
        groups: Groups,
        recalls: bool,
    ) -> Result<Self, Failure> {
        let source = Arc::new(source);
        let recalled = recalls.then(|| recall::recall(&source)).flatten();
        // What is wrong with it may have been mended since.
        let recalled = recalled.and_then(|(answers, executable)| {
            Some(Read { executable, ..Read::of(&source, answers).ok()? })
        });
        let read = match recalled {
            Some(read) => read,
            None => read(&source, &groups).await?,
        };
        Ok(Self { source, groups, read: Arc::new(Mutex::new(read)) })
    }

    /// Whether cargo and rustc still have to be asked.
    pub(super) fn is_recalled(&self) -> bool {
        self.lock().said == Said::Before
    }

    /// The executable as it was read last, perhaps at the last start.
    pub(super) fn executable(&self) -> Option<Known> {
        self.lock().executable.clone()
    }

    /// Asks what was not asked at the start. `false` when the answers are others than those that the
    /// start relied on, or there are none: the manifests must be read again.
    pub(super) async fn holds(&self) -> bool {
        let answers = self.lock().answers.clone();
        let now = ask(&self.source, &self.groups).await;
        let mut read = self.lock();
        if read.said != Said::Before {
            // A change was read meanwhile.
            return true;
        }
        let same = now.is_ok_and(|(now, _)| answers.is_some_and(|before| now == *before));
        if same {
            read.said = Said::Now;
        }
        same
    }

    /// Keeps what was said for the next start, by the side, and the executable as it was read.
    pub(super) fn keep(&self, executable: Option<Known>) {
        let mut read = self.lock();
        read.executable = executable.or(read.executable.take());
        // What was recalled lies there already, and what changed since is not known.
        if read.said == Said::Now
            && let Some(answers) = read.answers.take()
        {
            let source = Arc::clone(&self.source);
            let (plan, executable) = (Arc::clone(&read.plan), read.executable.clone());
            tokio::task::spawn_blocking(move || {
                recall::keep(&answers, executable.as_ref(), &source, &plan);
            });
        }
    }

    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.lock().plan)
    }

    /// Whether `--listen` was typed: what is in force comes from there, then.
    pub(super) fn types_listen(&self) -> bool {
        self.source.command.shared().server.listen.is_some()
    }

    pub(super) fn cargo_run(&self) -> Arc<CargoRun> {
        Arc::clone(&self.lock().cargo_run)
    }

    /// Reads the manifests again. When they are wrong, what was read before stays in force.
    pub(super) async fn reread(&self) -> Result<Reread, Failure> {
        let new = match read(&self.source, &self.groups).await {
            Ok(new) => Read { executable: self.executable(), ..new },
            Err(failure) => {
                self.lock().said = Said::Once;
                return Err(failure);
            }
        };
        let old = std::mem::replace(&mut *self.lock(), new.clone());
        self.keep(None);
        let other_run = old.cargo_run != new.cargo_run;
        let (old, new) = (old.plan, new.plan);
        let restart = other_run
            || old.entry.function != new.entry.function
            || old.config.tracer != new.config.tracer;
        Ok(Reread {
            changed: restart
                || old.watch != new.watch
                || old.entry.package.id != new.entry.package.id
                || (old.entry.kind, &old.entry.target) != (new.entry.kind, &new.entry.target)
                || old.entry.local != new.entry.local,
            restart,
            notice: only_at_start(&old, &new),
        })
    }

    /// What cargo is to build now.
    pub(super) fn build_command(&self) -> BuildCommand {
        let plan = self.plan();
        BuildCommand {
            cargo: plan.cargo.clone(),
            current_dir: plan.current_dir.clone(),
            workspace_root: plan.workspace_root.clone(),
            package: plan.entry.package.id.clone(),
            spec: plan.entry.spec(),
            kind: plan.entry.kind,
            target: plan.entry.target.clone(),
            options: plan.cargo_options.build_args(&plan.profile.args()),
            link: plan.link.clone(),
            local: plan.entry.local.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Read> {
        // It is replaced as a whole, so a panic elsewhere leaves it whole.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    /// From what they have said at the last start.
    fn of(source: &Source, answers: Answers) -> Result<Self, Failure> {
        let toolchain = Toolchain::of(&query(source), answers.rustc.clone())?;
        Self::with(source, answers, toolchain, Said::Before)
    }

    fn with(
        source: &Source,
        answers: Answers,
        toolchain: Toolchain,
        said: Said,
    ) -> Result<Self, Failure> {
        let mut plan = plan::of(source, &answers.metadata)?;
        plan.link = plan.link.with(&toolchain);
        let cargo_run = toolchain.cargo_run(&plan.entry.package, &plan.workspace_root);
        let (plan, cargo_run) = (Arc::new(plan), Arc::new(cargo_run));
        let answers = Some(Arc::new(answers));
        Ok(Self { plan, cargo_run, answers, said, executable: None })
    }
}

async fn read(source: &Source, groups: &Groups) -> Result<Read, Failure> {
    let (answers, toolchain) = ask(source, groups).await?;
    Read::with(source, answers, toolchain, Said::Now)
}

/// Asks cargo and rustc, side by side.
async fn ask(source: &Source, groups: &Groups) -> Result<(Answers, Toolchain), Failure> {
    let query = query(source);
    let (tell, host) = oneshot::channel();
    let asking = async {
        let toolchain = Toolchain::ask(&query, Some(groups)).await;
        let host = toolchain.as_ref().ok().and_then(|it| it.rustc.host.clone());
        // Nobody waits where `--target` says it.
        let _ = tell.send(host);
        toolchain
    };
    let known = async { host.await.ok().flatten() };
    let metadata = plan::ask(source, Host { likely: OWN_HOST, known }, Some(groups));
    // Large ones, which who waits for them would have to hold.
    let (metadata, toolchain) = tokio::join!(Box::pin(metadata), Box::pin(asking));
    let (metadata, toolchain) = (metadata?, toolchain?);
    Ok((Answers::new(metadata, toolchain.rustc.clone()), toolchain))
}

fn query(source: &Source) -> CargoQuery {
    let options = &source.command.shared().cargo;
    CargoQuery {
        cargo: source.cargo(),
        current_dir: source.current_dir.clone(),
        target: options.target.clone(),
        config: options.config.iter().map(|it| it.to_string_lossy().into_owned()).collect(),
    }
}

/// Settings that were changed in a manifest and cannot be changed under a running server.
fn only_at_start(old: &Plan, new: &Plan) -> Option<Notice> {
    let (old, new) = (&old.config, &new.config);
    let changed: Vec<_> = [
        ("host", old.host != new.host),
        ("port", old.port != new.port),
        ("unix-socket", old.unix_socket != new.unix_socket),
        ("listen", old.listen != new.listen),
        ("grace", old.grace != new.grace),
        ("swap", old.swap != new.swap),
        ("ready-timeout", old.ready_timeout != new.ready_timeout),
        ("events", old.events != new.events),
        ("debounce", old.debounce != new.debounce),
        ("poll", old.poll != new.poll),
    ]
    .into_iter()
    .filter_map(|(name, changed)| changed.then_some(name))
    .collect();
    (!changed.is_empty()).then(|| Notice {
        level: Level::Warning,
        code: "restart-needed",
        text: format!(
            "the manifest's change of {} counts from the next start on",
            crate::wording::list(changed)
        ),
        help: Some("end `cargo stario watch` and start it again".into()),
    })
}
