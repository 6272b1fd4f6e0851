//! The servers that live, the one that is to come, and their deadlines. Used by the supervisor
//! alone.

use std::time::{Duration, Instant};

use crate::event::{Action, Artifact, Endpoint, Generation, Handover, Identity, Report};

/// A server whose process lives, or is being started.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Server {
    pub(super) generation: Generation,
    pub(super) artifact: Artifact,
    pub(super) handover: Handover,
    pub(super) started: Instant,
    pub(super) pid: Option<u32>,
    /// Where it is known to listen.
    pub(super) endpoints: Vec<Endpoint>,
    /// It was said that it listens nowhere.
    pub(super) silent: bool,
    pub(super) phase: Phase,
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
}

/// All servers of the tool. At most one serves; any number may still be stopping.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fleet {
    pub(super) current: Option<Server>,
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
        self.current.is_none() && self.leaving.is_empty() && self.next.is_none()
    }

    /// What the server that lives, or the one that takes over next, was made from.
    pub(super) fn identity(&self) -> Option<(Generation, Identity)> {
        match (&self.next, &self.current) {
            (Some(next), _) => Some((next.generation, next.artifact.identity)),
            (None, Some(server)) => Some((server.generation, server.artifact.identity)),
            (None, None) => None,
        }
    }

    /// The server of this generation, whatever it is doing.
    pub(super) fn find(&mut self, generation: Generation) -> Option<&mut Server> {
        self.current.iter_mut().chain(&mut self.leaving).find(|s| s.generation == generation)
    }

    /// Takes a server that has ended out. `true`: it was asked to stop.
    pub(super) fn remove(&mut self, generation: Generation) -> Option<(Server, bool)> {
        if let Some(server) = self.current.take_if(|s| s.generation == generation) {
            return Some((server, false));
        }
        let index = self.leaving.iter().position(|s| s.generation == generation)?;
        Some((self.leaving.remove(index), true))
    }

    /// Asks the current server to stop.
    pub(super) fn retire(&mut self, grace: Duration, now: Instant, actions: &mut Vec<Action>) {
        let Some(mut server) = self.current.take() else { return };
        server.phase = Phase::Stopping {
            kill_at: now + grace,
            // With a short grace the end is near enough to wait for it in silence.
            slow_at: (grace > SLOW_TO_STOP).then(|| now + SLOW_TO_STOP),
        };
        actions.push(Action::Report(Report::ServerStopping {
            generation: server.generation,
            pid: server.pid,
        }));
        actions.push(Action::Terminate(server.generation));
        self.leaving.push(server);
    }

    /// Makes every server stop at once.
    pub(super) fn kill_all(&mut self, actions: &mut Vec<Action>) {
        self.leaving.extend(self.current.take());
        for server in &mut self.leaving {
            server.phase = Phase::Killed;
            actions.push(Action::Kill(server.generation));
        }
    }

    /// Does what time asks for.
    pub(super) fn due(&mut self, grace: Duration, now: Instant, actions: &mut Vec<Action>) {
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
                actions.push(Action::Report(Report::ServerSlowToStop {
                    generation: server.generation,
                    pid: server.pid,
                    endpoints: server.endpoints.clone(),
                    kill_in: kill_at.saturating_duration_since(now),
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
