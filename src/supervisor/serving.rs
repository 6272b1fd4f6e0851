//! The half of the supervisor that decides about servers: when the next one starts, beside the one
//! that serves or after it, and when it takes over. Part of [`State`].

use std::time::{Duration, Instant};

use super::fleet::{Candidate, Phase, Role, Server};
use super::patience::SLOW_TO_START;
use super::work::Work;
use super::{Make, Socket, State};
use crate::event::{
    Action, Artifact, Exit, Generation, Handover, Held, Report, ServerEvent, Swap, WayOut,
};

/// A server that was offered our socket and fails this soon may have failed because of it.
const EARLY: Duration = Duration::from_secs(60);

impl State {
    /// A build succeeded: its executable takes over, unless it is what already lives.
    pub(super) fn adopt(
        &mut self,
        generation: Generation,
        artifact: Artifact,
        work: &Work,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if let Some((serving, identity)) = self.fleet.identity()
            && identity == artifact.identity
            && !work.asset
            && !work.restart
        {
            actions.push(Action::Report(Report::Unchanged { generation, serving }));
            return;
        }
        // With no server before there is nothing to compare with.
        self.marks.renewed =
            self.fleet.identity().is_some_and(|(_, identity)| identity != artifact.identity);
        self.follow(&artifact, actions);
        // Whatever kept it from starting beside the old one, the user wants it now.
        let alone = work.restart && self.refused == Some(artifact.identity);
        if alone && self.settings.follows {
            self.offer_again();
        }
        self.refused = None;
        self.fleet.give_up(self.settings.grace, now, actions);
        self.fleet.next = Some(Candidate { generation, artifact, alone, again: false });
        self.fallback = None;
        self.start_next(now, actions);
    }

    /// Starts the server that waits: beside the one that serves, or once nothing is in its way.
    pub(super) fn start_next(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(next) = &self.fleet.next else { return };
        if next.alone || !self.may_overlap(&next.artifact) {
            self.fleet.retire(self.settings.grace, now, actions);
            if !self.fleet.leaving.is_empty() {
                return;
            }
        }
        let Some(next) = self.fleet.next.take() else { return };
        let Candidate { generation, artifact, again, .. } = next;
        let handover = match self.settings.socket {
            Socket::Direct => Handover::Direct,
            Socket::Unbound | Socket::Offered(_) | Socket::Inherited(_) => Handover::Inherit,
        };
        self.marks.served = Some(now);
        let old = self.fleet.current.as_ref();
        let beside = old.and_then(Server::as_neighbour);
        let server = Server {
            generation,
            artifact: artifact.clone(),
            handover,
            beside: old.map(|server| server.generation),
            started: now,
            pid: None,
            endpoints: Vec::new(),
            elsewhere_since: None,
            said: Vec::new(),
            silent: false,
            ready: false,
            slow_at: Some(now + SLOW_TO_START),
            leaves: false,
            holds: None,
            wanted: Vec::new(),
            phase: Phase::Serving,
        };
        match old {
            Some(_) => self.fleet.starting = Some(server),
            None => self.fleet.current = Some(server),
        }
        let executable = artifact.executable.clone();
        actions.push(Action::Report(Report::ServerStarting { generation, executable }));
        actions.push(Action::Start { generation, artifact, handover, beside, again });
    }

    /// Whether the next server may start while the old one serves: both have our socket, and by what
    /// servers have done so far it will say when it is ready.
    fn may_overlap(&self, next: &Artifact) -> bool {
        if !matches!(self.settings.socket, Socket::Inherited(_)) {
            return false;
        }
        let current = self.fleet.current.as_ref();
        match self.settings.swap {
            Swap::StopFirst => false,
            Swap::Overlap => true,
            Swap::Auto => match current {
                Some(server) => {
                    let speaks = next.mentions.notify_socket;
                    let as_before = speaks || !server.artifact.mentions.notify_socket;
                    server.ready && as_before && !self.in_conflict_with(server)
                }
                None => self.speaks && self.conflict.is_empty(),
            },
        }
    }

    /// Whether a server still holds what another one could not start without, or may do so.
    fn in_conflict_with(&self, server: &Server) -> bool {
        let Some(holds) = &server.holds else { return !self.conflict.is_empty() };
        self.conflict.iter().any(|wanted| holds.iter().any(|held| wanted.may_be(held)))
    }

