//! Decides: an event and the time come in, actions go out. No I/O, no clock, no printing, so that
//! every order of events can be tried in a test.
//!
//! Two halves move apart from each other: what is being **made** (`Make`) and what **lives**
//! (`Fleet`). They meet where a build ends: its executable replaces the living server's, or is the
//! same and leaves it alone.

mod address;
mod adopting;
mod fleet;
mod loops;
mod patience;
mod serving;
mod work;

use std::time::{Duration, Instant};

use self::fleet::{Candidate, Fleet};
use self::loops::{Advice, LoopGuard, Writer};
use self::work::Work;
use crate::event::{
    Action, BuildEvent, BuildOrder, BuildOutcome, Change, ChangeKind, Content, Endpoint, Event,
    Exit, Generation, Held, Identity, Key, Report, Signal, Swap, Unadopted,
};

/// Builds that may be cancelled in a row. The next one is left to finish, so that somebody who
/// saves without pause still gets to see something.
pub const CANCELLATIONS: u32 = 3;
/// A file that is written this soon after the server's start may have been written by it.
const START_WINDOW: Duration = Duration::from_secs(2);
/// What the supervisor has to know of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a server may take to stop.
    pub grace: Duration,
    /// The quiet time after which changes are reported: a write that is reported this long after a
    /// build may have happened during it.
    pub debounce: Duration,
    /// How servers get their socket at first.
    pub socket: Socket,
    /// What servers do may change that.
    pub follows: bool,
    /// What servers bind for themselves is shared with the next one.
    pub adopts: bool,
    /// How the new server takes over from the old one.
    pub swap: Swap,
    /// How long a server may take to say that it is ready while the old one serves.
    pub ready_timeout: Duration,
    /// The port, when the user named one.
    pub named_port: Option<u16>,
}

/// How servers get their socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Socket {
    /// They bind for themselves.
    Direct,
    /// They are offered ours, which is bound when the next one starts.
    Unbound,
    /// They are offered ours, which listens here, since the dependency graph says that they take
    /// one; what they do decides.
    Offered(Endpoint),
    /// They take ours, which listens here.
    Inherited(Endpoint),
}

/// What is being made.
#[derive(Clone, Debug, PartialEq)]
enum Make {
    /// Nothing.
    Idle,
    /// A build runs and answers `work`. `asking`: cargo is still asked for the workspace, and reads
    /// the lock file once more when that is done. `kept`: changes no longer cancel it.
    Building { generation: Generation, since: Instant, work: Work, asking: bool, kept: bool },
    /// A build was cancelled, and its end is awaited.
    Cancelling { generation: Generation, since: Instant },
    /// A round is held back until then, to see who writes. See [`loops`].
    Held { until: Instant },
}

/// The last build's and server's marks, by which a write is seen to fall into a round.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    started: Option<Instant>,
    finished: Option<Instant>,
    served: Option<Instant>,
    /// The last server's executable is another than that of the server before.
    renewed: bool,
}

/// Everything that is remembered between two events.
#[derive(Clone, Debug)]
pub struct State {
    settings: Settings,
    last: Generation,
    make: Make,
    /// Changes that no build answers yet.
    pending: Work,
    /// They want a build (those left over from a failed one do not).
    wanted: bool,
    cancelled: u32,
    fleet: Fleet,
    /// Whether the server that was started last may take a socket, by its executable.
    mentioned: Option<bool>,
    /// Servers that have our socket, or share theirs, have said when they were ready.
    speaks: bool,
    /// Some server has shared an address. What it was stays with us, for the next one.
    shares: bool,
    /// Why servers share nothing, as it was said last.
    unadopted: Option<Unadopted>,
    /// What a server could not have, and ended or waited for, while the one before it lived.
    conflict: Vec<Held>,
    /// The server that was stopped for another one, should that fail before it serves, or at once.
    fallback: Option<Candidate>,
    /// The executable that ended, or was not ready in time, beside the server that goes on.
    refused: Option<Identity>,
    loops: LoopGuard,
    marks: Marks,
    /// Where the server listens in place of the port that the user named, as it was said last.
    elsewhere: Vec<Endpoint>,
    /// The exit code, once the tool is ending.
    ending: Option<u8>,
}

