//! The servers that live, the one that is to come, and their deadlines. Used by the supervisor
//! alone.

use std::time::{Duration, Instant};

use super::patience::SLOW_TO_START;
use crate::event::{
    Action, Artifact, Beside, Endpoint, Generation, Handover, Held, Identity, Report, Unadopted,
};

/// A server whose process lives, or is being started.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "what it said and what was asked of it")]
pub(super) struct Server {
    pub(super) generation: Generation,
    pub(super) artifact: Artifact,
    pub(super) handover: Handover,
    /// It was given what it takes to share what it binds.
    pub(super) adopts: bool,
    /// The generation beside which it was started.
    pub(super) beside: Option<Generation>,
    pub(super) started: Instant,
    pub(super) pid: Option<u32>,
    /// Where it is known to listen.
    pub(super) endpoints: Vec<Endpoint>,
    /// Of these the next one can have the same sockets.
    pub(super) adopted: Vec<Endpoint>,
    /// Since when there are any.
    pub(super) adopted_since: Option<Instant>,
    /// It has accepted connections on what it has adopted.
    pub(super) accepts: bool,
    /// When it took over from one that shares what it binds.
    pub(super) took_over: Option<Instant>,
    /// It has adopted what the old one has, or is not expected to adopt more.
    pub(super) complete: bool,
    /// It accepts no more connections, as we have asked it to.
    pub(super) retired: bool,
    /// It is asked to stop when what it has accepted allows for it.
    pub(super) drains: bool,
    /// Why it does not adopt sockets, as long as that was not said.
    pub(super) unadopted: Option<Unadopted>,
    /// Since when it listens, but not where it was handed our socket.
    pub(super) elsewhere_since: Option<Instant>,
    /// Where it was said to listen.
    pub(super) said: Vec<Endpoint>,
    /// It was said that it listens nowhere, or assumed that it takes our socket.
    pub(super) silent: bool,
    /// It has said that it is ready.
    pub(super) ready: bool,
    /// When it is said that it is slow to be ready; `None` when that was said.
    pub(super) slow_at: Option<Instant>,
    /// It has said that it is going to end.
    pub(super) leaves: bool,
    /// What only one process can have, and it has, once that is known.
    pub(super) holds: Option<Vec<Held>>,
    /// What it wanted and could not have.
    pub(super) wanted: Vec<Held>,
    pub(super) phase: Phase,
}

impl Server {
    /// One that is about to be started.
    pub(super) fn new(generation: Generation, artifact: Artifact, now: Instant) -> Self {
        Self {
            generation,
            artifact,
            handover: Handover::Direct,
            adopts: false,
            beside: None,
            started: now,
            pid: None,
            endpoints: Vec::new(),
            adopted: Vec::new(),
            adopted_since: None,
            accepts: false,
            took_over: None,
            complete: false,
            retired: false,
            drains: false,
            unadopted: None,
            elsewhere_since: None,
            said: Vec::new(),
            silent: false,
            ready: false,
            slow_at: Some(now + SLOW_TO_START),
            leaves: false,
            holds: None,
            wanted: Vec::new(),
            phase: Phase::Serving,
        }
    }

    /// Everywhere that it is known to listen.
    pub(super) fn addresses(&self) -> Vec<Endpoint> {
        let mut all = [self.endpoints.as_slice(), &self.adopted].concat();
        all.sort();
        all.dedup();
        all
    }

    /// Whether another one can have all that it listens on.
    pub(super) fn shares_all(&self) -> bool {
        self.handover == Handover::Adopt
            && self.endpoints.iter().all(|endpoint| self.adopted.contains(endpoint))
    }

    /// What another one is told that is started beside it.
    pub(super) fn as_neighbour(&self) -> Option<Beside> {
        let file = |held: &Held| match held {
            Held::File(path) => Some(path.clone()),
            Held::Address(_) | Held::SomeAddress => None,
        };
        let locked = self.holds.as_ref().map(|holds| holds.iter().filter_map(file).collect());
        Some(Beside { pid: self.pid?, locked })
    }

