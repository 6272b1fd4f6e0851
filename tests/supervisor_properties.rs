//! Whatever happens in whatever order, some things hold: the supervisor is driven through random
//! worlds in which people save, builds end, servers die and stall.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;

use cargo_stario::event::{
    Action, Artifact, BuildEvent, BuildOutcome, Change, ChangeKind, Content, Endpoint, Event, Exit,
    Generation, Handover, Held, Identity, Key, Mentions, Report, ServerEvent, Signal, Stamp, Swap,
};
use cargo_stario::supervisor::{Settings, Socket, State};

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    /// A file is saved; `u8` picks the file. Its report comes at once.
    Save(u8, bool),
    /// Time passes, in milliseconds.
    Wait(u16),
    /// The running build ends, well or not.
    BuildEnds(bool),
    /// The running build cannot read the manifests.
    BuildBreaks,
    /// A server shows where it listens.
    Listens(u8),
    /// A server ends, by itself or because it was asked.
    ServerEnds(u8, bool),
    /// A server says that it is ready.
    Ready(u8),
    /// The newest server says so.
    NewestReady,
    /// The newest server ends before it is ready.
    NewestFails(bool),
    /// A server that was asked to stop ends.
    OldOneEnds,
    /// A server says that it is going to end.
    Leaves(u8),
    /// The newest server waits for what the one before it holds, or wants it and fails.
    Clashes(bool),
    /// The executable is not what the build left.
    Superseded,
    /// The user asks for a restart.
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..4_u8, any::<bool>()).prop_map(|(file, new)| Happening::Save(file, new)),
        4 => (1..3_000_u16).prop_map(Happening::Wait),
        4 => any::<bool>().prop_map(Happening::BuildEnds),
        1 => Just(Happening::BuildBreaks),
        2 => (0..2_u8).prop_map(Happening::Listens),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(which, ok)| Happening::ServerEnds(which, ok)),
        3 => any::<u8>().prop_map(Happening::Ready),
        1 => any::<u8>().prop_map(Happening::Leaves),
        1 => any::<bool>().prop_map(Happening::Clashes),
        1 => Just(Happening::Superseded),
        1 => Just(Happening::Restart),
    ]
}

/// A build as the world sees it.
#[derive(Clone, Copy, Debug)]
struct Running {
    generation: Generation,
    /// What was on disk when it started to read.
    reads: u64,
    cancelled: bool,
}

/// A server as the world sees it.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "what it said and what was asked of it")]
struct Living {
    runs: u64,
    asked: bool,
    terminated: bool,
    killed: bool,
    ready: bool,
    /// It has said that it is going to end, or clashes with another one.
    leaves: bool,
    beside: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "what has happened so far")]
struct World {
    state: State,
    now: Instant,
    ours: Endpoint,
    /// The version on disk: every save of new content is the next one.
    disk: u64,
    /// The version of what a running server reads at its start (templates).
    build: Option<Running>,
    last_good: bool,
    servers: BTreeMap<Generation, Living>,
    newest: Option<Generation>,
    loop_ended: bool,
    exit: Option<u8>,
    quitting: bool,
    /// The supervisor is being told of something for which it may stop a server.
    told: bool,
    /// Old and new may live side by side.
    overlaps: bool,
    /// A new server was said to want what the old one has.
    clashed: bool,
    handover: Option<Handover>,
}

impl World {
    fn new((socket, swap): (Socket, Swap)) -> Self {
        let state = State::new(Settings {
            grace: Duration::from_secs(5),
            debounce: Duration::from_millis(30),
            follows: matches!(socket, Socket::Offered(_)),
            socket,
            swap,
            ready_timeout: Duration::from_secs(30),
            named_port: None,
        });
        let mut world = Self {
            state,
            now: Instant::now(),
            ours: ours(),
            disk: 1,
            build: None,
            last_good: false,
            servers: BTreeMap::new(),
            newest: None,
            loop_ended: false,
            exit: None,
            quitting: false,
            told: false,
            overlaps: swap != Swap::StopFirst,
            clashed: false,
            handover: None,
        };
        let begun = world.state.begin(world.now);
        world.perform(begun);
        world
    }