impl State {
    /// Nothing is made and nothing lives. The first build comes with [`State::begin`].
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            mentioned: None,
            speaks: false,
            shares: false,
            unadopted: None,
            conflict: Vec::new(),
            fallback: None,
            refused: None,
            last: Generation::default(),
            make: Make::Idle,
            pending: Work::default(),
            wanted: false,
            cancelled: 0,
            fleet: Fleet::default(),
            loops: LoopGuard::default(),
            marks: Marks::default(),
            elsewhere: Vec::new(),
            ending: None,
        }
    }

    /// The first build.
    pub fn begin(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.build(now, &mut actions);
        actions
    }

    /// When [`Event::Tick`] is wanted at the latest, whatever else happens.
    pub fn deadline(&self) -> Option<Instant> {
        let held = match self.make {
            Make::Held { until } => Some(until),
            _ => None,
        };
        [held, self.serving_deadline(), self.fleet.deadline()].into_iter().flatten().min()
    }

    /// Takes one event and says what is to be done, in this order.
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Changed(changes) => self.changed(&changes, now, &mut actions),
            Event::Outdated => self.outdated(now, &mut actions),
            Event::Notice(notice) => actions.push(Action::Report(Report::Notice(notice))),
            Event::Build(generation, event) => self.made(generation, event, now, &mut actions),
            Event::Server(generation, event) => self.served(generation, event, now, &mut actions),
            Event::Signal(signal) => self.quit(Some(signal), now, &mut actions),
            Event::Key(Key::Quit) => self.quit(None, now, &mut actions),
            Event::Key(Key::Restart) => self.restart(now, &mut actions),
            Event::Key(Key::Help) => actions.push(Action::Report(Report::Keys)),
            Event::Tick => {}
        }
        self.due(now, &mut actions);
        self.end_if_done(&mut actions);
        actions
    }

    // ---- changes ----

    fn changed(&mut self, changes: &[Change], now: Instant, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        let inside = self.window().is_some_and(|over| now <= over) && !self.is_edit(changes, now);
        let changes: Vec<_> = changes
            .iter()
            .filter(|change| self.counts(change, now))
            .filter(|change| !(inside && self.loops.is_muted(&change.path)))
            .collect();
        if changes.is_empty() {
            return;
        }
        if inside {
            let mark = self.marks.served.max(self.marks.started).unwrap_or(now);
            let writer = match self.make {
                Make::Building { .. } | Make::Cancelling { .. } => Writer::Build,
                Make::Idle | Make::Held { .. } => Writer::Server,
            };
            let paths = changes.iter().map(|change| change.path.clone());
            self.loops.inside(paths, writer, now.saturating_duration_since(mark));
        } else {
            self.loops.edited(changes.iter().map(|change| change.path.as_path()));
        }
        for change in &changes {
            self.pending.add(change);
        }
        self.wanted = true;
        // A folder that is gone may be of several kinds.
        let mut paths: Vec<_> = changes.iter().map(|change| change.path.clone()).collect();
        paths.dedup();
        actions.push(Action::Report(Report::Changed { paths }));
        let expected = changes.iter().all(|change| self.loops.is_expected(&change.path));
        self.supersede(expected, inside, now, actions);
    }

    /// As a manifest that has changed, only that nobody has saved one.
    fn outdated(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.ending.is_none() {
            self.pending.resolve = true;
            self.wanted = true;
            self.supersede(false, false, now, actions);
        }
    }

    /// Whether a change is one: during a build every write counts, else the content decides.
    fn counts(&self, change: &Change, now: Instant) -> bool {
        if change.kind == ChangeKind::Lock {
            // Cargo writes the lock file itself when it is asked after a change of a manifest, and
            // while it builds; the compiler never reads it.
            let asking = matches!(self.make, Make::Building { asking: true, .. });
            return change.content == Content::New && !asking;
        }
        if change.content == Content::New {
            return true;
        }
        match self.make {
            Make::Building { .. } | Make::Cancelling { .. } => true,
            Make::Idle | Make::Held { .. } => {
                self.marks.finished.is_some_and(|at| now <= at + self.lag())
            }
        }
    }

    /// How long after a write its report may come: the quiet time, twice where a file is written in
    /// two steps; a second where much is written at once; and some for a busy machine.
    fn lag(&self) -> Duration {
        self.settings.debounce * 2 + Duration::from_millis(1_200)
    }

    /// Whether these changes are somebody's who saves again on seeing what came of the last save (a
    /// script that measures, an assistant). Each round is then written into, like by a build script
    /// or a server that writes. But a build has written before it ended; a server writes only where
    /// one was started, and it writes data, which leaves the executable as it is.
    fn is_edit(&self, changes: &[Change], now: Instant) -> bool {
        let idle = matches!(self.make, Make::Idle | Make::Held { .. });
        let Some(finished) = self.marks.finished.filter(|_| idle) else { return false };
        let written =
            |change: &Change| now.checked_sub(change.age.unwrap_or(self.settings.debounce));
        let built_before = changes.iter().all(|it| written(it).is_some_and(|at| finished < at));
        let is_source = changes.iter().all(|it| it.kind == ChangeKind::Source);
        let started = self.marks.started < self.marks.served;
        built_before && (!started || (is_source && self.marks.renewed))
    }

    /// Until when a write may be the round's own doing. `None` before the first round.
    fn window(&self) -> Option<Instant> {
        let built = match self.make {
            // While a build runs the window has no end yet: any time to come lies inside.
            Make::Building { since, .. } | Make::Cancelling { since, .. } => {
                Some(since + Duration::from_secs(365 * 24 * 3600))
            }
            Make::Idle | Make::Held { .. } => self.marks.finished.map(|at| at + self.lag()),
        };
        built.max(self.marks.served.map(|at| at + START_WINDOW))
    }

    /// New work has come: what is being made gives way to it, or not.
    fn supersede(&mut self, expected: bool, inside: bool, now: Instant, actions: &mut Vec<Action>) {
        match &mut self.make {
            Make::Idle => self.build(now, actions),
            // Inside the window nothing can be told; outside it a person is at work.
            Make::Held { .. } if inside => {}
            Make::Held { .. } => {
                self.make = Make::Idle;
                self.build(now, actions);
            }
            Make::Cancelling { .. } | Make::Building { kept: true, .. } => {}
            Make::Building { .. } if expected => {}
            Make::Building { generation, kept, .. } if self.cancelled >= CANCELLATIONS => {
                *kept = true;
                actions.push(Action::Report(Report::BuildKept {
                    generation: *generation,
                    cancelled: self.cancelled,
                }));
            }
            Make::Building { .. } => {
                self.cancelled += 1;
                self.cancel(actions);
            }
        }
    }

    fn restart(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        match &mut self.make {
            Make::Building { work, .. } => work.restart = true,
            Make::Cancelling { .. } => self.pending.restart = true,
            Make::Idle | Make::Held { .. } => {
                self.pending.restart = true;
                self.loops = LoopGuard::default();
                self.make = Make::Idle;
                self.build(now, actions);
            }
        }
    }

    // ---- making ----

    /// Starts a build of all that is pending, unless it would be one of an endless row.
    fn build(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let took = match (self.marks.started, self.marks.finished) {
            (Some(start), Some(finish)) => finish.saturating_duration_since(start),
            _ => Duration::ZERO,
        };
        let over = self.window().unwrap_or(now).max(now);
        match self.loops.advise(over, took) {
            Advice::Go => {}
            Advice::Hold(until) => {
                self.make = Make::Held { until };
                return;
            }
            Advice::Ended(paths) => {
                // Once more all the same: if it was somebody's save, it is not lost.
                let paths = paths.into_iter().collect();
                actions.push(Action::Report(Report::LoopEnded { paths }));
            }
        }
        self.last = self.last.next();
        self.wanted = false;
        self.marks.started = Some(now);
        let work = std::mem::take(&mut self.pending);
        actions.push(Action::Report(Report::BuildStarted { generation: self.last }));
        actions.push(Action::Build(BuildOrder {
            generation: self.last,
            resolve: work.resolve,
            changed: work.changed.iter().cloned().collect(),
        }));
        let asking = work.resolve;
        self.make = Make::Building { generation: self.last, since: now, work, asking, kept: false };
    }

    /// Ends the build; what it was to answer is pending again.
    fn cancel(&mut self, actions: &mut Vec<Action>) {
        let make = std::mem::replace(&mut self.make, Make::Idle);
        let Make::Building { generation, since, work, .. } = make else {
            self.make = make;
            return;
        };
        self.pending.merge(work);
        self.make = Make::Cancelling { generation, since };
        actions.push(Action::CancelBuild(generation));
    }

    fn made(
        &mut self,
        generation: Generation,
        event: BuildEvent,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let (current, since) = match self.make {
            Make::Building { generation, since, .. } => (generation, since),
            Make::Cancelling { generation, since } => {
                if let BuildEvent::Resolved { restart, .. } = event {
                    // It is in force, and will not be said again.
                    self.pending.restart |= restart;
                }
                // What else a cancelled build still says is of no use; that it ended is.
                if !matches!(event, BuildEvent::Finished(_)) {
                    return;
                }
                (generation, since)
            }
            Make::Idle | Make::Held { .. } => return,
        };
        if current != generation {
            return;
        }
        match event {
            BuildEvent::Resolved { changed, restart } => {
                if let Make::Building { work, .. } = &mut self.make {
                    work.restart |= restart;
                }
                if changed {
                    actions.push(Action::Report(Report::Resolved { generation }));
                }
            }
            BuildEvent::Spawned { pid } => {
                if let Make::Building { asking, .. } = &mut self.make {
                    *asking = false;
                }
                actions.push(Action::Report(Report::BuildSpawned { generation, pid }));
            }
            BuildEvent::Diagnostic(diagnostic) => {
                actions.push(Action::Report(Report::Diagnostic { generation, diagnostic }));
            }
            BuildEvent::Finished(outcome) => {
                let elapsed = now.saturating_duration_since(since);
                self.finished(generation, outcome, elapsed, now, actions);
            }
        }
    }

    fn finished(
        &mut self,
        generation: Generation,
        outcome: BuildOutcome,
        elapsed: Duration,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        self.marks.finished = Some(now);
        let make = std::mem::replace(&mut self.make, Make::Idle);
        let Make::Building { work, .. } = make else {
            // Cancelled; whatever it came to, it no longer counts.
            actions.push(Action::Report(Report::BuildCancelled { generation, elapsed }));
            if self.wanted && self.ending.is_none() {
                self.build(now, actions);
            }
            return;
        };
        match outcome {
            BuildOutcome::Succeeded(artifact) => {
                self.cancelled = 0;
                let fresh = artifact.fresh;
                actions.push(Action::Report(Report::BuildSucceeded { generation, elapsed, fresh }));
                self.succeed(generation, artifact, &work, now, actions);
            }
            BuildOutcome::Failed(exit) => {
                self.cancelled = 0;
                let resolved = Work { resolve: false, ..work };
                self.pending.merge(resolved);
                self.failed(generation, elapsed, Some(exit), None, Vec::new(), actions);
            }
            BuildOutcome::Broken { message, help } => {
                self.cancelled = 0;
                self.pending.merge(work);
                self.failed(generation, elapsed, None, Some(message), help, actions);
            }
            BuildOutcome::Cancelled => {
                // Nobody here asked for it (somebody else killed cargo): what it was to answer
                // waits for the next change.
                self.pending.merge(work);
                actions.push(Action::Report(Report::BuildCancelled { generation, elapsed }));
            }
        }
        if self.wanted {
            self.build(now, actions);
        }
    }

    fn failed(
        &self,
        generation: Generation,
        elapsed: Duration,
        exit: Option<Exit>,
        message: Option<String>,
        help: Vec<String>,
        actions: &mut Vec<Action>,
    ) {
        let serving = self.fleet.serving();
        actions.push(Action::Report(Report::BuildFailed {
            generation,
            elapsed,
            exit,
            message,
            help,
            serving,
        }));
    }

    // ---- time and the end ----

    fn due(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.fleet.due(self.settings.grace, now, actions);
        if let Make::Held { until } = self.make
            && until <= now
        {
            self.make = Make::Idle;
            self.build(now, actions);
        }
        self.serving_due(now, actions);
    }

    /// Stops everything; asked a second time, at once.
    fn quit(&mut self, signal: Option<Signal>, now: Instant, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            self.fleet.kill_all(actions);
            return;
        }
        self.ending = Some(signal.map_or(0, Signal::exit_code));
        actions.push(Action::Report(Report::Stopping { signal }));
        self.wanted = false;
        self.fleet.next = None;
        if matches!(self.make, Make::Held { .. }) {
            self.make = Make::Idle;
        }
        self.cancel(actions);
        self.fleet.stop_all(self.settings.grace, now, actions);
    }

    fn end_if_done(&self, actions: &mut Vec<Action>) {
        if let Some(code) = self.ending
            && self.make == Make::Idle
            && self.fleet.is_empty()
        {
            actions.push(Action::Exit(code));
        }
    }
}
