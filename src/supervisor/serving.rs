//! The half of the supervisor that decides about servers: when the next one starts, beside the one
//! that serves or after it, and when it takes over. Part of [`State`].

use std::time::{Duration, Instant};

use super::fleet::{Candidate, Phase, Role, Server};
use super::work::Work;
use super::{Make, Socket, State};
use crate::event::{
    Action, Artifact, Exit, Generation, Handover, Held, Report, ServerEvent, Swap, Unoffered,
    WayOut,
};

/// A server that took over from another one because it accepts, and fails this soon after, has failed
/// at its start: some accept in one thread while they still start in another.
const STARTS: Duration = Duration::from_secs(2);
/// A server that was offered our socket and fails this soon may have failed because of it.
const EARLY: Duration = Duration::from_secs(60);

impl State {
    /// A build succeeded: its executable takes over, unless it is what already lives.
    pub(super) fn succeed(
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
        self.give_up(now, actions);
        let (again, inherited) = (false, false);
        self.fleet.next = Some(Candidate { generation, artifact, alone, again, inherited });
        self.fallback = None;
        self.start_next(now, actions);
    }

    /// Starts the server that waits: beside the one that serves, or once nothing is in its way.
    pub(super) fn start_next(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(next) = &self.fleet.next else { return };
        if next.alone || !self.may_overlap(&next.artifact) {
            self.fleet.dismiss(self.settings.grace, now, actions);
            if !self.fleet.leaving.is_empty() {
                return;
            }
        }
        let Some(next) = self.fleet.next.take() else { return };
        let Candidate { generation, artifact, again, .. } = next;
        let handover = match self.settings.socket {
            Socket::Direct if self.settings.adopts => Handover::Adopt,
            Socket::Direct => Handover::Direct,
            Socket::Unbound | Socket::Offered(_) | Socket::Inherited(_) => Handover::Inherit,
        };
        // Where some server has shared an address beside ours, the next one can have that as well.
        let open = self.shares || !matches!(self.settings.socket, Socket::Inherited(_));
        let adopts = self.settings.adopts && open;
        self.marks.served = Some(now);
        let old = self.fleet.current.as_ref();
        let beside = old.and_then(Server::as_neighbour);
        let server = Server {
            handover,
            adopts,
            beside: old.map(|server| server.generation),
            ..Server::new(generation, artifact.clone(), now)
        };
        match old {
            Some(_) => self.fleet.starting = Some(server),
            None => self.fleet.current = Some(server),
        }
        let executable = artifact.executable.clone();
        actions.push(Action::Report(Report::ServerStarting { generation, executable }));
        actions.push(Action::Start { generation, artifact, handover, adopts, beside, again });
    }

    /// Whether the next server may start while the old one serves: both have our socket, and by what
    /// servers have done so far it will say when it is ready. Or both share what they bind.
    fn may_overlap(&self, next: &Artifact) -> bool {
        if !matches!(self.settings.socket, Socket::Inherited(_)) {
            return self.may_share();
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
    pub(super) fn in_conflict_with(&self, server: &Server) -> bool {
        let shared = |held: &Held| matches!(held, Held::Address(it) if server.adopted.contains(it));
        let mut wanted = self.conflict.iter().filter(|wanted| !shared(wanted));
        match &server.holds {
            None => wanted.next().is_some(),
            Some(holds) => {
                wanted.any(|wanted| holds.iter().any(|held| !shared(held) && wanted.may_be(held)))
            }
        }
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
                self.binds_for_itself(generation, actions);
            }
            ServerEvent::NotAdopted(why) => self.not_adopted(generation, why, now, actions),
            ServerEvent::Adopted(endpoints) => self.adopted(generation, endpoints, now, actions),
            ServerEvent::Accepts => self.accepts(generation, now, actions),
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
                    actions.push(Action::Report(Report::ServerFailed { generation, message }));
                    self.came_to_nothing(generation, role, now, actions);
                    self.start_next(now, actions);
                }
            }
            ServerEvent::Superseded => {
                // A later build has been at work on the file. If it was a good one the server comes
                // from there; if not, it is built again.
                let Some((_, role)) = self.fleet.remove(generation) else { return };
                self.came_to_nothing(generation, role, now, actions);
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
        let mentions = server.artifact.mentions.listen_fds;
        let unoffered = match handover {
            Handover::Direct | Handover::Adopt if self.settings.follows && mentions => {
                Some(Unoffered::Untaken)
            }
            Handover::Direct | Handover::Adopt if self.settings.follows => Some(Unoffered::Unable),
            Handover::Direct | Handover::Adopt | Handover::Inherit => None,
        };
        actions.push(Action::Report(Report::ServerSpawned {
            generation,
            pid,
            handover,
            beside,
            unoffered,
        }));
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
        let (handover, assumed) = (server.handover, server.silent);
        actions.push(Action::Report(Report::ServerReady { generation, after }));
        self.speaks |= handover != Handover::Direct;
        self.fallback = None;
        if self.fleet.is_starting(generation) {
            self.take_over(now, actions);
            return;
        }
        if assumed && handover == Handover::Inherit {
            self.conclude_taken();
        }
        if let Socket::Inherited(_) = self.settings.socket {
            self.show(generation, now, actions);
        }
    }

