//! The half of the supervisor that decides about servers: when the next one starts, beside the one
//! that serves or after it, and when it takes over. Part of [`State`].

use std::time::{Duration, Instant};

use super::fleet::{Candidate, Phase, Role, SILENT, Server};
use super::work::Work;
use super::{Make, Socket, State};
use crate::event::{
    Action, Artifact, Endpoint, Exit, Generation, Handover, Held, Report, ServerEvent, Swap, WayOut,
};

/// A server that was offered our socket and fails this soon may have failed because of it.
const EARLY: Duration = Duration::from_secs(60);
/// A server that was handed our socket and shows nothing else for this long is said to serve with
/// it.
const ASSUME_TAKEN: Duration = Duration::from_secs(1);
/// A server that is to take our socket and listens elsewhere alone for this long binds for itself.
const BINDS_ITSELF: Duration = Duration::from_secs(3);
/// A server that is not ready after this time is spoken of.
const SLOW_TO_START: Duration = Duration::from_secs(2);

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

    /// The code has changed: what it can do with a socket may be something else now.
    fn follow(&mut self, artifact: &Artifact, actions: &mut Vec<Action>) {
        let mentions = artifact.mentions.listen_fds;
        let before = self.mentioned.replace(mentions);
        if !self.settings.follows {
            return;
        }
        match (&self.settings.socket, before, mentions) {
            (Socket::Direct, None | Some(false), true) => self.settings.socket = Socket::Unbound,
            (Socket::Unbound, _, false) => self.settings.socket = Socket::Direct,
            (Socket::Offered(_) | Socket::Inherited(_), Some(true), false) => {
                // The old server has its own copy, and serves with it until it is gone.
                self.settings.socket = Socket::Direct;
                actions.push(Action::GiveUpListener);
            }
            _ => {}
        }
    }

    /// It is open again whether servers take our socket: one has not come up with it.
    fn offer_again(&mut self) {
        if let Socket::Inherited(ours) = self.settings.socket.clone() {
            self.settings.socket = Socket::Offered(ours);
        }
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
        let beside = old.and_then(|server| server.pid);
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

    /// It was offered our socket, it serves, and it listens on nothing else: it takes ours.
    fn conclude_taken(&mut self) {
        if let Socket::Offered(ours) = self.settings.socket.clone() {
            self.settings.socket = Socket::Inherited(ours);
        }
    }

    /// The new server serves, and the old one is asked to stop.
    fn take_over(&mut self, now: Instant, actions: &mut Vec<Action>) {
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

    // ---- where it listens ----

    /// A server shows where it listens.
    fn listening(
        &mut self,
        generation: Generation,
        endpoints: Vec<Endpoint>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let ours = self.ours().cloned();
        let Some(server) = self.fleet.find(generation) else { return };
        if server.endpoints == endpoints || server.phase != Phase::Serving {
            return;
        }
        server.endpoints = endpoints;
        let inherits = server.handover == Handover::Inherit;
        let takes = ours.as_ref().is_some_and(|ours| server.endpoints.contains(ours));
        server.elsewhere_since = match server.elsewhere_since {
            since if inherits && !takes => since.or(Some(now)),
            _ => None,
        };
        if self.fleet.is_starting(generation) {
            // Who never says when it is ready is so when it accepts.
            if takes && self.settings.swap == Swap::Overlap && !self.speaks {
                self.take_over(now, actions);
            }
            return;
        }
        if takes && inherits {
            self.conclude_taken();
        }
        let awaited = self.fleet.current.as_ref().is_some_and(|server| self.awaits_ready(server));
        if !awaited {
            self.show(generation, now, actions);
        }
    }

    fn ours(&self) -> Option<&Endpoint> {
        match &self.settings.socket {
            Socket::Direct | Socket::Unbound => None,
            Socket::Offered(ours) | Socket::Inherited(ours) => Some(ours),
        }
    }

    fn give_up_listener(&mut self, generation: Generation, actions: &mut Vec<Action>) {
        self.settings.socket = Socket::Direct;
        actions.push(Action::GiveUpListener);
        actions.push(Action::Report(Report::ListenerGivenUp { generation }));
    }

    /// Whether it is to be heard from this server that it is ready.
    fn awaits_ready(&self, server: &Server) -> bool {
        let speaks = self.speaks && server.artifact.mentions.notify_socket;
        let expected = speaks || self.fleet.is_starting(server.generation);
        expected && server.handover == Handover::Inherit && !server.ready && self.ours().is_some()
    }

    /// Says where the server that serves can be reached, unless that was said.
    fn show(&mut self, generation: Generation, now: Instant, actions: &mut Vec<Action>) {
        let inherited = match &self.settings.socket {
            Socket::Inherited(ours) => Some(ours.clone()),
            Socket::Direct | Socket::Unbound | Socket::Offered(_) => None,
        };
        let named_port = self.settings.named_port;
        let Some(server) = self.fleet.current.as_mut().filter(|it| it.generation == generation)
        else {
            return;
        };
        let ours = inherited.filter(|_| server.handover == Handover::Inherit);
        let mut endpoints = server.endpoints.clone();
        endpoints.extend(ours.clone());
        endpoints.sort();
        endpoints.dedup();
        // The one that people ask for, before what the server has beside it.
        endpoints.sort_by_key(|endpoint| Some(endpoint) != ours.as_ref());
        if endpoints.is_empty() || endpoints == server.said {
            return;
        }
        let first = server.said.is_empty();
        server.said.clone_from(&endpoints);
        let after = now.saturating_duration_since(server.started);
        actions.push(Action::Report(Report::ServerListening {
            generation,
            endpoints: endpoints.clone(),
            after,
        }));
        if let Some(expected) = named_port
            && expected != 0
            && first
        {
            if endpoints.iter().any(|endpoint| endpoint.port() == Some(expected)) {
                self.elsewhere.clear();
            } else if self.elsewhere != endpoints {
                // Who has read it once need not read it after every save.
                self.elsewhere.clone_from(&endpoints);
                actions.push(Action::Report(Report::ServerElsewhere {
                    generation,
                    expected,
                    endpoints,
                }));
            }
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

    // ---- time ----

    /// When something is due of a server that lives.
    pub(super) fn serving_deadline(&self) -> Option<Instant> {
        let servers = self.fleet.current.iter().chain(&self.fleet.starting);
        servers
            .flat_map(|server| {
                [
                    self.silence(server),
                    self.slow(server),
                    self.overdue(server),
                    self.binds_itself(server),
                ]
            })
            .flatten()
            .min()
    }

    /// Does what time asks for of the servers that live.
    pub(super) fn serving_due(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let come = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let living: Vec<Generation> =
            self.fleet.starting.iter().chain(&self.fleet.current).map(|it| it.generation).collect();
        for generation in living {
            let find = |state: &Self, at: fn(&Self, &Server) -> Option<Instant>| {
                let mut servers = state.fleet.starting.iter().chain(&state.fleet.current);
                servers.find(|it| it.generation == generation).and_then(|it| at(state, it))
            };
            if come(find(self, Self::binds_itself)) {
                self.goes_its_own_way(generation, now, actions);
            }
            if come(find(self, Self::slow)) {
                self.is_slow(generation, now, actions);
            }
            if come(find(self, Self::overdue)) {
                self.is_overdue(generation, now, actions);
            }
            if come(find(self, Self::silence)) {
                self.is_silent(generation, now, actions);
            }
        }
    }

    /// When something is to be said or assumed of a server that shows no address.
    fn silence(&self, server: &Server) -> Option<Instant> {
        if !server.said.is_empty() || server.silent || self.awaits_ready(server) {
            return None;
        }
        match self.settings.socket {
            Socket::Direct | Socket::Unbound => Some(server.started + SILENT),
            Socket::Offered(_) | Socket::Inherited(_) => Some(server.started + ASSUME_TAKEN),
        }
    }

    fn is_silent(&mut self, generation: Generation, now: Instant, actions: &mut Vec<Action>) {
        let Some(server) = self.fleet.find(generation) else { return };
        server.silent = true;
        let (ready, after) = (server.ready, now.saturating_duration_since(server.started));
        match self.settings.socket.clone() {
            Socket::Direct | Socket::Unbound => {
                actions.push(Action::Report(Report::ServerSilent { generation, after }));
            }
            Socket::Offered(_) if ready => {
                self.conclude_taken();
                self.show(generation, now, actions);
            }
            // Said, not concluded: it may still be on its way to bind for itself.
            Socket::Offered(ours) => {
                let endpoints = vec![ours];
                server.said.clone_from(&endpoints);
                actions.push(Action::Report(Report::ServerListening {
                    generation,
                    endpoints,
                    after,
                }));
            }
            Socket::Inherited(_) => self.show(generation, now, actions),
        }
    }

    /// When a server is to be spoken of that is not ready.
    fn slow(&self, server: &Server) -> Option<Instant> {
        server.slow_at.filter(|_| self.awaits_ready(server))
    }

    fn is_slow(&mut self, generation: Generation, now: Instant, actions: &mut Vec<Action>) {
        let serving = self.fleet.serving().filter(|serving| *serving != generation);
        let Some(server) = self.fleet.find(generation) else { return };
        server.slow_at = None;
        let after = now.saturating_duration_since(server.started);
        actions.push(Action::Report(Report::ServerSlowToStart { generation, after, serving }));
    }

    /// When a server is given up that is not ready.
    fn overdue(&self, server: &Server) -> Option<Instant> {
        self.awaits_ready(server).then(|| server.started + self.settings.ready_timeout)
    }

    fn is_overdue(&mut self, generation: Generation, now: Instant, actions: &mut Vec<Action>) {
        let serving = self.fleet.serving().filter(|serving| *serving != generation);
        let Some(server) = self.fleet.find(generation) else { return };
        let after = now.saturating_duration_since(server.started);
        let identity = server.artifact.identity;
        let elsewhere = server.elsewhere_since.is_some();
        let endpoints = if elsewhere { server.endpoints.clone() } else { Vec::new() };
        if serving.is_none() {
            // There is nothing better, so it stays, and is not waited for any more.
            self.speaks = false;
        }
        actions.push(Action::Report(Report::ServerNotReady {
            generation,
            after,
            serving,
            endpoints,
        }));
        if serving.is_some() {
            self.refused = Some(identity);
            self.fleet.give_up(self.settings.grace, now, actions);
        } else if let Some(server) = self.fleet.find(generation) {
            // Where it listens is said when that shows.
            server.silent = true;
        }
    }

    /// When it is clear that a server binds for itself in place of taking our socket. Its address may
    /// also be one that it has beside ours, and opens first: where the executable can say that it is
    /// ready, that decides.
    fn binds_itself(&self, server: &Server) -> Option<Instant> {
        let since = server.elsewhere_since.filter(|_| self.settings.follows)?;
        let mentions = server.artifact.mentions;
        let speaks = mentions.listen_fds && mentions.notify_socket;
        match self.settings.socket {
            Socket::Direct | Socket::Unbound => None,
            Socket::Offered(_) | Socket::Inherited(_) if speaks && !server.ready => {
                Some(server.started + self.settings.ready_timeout)
            }
            Socket::Offered(_) if !speaks => Some(since),
            Socket::Offered(_) | Socket::Inherited(_) => Some(since + BINDS_ITSELF),
        }
    }

    fn goes_its_own_way(
        &mut self,
        generation: Generation,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        if self.fleet.is_starting(generation) {
            self.fleet.retire(self.settings.grace, now, actions);
            self.fleet.promote();
        }
        if let Some(server) = self.fleet.find(generation) {
            server.elsewhere_since = None;
            server.handover = Handover::Direct;
        }
        self.give_up_listener(generation, actions);
        self.show(generation, now, actions);
    }
}
