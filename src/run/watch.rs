//! `watch`: the only loop. It receives an event, has the supervisor decide, and performs what was
//! decided. Nothing slow is awaited here: what takes time reports back as an event.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep_until, timeout};

use super::address::{Address, server_command};
use super::{Project, Start, interrupted, stopped};
use crate::build::{BuildHandle, Builder};
use crate::config::{Config, Listen};
use crate::error::Failure;
use crate::event::{
    Action, Artifact, Beside, BuildEvent, BuildOrder, BuildOutcome, Endpoint, Event, Generation,
    Handover, Level, Notice, Report, ServerEvent,
};
use crate::keys;
use crate::plan::Plan;
use crate::process::Groups;
use crate::report::Reporter;
use crate::server::{self, Adopter, Equipment, Kept, NotifyFolder, ServerCommand, ServerHandle};
use crate::supervisor::{Settings, Socket, State};
use crate::watch::{self, Options, Watch};

/// How long the first server may take to listen before cargo and rustc are asked in any case.
const SETTLES: Duration = Duration::from_secs(3);

/// Watches until told to stop; returns the exit code.
pub(super) async fn watch(start: Start, reporter: &mut Reporter<'_>) -> Result<u8, Failure> {
    let Start { project, groups, sender, mut events } = start;
    let plan = project.plan();
    let mut early = Vec::new();
    let (address, watch) = tokio::select! {
        opened = open(&plan, &sender) => opened?,
        signal = interrupted(&mut events, &mut early) => return Ok(stopped(signal, reporter)),
    };
    if project.is_recalled() {
        reporter.report(&Report::Notice(recalled()));
    }
    reporter.report(&watching(&watch));
    if keys::present() {
        reporter.report(&Report::Keys);
        keys::listen(sender.clone());
    }

    let notify = notify_folder(&groups, &sender);
    let mut state = State::new(settings(&plan.config, &address));
    let mut effects = Effects {
        builder: Builder::new(groups.clone(), sender.clone()).with(project.executable()),
        project,
        groups,
        watch: Arc::new(watch),
        address,
        reporter,
        sender,
        build: None,
        servers: HashMap::new(),
        notify,
        kept: Kept::default(),
        adopter: Adopter::default(),
        ports: Vec::new(),
        settled: false,
        is_up: Arc::default(),
    };
    let mut actions = state.begin(Instant::now());
    for event in early {
        actions.extend(state.step(event, Instant::now()));
    }
    loop {
        for action in actions {
            if let Some(code) = effects.perform(action) {
                return Ok(code);
            }
        }
        let event = tokio::select! {
            Some(event) = events.recv() => event,
            () = until(state.deadline()) => Event::Tick,
        };
        effects.take_note(&event);
        actions = state.step(event, Instant::now());
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Where servers can say that they are ready. Without it they cannot, and none starts beside another.
fn notify_folder(groups: &Groups, sender: &mpsc::UnboundedSender<Event>) -> Option<NotifyFolder> {
    if !cfg!(unix) {
        return None;
    }
    let folder = NotifyFolder::make(groups);
    let error = match folder {
        Ok(folder) => return Some(folder),
        Err(error) => error,
    };
    let notice = Notice {
        level: Level::Warning,
        code: "no-readiness",
        text: format!(
            "servers cannot say when they are ready ({error}), so the old one is stopped first"
        ),
        help: Some("TMPDIR names a folder that can be written to; its path must be short".into()),
    };
    // The receiver is the loop's.
    let _ = sender.send(Event::Notice(notice));
    None
}

/// What has to stand before the first build, side by side.
async fn open(
    plan: &Arc<Plan>,
    sender: &mpsc::UnboundedSender<Event>,
) -> Result<(Address, Watch), Failure> {
    let (address, watch) =
        tokio::try_join!(Address::claim(plan), open_watch(plan, sender.clone()))?;
    if let Some(notice) = address.notice() {
        // The receiver is the loop's.
        let _ = sender.send(Event::Notice(notice));
    }
    Ok((address, watch))
}

/// The watch, once every folder has its eye on it, so that no later change is missed.
async fn open_watch(plan: &Plan, sender: mpsc::UnboundedSender<Event>) -> Result<Watch, Failure> {
    let set = plan.watch.clone();
    let options = Options {
        debounce: plan.config.quiet_time(),
        eager: plan.config.debounce.is_none(),
        poll: plan.config.poll,
    };
    let lock = lock_file(plan);
    tokio::task::spawn_blocking(move || {
        let watch = watch::start(set, options, sender)?;
        watch.seen(&lock);
        Ok(watch)
    })
    .await
    .map_err(|error| Failure::usage(format!("could not watch: {error}")))?
}

fn lock_file(plan: &Plan) -> PathBuf {
    plan.workspace_root.join("Cargo.lock")
}

fn recalled() -> Notice {
    Notice {
        level: Level::Verbose,
        code: "recalled",
        text: "nothing that cargo reads of the workspace has changed since the last start: it is \
               asked when the server is up"
            .into(),
        help: None,
    }
}

fn outdated() -> Notice {
    Notice {
        level: Level::Note,
        code: "outdated",
        text: "cargo says other things of the workspace than at the last start: building once more"
            .into(),
        help: None,
    }
}

fn watching(watch: &Watch) -> Report {
    let summary = watch.summary();
    Report::Watching {
        roots: summary.roots,
        folders: summary.folders,
        files: summary.files,
        polling: summary.polling,
    }
}

fn settings(config: &Config, address: &Address) -> Settings {
    let socket = match (&address.listener, config.listen) {
        (None, _) => Socket::Direct,
        (Some(listener), Listen::Inherit) => Socket::Inherited(listener.endpoint().clone()),
        (Some(listener), _) => Socket::Offered(listener.endpoint().clone()),
    };
    let port = config.port;
    Settings {
        grace: config.grace,
        debounce: config.quiet_time(),
        socket,
        follows: config.listen == Listen::Auto && cfg!(unix),
        adopts: match config.listen {
            Listen::Auto => cfg!(target_os = "linux"),
            // Where it cannot be done, the server room says so.
            Listen::Adopt => true,
            Listen::Inherit | Listen::Direct => false,
        },
        swap: config.swap,
        ready_timeout: config.ready_timeout,
        named_port: (port.named && config.unix_socket.is_none()).then_some(address.port),
    }
}

/// What performs actions, and the handles of what it has started.
struct Effects<'a, 'b> {
    project: Project,
    groups: Groups,
    watch: Arc<Watch>,
    address: Address,
    reporter: &'a mut Reporter<'b>,
    sender: mpsc::UnboundedSender<Event>,
    builder: Builder,
    build: Option<BuildHandle>,
    servers: HashMap<Generation, ServerHandle>,
    notify: Option<NotifyFolder>,
    kept: Kept,
    /// Keeps what servers bind for themselves.
    adopter: Adopter,
    /// Where the last server listened that did.
    ports: Vec<u16>,
    /// What the start has not asked cargo has been asked, or is about to be.
    settled: bool,
    /// Told when a server is up, or will not be.
    is_up: Arc<Notify>,
}

impl Effects<'_, '_> {
    /// Performs one action; an exit code ends the loop.
    fn perform(&mut self, action: Action) -> Option<u8> {
        match action {
            Action::Build(order) => self.build(order),
            Action::CancelBuild(_) => self.build.iter().for_each(BuildHandle::cancel),
            Action::Start { generation, artifact, handover, adopts, beside, again } => {
                match self.executable(generation, artifact, handover, again) {
                    Ok(artifact) => self.start(generation, artifact, handover, adopts, beside),
                    Err(message) => {
                        let failed = ServerEvent::SpawnFailed { message };
                        // The receiver is the loop's.
                        let _ = self.sender.send(Event::Server(generation, failed));
                    }
                }
            }
            Action::Terminate(generation) => {
                self.servers.get(&generation).into_iter().for_each(ServerHandle::terminate);
            }
            Action::Kill(generation) => {
                self.servers.get(&generation).into_iter().for_each(ServerHandle::kill);
            }
            Action::Retire(generation) => {
                self.servers.get(&generation).into_iter().for_each(ServerHandle::retire);
            }
            Action::Resume(generation) => {
                self.servers.get(&generation).into_iter().for_each(ServerHandle::resume);
            }
            Action::Drain(generation) => {
                self.servers.get(&generation).into_iter().for_each(ServerHandle::drain);
            }
            Action::GiveUpListener => {
                self.address.listener = None;
                self.adopter.take_back();
            }
            Action::Report(report) => self.reporter.report(&report),
            Action::Exit(code) => return Some(code),
        }
        None
    }

    /// Lets go of what an event says is over, and keeps what the next server is to know.
    fn take_note(&mut self, event: &Event) {
        match event {
            Event::Build(_, BuildEvent::Finished(outcome)) => {
                self.build = None;
                match outcome {
                    BuildOutcome::Cancelled => {}
                    BuildOutcome::Succeeded(_) => self.settle(true),
                    BuildOutcome::Failed(_) | BuildOutcome::Broken { .. } => self.settle(false),
                }
            }
            Event::Server(
                generation,
                ServerEvent::Exited(_) | ServerEvent::SpawnFailed { .. } | ServerEvent::Superseded,
            ) => {
                self.is_up.notify_one();
                self.servers.remove(generation);
                let servers = &self.servers;
                self.kept.let_go(|it| servers.contains_key(&it));
            }
            Event::Server(_, ServerEvent::Listening(endpoints)) => {
                self.is_up.notify_one();
                self.ports = endpoints.iter().filter_map(Endpoint::port).collect();
            }
            Event::Server(_, ServerEvent::Ready | ServerEvent::Adopted(_)) => {
                self.is_up.notify_one();
            }
            _ => {}
        }
    }

    /// When the first build has ended: asks cargo and rustc what the start has not asked them, once
    /// its server is up, so that they are in nobody's way.
    fn settle(&mut self, server: bool) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let executable = self.builder.known();
        if !self.project.is_recalled() {
            self.project.keep(executable);
            return;
        }
        let (project, sender) = (self.project.clone(), self.sender.clone());
        let is_up = Arc::clone(&self.is_up);
        tokio::spawn(async move {
            if server {
                // A server that listens nowhere may say nothing.
                let _ = timeout(SETTLES, is_up.notified()).await;
            }
            if project.holds().await {
                project.keep(executable);
            } else {
                // Nobody listens: the tool is ending.
                let _ = sender.send(Event::Notice(outdated()));
                let _ = sender.send(Event::Outdated);
            }
        });
    }

    fn build(&mut self, order: BuildOrder) {
        let BuildOrder { generation, resolve, changed } = order;
        let project = self.project.clone();
        let sender = self.sender.clone();
        let watch = Arc::clone(&self.watch);
        let prepare = async move {
            if resolve {
                let reread = project.reread().await?;
                // At once, since what was read is in force, also when this build is cancelled now.
                // Nobody listens: the tool is ending.
                let _ = sender.send(Event::Build(
                    generation,
                    BuildEvent::Resolved { changed: reread.changed, restart: reread.restart },
                ));
                if let Some(notice) = reread.notice {
                    let _ = sender.send(Event::Notice(notice));
                }
                let plan = project.plan();
                // Before cargo reads a source that only now is watched, so that no save is missed.
                let walk = tokio::task::spawn_blocking(move || {
                    // Cargo has just written it, if it had to.
                    watch.seen(&lock_file(&plan));
                    watch.update(plan.watch.clone());
                });
                walk.await.map_err(|error| Failure::usage(format!("could not watch: {error}")))?;
            }
            Ok(project.build_command())
        };
        self.build = Some(self.builder.spawn(generation, prepare, changed));
    }

    /// What is to be run: one that has run before is no longer where cargo put it.
    fn executable(
        &mut self,
        generation: Generation,
        artifact: Artifact,
        handover: Handover,
        again: bool,
    ) -> Result<Artifact, String> {
        if !again {
            // Only those that share a socket are ever stopped for one that may not come up.
            if handover != Handover::Direct {
                let servers = &self.servers;
                self.kept.keep(generation, &artifact, |it| servers.contains_key(&it));
            }
            return Ok(artifact);
        }
        match self.kept.path(generation) {
            Some(executable) => Ok(Artifact { executable, ..artifact }),
            None => Err("the last good server cannot be started again: cargo has put the new one \
                         in its place"
                .into()),
        }
    }

    fn start(
        &mut self,
        generation: Generation,
        artifact: Artifact,
        handover: Handover,
        adopts: bool,
        beside: Option<Beside>,
    ) {
        let binds = handover == Handover::Inherit && self.address.listener.is_none();
        if binds || !adopts {
            // What no server has any more must be in nobody's way.
            self.adopter.forget_unused();
        }
        if binds {
            let bound = self.address.bind();
            // The receiver is the loop's.
            let _ = self.sender.send(Event::Server(generation, bound));
        }
        let listener = match handover {
            Handover::Direct | Handover::Adopt => None,
            Handover::Inherit => self.address.listener.as_ref(),
        };
        let command = ServerCommand {
            ports: self.ports.clone(),
            ..server_command(&self.project, &self.address, artifact, true)
        };
        if let Some(listener) = listener.filter(|_| self.servers.is_empty()) {
            listener.reset();
        }
        let adopter = adopts.then_some(&self.adopter);
        if let (Some(adopter), Some(listener)) = (adopter, listener) {
            // A server that does not take it from its environment may bind its address.
            adopter.lend(listener);
        }
        let equipment = Equipment { listener, notify: self.notify.as_ref(), beside, adopter };
        let sender = self.sender.clone();
        let server = server::spawn(&self.groups, generation, &command, &equipment, sender);
        self.servers.insert(generation, server);
    }
}