    fn step(&mut self, event: Event) {
        let actions = self.state.step(event, self.now);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            assert_eq!(self.exit, None, "{action:?} after the end");
            match action {
                Action::Build(order) => {
                    assert!(self.build.is_none(), "two builds at once");
                    assert!(!self.quitting, "a build while quitting");
                    let generation = order.generation;
                    self.build = Some(Running { generation, reads: self.disk, cancelled: false });
                }
                Action::CancelBuild(generation) => {
                    let build = self.build.as_mut().expect("only a running build is cancelled");
                    assert_eq!(build.generation, generation);
                    assert!(!build.cancelled, "cancelled twice");
                    build.cancelled = true;
                }
                Action::Start { generation, artifact, handover, .. } => {
                    let staying = self.servers.values().filter(|it| !it.asked).count();
                    let may_stay = usize::from(self.overlaps && handover == Handover::Inherit);
                    assert!(
                        staying <= may_stay && (may_stay == 1 || self.servers.is_empty()),
                        "{generation} starts beside {:?}",
                        self.servers
                    );
                    assert!(!self.quitting, "a start while quitting");
                    let runs = u64::try_from(artifact.identity.0).expect("a version");
                    let beside = staying == 1;
                    self.servers.insert(generation, Living { runs, beside, ..Living::default() });
                    self.newest = Some(generation);
                    self.handover = Some(handover);
                }
                Action::Terminate(generation) => {
                    let server = self.servers.get_mut(&generation).expect("a living server");
                    assert!(!server.terminated, "asked twice");
                    server.terminated = true;
                    assert!(!server.leaves, "asked although it says that it is leaving");
                    let late = server.beside && !server.ready;
                    assert!(
                        self.last_good || self.quitting || self.told || late,
                        "a failed build stopped a healthy server"
                    );
                }
                Action::Kill(generation) => {
                    self.servers.get_mut(&generation).expect("a living server").killed = true;
                }
                Action::Report(Report::LoopEnded { .. }) => self.loop_ended = true,
                Action::Report(Report::ServerStopping { generation, .. }) => {
                    self.servers.get_mut(&generation).expect("a living server").asked = true;
                }
                Action::Report(Report::ServerConflict { .. }) => self.clashed = true,
                Action::GiveUpListener | Action::Report(_) => {}
                Action::Exit(code) => {
                    assert!(self.build.is_none() && self.servers.is_empty(), "something is left");
                    self.exit = Some(code);
                }
            }
        }
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Save(file, new) => self.save(file, new),
            Happening::Wait(milliseconds) => self.wait(Duration::from_millis(milliseconds.into())),
            Happening::BuildEnds(ok) => self.end_build(ok),
            Happening::BuildBreaks => {
                let outcome = BuildOutcome::Broken { message: "no".into(), help: Vec::new() };
                self.finish(outcome, false);
            }
            Happening::Listens(which) => {
                let Some(generation) = self.newest else { return };
                let theirs = Endpoint::Tcp("127.0.0.1:3000".parse().expect("an address"));
                let inherits = self.handover == Some(Handover::Inherit);
                let at = if which == 0 && inherits { self.ours.clone() } else { theirs };
                self.step(Event::Server(generation, ServerEvent::Listening(vec![at])));
            }
            Happening::ServerEnds(which, ok) => {
                let count = self.servers.len().max(1);
                let Some((&generation, _)) = self.servers.iter().nth(usize::from(which) % count)
                else {
                    return;
                };
                self.servers.remove(&generation);
                let exit = if ok { Exit::Code(0) } else { Exit::Code(1) };
                self.step(Event::Server(generation, ServerEvent::Exited(exit)));
            }
            Happening::Ready(which) => self.tell(which, ServerEvent::Ready),
            Happening::NewestReady => {
                if let Some(which) = self.servers.len().checked_sub(1) {
                    self.tell(u8::try_from(which).expect("few servers"), ServerEvent::Ready);
                }
            }
            Happening::NewestFails(ok) => {
                let newest = self.servers.iter().next_back();
                let Some((&generation, _)) = newest.filter(|(_, it)| !it.ready) else { return };
                self.servers.remove(&generation);
                let exit = if ok { Exit::Code(0) } else { Exit::Code(101) };
                self.step(Event::Server(generation, ServerEvent::Exited(exit)));
            }
            Happening::OldOneEnds => {
                let old = self.servers.iter().find(|(_, it)| it.asked);
                let Some((&generation, _)) = old else { return };
                self.servers.remove(&generation);
                self.step(Event::Server(generation, ServerEvent::Exited(Exit::Code(0))));
            }
            Happening::Leaves(which) => self.tell(which, ServerEvent::Stopping),
            Happening::Clashes(waits) => {
                let held = vec![Held::SomeAddress];
                let Some(generation) = self.newest.filter(|it| self.servers.contains_key(it))
                else {
                    return;
                };
                if waits {
                    self.told = true;
                    self.step(Event::Server(generation, ServerEvent::Blocked(held)));
                    self.told = false;
                } else {
                    self.servers.remove(&generation);
                    self.step(Event::Server(generation, ServerEvent::Conflict(held)));
                    self.told = true;
                    self.step(Event::Server(generation, ServerEvent::Exited(Exit::Code(1))));
                    self.told = false;
                }
            }
            Happening::Superseded => {
                let Some(generation) = self.newest.filter(|it| {
                    self.servers.get(it).is_some_and(|server| !server.asked && !server.killed)
                }) else {
                    return;
                };
                self.servers.remove(&generation);
                self.step(Event::Server(generation, ServerEvent::Superseded));
            }
            Happening::Restart => self.step(Event::Key(Key::Restart)),
        }
    }

    /// One of the servers says something of itself.
    fn tell(&mut self, which: u8, event: ServerEvent) {
        let count = self.servers.len().max(1);
        let Some((&generation, server)) = self.servers.iter_mut().nth(usize::from(which) % count)
        else {
            return;
        };
        if event == ServerEvent::Ready {
            server.ready |= !server.leaves;
        } else {
            server.leaves = true;
        }
        self.told = true;
        self.step(Event::Server(generation, event));
        self.told = false;
    }

    fn save(&mut self, file: u8, new: bool) {
        // Only a file that the executable is made from has a version.
        let (path, kind) = [
            ("src/main.rs", ChangeKind::Source),
            ("src/lib.rs", ChangeKind::Source),
            ("Cargo.toml", ChangeKind::Manifest),
            ("templates/index.html", ChangeKind::Asset),
        ][usize::from(file)];
        let content = if new { Content::New } else { Content::Same };
        if new {
            self.disk += 1;
        }
        self.step(Event::Changed(vec![Change {
            path: PathBuf::from(path),
            kind,
            content,
            age: None,
        }]));
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.state.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let before = self.state.deadline();
            self.step(Event::Tick);
            assert_ne!(before, self.state.deadline(), "time stands still");
        }
        self.now = until;
        // A killed process ends, whatever it wants.
        let killed: Vec<_> =
            self.servers.iter().filter(|(_, server)| server.killed).map(|(it, _)| *it).collect();
        for generation in killed {
            self.servers.remove(&generation);
            self.step(Event::Server(generation, ServerEvent::Exited(Exit::Signal(9))));
        }
    }

    fn end_build(&mut self, ok: bool) {
        let Some(build) = self.build else { return };
        let artifact = Artifact {
            executable: "target/debug/app".into(),
            identity: Identity(build.reads.into()),
            stamp: Stamp { inode: 0, modified: std::time::SystemTime::UNIX_EPOCH, length: 0 },
            mentions: Mentions { listen_fds: true, notify_socket: true },
            fresh: false,
            env: Vec::new(),
            library_paths: Vec::new(),
        };
        let outcome = match (build.cancelled, ok) {
            (true, true) => BuildOutcome::Cancelled,
            (_, true) => BuildOutcome::Succeeded(artifact),
            (_, false) => BuildOutcome::Failed(Exit::Code(101)),
        };
        self.finish(outcome, ok && !build.cancelled);
    }

    fn finish(&mut self, outcome: BuildOutcome, good: bool) {
        let Some(build) = self.build.take() else { return };
        // From here on what happens follows from this build (a cancelled one changes nothing).
        if !build.cancelled {
            self.last_good = good;
        }
        self.step(Event::Build(build.generation, BuildEvent::Finished(outcome)));
    }

    /// Nobody does anything any more, and every build succeeds.
    fn settle(&mut self) {
        for _ in 0..60 {
            self.end_build(true);
            self.wait(Duration::from_millis(500));
            if let Some(which) = self.servers.len().checked_sub(1) {
                // The newest one.
                self.tell(u8::try_from(which).expect("few servers"), ServerEvent::Ready);
            }
            for (generation, _) in self.servers.clone().iter().filter(|(_, server)| server.asked) {
                self.servers.remove(generation);
                self.step(Event::Server(*generation, ServerEvent::Exited(Exit::Signal(15))));
            }
        }
    }
}

