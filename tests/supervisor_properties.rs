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
    Unadopted,
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
    /// A server that is to share what it binds listens on so many addresses.
    Adopts(u8, u8),
    /// The newest server does so.
    NewestAdopts(u8),
    /// A server that is to share what it binds does not.
    SharesNothing(u8),
    /// A server accepts on what it shares.
    Accepts(u8),
    /// The newest server does so.
    NewestAccepts,
    /// A server says that it is going to end.
    Leaves(u8),
    /// The newest server waits for what the one before it holds, or wants it and fails.
    Clashes(bool),
    /// The executable is not what the build left.
    Superseded,
    /// The user asks for a restart.
    Restart,
    Outdated,
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
        3 => (any::<u8>(), 0..3_u8).prop_map(|(which, many)| Happening::Adopts(which, many)),
        2 => (0..3_u8).prop_map(Happening::NewestAdopts),
        1 => any::<u8>().prop_map(Happening::SharesNothing),
        3 => any::<u8>().prop_map(Happening::Accepts),
        2 => Just(Happening::NewestAccepts),
        1 => any::<bool>().prop_map(Happening::Clashes),
        1 => Just(Happening::Superseded),
        1 => Just(Happening::Restart),
        1 => Just(Happening::Outdated),
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
    /// It listens somewhere, shared or not.
    listens: bool,
    /// It was given what it takes to share what it binds.
    equipped: bool,
    /// It shares so many addresses.
    adopted: u8,
    accepts: bool,
    retired: bool,
    drained: bool,
    /// It was said to serve.
    shown: bool,
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
    fn new(servers: (Socket, Swap, bool)) -> Self {
        Self::patient(servers, Duration::from_secs(30))
    }

    /// One that waits so long for the new server.
    fn patient((socket, swap, adopts): (Socket, Swap, bool), ready_timeout: Duration) -> Self {
        let state = State::new(Settings {
            grace: Duration::from_secs(5),
            debounce: Duration::from_millis(30),
            follows: matches!(socket, Socket::Offered(_)),
            adopts,
            socket,
            swap,
            ready_timeout,
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
        // Whoever is retired has somebody to leave connections to, and has them back otherwise.
        let mut staying = self.servers.values().filter(|it| !it.asked && !it.killed).peekable();
        if staying.peek().is_some() {
            assert!(staying.any(|it| !it.retired), "nobody accepts: {:?}", self.servers);
        }
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
                Action::Start { generation, artifact, handover, adopts, .. } => {
                    assert!(!self.servers.contains_key(&generation), "{generation} lives");
                    let old = self.servers.values().find(|it| !it.asked);
                    let shares = old.is_none_or(|it| it.adopted > 0 && !it.retired);
                    assert!(
                        handover != Handover::Adopt || shares,
                        "beside one that shares nothing"
                    );
                    assert!(adopts || handover != Handover::Adopt);
                    let staying = self.servers.values().filter(|it| !it.asked).count();
                    let may_stay = usize::from(self.overlaps && handover != Handover::Direct);
                    assert!(
                        staying <= may_stay && (may_stay == 1 || self.servers.is_empty()),
                        "{generation} starts beside {:?}",
                        self.servers
                    );
                    assert!(!self.quitting, "a start while quitting");
                    let runs = u64::try_from(artifact.identity.0).expect("a version");
                    let beside = staying == 1;
                    let living = Living { runs, beside, equipped: adopts, ..Living::default() };
                    self.servers.insert(generation, living);
                    self.newest = Some(generation);
                    self.handover = Some(handover);
                }
                Action::Retire(generation) => {
                    let heir = self
                        .servers
                        .range(generation.next()..)
                        .any(|(_, it)| !it.asked && (it.adopted > 0 || it.ready || it.listens));
                    assert!(heir, "{generation} is retired for nobody: {:?}", self.servers);
                    let server = self.servers.get_mut(&generation).expect("a living server");
                    assert!(!server.retired && !server.asked, "retired twice, or too late");
                    server.retired = true;
                }
                Action::Resume(generation) => {
                    let server = self.servers.get_mut(&generation).expect("a living server");
                    assert!(server.retired && !server.asked, "nothing to resume");
                    server.retired = false;
                }
                Action::Drain(generation) => {
                    let server = self.servers.get_mut(&generation).expect("a living server");
                    assert!(server.retired && !server.terminated && !server.drained);
                    assert!(!server.leaves, "asked although it says that it is leaving");
                    assert!(!self.quitting, "drained while quitting");
                    server.drained = true;
                }
                Action::Terminate(generation) => {
                    let heir = self
                        .servers
                        .range(generation.next()..)
                        .any(|(_, it)| !it.asked && (it.adopted > 0 || it.listens));
                    let server = self.servers.get_mut(&generation).expect("a living server");
                    assert!(!server.terminated, "asked twice");
                    server.terminated = true;
                    assert!(!server.drained || self.quitting, "asked twice");
                    assert!(!server.leaves, "asked although it says that it is leaving");
                    let late = server.beside && !server.ready;
                    assert!(
                        self.last_good || self.quitting || self.told || late || heir,
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
                Action::Report(Report::ServerListening { generation, .. }) => {
                    let older = self.servers.range(..generation).any(|(_, it)| !it.asked);
                    assert!(!older, "{generation} is said to serve: {:?}", self.servers);
                    self.servers.get_mut(&generation).expect("a living server").shown = true;
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
                self.servers.get_mut(&generation).into_iter().for_each(|it| it.listens = true);
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
            Happening::NewestReady => self.tell_newest(ServerEvent::Ready),
            Happening::Adopts(which, many) => self.tell(which, adopted(many)),
            Happening::NewestAdopts(many) => self.tell_newest(adopted(many)),
            Happening::SharesNothing(which) => {
                self.tell(which, ServerEvent::NotAdopted(Unadopted::IoUring));
            }
            Happening::Accepts(which) => self.tell(which, ServerEvent::Accepts),
            Happening::NewestAccepts => self.tell_newest(ServerEvent::Accepts),
            Happening::NewestFails(ok) => {
                let newest = self.servers.iter().next_back();
                let newest = newest.filter(|(_, it)| !(it.ready || it.equipped && it.shown));
                let Some((&generation, _)) = newest else { return };
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
                    self.step(Event::Server(generation, ServerEvent::Conflict(held)));
                    self.servers.remove(&generation);
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
            Happening::Outdated => self.step(Event::Outdated),
        }
    }

    /// One of the servers says something of itself.
    fn tell(&mut self, which: u8, event: ServerEvent) {
        let count = self.servers.len().max(1);
        let Some((&generation, server)) = self.servers.iter_mut().nth(usize::from(which) % count)
        else {
            return;
        };
        match &event {
            ServerEvent::Ready => server.ready |= !server.leaves,
            ServerEvent::Stopping => server.leaves = true,
            // The others have nothing that could say so, or nothing to say it of.
            _ if !server.equipped => return,
            ServerEvent::Adopted(endpoints) => {
                server.adopted = u8::try_from(endpoints.len()).expect("few addresses");
            }
            ServerEvent::Accepts if server.adopted == 0 => return,
            ServerEvent::Accepts => server.accepts = true,
            ServerEvent::NotAdopted(_) => server.adopted = 0,
            other => panic!("{other:?}"),
        }
        self.told = true;
        self.step(Event::Server(generation, event));
        self.told = false;
    }

    fn tell_newest(&mut self, event: ServerEvent) {
        if let Some(which) = self.servers.len().checked_sub(1) {
            self.tell(u8::try_from(which).expect("few servers"), event);
        }
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
            self.tell_newest(ServerEvent::Ready);
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

/// So many of the addresses that servers share.
fn adopted(many: u8) -> ServerEvent {
    let endpoint = |port| Endpoint::Tcp(([127, 0, 0, 1], 3000 + u16::from(port)).into());
    ServerEvent::Adopted((0..many).map(endpoint).collect())
}

fn ours() -> Endpoint {
    Endpoint::Tcp("127.0.0.1:8000".parse().expect("an address"))
}

fn sockets() -> impl Strategy<Value = (Socket, Swap, bool)> {
    let sockets = prop_oneof![
        Just(Socket::Direct),
        Just(Socket::Offered(ours())),
        Just(Socket::Inherited(ours()))
    ];
    (
        sockets,
        prop_oneof![4 => Just(Swap::Auto), 1 => Just(Swap::Overlap), 1 => Just(Swap::StopFirst)],
        any::<bool>(),
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
        let mut world = World::new((socket, Swap::Auto, false));
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

proptest! {
    #![proptest_config(Config { cases: 1_000, ..Config::default() })]

    /// Servers that share what they bind and accept: from the first on there is always one that has
    /// accepted and goes on, or one that has the same sockets and is on its way to accept while the
    /// one before it stays at hand; whatever the new ones do.
    #[test]
    fn with_sharing_servers_somebody_accepts_or_is_about_to(
        story in proptest::collection::vec(sharing_happening(), 0..80),
    ) {
        // Time that runs out proves nothing of a server, and the next one would not start beside it.
        let patience = Duration::from_secs(24 * 3600);
        let mut world = World::patient((Socket::Direct, Swap::Auto, true), patience);
        world.end_build(true);
        world.happen(&Happening::NewestAdopts(2));
        world.happen(&Happening::NewestAccepts);
        for happening in &story {
            world.happen(happening);
            let all: Vec<_> = world.servers.values().filter(|it| !it.asked).collect();
            let serves = all.iter().any(|it| it.shown && !it.retired);
            let at_hand = all.iter().any(|it| it.shown && it.retired);
            let heir = all.iter().any(|it| !it.shown && !it.retired && it.adopted > 0);
            assert!(serves || (at_hand && heir), "{happening:?} left {:?}", world.servers);
        }
        assert!(!world.clashed);
        world.settle();
        world.wait(Duration::from_secs(60));
        world.save(0, true);
        world.settle();
        world.check_what_runs(&story);
    }
}

/// The same, where servers share what they bind: who takes over has accepted, and goes on doing so.
fn sharing_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..4_u8, any::<bool>()).prop_map(|(file, new)| Happening::Save(file, new)),
        4 => (1..9_000_u16).prop_map(Happening::Wait),
        4 => any::<bool>().prop_map(Happening::BuildEnds),
        3 => (1..3_u8).prop_map(Happening::NewestAdopts),
        3 => Just(Happening::NewestAccepts),
        2 => any::<bool>().prop_map(Happening::NewestFails),
        2 => Just(Happening::OldOneEnds),
    ]
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