    /// The addresses that nobody else can have until it has ended: our listener and what is adopted
    /// are not among them.
    fn own_endpoints(&self) -> Vec<Endpoint> {
        match self.handover {
            Handover::Direct => self.endpoints.clone(),
            Handover::Adopt => {
                let own = self.endpoints.iter().filter(|it| !self.adopted.contains(it));
                own.cloned().collect()
            }
            Handover::Inherit => self
                .holds
                .iter()
                .flatten()
                .filter_map(|held| match held {
                    Held::Address(endpoint) => Some(endpoint.clone()),
                    Held::SomeAddress | Held::File(_) => None,
                })
                .collect(),
        }
    }
}

/// What a server is doing, as far as we have asked for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// It serves, or gets there.
    Serving,
    /// It was asked to stop.
    Stopping {
        /// When it is killed.
        kill_at: Instant,
        /// When it is said that it takes long; `None` when that was said.
        slow_at: Option<Instant>,
    },
    /// It was killed, and its end is awaited.
    Killed,
}

/// Started once those that must go first are gone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) generation: Generation,
    pub(super) artifact: Artifact,
    /// It is not started beside others, whatever these do.
    pub(super) alone: bool,
    /// It has run before.
    pub(super) again: bool,
    /// It has taken our socket then.
    pub(super) inherited: bool,
}

impl Candidate {
    /// A server that is started once more where the one after it fails.
    pub(super) fn restored(server: &Server) -> Self {
        Self {
            generation: server.generation,
            artifact: server.artifact.clone(),
            alone: true,
            again: true,
            inherited: server.handover == Handover::Inherit,
        }
    }
}

/// What a server that has ended was to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that serves.
    Current,
    /// The one that was to take over.
    Starting,
    /// One that was asked to stop.
    Leaving,
}

/// All servers of the tool. At most one serves and one is on its way to take over from it; any number
/// may still be stopping.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fleet {
    pub(super) current: Option<Server>,
    pub(super) starting: Option<Server>,
    pub(super) leaving: Vec<Server>,
    pub(super) next: Option<Candidate>,
}

/// A server that takes longer than this to stop is spoken of.
const SLOW_TO_STOP: Duration = Duration::from_secs(1);
/// A server that listens nowhere after this time is spoken of.
pub(super) const SILENT: Duration = Duration::from_secs(5);