impl World {
    /// What runs is what is on disk. Where a loop was seen, right or wrong, nothing is promised.
    fn check_what_runs(&self, story: &[Happening]) {
        if !self.loop_ended {
            let runs: Vec<_> = self.servers.values().map(|server| server.runs).collect();
            assert_eq!(runs, [self.disk], "{story:?}");
        }
    }
}

fn ours() -> Endpoint {
    Endpoint::Tcp("127.0.0.1:8000".parse().expect("an address"))
}

fn sockets() -> impl Strategy<Value = (Socket, Swap)> {
    let sockets = prop_oneof![
        Just(Socket::Direct),
        Just(Socket::Offered(ours())),
        Just(Socket::Inherited(ours()))
    ];
    (
        sockets,
        prop_oneof![4 => Just(Swap::Auto), 1 => Just(Swap::Overlap), 1 => Just(Swap::StopFirst)],
    )
}

proptest! {
    #![proptest_config(Config { cases: 1_000, ..Config::default() })]

    /// Never two builds at once, never two servers, no healthy server stopped for a failed build
    /// (all checked in `perform`), and when all is quiet, what runs is what is on disk.
    #[test]
    fn when_all_is_quiet_what_runs_is_what_is_on_disk(
        socket in sockets(),
        story in proptest::collection::vec(happening(), 0..80),
    ) {
        let mut world = World::new(socket);
        for happening in &story {
            world.happen(happening);
        }
        world.settle();
        // The last edit: it wants a build whatever failed before, and it must be what runs.
        world.wait(Duration::from_secs(60));
        world.save(0, true);
        world.settle();
        world.check_what_runs(&story);
    }

    /// The same when the edits stop in the middle of anything: nothing saved is missed.
    #[test]
    fn no_change_is_lost(
        socket in sockets(),
        story in proptest::collection::vec(happening(), 0..60),
    ) {
        let mut world = World::new(socket);
        for happening in &story {
            world.happen(happening);
        }
        // If the last build that ended failed, or a server died by itself, the next change is
        // waited for: then nothing is promised. Else the last save must come through.
        world.save(0, true);
        world.settle();
        world.check_what_runs(&story);
    }

    /// Whatever is going on, quitting ends: also with a server that never stops by itself.
    #[test]
    fn quit_always_ends(
        socket in sockets(),
        before in proptest::collection::vec(happening(), 0..40),
        after in proptest::collection::vec(happening(), 0..20),
        twice in any::<bool>(),
    ) {
        let mut world = World::new(socket);
        for happening in &before {
            world.happen(happening);
        }
        world.quitting = true;
        world.step(Event::Signal(Signal::Terminate));
        if twice && world.exit.is_none() {
            world.step(Event::Signal(Signal::Terminate));
        }
        for happening in &after {
            if world.exit.is_none() {
                world.happen(happening);
            }
        }
        if world.exit.is_none() {
            world.end_build(true);
        }
        if world.exit.is_none() {
            world.wait(Duration::from_secs(6));
        }
        assert_eq!(world.exit, Some(143));
    }

    /// Servers that take the socket and say when they are ready: from the first on there is always
    /// one that is ready and was not asked to stop, however fast the saves come and however long the
    /// new ones take, fail, or stay behind.
    #[test]
    fn with_ready_servers_there_is_always_one(
        insists in any::<bool>(),
        story in proptest::collection::vec(calm_happening(), 0..80),
    ) {
        let socket = if insists { Socket::Inherited(ours()) } else { Socket::Offered(ours()) };
        let mut world = World::new((socket, Swap::Auto));
        world.end_build(true);
        world.happen(&Happening::Listens(0));
        world.happen(&Happening::Ready(0));
        for happening in &story {
            world.happen(happening);
            let serving = world.servers.values().any(|it| it.ready && !it.asked);
            assert!(serving, "{happening:?} left {:?}", world.servers);
        }
        assert!(!world.clashed);
        world.settle();
        world.wait(Duration::from_secs(60));
        world.save(0, true);
        world.settle();
        world.check_what_runs(&story);
    }
}

/// What happens where no server that serves ends by itself.
fn calm_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..4_u8, any::<bool>()).prop_map(|(file, new)| Happening::Save(file, new)),
        4 => (1..9_000_u16).prop_map(Happening::Wait),
        4 => any::<bool>().prop_map(Happening::BuildEnds),
        1 => Just(Happening::BuildBreaks),
        3 => Just(Happening::NewestReady),
        2 => any::<bool>().prop_map(Happening::NewestFails),
        2 => Just(Happening::OldOneEnds),
    ]
}