    pub(super) fn served(
        &mut self,
        generation: Generation,
        event: ServerEvent,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        match event {
            ServerEvent::Bound(ours) => {
                if self.settings.socket == Socket::Unbound {
                    self.settings.socket = Socket::Offered(ours);
                }
            }
            ServerEvent::NotBound => {
                if self.settings.socket == Socket::Unbound {
                    self.settings.socket = Socket::Direct;
                }
                if let Some(server) = self.fleet.find(generation) {
                    server.handover = Handover::Direct;
                }
            }
            // Not decided yet.
            ServerEvent::NotAdopted(_) | ServerEvent::Adopted(_) | ServerEvent::Accepts => {}
            ServerEvent::Spawned { pid } => self.spawned(generation, pid, actions),
            ServerEvent::Listening(endpoints) => {
                self.listening(generation, endpoints, now, actions);
            }
            ServerEvent::Ready => self.ready(generation, now, actions),
            ServerEvent::Holds(holds) => {
                if let Some(server) = self.fleet.find(generation) {
                    server.holds = Some(holds);
                }
            }
            ServerEvent::Status(status) => {
                let awaited = self.fleet.find(generation).is_some_and(|it| !it.ready);
                let starting = awaited && self.ending.is_none();
                actions.push(Action::Report(Report::ServerStatus { generation, status, starting }));
            }
            ServerEvent::Stopping => self.leaves(generation, actions),
            ServerEvent::Blocked(held) => self.blocked(generation, held, now, actions),
            ServerEvent::Conflict(held) => {
                self.fleet.find(generation).into_iter().for_each(|it| it.wanted.clone_from(&held));
            }
            ServerEvent::SpawnFailed { message } => {
                if let Some((_, role)) = self.fleet.remove(generation) {
                    if role == Role::Current {
                        self.fleet.promote();
                    }
                    actions.push(Action::Report(Report::ServerFailed { generation, message }));
                    self.start_next(now, actions);
                }
            }
            ServerEvent::Superseded => {
                // A later build has been at work on the file. If it was a good one the server comes
                // from there; if not, it is built again.
                let Some((_, role)) = self.fleet.remove(generation) else { return };
                if role == Role::Current {
                    self.fleet.promote();
                }
                if self.ending.is_none() {
                    self.start_next(now, actions);
                    // Who serves meanwhile, if anybody does, is not what was built.
                    let alone = self.fleet.starting.is_none() && self.fleet.next.is_none();
                    let missed = match role {
                        Role::Current => alone && self.fleet.current.is_none(),
                        Role::Starting => alone,
                        Role::Leaving => false,
                    };
                    if self.make == Make::Idle && missed {
                        self.build(now, actions);
                    }
                }
            }
            ServerEvent::WroteNothing => self.loops.not_the_server(),
            ServerEvent::Exited(exit) => self.exited(generation, exit, now, actions),
        }
    }

    fn spawned(&mut self, generation: Generation, pid: u32, actions: &mut Vec<Action>) {
        let Some(server) = self.fleet.find(generation) else { return };
        server.pid = Some(pid);
        let (handover, beside) = (server.handover, server.beside);
        actions.push(Action::Report(Report::ServerSpawned { generation, pid, handover, beside }));
    }

    // ---- taking over ----

    /// A server says that it is ready.
    fn ready(&mut self, generation: Generation, now: Instant, actions: &mut Vec<Action>) {
        let Some(server) = self.fleet.find(generation) else { return };
        if server.ready || server.leaves || server.phase != Phase::Serving {
            return;
        }
        server.ready = true;
        // From now on it is known whether it takes our socket, as soon as it has been looked at.
        server.elsewhere_since = server.elsewhere_since.and(Some(now));
        let after = now.saturating_duration_since(server.started);
        let (inherits, assumed) = (server.handover == Handover::Inherit, server.silent);
        actions.push(Action::Report(Report::ServerReady { generation, after }));
        self.speaks |= inherits;
        self.fallback = None;
        if self.fleet.is_starting(generation) {
            self.take_over(now, actions);
            return;
        }
        if assumed && inherits {
            self.conclude_taken();
        }
        if let Socket::Inherited(_) = self.settings.socket {
            self.show(generation, now, actions);
        }
    }

    /// The new server serves, and the old one is asked to stop.
    pub(super) fn take_over(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(generation) = self.fleet.starting.as_ref().map(|it| it.generation) else { return };
        self.fleet.retire(self.settings.grace, now, actions);
        self.fleet.promote();
        self.show(generation, now, actions);
    }

    /// A server says that it is going to end, asked or not.
    fn leaves(&mut self, generation: Generation, actions: &mut Vec<Action>) {
        let Some(server) = self.fleet.find(generation) else { return };
        let by_itself = server.phase == Phase::Serving && !server.leaves;
        server.leaves = true;
        if by_itself {
            actions.push(Action::Report(Report::ServerLeaving { generation }));
        }
    }

