//! Where servers listen, as the supervisor knows it: whether they take our socket, and what is said of
//! their addresses. Part of [`State`].

use std::time::Instant;

use super::fleet::{Phase, Server};
use super::{Socket, State};
use crate::event::{Action, Artifact, Endpoint, Generation, Handover, Report, Swap};

impl State {
    /// The code has changed: what it can do with a socket may be something else now.
    pub(super) fn follow(&mut self, artifact: &Artifact, actions: &mut Vec<Action>) {
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
    pub(super) fn offer_again(&mut self) {
        if let Socket::Inherited(ours) = self.settings.socket.clone() {
            self.settings.socket = Socket::Offered(ours);
        }
    }

    /// It was offered our socket, it serves, and it listens on nothing else: it takes ours.
    pub(super) fn conclude_taken(&mut self) {
        if let Socket::Offered(ours) = self.settings.socket.clone() {
            self.settings.socket = Socket::Inherited(ours);
        }
    }

    /// A server shows where it listens.
    pub(super) fn listening(
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

    pub(super) fn ours(&self) -> Option<&Endpoint> {
        match &self.settings.socket {
            Socket::Direct | Socket::Unbound => None,
            Socket::Offered(ours) | Socket::Inherited(ours) => Some(ours),
        }
    }

    pub(super) fn give_up_listener(&mut self, generation: Generation, actions: &mut Vec<Action>) {
        self.settings.socket = Socket::Direct;
        actions.push(Action::GiveUpListener);
        actions.push(Action::Report(Report::ListenerGivenUp { generation }));
    }

    /// Whether it is to be heard from this server that it is ready.
    pub(super) fn awaits_ready(&self, server: &Server) -> bool {
        let starting = self.fleet.is_starting(server.generation);
        match server.handover {
            Handover::Direct => false,
            // Alone it serves as soon as it listens; beside the old one it also has to accept.
            Handover::Adopt => starting,
            Handover::Inherit => {
                let expected = starting || self.expects_word(server);
                expected && !server.ready && self.ours().is_some()
            }
        }
    }

    /// Whether it will say when it is ready, as those before it did and as far as its code can.
    pub(super) fn expects_word(&self, server: &Server) -> bool {
        self.speaks && server.artifact.mentions.notify_socket
    }

    /// Says where the server that serves can be reached, unless that was said.
    pub(super) fn show(&mut self, generation: Generation, now: Instant, actions: &mut Vec<Action>) {
        let inherited = match &self.settings.socket {
            Socket::Inherited(ours) => Some(ours.clone()),
            Socket::Direct | Socket::Unbound | Socket::Offered(_) => None,
        };
        let named_port = self.settings.named_port;
        let current = self.fleet.current.as_mut();
        let Some(server) = current.filter(|it| it.generation == generation && !it.retired) else {
            return;
        };
        let ours = inherited.filter(|_| server.handover == Handover::Inherit);
        let mut endpoints = server.addresses();
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
}
