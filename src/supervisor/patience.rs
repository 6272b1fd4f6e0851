//! What is waited for of the servers that live, and for how long: the address that shows, the word
//! that one is ready. Part of [`State`].

use std::time::{Duration, Instant};

use super::fleet::{SILENT, Server};
use super::{Socket, State};
use crate::event::{Action, Generation, Handover, Report};

/// A server that was handed our socket and shows nothing else for this long is said to serve with
/// it.
const ASSUME_TAKEN: Duration = Duration::from_secs(1);
/// A server that is to take our socket and listens elsewhere alone for this long binds for itself.
const BINDS_ITSELF: Duration = Duration::from_secs(3);
/// A new server that shares some of the old one's addresses is given this long for the others.
pub(super) const MORE_MAY_COME: Duration = Duration::from_millis(500);
/// A server that is not ready after this time is spoken of.
pub(super) const SLOW_TO_START: Duration = Duration::from_secs(2);

impl State {
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
                    self.settles(server),
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
            if come(find(self, Self::settles)) {
                self.advance(now, actions);
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
        let answers = self.fleet.current.as_ref().filter(|it| !it.retired);
        let serving = answers.map(|it| it.generation).filter(|serving| *serving != generation);
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
        let Some(server) = self.fleet.find(generation).cloned() else { return };
        let adopts = server.handover == Handover::Adopt;
        let word = !adopts || self.expects_word(&server);
        if !word && !server.leaves && !server.addresses().is_empty() {
            // Clients wait for it, and it may accept in ways that we do not see.
            return self.take_over(now, actions);
        }
        let after = now.saturating_duration_since(server.started);
        let identity = server.artifact.identity;
        let elsewhere = server.elsewhere_since.is_some();
        let endpoints = if elsewhere { server.addresses() } else { Vec::new() };
        if serving.is_none() {
            // There is nothing better, so it stays, and is not waited for any more.
            self.speaks = false;
        }
        actions.push(Action::Report(Report::ServerNotReady {
            generation,
            after,
            serving,
            endpoints,
            word,
        }));
        if serving.is_some() {
            self.refused = Some(identity);
            self.give_up(now, actions);
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
            self.fleet.relieve(self.settings.grace, now, actions);
            self.fleet.promote();
        }
        self.binds_for_itself(generation, actions);
        self.give_up_listener(generation, actions);
        self.show(generation, now, actions);
    }
}