impl Fleet {
    /// Nothing lives, nothing is to come.
    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none()
            && self.starting.is_none()
            && self.leaving.is_empty()
            && self.next.is_none()
    }

    /// What the server that takes over next, or the one that lives, was made from.
    pub(super) fn identity(&self) -> Option<(Generation, Identity)> {
        if let Some(next) = &self.next {
            return Some((next.generation, next.artifact.identity));
        }
        let server = self.starting.as_ref().or(self.current.as_ref())?;
        Some((server.generation, server.artifact.identity))
    }

    /// The server of this generation, whatever it is doing.
    pub(super) fn find(&mut self, generation: Generation) -> Option<&mut Server> {
        self.current
            .iter_mut()
            .chain(&mut self.starting)
            .chain(&mut self.leaving)
            .find(|s| s.generation == generation)
    }

    /// Whether this generation is on its way to take over.
    pub(super) fn is_starting(&self, generation: Generation) -> bool {
        self.starting.as_ref().is_some_and(|server| server.generation == generation)
    }

    /// The generation that serves.
    pub(super) fn serving(&self) -> Option<Generation> {
        self.current.as_ref().map(|server| server.generation)
    }

    /// The one that was to take over serves from now on. Another one must not serve any more.
    pub(super) fn promote(&mut self) {
        debug_assert!(self.current.is_none(), "two servers serve");
        self.current = self.starting.take();
    }

    /// Takes a server that has ended out.
    pub(super) fn remove(&mut self, generation: Generation) -> Option<(Server, Role)> {
        if let Some(server) = self.current.take_if(|s| s.generation == generation) {
            return Some((server, Role::Current));
        }
        if let Some(server) = self.starting.take_if(|s| s.generation == generation) {
            return Some((server, Role::Starting));
        }
        let index = self.leaving.iter().position(|s| s.generation == generation)?;
        Some((self.leaving.remove(index), Role::Leaving))
    }

    /// Asks the server that serves to stop now.
    pub(super) fn dismiss(&mut self, grace: Duration, now: Instant, actions: &mut Vec<Action>) {
        let server = self.current.take();
        self.stop(server, Action::Terminate, grace, now, actions);
    }

    /// Asks the server that has served to stop: one that is retired, once what it has accepted allows
    /// for it.
    pub(super) fn relieve(&mut self, grace: Duration, now: Instant, actions: &mut Vec<Action>) {
        let mut server = self.current.take();
        let mut how: fn(Generation) -> Action = Action::Terminate;
        if let Some(server) = server.as_mut().filter(|server| server.retired) {
            server.drains = true;
            how = Action::Drain;
        }
        self.stop(server, how, grace, now, actions);
    }

    /// Asks the server that was to take over to stop.
    pub(super) fn give_up(&mut self, grace: Duration, now: Instant, actions: &mut Vec<Action>) {
        let server = self.starting.take();
        self.stop(server, Action::Terminate, grace, now, actions);
    }

    /// Asks every server to stop now, those that drain too.
    pub(super) fn stop_all(&mut self, grace: Duration, now: Instant, actions: &mut Vec<Action>) {
        for server in &mut self.leaving {
            let asked = !std::mem::replace(&mut server.drains, false);
            if !asked && !server.leaves && server.phase != Phase::Killed {
                actions.push(Action::Terminate(server.generation));
            }
        }
        self.dismiss(grace, now, actions);
        self.give_up(grace, now, actions);
    }

    fn stop(
        &mut self,
        server: Option<Server>,
        how: fn(Generation) -> Action,
        grace: Duration,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(mut server) = server else { return };
        server.phase = Phase::Stopping {
            kill_at: now + grace,
            // With a short grace the end is near enough to wait for it in silence.
            slow_at: (grace > SLOW_TO_STOP).then(|| now + SLOW_TO_STOP),
        };
        actions.push(Action::Report(Report::ServerStopping {
            generation: server.generation,
            pid: server.pid,
        }));
        if !server.leaves {
            // Many take a second signal for «at once».
            actions.push(how(server.generation));
        }
        self.leaving.push(server);
    }

    /// Makes every server stop at once.
    pub(super) fn kill_all(&mut self, actions: &mut Vec<Action>) {
        self.leaving.extend(self.current.take().into_iter().chain(self.starting.take()));
        for server in &mut self.leaving {
            server.phase = Phase::Killed;
            actions.push(Action::Kill(server.generation));
        }
    }

    /// Does what time asks for.
    pub(super) fn due(&mut self, grace: Duration, now: Instant, actions: &mut Vec<Action>) {
        // Who serves, or is on the way to, waits for nobody.
        let awaited = self.current.is_none() && self.starting.is_none();
        for server in &mut self.leaving {
            let Phase::Stopping { kill_at, slow_at } = &mut server.phase else { continue };
            if *kill_at <= now {
                server.phase = Phase::Killed;
                actions.push(Action::Report(Report::ServerKilled {
                    generation: server.generation,
                    pid: server.pid,
                    grace,
                }));
                actions.push(Action::Kill(server.generation));
            } else if slow_at.is_some_and(|at| at <= now) {
                *slow_at = None;
                let kill_in = kill_at.saturating_duration_since(now);
                actions.push(Action::Report(Report::ServerSlowToStop {
                    generation: server.generation,
                    pid: server.pid,
                    endpoints: server.own_endpoints(),
                    kill_in,
                    awaited,
                }));
            }
        }
    }

    /// When something is due next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.leaving
            .iter()
            .filter_map(|server| match server.phase {
                Phase::Stopping { kill_at, slow_at } => {
                    Some(slow_at.map_or(kill_at, |at| at.min(kill_at)))
                }
                Phase::Serving | Phase::Killed => None,
            })
            .min()
    }
}