    /// The new server serves, and the old one is asked to stop.
    pub(super) fn take_over(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(generation) = self.fleet.starting.as_ref().map(|it| it.generation) else { return };
        self.retire(actions);
        let new = self.fleet.starting.as_mut();
        if let Some(new) = new.filter(|new| new.handover == Handover::Adopt && !new.ready) {
            new.took_over = Some(now);
            self.fallback = self.fleet.current.as_ref().map(Candidate::restored);
        }
        self.fleet.relieve(self.settings.grace, now, actions);
        self.fleet.promote();
        self.show(generation, now, actions);
    }

    /// A server is gone that has not been asked to stop: the other one of two is the only one now.
    fn came_to_nothing(
        &mut self,
        generation: Generation,
        role: Role,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        match role {
            Role::Current => {
                self.fleet.promote();
                self.show_promoted(now, actions);
            }
            Role::Starting => self.resume(generation, now, actions),
            Role::Leaving => {}
        }
    }

    /// Says where the one can be reached that was to take over and is the only one now, ready or not.
    fn show_promoted(&mut self, now: Instant, actions: &mut Vec<Action>) {
        // One that takes our socket shows itself by its word, or by accepting.
        if let Some(server) = &self.fleet.current
            && server.handover == Handover::Adopt
        {
            self.show(server.generation, now, actions);
        }
    }

    /// The one that was to take over will not, and is asked to stop.
    pub(super) fn give_up(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(generation) = self.fleet.starting.as_ref().map(|it| it.generation) else { return };
        self.resume(generation, now, actions);
        self.fleet.give_up(self.settings.grace, now, actions);
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
            self.fleet.dismiss(self.settings.grace, now, actions);
            self.fleet.promote();
            self.show_promoted(now, actions);
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
        let in_vain = by_itself
            && !retry
            && self.fallback.is_some()
            && (!self.has_served(&server, now) || failed_at_its_start(&server, exit, now));
        actions.push(Action::Report(Report::ServerExited {
            generation,
            exit,
            asked: role == Role::Leaving,
            waiting: by_itself && !retry && !in_vain && alone && self.make == Make::Idle,
            serving: None,
        }));
        if role == Role::Current {
            self.show_promoted(now, actions);
        }
        if retry {
            self.give_up_listener(generation, actions);
            let artifact = server.artifact;
            let (alone, again, inherited) = (false, false, false);
            self.fleet.next = Some(Candidate { generation, artifact, alone, again, inherited });
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
        self.resume(generation, now, actions);
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
            self.start_alone(generation, artifact, now, actions);
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
            && old.inherited
            && old.artifact.mentions.listen_fds
        {
            // Given up for the new one.
            self.settings.socket = Socket::Unbound;
        }
        self.fleet.next = Some(old);
        actions.push(Action::Report(Report::ServerRestored { generation, failed }));
    }

    /// Whether a server that is the only one has come so far that it serves.
    fn has_served(&self, server: &Server, now: Instant) -> bool {
        server.ready
            || match server.handover {
                Handover::Inherit => false,
                Handover::Direct => !server.endpoints.is_empty(),
                // It may accept in ways that we do not see.
                Handover::Adopt => {
                    let long = now.saturating_duration_since(server.started);
                    server.accepts || long >= self.settings.ready_timeout
                }
            }
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

/// Whether a server that has taken over from another one might as well not have.
fn failed_at_its_start(server: &Server, exit: Exit, now: Instant) -> bool {
    let soon = |at| now.saturating_duration_since(at) < STARTS;
    !server.ready && server.took_over.is_some_and(soon) && exit != Exit::Code(0)
}
