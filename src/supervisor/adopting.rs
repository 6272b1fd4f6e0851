//! Servers that bind for themselves and share what they bind: what they have adopted, when the old one
//! leaves new connections to the new one, and when it has them back. Part of [`State`].
//!
//! The new one is *complete* when it has adopted all that the old one has. Then the old one is
//! *retired*, which loses nothing: what comes waits for the new one, which has the same sockets. It
//! takes over when it shows that it accepts. Where it comes to nothing before, the old one resumes.

use std::time::Instant;

use super::fleet::{Candidate, Phase, Server};
use super::patience::MORE_MAY_COME;
use super::{Socket, State};
use crate::event::{Action, Artifact, Endpoint, Generation, Handover, Report, Swap, Unadopted};

impl State {
    // ---- what servers say ----

    /// A server listens on these by way of us.
    pub(super) fn adopted(
        &mut self,
        generation: Generation,
        mut endpoints: Vec<Endpoint>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        endpoints.sort();
        let ours = self.ours().cloned();
        let open = matches!(self.settings.socket, Socket::Offered(_));
        let Some(server) = self.fleet.find(generation) else { return };
        if server.phase != Phase::Serving || server.adopted == endpoints {
            return;
        }
        server.adopted_since = server.adopted_since.or(Some(now)).filter(|_| !endpoints.is_empty());
        server.adopted = endpoints;
        if !server.adopted.is_empty() {
            self.shares = true;
            let takes_ours = ours.as_ref().is_some_and(|ours| server.adopted.contains(ours));
            match server.handover {
                // It has bound the very address that it was offered.
                Handover::Inherit if takes_ours => {
                    self.binds_for_itself(generation, actions);
                    self.give_up_listener(generation, actions);
                }
                // A port for metrics may come before ours is taken; that shows before long.
                Handover::Inherit if open => return,
                Handover::Inherit | Handover::Direct => {}
                Handover::Adopt => self.unadopted = None,
            }
        }
        self.advance(now, actions);
        let awaited = self.fleet.current.as_ref().is_some_and(|server| self.awaits_ready(server));
        if !awaited {
            self.show(generation, now, actions);
        }
    }

    /// A server that was to adopt sockets does not.
    pub(super) fn not_adopted(
        &mut self,
        generation: Generation,
        why: Unadopted,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let starting = self.fleet.is_starting(generation);
        let Some(server) = self.fleet.find(generation) else { return };
        if server.phase != Phase::Serving {
            return;
        }
        server.unadopted = Some(why);
        if server.handover != Handover::Adopt {
            // It matters once it does not take our socket either.
            return;
        }
        let artifact = server.artifact.clone();
        self.binds_for_itself(generation, actions);
        if starting {
            // It cannot have what the old one has.
            self.give_up(now, actions);
            self.start_alone(generation, artifact, now, actions);
        }
    }

    /// A server accepts connections on what it has adopted.
    pub(super) fn accepts(
        &mut self,
        generation: Generation,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(server) = self.fleet.find(generation) else { return };
        server.accepts = true;
        self.advance(now, actions);
    }

    /// A server does not take our socket: it shares what it binds, or says why it does not.
    pub(super) fn binds_for_itself(&mut self, generation: Generation, actions: &mut Vec<Action>) {
        let Some(server) = self.fleet.find(generation) else { return };
        server.elsewhere_since = None;
        server.handover = match server.unadopted {
            None if server.adopts => Handover::Adopt,
            _ => Handover::Direct,
        };
        let why = server.unadopted.take();
        if server.handover == Handover::Adopt {
            self.unadopted = None;
        }
        // Who has read it once need not read it after every save.
        if let Some(why) = why
            && self.unadopted.as_ref() != Some(&why)
        {
            self.unadopted = Some(why.clone());
            actions.push(Action::Report(Report::ServerNotAdopted { generation, why }));
        }
    }

    // ---- side by side ----

    /// Whether the next server may start while the old one serves, since both share what they bind.
    pub(super) fn may_share(&self) -> bool {
        if !self.settings.adopts || self.settings.socket != Socket::Direct {
            return false;
        }
        let shares =
            |server: &Server| server.handover == Handover::Adopt && !server.adopted.is_empty();
        match (&self.fleet.current, self.settings.swap) {
            (_, Swap::StopFirst) => false,
            (Some(server), Swap::Overlap) => shares(server),
            // That it has accepted shows that it can be retired.
            (Some(server), Swap::Auto) => {
                let all = shares(server) && server.shares_all();
                all && server.accepts && !self.in_conflict_with(server)
            }
            // Those that still drain accept no more.
            (None, Swap::Auto | Swap::Overlap) => {
                let mut leaving = self.fleet.leaving.iter();
                self.conflict.is_empty() && leaving.all(|it| it.drains && it.shares_all())
            }
        }
    }

    /// Moves the swap on as far as the new one has come.
    pub(super) fn advance(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let (Some(new), Some(old)) = (&mut self.fleet.starting, &self.fleet.current) else {
            return;
        };
        if new.handover != Handover::Adopt || new.leaves {
            return;
        }
        if !new.complete {
            let Some(since) = new.adopted_since else { return };
            let all = old.adopted.iter().all(|endpoint| new.adopted.contains(endpoint));
            if !all && now < since + MORE_MAY_COME {
                return;
            }
            new.complete = true;
            self.retire(actions);
        }
        let new = self.fleet.starting.as_ref();
        if new.is_some_and(|new| new.accepts && !self.expects_word(new)) {
            self.take_over(now, actions);
        }
    }

    /// When a new server has had its time to adopt what the old one has.
    pub(super) fn settles(&self, server: &Server) -> Option<Instant> {
        let starts = server.handover == Handover::Adopt && self.awaits_ready(server);
        let awaited = starts && !server.complete && !server.leaves;
        server.adopted_since.filter(|_| awaited).map(|since| since + MORE_MAY_COME)
    }

    /// The old server leaves new connections to the new one.
    pub(super) fn retire(&mut self, actions: &mut Vec<Action>) {
        let (Some(new), Some(old)) = (&self.fleet.starting, &mut self.fleet.current) else {
            return;
        };
        let both = new.handover == Handover::Adopt && old.handover == Handover::Adopt;
        if !both || old.retired {
            return;
        }
        old.retired = true;
        let (generation, to) = (old.generation, new.generation);
        actions.push(Action::Retire(generation));
        actions.push(Action::Report(Report::ServerRetired { generation, to }));
    }

    /// The new server has come to nothing: new connections are the old one's again.
    pub(super) fn resume(&mut self, after: Generation, now: Instant, actions: &mut Vec<Action>) {
        let Some(old) = self.fleet.current.as_mut().filter(|old| old.retired) else { return };
        old.retired = false;
        let generation = old.generation;
        actions.push(Action::Resume(generation));
        actions.push(Action::Report(Report::ServerResumed { generation, after }));
        // Where it listens may have changed meanwhile.
        self.show(generation, now, actions);
    }

    /// Starts a server that cannot live beside the old one once that is gone; if it then fails, too,
    /// the old one is started again.
    pub(super) fn start_alone(
        &mut self,
        generation: Generation,
        artifact: Artifact,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        self.fallback = self.fleet.current.as_ref().map(Candidate::restored);
        let (alone, again, inherited) = (true, false, false);
        self.fleet.next = Some(Candidate { generation, artifact, alone, again, inherited });
        self.start_next(now, actions);
    }
}