    /// The new server waits for what the old one holds, and would do so for ever.
    fn blocked(
        &mut self,
        generation: Generation,
        held: Vec<Held>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(serving) = self.fleet.serving() else { return };
        let Some(server) = self.fleet.starting.as_mut().filter(|it| it.generation == generation)
        else {
            return;
        };
        if !std::mem::replace(&mut server.wanted, held.clone()).is_empty() {
            return;
        }
        let way_out = match self.settings.swap {
            Swap::Overlap => WayOut::Nothing,
            Swap::Auto | Swap::StopFirst => WayOut::OldOneStopped,
        };
        actions.push(Action::Report(Report::ServerConflict {
            generation,
            serving,
            holds: held.clone(),
            way_out,
        }));
        if way_out == WayOut::OldOneStopped {
            self.conflict = held;
            self.fleet.retire(self.settings.grace, now, actions);
            self.fleet.promote();
        }
    }

    // ---- ends ----

    fn exited(
        &mut self,
        generation: Generation,
        exit: Exit,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some((server, role)) = self.fleet.remove(generation) else { return };
        if role == Role::Starting {
            self.failed_beside(server, exit, now, actions);
            return;
        }
        let by_itself = role == Role::Current && self.ending.is_none();
        let retry = by_itself && self.may_dislike_socket(&server, exit, now);
        // It is the only one now, ready or not.
        if role == Role::Current {
            self.fleet.promote();
        }
        let alone = self.fleet.current.is_none() && self.fleet.next.is_none();
        let in_vain = by_itself && !retry && !server.ready && self.fallback.is_some();
        actions.push(Action::Report(Report::ServerExited {
            generation,
            exit,
            asked: role == Role::Leaving,
            waiting: by_itself && !retry && !in_vain && alone && self.make == Make::Idle,
            serving: None,
        }));
        if retry {
            self.give_up_listener(generation, actions);
            let artifact = server.artifact;
            self.fleet.next = Some(Candidate { generation, artifact, alone: false, again: false });
        } else if in_vain {
            self.refused = Some(server.artifact.identity);
            self.fall_back(generation, actions);
        }
        if self.ending.is_none() {
            self.start_next(now, actions);
        }
    }

    /// A server has ended before it could take over.
    fn failed_beside(
        &mut self,
        server: Server,
        exit: Exit,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Server { generation, artifact, wanted, .. } = server;
        let serving = self.fleet.serving();
        let conflict = !wanted.is_empty() && exit != Exit::Code(0);
        let again = conflict && self.settings.swap == Swap::Auto;
        actions.push(Action::Report(Report::ServerExited {
            generation,
            exit,
            asked: false,
            waiting: self.make == Make::Idle && !again,
            serving,
        }));
        if let Some(serving) = serving
            && conflict
        {
            actions.push(Action::Report(Report::ServerConflict {
                generation,
                serving,
                holds: wanted.clone(),
                way_out: if again { WayOut::StartedAgain } else { WayOut::Nothing },
            }));
        }
        if again {
            if wanted.contains(&Held::SomeAddress) && self.settings.follows {
                // It may be ours, and then it is no better off alone.
                self.offer_again();
            }
            self.conflict = wanted;
            let old = self.fleet.current.as_ref();
            self.fallback = old.map(|server| Candidate {
                generation: server.generation,
                artifact: server.artifact.clone(),
                alone: true,
                again: true,
            });
            self.fleet.next = Some(Candidate { generation, artifact, alone: true, again: false });
            self.start_next(now, actions);
        } else {
            self.refused = Some(artifact.identity);
        }
    }

    /// A server has ended before it was ready. If another one was stopped for it, it was in vain.
    fn fall_back(&mut self, failed: Generation, actions: &mut Vec<Action>) {
        let Some(old) = self.fallback.take() else { return };
        let generation = old.generation;
        // It was something else that kept it from starting.
        self.conflict.clear();
        if self.settings.follows
            && self.settings.socket == Socket::Direct
            && old.artifact.mentions.listen_fds
        {
            // Given up for the new one.
            self.settings.socket = Socket::Unbound;
        }
        self.fleet.next = Some(old);
        actions.push(Action::Report(Report::ServerRestored { generation, failed }));
    }

    /// Whether a server may have ended because our listener holds the address that it wants: it was
    /// offered a socket, showed no sign of taking it, and failed before long.
    fn may_dislike_socket(&self, server: &Server, exit: Exit, now: Instant) -> bool {
        matches!(self.settings.socket, Socket::Offered(_))
            && server.handover == Handover::Inherit
            && matches!(exit, Exit::Code(code) if code != 0)
            && now.saturating_duration_since(server.started) < EARLY
    }
}
