//! The supervisor's decisions, one story a test: what came in, and what it had done about it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cargo_stario::event::{
    Action, Artifact, Beside, BuildEvent, BuildOutcome, Change, ChangeKind, Content, Endpoint,
    Event, Exit, Generation, Handover, Held, Identity, Key, Mentions, Report, ServerEvent, Signal,
    Stamp, Swap, Unadopted, WayOut,
};
use cargo_stario::supervisor::{CANCELLATIONS, Settings, Socket, State};

const OURS: &str = "127.0.0.1:8000";
const THEIRS: &str = "127.0.0.1:3000";

/// A supervisor, the time, and what it has asked for since last looked at.
struct Desk {
    state: State,
    now: Instant,
    actions: Vec<Action>,
}

impl Desk {
    fn new(socket: Socket) -> Self {
        Self::with(socket, |_| {})
    }

    /// One with other settings than the usual ones.
    fn with(socket: Socket, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            grace: Duration::from_secs(5),
            debounce: Duration::from_millis(30),
            follows: matches!(socket, Socket::Offered(_) | Socket::Unbound),
            socket,
            adopts: false,
            swap: Swap::Auto,
            ready_timeout: Duration::from_secs(30),
            named_port: None,
        };
        change(&mut settings);
        let mut desk =
            Self { state: State::new(settings), now: Instant::now(), actions: Vec::new() };
        desk.actions = desk.state.begin(desk.now);
        desk
    }

    /// One whose first server (generation 1, identity 1) serves, and long enough to be past every
    /// window.
    fn serving(socket: Socket) -> Self {
        let mut desk = Self::new(socket);
        desk.built(1, 1);
        desk.server(1, ServerEvent::Spawned { pid: 101 });
        desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
        desk.wait(60_000);
        desk.said();
        desk
    }

    fn step(&mut self, event: Event) {
        self.actions.extend(self.state.step(event, self.now));
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        while self.state.deadline().is_some_and(|at| at <= self.now) {
            self.step(Event::Tick);
        }
    }

    fn change(&mut self, path: &str) {
        self.change_to(path, Content::New);
    }

    fn change_to(&mut self, path: &str, content: Content) {
        let kind = match path {
            "Cargo.toml" => ChangeKind::Manifest,
            "Cargo.lock" => ChangeKind::Lock,
            _ => match Path::new(path).extension() {
                Some(extension) if extension == "rs" => ChangeKind::Source,
                _ => ChangeKind::Asset,
            },
        };
        self.step(Event::Changed(vec![Change { path: path.into(), kind, content, age: None }]));
    }

    fn build(&mut self, generation: u64, outcome: BuildOutcome) {
        self.step(Event::Build(Generation(generation), BuildEvent::Finished(outcome)));
    }

    fn built(&mut self, generation: u64, identity: u128) {
        self.build(generation, BuildOutcome::Succeeded(artifact(identity)));
    }

    fn server(&mut self, generation: u64, event: ServerEvent) {
        self.step(Event::Server(Generation(generation), event));
    }

    fn exited(&mut self, generation: u64, exit: Exit) {
        self.server(generation, ServerEvent::Exited(exit));
    }

    /// All actions since the last look, in words; reports are left out.
    fn did(&mut self) -> Vec<String> {
        self.actions
            .drain(..)
            .filter_map(|action| match action {
                Action::Report(_) => None,
                Action::Build(order) => {
                    let resolve = if order.resolve { " resolve" } else { "" };
                    let changed: Vec<_> =
                        order.changed.iter().map(|path| path.display().to_string()).collect();
                    let changed = changed.join(",");
                    Some(format!("build {}{resolve} [{changed}]", order.generation))
                }
                Action::CancelBuild(generation) => Some(format!("cancel {generation}")),
                Action::Start { generation, again: true, .. } => {
                    Some(format!("start {generation} again"))
                }
                Action::Start { generation, handover: Handover::Direct, .. } => {
                    Some(format!("start {generation}"))
                }
                Action::Start { generation, handover: Handover::Inherit, beside: None, .. } => {
                    Some(format!("start {generation} with socket"))
                }
                Action::Start { generation, handover: Handover::Adopt, beside: None, .. } => {
                    Some(format!("start {generation} to share"))
                }
                Action::Start { generation, beside: Some(Beside { pid, .. }), .. } => {
                    Some(format!("start {generation} beside {pid}"))
                }
                Action::Retire(generation) => Some(format!("retire {generation}")),
                Action::Resume(generation) => Some(format!("resume {generation}")),
                Action::Drain(generation) => Some(format!("drain {generation}")),
                Action::Terminate(generation) => Some(format!("terminate {generation}")),
                Action::Kill(generation) => Some(format!("kill {generation}")),
                Action::GiveUpListener => Some("give up listener".into()),
                Action::Exit(code) => Some(format!("exit {code}")),
            })
            .collect()
    }

    /// All reports since the last look; actions are dropped.
    fn said(&mut self) -> Vec<Report> {
        self.actions
            .drain(..)
            .filter_map(|action| match action {
                Action::Report(report) => Some(report),
                _ => None,
            })
            .collect()
    }
}

fn artifact(identity: u128) -> Artifact {
    Artifact {
        executable: PathBuf::from("target/debug/app"),
        identity: Identity(identity),
        stamp: Stamp { inode: 0, modified: std::time::SystemTime::UNIX_EPOCH, length: 0 },
        mentions: Mentions { listen_fds: true, notify_socket: true },
        fresh: false,
        env: Vec::new(),
        library_paths: Vec::new(),
    }
}

fn endpoint(address: &str) -> Endpoint {
    Endpoint::Tcp(address.parse().expect("the tests' own address"))
}

fn failed() -> BuildOutcome {
    BuildOutcome::Failed(Exit::Code(101))
}

#[test]
fn starts_with_a_build_and_runs_what_it_made() {
    let mut desk = Desk::new(Socket::Direct);
    assert_eq!(desk.did(), ["build 1 []"]);
    desk.built(1, 1);
    assert_eq!(desk.did(), ["start 1"]);
}

#[test]
fn replaces_the_server_only_after_a_good_build_and_the_old_one_first() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("src/main.rs");
    assert_eq!(desk.did(), ["build 2 [src/main.rs]"]);
    desk.built(2, 2);
    assert_eq!(desk.did(), ["terminate 1"]);
    desk.exited(1, Exit::Signal(15));
    assert_eq!(desk.did(), ["start 2"]);
}

#[test]
fn a_failed_build_leaves_the_server_alone_and_its_changes_wait() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("src/main.rs");
    desk.did();
    desk.build(2, failed());
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.wait(10_000);
    desk.change("src/lib.rs");
    assert_eq!(desk.did(), ["build 3 [src/lib.rs,src/main.rs]"]);
}

#[test]
fn a_change_during_a_build_cancels_it_and_the_next_starts_when_it_is_gone() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("src/main.rs");
    desk.did();
    desk.wait(200);
    desk.change("src/lib.rs");
    assert_eq!(desk.did(), ["cancel 2"]);
    desk.change("src/more.rs");
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.build(2, BuildOutcome::Cancelled);
    assert_eq!(desk.did(), ["build 3 [src/lib.rs,src/main.rs,src/more.rs]"]);
}

#[test]
fn a_cancelled_build_that_had_succeeded_starts_nothing() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("src/main.rs");
    desk.change("src/main.rs");
    desk.did();
    desk.built(2, 2);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]"]);
    // What it wrote is not forgotten: the next build finds it fresh, and it is not what lives.
    desk.built(3, 2);
    assert_eq!(desk.did(), ["terminate 1"]);
}

#[test]
fn events_of_another_generation_change_nothing() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("src/main.rs");
    desk.did();
    desk.built(1, 9);
    desk.build(7, failed());
    desk.exited(7, Exit::Code(1));
    desk.server(7, ServerEvent::Listening(vec![endpoint(OURS)]));
    assert_eq!(desk.did(), Vec::<String>::new());
}

#[test]
fn somebody_who_saves_without_pause_still_gets_builds() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("src/main.rs");
    let mut generation = 2;
    for _ in 0..CANCELLATIONS {
        desk.wait(300);
        desk.change("src/main.rs");
        desk.build(generation, BuildOutcome::Cancelled);
        generation += 1;
    }
    desk.did();
    desk.wait(300);
    desk.change("src/main.rs");
    desk.change("src/main.rs");
    assert_eq!(desk.did(), Vec::<String>::new(), "this one is left to finish");
    desk.built(generation, 2);
    assert_eq!(desk.did()[0], "terminate 1");
}

#[test]
fn an_unchanged_executable_leaves_the_server_running_unless_something_else_changed() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("src/main.rs");
    desk.built(2, 1);
    assert_eq!(desk.did(), ["build 2 [src/main.rs]"]);
    desk.wait(60_000);
    desk.change("templates/index.html");
    desk.built(3, 1);
    assert_eq!(desk.did(), ["build 3 [templates/index.html]", "terminate 1"]);
}

#[test]
fn a_template_changed_while_the_code_was_broken_still_restarts() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("templates/index.html");
    desk.build(2, failed());
    desk.wait(60_000);
    desk.change("src/main.rs");
    desk.did();
    desk.built(3, 1);
    assert_eq!(desk.did(), ["terminate 1"]);
}

#[test]
fn no_living_server_means_start() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.exited(1, Exit::Code(1));
    assert!(desk.said().iter().any(|report| matches!(
        report,
        Report::ServerExited { asked: false, waiting: true, exit: Exit::Code(1), .. }
    )));
    desk.change("src/main.rs");
    desk.built(2, 1);
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "start 2"]);
}

#[test]
fn what_is_already_there_is_no_change_but_during_a_build_it_is() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change_to("src/main.rs", Content::Same);
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.change("src/main.rs");
    desk.did();
    desk.change_to("src/main.rs", Content::Same);
    assert_eq!(desk.did(), ["cancel 2"]);
}

#[test]
fn a_write_reported_just_after_the_build_counts_as_during_it() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("src/main.rs");
    desk.wait(400);
    desk.built(2, 1);
    desk.did();
    desk.wait(50);
    desk.change_to("src/main.rs", Content::Same);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]"]);
}

#[test]
fn a_server_that_writes_what_is_already_there_at_its_start_is_not_restarted() {
    let mut desk = Desk::new(Socket::Direct);
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.did();
    desk.wait(40);
    // It may have been written during the build, so that is looked at again. Nothing more.
    desk.change_to("data/state.json", Content::Same);
    desk.built(2, 1);
    assert_eq!(desk.did(), ["build 2 [data/state.json]"]);
}

#[test]
fn cargos_own_writing_of_the_lock_file_is_no_change() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("Cargo.toml");
    assert_eq!(desk.did(), ["build 2 resolve [Cargo.toml]"]);
    desk.change_to("Cargo.lock", Content::Same);
    assert_eq!(desk.did(), Vec::<String>::new());
}

#[test]
fn the_lock_file_that_asking_for_the_workspace_writes_cancels_nothing() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("Cargo.toml");
    desk.change("Cargo.lock");
    assert_eq!(desk.did(), ["build 2 resolve [Cargo.toml]"]);
    // From here on cargo may have read it, and it was somebody else.
    desk.step(Event::Build(Generation(2), BuildEvent::Spawned { pid: 7 }));
    desk.change("Cargo.lock");
    assert_eq!(desk.did(), ["cancel 2"]);
    desk.build(2, BuildOutcome::Cancelled);
    assert_eq!(desk.did(), ["build 3 resolve [Cargo.lock,Cargo.toml]"]);
}

#[test]
fn what_a_server_is_told_or_run_with_restarts_it_though_the_executable_is_the_same() {
    let told = BuildEvent::Resolved { changed: true, restart: true };
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("Cargo.toml");
    desk.step(Event::Build(Generation(2), told.clone()));
    desk.built(2, 1);
    assert_eq!(desk.did(), ["build 2 resolve [Cargo.toml]", "terminate 1"]);

    // Also when it comes from a build that is being cancelled.
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("Cargo.toml");
    desk.change("src/main.rs");
    desk.step(Event::Build(Generation(2), told));
    desk.build(2, BuildOutcome::Cancelled);
    desk.did();
    desk.built(3, 1);
    assert_eq!(desk.did(), ["terminate 1"]);
}

#[test]
fn manifests_are_read_again_until_that_worked() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("Cargo.toml");
    desk.build(2, BuildOutcome::Broken { message: "no entry".into(), help: Vec::new() });
    desk.wait(60_000);
    desk.did();
    desk.change("src/main.rs");
    assert_eq!(desk.did(), ["build 3 resolve [Cargo.toml,src/main.rs]"]);
}

#[test]
fn a_folder_that_is_gone_is_named_once_whatever_was_in_it() {
    let mut desk = Desk::serving(Socket::Direct);
    let change = |kind| {
        let path = PathBuf::from("assets");
        Change { path, kind, content: Content::New, age: None }
    };
    desk.step(Event::Changed(vec![change(ChangeKind::Source), change(ChangeKind::Asset)]));
    let said = desk.said();
    assert!(
        said.iter().any(|it| matches!(it, Report::Changed { paths } if paths.len() == 1)),
        "{said:?}"
    );
    desk.built(2, 1);
    // What it served from there is gone.
    assert_eq!(desk.did(), ["terminate 1"]);
}

#[test]
fn what_the_start_relied_on_in_vain_is_read_again() {
    let mut desk = Desk::new(Socket::Direct);
    desk.step(Event::Outdated);
    desk.build(1, BuildOutcome::Cancelled);
    assert_eq!(desk.did(), ["build 1 []", "cancel 1", "build 2 resolve []"]);
    desk.built(2, 2);
    desk.server(2, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    desk.did();
    desk.step(Event::Outdated);
    assert_eq!(desk.did(), ["build 3 resolve []"]);
    desk.built(3, 2);
    assert!(desk.did().is_empty(), "the same executable");
    desk.step(Event::Signal(Signal::Interrupt));
    desk.did();
    desk.step(Event::Outdated);
    assert!(desk.did().is_empty(), "it is ending");
}

#[test]
fn a_server_that_does_not_stop_is_killed_after_the_grace() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("src/main.rs");
    desk.built(2, 2);
    desk.did();
    desk.wait(4_999);
    let said = desk.said();
    assert!(matches!(said[..], [Report::ServerSlowToStop { pid: Some(101), .. }]), "{said:?}");
    desk.wait(1);
    assert_eq!(desk.did(), ["kill 1"]);
    desk.exited(1, Exit::Signal(9));
    assert_eq!(desk.did(), ["start 2"]);
}

#[test]
fn a_newer_build_takes_the_place_of_one_that_waits_for_the_old_server() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("src/main.rs");
    desk.built(2, 2);
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(
        desk.did(),
        ["build 2 [src/main.rs]", "terminate 1", "build 3 [src/main.rs]"],
        "the old one is asked once"
    );
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 3"]);
}

#[test]
fn an_executable_that_a_later_build_touched_is_built_again() {
    let mut desk = Desk::new(Socket::Direct);
    desk.built(1, 1);
    desk.did();
    desk.server(1, ServerEvent::Superseded);
    assert_eq!(desk.did(), ["build 2 []"]);
}

#[test]
fn ctrl_c_stops_build_and_server_then_exits() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.change("src/main.rs");
    desk.did();
    desk.step(Event::Signal(Signal::Interrupt));
    assert_eq!(desk.did(), ["cancel 2", "terminate 1"]);
    desk.change("src/main.rs");
    desk.build(2, BuildOutcome::Cancelled);
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.exited(1, Exit::Signal(15));
    assert_eq!(desk.did(), ["exit 130"]);
}

#[test]
fn a_second_ctrl_c_does_not_wait() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.step(Event::Signal(Signal::Interrupt));
    desk.step(Event::Signal(Signal::Interrupt));
    assert_eq!(desk.did(), ["terminate 1", "kill 1"]);
    desk.exited(1, Exit::Signal(9));
    assert_eq!(desk.did(), ["exit 130"]);
}

#[test]
fn exit_codes_follow_what_ended_us() {
    for (event, code) in [
        (Event::Key(Key::Quit), 0),
        (Event::Signal(Signal::Hangup), 129),
        (Event::Signal(Signal::Interrupt), 130),
        (Event::Signal(Signal::Terminate), 143),
    ] {
        let mut desk = Desk::new(Socket::Direct);
        desk.build(1, failed());
        desk.did();
        desk.step(event);
        assert_eq!(desk.did(), [format!("exit {code}")]);
    }
}

#[test]
fn the_restart_key_restarts_an_unchanged_server() {
    let mut desk = Desk::serving(Socket::Direct);
    desk.step(Event::Key(Key::Restart));
    desk.built(2, 1);
    assert_eq!(desk.did(), ["build 2 []", "terminate 1"]);
}

#[test]
fn an_offered_socket_that_is_taken_stays() {
    let mut desk = Desk::new(Socket::Offered(endpoint(OURS)));
    desk.built(1, 1);
    assert_eq!(desk.did(), ["build 1 []", "start 1 with socket"]);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.server(1, ServerEvent::Listening(vec![endpoint(OURS)]));
    desk.wait(60_000);
    desk.change("src/main.rs");
    desk.built(2, 2);
    desk.exited(1, Exit::Signal(15));
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "terminate 1", "start 2 with socket"]);
}

#[test]
fn an_offered_socket_is_given_up_when_the_server_binds_for_itself() {
    let mut desk = Desk::new(Socket::Offered(endpoint(OURS)));
    desk.build(1, that_mentions(1, true, false));
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.did();
    desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    assert_eq!(desk.did(), ["give up listener"]);
    desk.wait(60_000);
    desk.change("src/main.rs");
    desk.built(2, 2);
    desk.exited(1, Exit::Signal(15));
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "terminate 1", "start 2"]);
}

#[test]
fn a_server_that_fails_at_once_beside_our_listener_gets_the_address_for_itself() {
    let mut desk = Desk::new(Socket::Offered(endpoint(OURS)));
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.did();
    desk.wait(50);
    desk.exited(1, Exit::Code(1));
    assert_eq!(desk.did(), ["give up listener", "start 1"]);
    desk.exited(1, Exit::Code(1));
    assert_eq!(desk.did(), Vec::<String>::new(), "once only");
}

#[test]
fn a_server_that_shows_no_address_is_spoken_of_once() {
    let mut desk = Desk::new(Socket::Direct);
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.said();
    desk.wait(60_000);
    let said = desk.said();
    assert!(matches!(said[..], [Report::ServerSilent { .. }]), "{said:?}");
}

#[test]
fn a_server_elsewhere_than_asked_is_a_warning() {
    let mut desk = Desk::with(Socket::Direct, |it| {
        it.follows = true;
        it.named_port = Some(8080);
    });
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    assert!(
        desk.said()
            .iter()
            .any(|report| matches!(report, Report::ServerElsewhere { expected: 8080, .. }))
    );

    // Once is enough, as long as it is the same.
    let mut said_of = |generation: u64, address: &str| {
        desk.change("src/main.rs");
        desk.built(generation, generation.into());
        desk.exited(generation - 1, Exit::Signal(15));
        desk.server(generation, ServerEvent::Spawned { pid: 100 });
        desk.server(generation, ServerEvent::Listening(vec![endpoint(address)]));
        desk.said().iter().any(|report| matches!(report, Report::ServerElsewhere { .. }))
    };
    assert!(!said_of(2, THEIRS));
    assert!(!said_of(3, "127.0.0.1:8080"));
    assert!(said_of(4, THEIRS));
}

/// A minute or so of builds of half a second, in steps of 10 ms, and everybody who writes files.
#[derive(Default)]
struct Play {
    /// What the build script writes in each build (its number is handed in).
    build_script: Option<fn(u64) -> String>,
    /// What the server writes at each start.
    server: Option<fn(u64) -> String>,
    /// How often somebody saves `src/main.rs`.
    saves_every: Option<u64>,
    /// Somebody saves `src/main.rs` so long (ms) after each server's start: on seeing the answer.
    saves_on_answer: Option<u64>,
    /// The source is broken: no build succeeds.
    broken: bool,
    /// Servers say that they are ready: after they have written.
    speaks: bool,
}

impl Play {
    /// Runs it; returns what was named as a loop, and how many builds ran.
    fn run(self, desk: &mut Desk, milliseconds: u64) -> (Option<Vec<PathBuf>>, u64) {
        let mut building: Option<(u64, u64)> = None;
        let mut started: Option<(u64, u64)> = None;
        let mut builds = 0;
        desk.change("src/main.rs");
        for tick in 0..milliseconds / 10 {
            desk.wait(10);
            if self.saves_every.is_some_and(|every| tick % (every / 10) == 0) {
                desk.change("src/main.rs");
            }
            if let Some((generation, since)) = building {
                match tick - since {
                    // The write, and its report after the quiet time.
                    20 => self.build_script.iter().for_each(|path| desk.change(&path(generation))),
                    50 => {
                        building = None;
                        if self.broken {
                            desk.build(generation, failed());
                        } else {
                            desk.built(generation, generation.into());
                        }
                    }
                    _ => {}
                }
            }
            if let Some((generation, since)) = started
                && tick - since == 5
            {
                self.server.iter().for_each(|path| desk.change(&path(generation)));
                if self.speaks {
                    desk.server(generation, ServerEvent::Ready);
                }
            }
            if let (Some((_, since)), Some(after)) = (started, self.saves_on_answer)
                && tick - since == after / 10
            {
                desk.change("src/main.rs");
            }
            while !desk.actions.is_empty() {
                for action in std::mem::take(&mut desk.actions) {
                    match action {
                        Action::Build(order) => {
                            builds += 1;
                            building = Some((order.generation.0, tick));
                        }
                        Action::CancelBuild(generation) => {
                            building = None;
                            desk.build(generation.0, BuildOutcome::Cancelled);
                        }
                        Action::Terminate(generation) => {
                            desk.exited(generation.0, Exit::Signal(15));
                        }
                        Action::Start { generation, .. } => started = Some((generation.0, tick)),
                        Action::Report(Report::LoopEnded { paths }) => {
                            return (Some(paths), builds);
                        }
                        _ => {}
                    }
                }
            }
        }
        (None, builds)
    }
}

#[test]
fn a_build_script_that_writes_a_watched_file_is_noticed() {
    let mut desk = Desk::serving(Socket::Direct);
    let play = Play { build_script: Some(|_| "src/generated.rs".into()), ..Play::default() };
    let (named, builds) = play.run(&mut desk, 60_000);
    assert_eq!(named, Some(vec![PathBuf::from("src/generated.rs")]));
    assert!(builds < 12, "{builds} builds");
    // One more, so that nothing is lost if it was somebody's save. What it writes does not count.
    let last = builds + 2;
    desk.wait(200);
    desk.change("src/generated.rs");
    desk.build(last, failed());
    desk.did();
    desk.wait(60_000);
    assert_eq!(desk.did(), Vec::<String>::new(), "it has ended");
    // What somebody edits elsewhere is built, and again the build script's writing does not count.
    desk.change("src/main.rs");
    assert_eq!(desk.did().len(), 1);
    desk.wait(200);
    desk.change("src/generated.rs");
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.build(last + 1, failed());
    // Somebody who edits that very file later is heard.
    desk.wait(60_000);
    desk.did();
    desk.change("src/generated.rs");
    assert_eq!(desk.did().len(), 1);
}

#[test]
fn a_server_that_takes_long_to_bind_for_itself_is_believed_then() {
    let mut desk = Desk::new(Socket::Offered(endpoint(OURS)));
    desk.build(1, that_mentions(1, true, false));
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.wait(3_000);
    let said = desk.said();
    let assumed = |it: &Report| matches!(it, Report::ServerListening { endpoints, .. } if *endpoints == [endpoint(OURS)]);
    assert!(said.iter().any(assumed), "{said:?}");
    desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    assert_eq!(desk.did(), ["give up listener"]);
}

#[test]
fn a_server_that_writes_at_each_start_is_noticed_beside_the_old_one_too() {
    let mut desk = Desk::ready_with(Swap::Auto);
    let server: Option<fn(u64) -> String> = Some(|_| "data/state.json".into());
    let (named, builds) = Play { server, speaks: true, ..Play::default() }.run(&mut desk, 60_000);
    assert_eq!(named, Some(vec![PathBuf::from("data/state.json")]));
    assert!(builds < 12, "{builds} builds");
}

#[test]
fn who_saves_on_each_answer_is_no_loop_beside_the_old_one_either() {
    for after in (70..3_000).step_by(130) {
        let mut desk = Desk::ready_with(Swap::Auto);
        let play = Play { saves_on_answer: Some(after), speaks: true, ..Play::default() };
        let (named, builds) = play.run(&mut desk, 60_000);
        assert_eq!(named, None, "saved {after} ms after each start");
        assert!(builds > 60_000 / (500 + after + 100) / 2, "{builds} builds, {after} ms");
    }
}

#[test]
fn a_build_script_that_writes_while_the_source_is_broken_is_noticed_too() {
    let mut desk = Desk::serving(Socket::Direct);
    let build_script: Option<fn(u64) -> String> = Some(|_| "src/generated.rs".into());
    let play = Play { build_script, broken: true, ..Play::default() };
    let (named, _) = play.run(&mut desk, 60_000);
    assert_eq!(named, Some(vec![PathBuf::from("src/generated.rs")]));
}

#[test]
fn a_server_that_writes_at_each_start_is_noticed() {
    let mut desk = Desk::serving(Socket::Direct);
    let play = Play { server: Some(|_| "data/state.json".into()), ..Play::default() };
    let (named, _) = play.run(&mut desk, 60_000);
    assert_eq!(named, Some(vec![PathBuf::from("data/state.json")]));
}

#[test]
fn a_server_that_writes_a_new_file_at_each_start_is_noticed_by_its_folder() {
    let mut desk = Desk::serving(Socket::Direct);
    let play = Play { server: Some(|number| format!("data/{number}.log")), ..Play::default() };
    let (named, _) = play.run(&mut desk, 60_000);
    assert_eq!(named, Some(vec![PathBuf::from("data/")]));
}

#[test]
fn somebody_who_saves_templates_on_each_answer_is_no_loop_where_the_system_knows_the_server() {
    let mut desk = Desk::serving(Socket::Direct);
    let mut generation = 1;
    for _ in 0..30 {
        desk.change("templates/index.html");
        let started = desk.did();
        assert_eq!(started.len(), 1, "it is not held back: {started:?}");
        desk.wait(400);
        desk.built(generation + 1, 1);
        desk.server(generation, ServerEvent::WroteNothing);
        desk.exited(generation, Exit::Signal(15));
        generation += 1;
        desk.server(generation, ServerEvent::Spawned { pid: 101 });
        desk.did();
        desk.wait(40);
    }
}

#[test]
fn somebody_who_saves_on_each_unchanged_build_is_no_loop() {
    let mut desk = Desk::serving(Socket::Direct);
    for generation in 2..30 {
        desk.change("src/main.rs");
        assert_eq!(desk.did(), [format!("build {generation} [src/main.rs]")]);
        desk.wait(400);
        desk.built(generation, 1);
        desk.did();
        desk.wait(40);
    }
}

#[test]
fn somebody_who_saves_all_the_time_is_not_taken_for_a_loop() {
    for every in [70, 130, 300, 490, 500, 510, 700, 1_000, 1_500, 2_000, 3_000, 5_000] {
        let mut desk = Desk::serving(Socket::Direct);
        let play = Play { saves_every: Some(every), ..Play::default() };
        let (named, builds) = play.run(&mut desk, 120_000);
        assert_eq!(named, None, "a save every {every} ms");
        assert!(builds > 15, "a save every {every} ms: {builds} builds in two minutes");
    }
}

#[test]
fn somebody_who_saves_again_on_each_new_answer_is_not_taken_for_a_loop_and_never_waits() {
    for after in [50, 400, 1_500] {
        let mut desk = Desk::serving(Socket::Direct);
        let play = Play { saves_on_answer: Some(after), ..Play::default() };
        let (named, builds) = play.run(&mut desk, 60_000);
        assert_eq!(named, None);
        // Each save is built at once: a round is a build of half a second and this time.
        let rounds = 60_000 / (500 + after + 20);
        assert!(builds >= rounds, "{builds} builds of {rounds}, saved after {after} ms");
    }
}

// ---- side by side ----

impl Desk {
    /// One whose first server (generation 1, pid 101) took our socket and said that it is ready.
    fn ready_with(swap: Swap) -> Self {
        let mut desk = Self::with(Socket::Offered(endpoint(OURS)), |it| it.swap = swap);
        desk.built(1, 1);
        desk.server(1, ServerEvent::Spawned { pid: 101 });
        desk.server(1, ServerEvent::Listening(vec![endpoint(OURS)]));
        desk.server(1, ServerEvent::Ready);
        desk.wait(60_000);
        desk.said();
        desk
    }

    /// The same, and a second server (generation 2, pid 102) has been started beside it.
    fn starting_second() -> Self {
        let mut desk = Self::ready_with(Swap::Auto);
        desk.change("src/main.rs");
        desk.built(2, 2);
        assert_eq!(desk.did(), ["build 2 [src/main.rs]", "start 2 beside 101"]);
        desk.server(2, ServerEvent::Spawned { pid: 102 });
        desk
    }

    /// The events' names, as scripts see them, since the last look.
    fn told(&mut self) -> Vec<String> {
        let said = self.said();
        said.iter().map(|it| format!("{it:?}").split([' ', '{']).next().unwrap().into()).collect()
    }
}

#[test]
fn the_old_server_stays_until_the_new_one_is_ready() {
    let mut desk = Desk::starting_second();
    desk.wait(1_000);
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.server(2, ServerEvent::Ready);
    assert_eq!(desk.did(), ["terminate 1"]);
    desk.exited(1, Exit::Code(0));
    // And so on, the second now being the old one.
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "start 3 beside 102"]);
}

#[test]
fn it_is_said_to_serve_when_it_is_ready_and_not_before() {
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Listening(vec![endpoint(OURS)]));
    assert_eq!(desk.told(), ["ServerSpawned"]);
    desk.server(2, ServerEvent::Ready);
    assert_eq!(desk.told(), ["ServerReady", "ServerStopping", "ServerListening"]);
    // Said once.
    desk.server(2, ServerEvent::Ready);
    desk.server(2, ServerEvent::Listening(vec![endpoint(OURS)]));
    assert_eq!(desk.told(), Vec::<String>::new());
}

#[test]
fn a_new_server_that_ends_before_it_is_ready_leaves_the_old_one_alone() {
    for exit in [Exit::Code(101), Exit::Code(0), Exit::Signal(9)] {
        let mut desk = Desk::starting_second();
        desk.said();
        desk.exited(2, exit);
        let said = desk.said();
        assert!(
            matches!(
                &said[..],
                [Report::ServerExited {
                    asked: false,
                    waiting: true,
                    serving: Some(Generation(1)),
                    ..
                }]
            ),
            "{said:?}"
        );
        desk.wait(60_000);
        assert_eq!(desk.did(), Vec::<String>::new());
        // What is the living one's again changes nothing.
        desk.change("src/main.rs");
        desk.built(3, 1);
        assert!(desk.told().contains(&"Unchanged".to_owned()));
        desk.change("src/main.rs");
        desk.built(4, 4);
        assert_eq!(desk.did(), ["build 4 [src/main.rs]", "start 4 beside 101"]);
    }
}

#[test]
fn a_new_server_that_is_not_ready_in_time_is_stopped() {
    let mut desk = Desk::starting_second();
    desk.wait(29_000);
    assert_eq!(desk.told(), ["ServerSpawned", "ServerSlowToStart"]);
    desk.wait(1_000);
    assert_eq!(desk.did(), ["terminate 2"]);
    desk.wait(5_000);
    assert_eq!(desk.did(), ["kill 2"]);
    // Too late.
    desk.server(2, ServerEvent::Ready);
    assert_eq!(desk.told(), Vec::<String>::new());
    desk.exited(2, Exit::Signal(9));
    assert_eq!(desk.did(), Vec::<String>::new());
}

#[test]
fn a_restart_by_key_starts_what_was_not_ready_with_the_old_one_stopped_first() {
    let mut desk = Desk::starting_second();
    desk.exited(2, Exit::Code(1));
    desk.did();
    desk.step(Event::Key(Key::Restart));
    desk.built(3, 2);
    assert_eq!(desk.did(), ["build 3 []", "terminate 1"]);
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 3 with socket"]);
    // It may be that it binds for itself now, which our listener is in the way of.
    desk.exited(3, Exit::Code(1));
    assert_eq!(desk.did(), ["give up listener", "start 3"]);
}

#[test]
fn a_change_while_the_new_one_starts_supersedes_it() {
    let mut desk = Desk::starting_second();
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "terminate 2", "start 3 beside 101"]);
    desk.server(3, ServerEvent::Spawned { pid: 103 });
    desk.server(2, ServerEvent::Ready);
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.server(3, ServerEvent::Ready);
    assert_eq!(desk.did(), ["terminate 1"]);
}

#[test]
fn several_old_ones_drain_at_once() {
    let mut desk = Desk::starting_second();
    for generation in 2..5 {
        desk.server(generation, ServerEvent::Ready);
        desk.change("src/main.rs");
        desk.built(generation + 1, (generation + 1).into());
        let pid = u32::try_from(101 + generation).unwrap();
        desk.server(generation + 1, ServerEvent::Spawned { pid });
    }
    assert_eq!(
        desk.did(),
        [
            "terminate 1",
            "build 3 [src/main.rs]",
            "start 3 beside 102",
            "terminate 2",
            "build 4 [src/main.rs]",
            "start 4 beside 103",
            "terminate 3",
            "build 5 [src/main.rs]",
            "start 5 beside 104",
        ]
    );
    desk.wait(5_000);
    assert_eq!(desk.did(), ["kill 1", "kill 2", "kill 3"]);
}

#[test]
fn when_the_old_one_ends_the_new_one_is_all_there_is() {
    let mut desk = Desk::starting_second();
    desk.said();
    desk.exited(1, Exit::Signal(11));
    let said = desk.said();
    assert!(
        matches!(&said[..], [Report::ServerExited { waiting: false, serving: None, .. }]),
        "{said:?}"
    );
    desk.server(2, ServerEvent::Ready);
    assert_eq!(desk.told(), ["ServerReady", "ServerListening"]);
}

#[test]
fn what_the_old_one_holds_makes_it_stop_first_and_as_long_as_it_does() {
    let held = vec![Held::File("data/lock".into())];
    let mut desk = Desk::starting_second();
    desk.server(1, ServerEvent::Holds(held.clone()));
    desk.said();
    desk.server(2, ServerEvent::Conflict(held.clone()));
    desk.exited(2, Exit::Code(1));
    let said = desk.actions.iter().any(|it| {
        matches!(it, Action::Report(Report::ServerConflict { way_out: WayOut::StartedAgain, .. }))
    });
    assert!(said, "{:?}", desk.actions);
    assert_eq!(desk.did(), ["terminate 1"]);
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 2 with socket"]);
    desk.server(2, ServerEvent::Spawned { pid: 202 });
    desk.server(2, ServerEvent::Ready);
    desk.server(2, ServerEvent::Holds(held));
    // The next one need not fail first.
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "terminate 2"]);
    desk.exited(2, Exit::Code(0));
    desk.server(3, ServerEvent::Spawned { pid: 203 });
    desk.server(3, ServerEvent::Ready);
    desk.server(3, ServerEvent::Holds(Vec::new()));
    desk.did();
    // It holds nothing any more.
    desk.change("src/main.rs");
    desk.built(4, 4);
    assert_eq!(desk.did(), ["build 4 [src/main.rs]", "start 4 beside 203"]);
}

#[test]
fn as_long_as_it_is_not_known_what_the_old_one_holds_it_may_be_the_same() {
    let held = vec![Held::File("data/lock".into())];
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Conflict(held.clone()));
    desk.exited(2, Exit::Code(1));
    desk.exited(1, Exit::Code(0));
    desk.server(2, ServerEvent::Spawned { pid: 202 });
    desk.server(2, ServerEvent::Ready);
    desk.did();
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "terminate 2"]);
}

#[test]
fn an_address_that_is_ours_is_left_to_a_new_one_that_binds_for_itself() {
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Conflict(vec![Held::SomeAddress]));
    desk.exited(2, Exit::Code(1));
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["terminate 1", "start 2 with socket"]);
    // The old one was not what it was about.
    desk.exited(2, Exit::Code(1));
    assert_eq!(desk.did(), ["give up listener", "start 2"]);
}

#[test]
fn our_address_comes_first() {
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Ready);
    let own = endpoint("127.0.0.1:9");
    desk.said();
    desk.server(2, ServerEvent::Listening(vec![own.clone(), endpoint(OURS)]));
    let said = desk.said();
    let expected = [endpoint(OURS), own];
    assert!(
        matches!(&said[..], [Report::ServerListening { endpoints, .. }] if *endpoints == expected),
        "{said:?}"
    );
}

#[test]
fn of_an_old_one_that_takes_its_time_only_its_own_addresses_are_named() {
    let mut desk = Desk::starting_second();
    let own = endpoint("127.0.0.1:9");
    desk.server(1, ServerEvent::Listening(vec![endpoint(OURS), own.clone()]));
    desk.server(1, ServerEvent::Holds(vec![Held::Address(own.clone()), Held::File("lock".into())]));
    desk.server(2, ServerEvent::Ready);
    desk.said();
    desk.wait(4_000);
    let said = desk.said();
    assert!(
        matches!(&said[..], [Report::ServerSlowToStop { endpoints, .. }] if *endpoints == [own]),
        "{said:?}"
    );
}

#[test]
fn a_new_one_that_waits_for_the_old_one_gets_its_way() {
    let mut desk = Desk::starting_second();
    let blocked = || ServerEvent::Blocked(vec![Held::File("data/lock".into())]);
    desk.server(2, blocked());
    assert_eq!(desk.did(), ["terminate 1"]);
    desk.server(2, blocked());
    desk.exited(1, Exit::Code(0));
    desk.server(2, ServerEvent::Ready);
    assert_eq!(desk.told(), ["ServerExited", "ServerReady", "ServerListening"]);
}

#[test]
fn who_wants_them_side_by_side_gets_that() {
    let mut desk = Desk::ready_with(Swap::Overlap);
    desk.change("src/main.rs");
    desk.built(2, 2);
    desk.server(2, ServerEvent::Spawned { pid: 102 });
    desk.server(2, ServerEvent::Conflict(vec![Held::SomeAddress]));
    desk.exited(2, Exit::Code(1));
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "start 2 beside 101"]);
}

#[test]
fn who_wants_the_old_one_stopped_first_gets_that() {
    let mut desk = Desk::ready_with(Swap::StopFirst);
    desk.change("src/main.rs");
    desk.built(2, 2);
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "terminate 1"]);
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 2 with socket"]);
}

#[test]
fn servers_that_never_say_that_they_are_ready_are_stopped_first() {
    let mut desk = Desk::new(Socket::Inherited(endpoint(OURS)));
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.server(1, ServerEvent::Listening(vec![endpoint(OURS)]));
    assert_eq!(desk.told().last().unwrap(), "ServerListening");
    desk.wait(60_000);
    desk.change("src/main.rs");
    desk.built(2, 2);
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "terminate 1"]);
}

#[test]
fn side_by_side_without_a_word_the_new_one_is_ready_when_it_accepts() {
    let mut desk = Desk::with(Socket::Inherited(endpoint(OURS)), |it| it.swap = Swap::Overlap);
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.server(1, ServerEvent::Listening(vec![endpoint(OURS)]));
    desk.change("src/main.rs");
    desk.built(2, 2);
    desk.did();
    desk.server(2, ServerEvent::Spawned { pid: 102 });
    desk.server(2, ServerEvent::Listening(vec![endpoint(OURS)]));
    assert_eq!(desk.did(), ["terminate 1"]);
}

#[test]
fn a_new_one_that_binds_for_itself_is_believed_after_a_while() {
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    desk.wait(29_000);
    // A port for metrics may come first, and it may still say that it is ready.
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.wait(1_100);
    assert_eq!(desk.did(), ["terminate 1", "give up listener"]);
    desk.exited(1, Exit::Code(0));
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "terminate 2"]);
    desk.exited(2, Exit::Code(0));
    assert_eq!(desk.did(), ["start 3"]);
}

#[test]
fn a_server_that_says_that_it_is_stopping_is_not_asked_again() {
    let mut desk = Desk::starting_second();
    desk.server(1, ServerEvent::Stopping);
    assert_eq!(desk.told(), ["ServerSpawned", "ServerLeaving"]);
    desk.server(2, ServerEvent::Ready);
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.wait(5_000);
    assert_eq!(desk.did(), ["kill 1"]);
}

#[test]
fn quitting_in_the_middle_of_a_swap_ends_both() {
    let mut desk = Desk::starting_second();
    desk.step(Event::Signal(Signal::Interrupt));
    assert_eq!(desk.did(), ["terminate 1", "terminate 2"]);
    desk.step(Event::Signal(Signal::Interrupt));
    assert_eq!(desk.did(), ["kill 1", "kill 2"]);
    desk.exited(1, Exit::Signal(9));
    desk.exited(2, Exit::Signal(9));
    assert_eq!(desk.did(), ["exit 130"]);
}

#[test]
fn after_a_crash_nobody_waits_for_those_that_still_drain() {
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Ready);
    desk.exited(2, Exit::Signal(11));
    desk.did();
    // Generation 1 still answers what it has accepted.
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "start 3 with socket"]);
}

// ---- what the code can do ----

fn that_mentions(identity: u128, listen_fds: bool, notify_socket: bool) -> BuildOutcome {
    let mentions = Mentions { listen_fds, notify_socket };
    BuildOutcome::Succeeded(Artifact { mentions, ..artifact(identity) })
}

#[test]
fn a_server_that_learns_to_take_our_socket_is_offered_it() {
    let mut desk = Desk::with(Socket::Direct, |it| it.follows = true);
    desk.build(1, that_mentions(1, false, false));
    assert_eq!(desk.did(), ["build 1 []", "start 1"]);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.change("src/main.rs");
    desk.build(2, that_mentions(2, true, true));
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "terminate 1"]);
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 2 with socket"]);
    desk.server(2, ServerEvent::Bound(endpoint(OURS)));
    desk.server(2, ServerEvent::Spawned { pid: 102 });
    desk.server(2, ServerEvent::Listening(vec![endpoint(OURS)]));
    desk.server(2, ServerEvent::Ready);
    desk.change("src/main.rs");
    desk.build(3, that_mentions(3, true, true));
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "start 3 beside 102"]);
}

#[test]
fn where_it_cannot_be_bound_the_server_binds_for_itself() {
    let mut desk = Desk::new(Socket::Unbound);
    desk.built(1, 1);
    assert_eq!(desk.did(), ["build 1 []", "start 1 with socket"]);
    desk.server(1, ServerEvent::NotBound);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    desk.change("src/main.rs");
    desk.built(2, 2);
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "terminate 1"]);
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 2"]);
}

#[test]
fn a_server_that_can_no_longer_take_our_socket_binds_for_itself() {
    let mut desk = Desk::ready_with(Swap::Auto);
    desk.change("src/main.rs");
    desk.build(2, that_mentions(2, false, false));
    // Our listener is out of its way before it starts; the old one serves with its own copy.
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "give up listener", "terminate 1"]);
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 2"]);
}

#[test]
fn a_server_that_can_no_longer_say_that_it_is_ready_is_not_waited_for() {
    let mut desk = Desk::ready_with(Swap::Auto);
    desk.change("src/main.rs");
    desk.build(2, that_mentions(2, true, false));
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "terminate 1"]);
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 2 with socket"]);
}

// ---- states in between ----

#[test]
fn a_server_that_can_no_longer_say_that_it_is_ready_is_said_to_serve_when_it_accepts() {
    let mut desk = Desk::ready_with(Swap::Auto);
    desk.change("src/main.rs");
    desk.build(2, that_mentions(2, true, false));
    desk.exited(1, Exit::Code(0));
    desk.server(2, ServerEvent::Spawned { pid: 102 });
    desk.said();
    desk.server(2, ServerEvent::Listening(vec![endpoint(OURS)]));
    desk.wait(60_000);
    assert_eq!(desk.told(), ["ServerListening"]);
}

#[test]
fn an_executable_that_somebody_else_touched_is_built_again_beside_the_old_one_too() {
    let mut desk = Desk::ready_with(Swap::Auto);
    desk.change("src/main.rs");
    desk.built(2, 2);
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "start 2 beside 101"]);
    desk.server(2, ServerEvent::Superseded);
    assert_eq!(desk.did(), ["build 3 []"]);
    desk.built(3, 2);
    assert_eq!(desk.did(), ["start 3 beside 101"]);
}

#[test]
fn side_by_side_without_a_word_the_new_one_that_is_left_alone_is_said_to_serve() {
    let mut desk = Desk::with(Socket::Inherited(endpoint(OURS)), |it| it.swap = Swap::Overlap);
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.server(1, ServerEvent::Listening(vec![endpoint(OURS)]));
    desk.change("src/main.rs");
    desk.built(2, 2);
    desk.server(2, ServerEvent::Spawned { pid: 102 });
    desk.exited(1, Exit::Code(1));
    desk.said();
    desk.server(2, ServerEvent::Listening(vec![endpoint(OURS)]));
    desk.wait(60_000);
    assert_eq!(desk.told(), ["ServerListening"]);
}

#[test]
fn where_the_one_before_it_could_not_be_started_the_next_one_serves() {
    let mut desk = Desk::with(Socket::Inherited(endpoint(OURS)), |it| it.swap = Swap::Overlap);
    desk.built(1, 1);
    desk.change("src/main.rs");
    desk.built(2, 2);
    desk.server(1, ServerEvent::SpawnFailed { message: "no".into() });
    desk.server(2, ServerEvent::Spawned { pid: 102 });
    desk.server(2, ServerEvent::Listening(vec![endpoint(OURS)]));
    desk.said();
    // It ends by itself: nothing else serves, and that is said.
    desk.exited(2, Exit::Code(1));
    let said = desk.said();
    assert!(
        matches!(&said[..], [Report::ServerExited { serving: None, waiting: true, .. }]),
        "{said:?}"
    );
    assert_eq!(desk.state.deadline(), None);
}

#[test]
fn a_new_one_that_is_stopping_by_itself_is_not_taken_for_ready() {
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Stopping);
    desk.server(2, ServerEvent::Ready);
    desk.wait(30_000);
    desk.wait(5_000);
    assert_eq!(desk.did(), ["kill 2"]);
}

#[test]
fn an_executable_that_somebody_else_touched_is_built_again_while_old_ones_drain() {
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Ready);
    desk.exited(2, Exit::Signal(11));
    desk.change("src/main.rs");
    desk.built(3, 3);
    desk.did();
    desk.server(3, ServerEvent::Superseded);
    assert_eq!(desk.did(), ["build 4 []"]);
}

#[test]
fn a_restart_by_key_starts_what_was_late_with_the_old_one_stopped_first() {
    let mut desk = Desk::starting_second();
    desk.wait(30_000);
    desk.exited(2, Exit::Code(0));
    desk.did();
    desk.step(Event::Key(Key::Restart));
    desk.built(3, 2);
    assert_eq!(desk.did(), ["build 3 []", "terminate 1"]);
}

#[test]
fn after_a_conflict_those_that_still_drain_are_waited_for_after_a_crash() {
    let held = vec![Held::File("data/lock".into())];
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Blocked(held));
    desk.server(2, ServerEvent::Ready);
    desk.exited(2, Exit::Signal(11));
    desk.did();
    // Generation 1 still has the lock, as far as is known.
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]"]);
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 3 with socket"]);
}

#[test]
fn what_a_new_one_has_waited_for_makes_the_next_stop_first() {
    let held = vec![Held::File("data/lock".into())];
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Blocked(held.clone()));
    desk.exited(1, Exit::Code(0));
    desk.server(2, ServerEvent::Ready);
    desk.server(2, ServerEvent::Holds(held));
    desk.did();
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "terminate 2"]);
}

#[test]
fn a_new_one_that_ends_in_good_order_wanted_nothing() {
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Conflict(vec![Held::SomeAddress]));
    desk.exited(2, Exit::Code(0));
    desk.wait(60_000);
    assert_eq!(desk.did(), Vec::<String>::new());
}

#[test]
fn an_old_server_that_was_stopped_in_vain_is_started_again() {
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Conflict(vec![Held::Address(endpoint(THEIRS))]));
    desk.exited(2, Exit::Code(101));
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["terminate 1", "start 2 with socket"]);
    // It was another mistake.
    desk.server(2, ServerEvent::Spawned { pid: 202 });
    desk.exited(2, Exit::Code(101));
    assert_eq!(desk.did(), ["start 1 again"]);
    desk.server(1, ServerEvent::Spawned { pid: 301 });
    desk.server(1, ServerEvent::Ready);
    // What comes next is started beside it.
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "start 3 beside 301"]);
}

#[test]
fn an_old_server_that_was_stopped_for_a_good_one_is_not() {
    let mut desk = Desk::starting_second();
    desk.server(2, ServerEvent::Conflict(vec![Held::Address(endpoint(THEIRS))]));
    desk.exited(2, Exit::Code(1));
    desk.exited(1, Exit::Code(0));
    desk.server(2, ServerEvent::Spawned { pid: 202 });
    desk.server(2, ServerEvent::Ready);
    desk.did();
    desk.exited(2, Exit::Code(1));
    assert_eq!(desk.did(), Vec::<String>::new());
}

#[test]
fn a_port_that_is_opened_long_before_our_socket_is_taken_is_no_sign() {
    let mut desk = Desk::new(Socket::Offered(endpoint(OURS)));
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    // A port for metrics, then a slow database.
    desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    desk.wait(20_000);
    assert_eq!(desk.did(), ["build 1 []", "start 1 with socket"]);
    desk.server(1, ServerEvent::Ready);
    desk.server(1, ServerEvent::Listening(vec![endpoint(OURS), endpoint(THEIRS)]));
    desk.wait(60_000);
    desk.change("src/main.rs");
    desk.built(2, 2);
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "start 2 beside 101"]);
    desk.server(2, ServerEvent::Spawned { pid: 102 });
    desk.server(2, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    desk.wait(20_000);
    desk.server(2, ServerEvent::Ready);
    desk.server(2, ServerEvent::Listening(vec![endpoint(OURS), endpoint(THEIRS)]));
    desk.wait(60_000);
    assert_eq!(desk.did(), ["terminate 1", "kill 1"]);
}

#[test]
fn one_that_is_ready_and_listens_elsewhere_alone_binds_for_itself() {
    let mut desk = Desk::new(Socket::Offered(endpoint(OURS)));
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    desk.server(1, ServerEvent::Ready);
    desk.wait(2_900);
    assert_eq!(desk.did(), ["build 1 []", "start 1 with socket"]);
    desk.wait(200);
    assert_eq!(desk.did(), ["give up listener"]);
}

#[test]
fn an_old_server_that_was_stopped_in_vain_has_our_socket_again() {
    let mut desk = Desk::starting_second();
    // An address of somebody else's.
    desk.server(2, ServerEvent::Conflict(vec![Held::SomeAddress]));
    desk.exited(2, Exit::Code(1));
    desk.exited(1, Exit::Code(0));
    desk.exited(2, Exit::Code(1));
    assert_eq!(desk.did(), ["terminate 1", "start 2 with socket", "give up listener", "start 2"]);
    desk.exited(2, Exit::Code(1));
    assert!(matches!(
        desk.actions.last(),
        Some(Action::Start { again: true, handover: Handover::Inherit, .. })
    ));
}

// ---- servers that share what they bind ----

const METRICS: &str = "127.0.0.1:9090";

fn adopted(addresses: &[&str]) -> ServerEvent {
    ServerEvent::Adopted(addresses.iter().map(|it| endpoint(it)).collect())
}

impl Desk {
    /// One whose servers bind for themselves and share it. Nothing lives yet.
    fn sharing_with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with(Socket::Direct, |it| {
            it.adopts = true;
            change(it);
        })
    }

    /// One whose first server (generation 1, pid 101) shares these, and accepts.
    fn shares_with(addresses: &[&str], change: impl FnOnce(&mut Settings)) -> Self {
        let mut desk = Self::sharing_with(change);
        desk.built(1, 1);
        desk.server(1, ServerEvent::Spawned { pid: 101 });
        desk.server(1, adopted(addresses));
        desk.server(1, ServerEvent::Accepts);
        desk.wait(60_000);
        desk.said();
        desk
    }

    fn shares(addresses: &[&str]) -> Self {
        Self::shares_with(addresses, |_| {})
    }

    /// The same, and a second server (generation 2, pid 102) has been started beside it.
    fn shares_and_starts(addresses: &[&str]) -> Self {
        let mut desk = Self::shares(addresses);
        desk.second();
        desk
    }

    fn second(&mut self) {
        self.change("src/main.rs");
        self.built(2, 2);
        assert_eq!(self.did(), ["build 2 [src/main.rs]", "start 2 beside 101"]);
        self.server(2, ServerEvent::Spawned { pid: 102 });
        self.said();
    }

    /// The same, and the second has all that the first has, which is retired.
    fn retired() -> Self {
        let mut desk = Self::shares_and_starts(&[THEIRS]);
        desk.server(2, adopted(&[THEIRS]));
        assert_eq!(desk.did(), ["retire 1"]);
        desk
    }

    /// Actions and the names of the reports, in order.
    fn all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for action in std::mem::take(&mut self.actions) {
            self.actions = vec![action];
            if let Some(Action::Report(_)) = self.actions.first() {
                all.extend(self.told());
            } else {
                all.extend(self.did());
            }
        }
        all
    }
}

#[test]
fn a_server_that_shares_what_it_binds_is_followed_by_one_beside_it() {
    let mut desk = Desk::sharing_with(|_| {});
    desk.built(1, 1);
    assert_eq!(desk.did(), ["build 1 []", "start 1 to share"]);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.said();
    desk.server(1, adopted(&[THEIRS]));
    assert_eq!(desk.told(), ["ServerListening"], "at once");
    desk.server(1, ServerEvent::Accepts);
    desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    desk.wait(60_000);
    assert_eq!(desk.told(), Vec::<String>::new(), "once");

    desk.second();
    desk.server(2, adopted(&[THEIRS]));
    assert_eq!(desk.all(), ["retire 1", "ServerRetired"]);
    desk.server(2, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    desk.wait(1_000);
    assert_eq!(desk.all(), Vec::<String>::new(), "not said to serve before it accepts");
    desk.server(2, ServerEvent::Accepts);
    assert_eq!(desk.all(), ["ServerStopping", "drain 1", "ServerListening"]);
    desk.exited(1, Exit::Code(0));
    desk.said();
    // And so on, the second now being the old one.
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "start 3 beside 102"]);
}

#[test]
fn one_that_accepts_before_it_has_all_takes_over_when_it_has() {
    let mut desk = Desk::shares_and_starts(&[THEIRS, METRICS]);
    desk.server(2, adopted(&[METRICS]));
    desk.server(2, ServerEvent::Accepts);
    desk.wait(400);
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.server(2, adopted(&[METRICS, THEIRS]));
    assert_eq!(desk.did(), ["retire 1", "drain 1"]);
}

#[test]
fn one_that_listens_on_less_is_given_a_moment_for_the_rest() {
    let mut desk = Desk::shares_and_starts(&[THEIRS, METRICS]);
    desk.wait(1_500);
    desk.server(2, adopted(&[THEIRS]));
    desk.server(2, ServerEvent::Accepts);
    desk.wait(499);
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.wait(1);
    assert_eq!(desk.did(), ["retire 1", "drain 1"]);
}

#[test]
fn one_that_listens_on_more_shows_all_of_it() {
    let mut desk = Desk::shares_and_starts(&[THEIRS]);
    desk.server(2, adopted(&[METRICS, THEIRS]));
    assert_eq!(desk.did(), ["retire 1"]);
    desk.server(2, ServerEvent::Accepts);
    let said = desk.said();
    let both = [endpoint(THEIRS), endpoint(METRICS)];
    assert!(
        matches!(&said[1], Report::ServerListening { endpoints, .. } if *endpoints == both),
        "{said:?}"
    );
}

#[test]
fn one_that_listens_elsewhere_takes_over_there() {
    let mut desk = Desk::shares_and_starts(&[THEIRS]);
    desk.server(2, adopted(&[METRICS]));
    desk.wait(500);
    desk.server(2, ServerEvent::Accepts);
    assert_eq!(desk.did(), ["retire 1", "drain 1"]);
}

#[test]
fn a_port_that_was_named_is_kept_and_another_one_is_a_warning() {
    let mut desk = Desk::shares_with(&[THEIRS], |it| it.named_port = Some(3000));
    desk.second();
    desk.server(2, adopted(&[THEIRS]));
    desk.server(2, ServerEvent::Accepts);
    assert!(!desk.told().contains(&"ServerElsewhere".into()));
    desk.exited(1, Exit::Code(0));
    desk.change("src/main.rs");
    desk.built(3, 3);
    desk.server(3, ServerEvent::Spawned { pid: 103 });
    desk.server(3, adopted(&[METRICS]));
    desk.wait(500);
    assert!(!desk.told().contains(&"ServerElsewhere".into()), "it does not serve yet");
    desk.server(3, ServerEvent::Accepts);
    assert_eq!(desk.told(), ["ServerStopping", "ServerListening", "ServerElsewhere"]);
}

#[test]
fn one_that_is_never_seen_to_accept_takes_over_in_the_end() {
    let mut desk = Desk::retired();
    desk.wait(2_000);
    // The old one does not answer meanwhile.
    let slow = Report::ServerSlowToStart {
        generation: Generation(2),
        after: Duration::from_secs(2),
        serving: None,
    };
    assert_eq!(desk.said(), [slow]);
    desk.wait(27_900);
    assert_eq!(desk.all(), Vec::<String>::new());
    desk.wait(100);
    assert_eq!(desk.all(), ["ServerStopping", "drain 1", "ServerListening"]);
    // Whether it can be retired is not known, so the next one waits for its end.
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "terminate 2"]);
}

#[test]
fn one_that_listens_where_nothing_can_be_shared_takes_over_in_the_end() {
    let mut desk = Desk::shares_and_starts(&[THEIRS]);
    desk.server(2, ServerEvent::Listening(vec![endpoint(METRICS)]));
    desk.wait(30_000);
    assert_eq!(desk.did(), ["retire 1", "drain 1"]);
}

#[test]
fn one_that_does_not_come_to_listen_is_stopped() {
    let mut desk = Desk::shares_and_starts(&[THEIRS]);
    desk.wait(29_900);
    let said = desk.said();
    assert!(
        matches!(said[..], [Report::ServerSlowToStart { serving: Some(Generation(1)), .. }]),
        "{said:?}"
    );
    desk.wait(100);
    let said = desk.said();
    assert!(matches!(said[0], Report::ServerNotReady { word: false, .. }), "{said:?}");
    desk.wait(5_000);
    assert_eq!(desk.did(), ["kill 2"]);
    // The old one is as it was.
    desk.exited(2, Exit::Signal(9));
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "start 3 beside 101"]);
}

/// One whose first server shares and has said that it is ready; a second one starts.
fn sharing_and_speaking() -> Desk {
    let mut desk = Desk::shares(&[THEIRS]);
    desk.server(1, ServerEvent::Ready);
    desk.second();
    desk
}

#[test]
fn of_servers_that_share_and_speak_the_word_is_awaited() {
    let mut desk = sharing_and_speaking();
    desk.server(2, adopted(&[THEIRS]));
    desk.server(2, ServerEvent::Accepts);
    desk.wait(5_000);
    assert_eq!(desk.did(), ["retire 1"]);
    desk.server(2, ServerEvent::Ready);
    assert_eq!(desk.all(), ["ServerReady", "ServerStopping", "drain 1", "ServerListening"]);
}

#[test]
fn the_word_comes_first_whoever_says_it() {
    for mut desk in [sharing_and_speaking(), Desk::shares_and_starts(&[THEIRS, METRICS])] {
        desk.server(2, adopted(&[METRICS]));
        desk.server(2, ServerEvent::Ready);
        let all = desk.all();
        let expected = [
            "ServerReady",
            "retire 1",
            "ServerRetired",
            "ServerStopping",
            "drain 1",
            "ServerListening",
        ];
        assert!(all.ends_with(&expected.map(String::from)), "{all:?}");
    }
}

#[test]
fn one_that_shares_and_does_not_say_the_word_in_time_is_stopped() {
    let mut desk = sharing_and_speaking();
    desk.server(2, adopted(&[THEIRS]));
    desk.server(2, ServerEvent::Accepts);
    desk.wait(29_900);
    desk.said();
    desk.wait(100);
    assert_eq!(
        desk.all(),
        ["ServerNotReady", "resume 1", "ServerResumed", "ServerStopping", "terminate 2"]
    );
}

#[test]
fn one_whose_code_can_no_longer_say_the_word_need_not() {
    let mut desk = Desk::shares(&[THEIRS]);
    desk.server(1, ServerEvent::Ready);
    desk.change("src/main.rs");
    desk.build(2, that_mentions(2, false, false));
    desk.server(2, ServerEvent::Spawned { pid: 102 });
    desk.did();
    desk.server(2, adopted(&[THEIRS]));
    desk.server(2, ServerEvent::Accepts);
    assert_eq!(desk.did(), ["retire 1", "drain 1"]);
}

#[test]
fn one_that_dies_before_it_listens_leaves_the_old_one_alone() {
    let mut desk = Desk::shares_and_starts(&[THEIRS]);
    desk.exited(2, Exit::Code(101));
    let said = desk.said();
    assert!(
        matches!(
            said[..],
            [Report::ServerExited { serving: Some(Generation(1)), waiting: true, .. }]
        ),
        "{said:?}"
    );
    desk.wait(60_000);
    assert_eq!(desk.did(), Vec::<String>::new());
}

#[test]
fn one_that_dies_after_it_has_all_gives_it_back() {
    for accepts in [false, true] {
        let mut desk = if accepts { sharing_and_speaking() } else { Desk::retired() };
        if accepts {
            desk.server(2, adopted(&[THEIRS]));
            desk.server(2, ServerEvent::Accepts);
            assert_eq!(desk.did(), ["retire 1"]);
        }
        desk.exited(2, Exit::Code(101));
        let resumed = Report::ServerResumed { generation: Generation(1), after: Generation(2) };
        assert!(desk.actions.contains(&Action::Report(resumed)), "{:?}", desk.actions);
        assert_eq!(desk.all(), ["resume 1", "ServerResumed", "ServerExited"]);
        desk.server(1, ServerEvent::Accepts);
        desk.change("src/main.rs");
        desk.built(3, 3);
        assert_eq!(desk.did(), ["build 3 [src/main.rs]", "start 3 beside 101"]);
        desk.server(3, ServerEvent::Spawned { pid: 103 });
        desk.server(3, adopted(&[THEIRS]));
        assert_eq!(desk.did(), ["retire 1"], "it can be retired again");
    }
}

#[test]
fn one_that_dies_after_it_took_over_does_not_bring_the_old_one_back() {
    let mut desk = Desk::retired();
    desk.server(2, ServerEvent::Accepts);
    desk.did();
    desk.wait(2_000);
    desk.said();
    desk.exited(2, Exit::Signal(11));
    assert_eq!(desk.all(), ["ServerExited"]);
    // The next one need not wait for what still drains: that accepts no more.
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]", "start 3 to share"]);
}

#[test]
fn one_that_accepts_and_fails_at_its_start_gives_way_to_the_old_one() {
    let mut desk = Desk::retired();
    desk.server(2, ServerEvent::Accepts);
    desk.all();
    desk.wait(900);
    desk.exited(2, Exit::Code(101));
    let said = desk.said();
    let restored = Report::ServerRestored { generation: Generation(1), failed: Generation(2) };
    assert!(
        matches!(&said[..], [Report::ServerExited { waiting: false, .. }, it] if *it == restored),
        "{said:?}"
    );
    assert_eq!(desk.did(), Vec::<String>::new(), "the process of the same name has not ended");
    desk.exited(1, Exit::Signal(15));
    assert_eq!(desk.did(), ["start 1 again"]);
    // There is nothing else to come back to.
    desk.server(1, ServerEvent::Spawned { pid: 103 });
    desk.server(1, adopted(&[THEIRS]));
    desk.server(1, ServerEvent::Accepts);
    desk.all();
    desk.exited(1, Exit::Code(101));
    assert_eq!(desk.all(), ["ServerExited"]);
}

#[test]
fn one_that_ends_in_order_has_not_failed() {
    for (ready, exit) in [(false, Exit::Code(0)), (true, Exit::Code(101))] {
        let mut desk = Desk::shares_and_starts(&[THEIRS]);
        desk.server(2, adopted(&[THEIRS]));
        desk.server(2, ServerEvent::Accepts);
        if ready {
            desk.server(2, ServerEvent::Ready);
        }
        desk.all();
        desk.exited(2, exit);
        assert_eq!(desk.all(), ["ServerExited"]);
    }
}

#[test]
fn after_a_crash_those_are_waited_for_that_may_still_accept() {
    let mut desk = Desk::shares_and_starts(&[THEIRS]);
    // The old one is asked to stop without having been retired.
    desk.server(2, ServerEvent::Blocked(vec![Held::File("data/lock".into())]));
    assert_eq!(desk.did(), ["terminate 1"]);
    desk.exited(2, Exit::Signal(11));
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 3 [src/main.rs]"]);
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 3 to share"]);
}

#[test]
fn a_newer_build_supersedes_one_for_which_the_old_one_is_retired() {
    let mut desk = Desk::retired();
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(
        desk.did(),
        ["build 3 [src/main.rs]", "resume 1", "terminate 2", "start 3 beside 101"]
    );
    // What it still says moves nothing.
    desk.server(2, ServerEvent::Accepts);
    desk.server(2, adopted(&[]));
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.server(3, ServerEvent::Spawned { pid: 103 });
    desk.server(3, adopted(&[THEIRS]));
    desk.server(3, ServerEvent::Accepts);
    assert_eq!(desk.did(), ["retire 1", "drain 1"]);
}

#[test]
fn one_that_is_not_what_was_built_gives_back_what_it_had() {
    let mut desk = Desk::retired();
    desk.server(2, ServerEvent::Superseded);
    assert_eq!(desk.did(), ["resume 1", "build 3 []"]);
    let mut desk = Desk::retired();
    desk.server(2, ServerEvent::SpawnFailed { message: "no".into() });
    assert_eq!(desk.did(), ["resume 1"]);
}

#[test]
fn an_old_one_that_dies_while_it_is_retired_leaves_the_new_one() {
    let mut desk = Desk::retired();
    desk.said();
    desk.exited(1, Exit::Signal(11));
    assert_eq!(desk.told(), ["ServerExited", "ServerListening"]);
    desk.server(2, ServerEvent::Accepts);
    desk.wait(60_000);
    assert_eq!(desk.all(), Vec::<String>::new(), "there is nobody to resume or to drain");
    desk.exited(2, Exit::Code(1));
    assert_eq!(desk.all(), ["ServerExited"]);
}

#[test]
fn an_old_one_that_is_stopping_by_itself_is_not_asked_to_drain() {
    let mut desk = Desk::retired();
    desk.server(1, ServerEvent::Stopping);
    desk.server(2, ServerEvent::Accepts);
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.wait(5_000);
    assert_eq!(desk.did(), ["kill 1"]);
}

#[test]
fn a_new_one_that_is_stopping_by_itself_does_not_take_over_what_is_shared() {
    let mut desk = Desk::retired();
    desk.server(2, ServerEvent::Stopping);
    desk.server(2, ServerEvent::Accepts);
    desk.server(2, ServerEvent::Ready);
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.wait(30_000);
    assert_eq!(desk.did(), ["resume 1"]);

    let mut desk = Desk::shares_and_starts(&[THEIRS, METRICS]);
    desk.server(2, adopted(&[THEIRS]));
    desk.server(2, ServerEvent::Stopping);
    desk.wait(1_000);
    assert_eq!(desk.did(), Vec::<String>::new());
}

#[test]
fn quitting_asks_those_that_drain_and_those_that_are_retired() {
    // 1 drains, 2 is retired, 3 starts.
    let mut desk = Desk::retired();
    desk.server(2, ServerEvent::Accepts);
    desk.change("src/main.rs");
    desk.built(3, 3);
    desk.server(3, ServerEvent::Spawned { pid: 103 });
    desk.server(3, adopted(&[THEIRS]));
    assert_eq!(desk.did(), ["drain 1", "build 3 [src/main.rs]", "start 3 beside 102", "retire 2"]);
    desk.step(Event::Signal(Signal::Interrupt));
    assert_eq!(desk.did(), ["terminate 1", "terminate 2", "terminate 3"]);
    desk.exited(3, Exit::Code(0));
    assert_eq!(desk.did(), Vec::<String>::new(), "nobody resumes");
    desk.step(Event::Signal(Signal::Interrupt));
    assert_eq!(desk.did(), ["kill 1", "kill 2"]);
    desk.exited(1, Exit::Signal(9));
    desk.exited(2, Exit::Signal(9));
    assert_eq!(desk.did(), ["exit 130"]);
}

#[test]
fn one_that_drains_is_killed_after_the_grace() {
    let mut desk = Desk::retired();
    desk.server(2, ServerEvent::Accepts);
    desk.did();
    desk.wait(4_000);
    let said = desk.said();
    // What it has shared is not in anybody's way.
    assert!(
        matches!(&said[..], [Report::ServerSlowToStop { endpoints, .. }] if endpoints.is_empty()),
        "{said:?}"
    );
    desk.wait(1_000);
    assert_eq!(desk.did(), ["kill 1"]);
}

#[test]
fn what_a_retired_one_shows_is_said_when_it_resumes() {
    let mut desk = Desk::retired();
    desk.server(1, adopted(&[THEIRS, METRICS]));
    desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS), endpoint(METRICS)]));
    assert_eq!(desk.all(), Vec::<String>::new(), "people ask the new one");
    desk.exited(2, Exit::Code(1));
    assert_eq!(desk.all(), ["resume 1", "ServerResumed", "ServerListening", "ServerExited"]);
}

#[test]
fn one_that_is_stopped_first_is_waited_for_whatever_comes_next() {
    let mut desk = Desk::sharing_with(|_| {});
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.server(1, adopted(&[THEIRS]));
    desk.did();
    // It has not been seen to accept.
    desk.change("src/main.rs");
    desk.built(2, 2);
    desk.change("src/main.rs");
    desk.built(3, 3);
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "terminate 1", "build 3 [src/main.rs]"]);
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 3 to share"]);
}

fn not_adopted_told(desk: &mut Desk) -> usize {
    desk.told().iter().filter(|it| *it == "ServerNotAdopted").count()
}

#[test]
fn a_server_that_shares_nothing_says_why_once() {
    let mut desk = Desk::sharing_with(|_| {});
    desk.built(1, 1);
    desk.server(1, ServerEvent::NotAdopted(Unadopted::Static));
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    let said = desk.said();
    assert!(
        matches!(
            said[said.len() - 2..],
            [
                Report::ServerNotAdopted { generation: Generation(1), why: Unadopted::Static },
                Report::ServerSpawned { handover: Handover::Direct, .. }
            ]
        ),
        "{said:?}"
    );
    desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    assert_eq!(desk.told(), ["ServerListening"]);
    let next = |desk: &mut Desk, generation: u64, why: Unadopted| {
        desk.change("src/main.rs");
        desk.built(generation, generation.into());
        desk.exited(generation - 1, Exit::Code(0));
        let did = desk.did();
        assert_eq!(
            did[1..],
            [format!("terminate {}", generation - 1), format!("start {generation} to share")]
        );
        desk.server(generation, ServerEvent::NotAdopted(why));
        not_adopted_told(desk)
    };
    assert_eq!(next(&mut desk, 2, Unadopted::Static), 0);
    assert_eq!(next(&mut desk, 3, Unadopted::IoUring), 1);
    assert_eq!(next(&mut desk, 4, Unadopted::Static), 1);
    // One that shares makes it news again.
    desk.change("src/main.rs");
    desk.built(5, 5);
    desk.exited(4, Exit::Code(0));
    desk.server(5, adopted(&[THEIRS]));
    desk.did();
    assert_eq!(next(&mut desk, 6, Unadopted::Static), 1);
}

#[test]
fn a_server_that_turns_out_to_share_nothing_is_stopped_first() {
    let mut desk = Desk::shares(&[THEIRS]);
    desk.server(1, ServerEvent::NotAdopted(Unadopted::IoUring));
    assert_eq!(not_adopted_told(&mut desk), 1);
    desk.change("src/main.rs");
    desk.built(2, 2);
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "terminate 1"]);
}

#[test]
fn a_new_one_that_shares_nothing_is_started_alone() {
    let mut desk = Desk::shares(&[THEIRS]);
    desk.change("src/main.rs");
    desk.built(2, 2);
    desk.did();
    desk.server(2, ServerEvent::NotAdopted(Unadopted::Static));
    assert_eq!(
        desk.all(),
        ["ServerNotAdopted", "ServerStopping", "terminate 2", "ServerStopping", "terminate 1"]
    );
    desk.exited(1, Exit::Code(0));
    desk.exited(2, Exit::Signal(15));
    assert_eq!(desk.did(), ["start 2 to share"]);
    desk.server(2, ServerEvent::NotAdopted(Unadopted::Static));
    assert_eq!(not_adopted_told(&mut desk), 0);
    // It fails alone, too.
    desk.server(2, ServerEvent::Spawned { pid: 202 });
    desk.exited(2, Exit::Code(1));
    assert_eq!(desk.did(), ["start 1 again"]);
}

#[test]
fn a_new_one_that_turns_out_to_share_nothing_gives_back_what_it_had() {
    let mut desk = Desk::retired();
    desk.server(2, ServerEvent::NotAdopted(Unadopted::IoUring));
    assert_eq!(desk.did(), ["resume 1", "terminate 2", "terminate 1"]);
}

#[test]
fn a_server_that_was_offered_our_socket_and_shares_its_own_keeps_that() {
    // Also where it wants the very address that ours has.
    for address in [THEIRS, OURS] {
        let mut desk = Desk::with(Socket::Offered(endpoint(OURS)), |it| it.adopts = true);
        desk.built(1, 1);
        let started = |desk: &Desk| {
            desk.actions.iter().any(|it| matches!(it, Action::Start { adopts: true, .. }))
        };
        assert!(started(&desk));
        assert_eq!(desk.did(), ["build 1 []", "start 1 with socket"]);
        desk.server(1, ServerEvent::Spawned { pid: 101 });
        desk.said();
        if address == OURS {
            // It may be seen before it is told.
            desk.server(1, ServerEvent::Listening(vec![endpoint(OURS)]));
            desk.said();
        }
        desk.server(1, adopted(&[address]));
        if address == THEIRS {
            assert_eq!(desk.all(), Vec::<String>::new(), "ours may be taken yet");
            desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
            desk.said();
            // Its code can say when it is ready, and has not.
            desk.wait(31_000);
        }
        let all: Vec<_> = desk.all().into_iter().filter(|it| it.contains("istener")).collect();
        assert_eq!(all[..2], ["give up listener", "ListenerGivenUp"], "{all:?}");
        desk.server(1, ServerEvent::Accepts);
        desk.second();
        desk.server(2, adopted(&[address]));
        desk.server(2, ServerEvent::Accepts);
        assert_eq!(desk.did(), ["retire 1", "drain 1"]);
    }
}

#[test]
fn a_server_that_takes_our_socket_may_share_others() {
    let mut desk = Desk::with(Socket::Offered(endpoint(OURS)), |it| it.adopts = true);
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.server(1, ServerEvent::Listening(vec![endpoint(OURS)]));
    desk.server(1, ServerEvent::Ready);
    desk.did();
    desk.server(1, adopted(&[METRICS]));
    assert_eq!(desk.all(), ["ServerListening"], "our listener is not in its way");
    // The next one takes ours as well, and can have the other.
    desk.change("src/main.rs");
    desk.built(2, 2);
    assert!(desk.actions.iter().any(|it| matches!(it, Action::Start { adopts: true, .. })));
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "start 2 beside 101"]);
    desk.server(2, ServerEvent::Spawned { pid: 102 });
    desk.server(2, adopted(&[METRICS]));
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.server(2, ServerEvent::Ready);
    assert_eq!(desk.did(), ["terminate 1"]);
}

#[test]
fn a_server_that_is_known_to_take_our_socket_shares_nothing() {
    for adopts in [true, false] {
        let mut desk = Desk::with(Socket::Offered(endpoint(OURS)), |it| it.adopts = adopts);
        desk.built(1, 1);
        assert!(
            desk.actions
                .iter()
                .any(|it| matches!(it, Action::Start { adopts: a, .. } if *a == adopts))
        );
        desk.server(1, ServerEvent::Spawned { pid: 101 });
        desk.server(1, ServerEvent::Listening(vec![endpoint(OURS)]));
        desk.server(1, ServerEvent::Ready);
        desk.did();
        desk.change("src/main.rs");
        desk.built(2, 2);
        assert!(desk.actions.iter().any(|it| matches!(it, Action::Start { adopts: false, .. })));
    }
}

#[test]
fn that_a_server_cannot_share_is_said_once_it_does_not_take_our_socket() {
    let mut desk = Desk::with(Socket::Offered(endpoint(OURS)), |it| it.adopts = true);
    desk.build(1, that_mentions(1, true, false));
    desk.server(1, ServerEvent::NotAdopted(Unadopted::Static));
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    assert_eq!(not_adopted_told(&mut desk), 0, "it may take ours");
    desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    assert_eq!(
        desk.all(),
        ["ServerListening", "ServerNotAdopted", "give up listener", "ListenerGivenUp"]
    );
}

#[test]
fn where_ours_cannot_be_bound_the_server_shares_its_own() {
    let mut desk = Desk::with(Socket::Unbound, |it| it.adopts = true);
    desk.built(1, 1);
    assert_eq!(desk.did(), ["build 1 []", "start 1 with socket"]);
    desk.server(1, ServerEvent::NotBound);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.server(1, adopted(&[THEIRS]));
    desk.server(1, ServerEvent::Accepts);
    desk.second();
}

#[test]
fn who_wants_the_old_one_stopped_first_gets_that_of_what_is_shared_too() {
    let mut desk = Desk::shares_with(&[THEIRS], |it| it.swap = Swap::StopFirst);
    desk.change("src/main.rs");
    desk.built(2, 2);
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "terminate 1"]);
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 2 to share"]);
}

#[test]
fn what_is_shared_in_part_is_stopped_first() {
    for (swap, beside) in [(Swap::Auto, false), (Swap::Overlap, true)] {
        let mut desk = Desk::shares_with(&[THEIRS], |it| it.swap = swap);
        desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS), endpoint(METRICS)]));
        desk.said();
        desk.change("src/main.rs");
        desk.built(2, 2);
        let then = if beside { "start 2 beside 101" } else { "terminate 1" };
        assert_eq!(desk.did(), ["build 2 [src/main.rs]", then]);
        if !beside {
            desk.wait(1_500);
            let own = [endpoint(METRICS)];
            let said = desk.said();
            assert!(
                matches!(&said[..], [Report::ServerSlowToStop { endpoints, .. }] if *endpoints == own),
                "{said:?}"
            );
        }
    }
}

#[test]
fn one_that_has_not_accepted_may_not_be_one_that_can_be_retired() {
    for (swap, beside) in [(Swap::Auto, false), (Swap::Overlap, true)] {
        let mut desk = Desk::sharing_with(|it| it.swap = swap);
        desk.built(1, 1);
        desk.server(1, ServerEvent::Spawned { pid: 101 });
        desk.server(1, adopted(&[THEIRS]));
        desk.did();
        desk.change("src/main.rs");
        desk.built(2, 2);
        let then = if beside { "start 2 beside 101" } else { "terminate 1" };
        assert_eq!(desk.did(), ["build 2 [src/main.rs]", then]);
    }
}

#[test]
fn one_that_has_closed_what_it_shared_shares_nothing() {
    let mut desk = Desk::shares(&[THEIRS]);
    desk.server(1, adopted(&[]));
    desk.change("src/main.rs");
    desk.built(2, 2);
    assert_eq!(desk.did(), ["build 2 [src/main.rs]", "terminate 1"]);
}

#[test]
fn what_the_old_one_holds_makes_it_stop_first_of_what_is_shared_too() {
    let lock = || vec![Held::File("data/lock".into())];
    let shared = || Held::Address(endpoint(THEIRS));
    let mut desk = Desk::retired();
    desk.server(2, ServerEvent::Conflict(lock()));
    desk.exited(2, Exit::Code(1));
    assert_eq!(
        desk.all(),
        [
            "resume 1",
            "ServerResumed",
            "ServerExited",
            "ServerConflict",
            "ServerStopping",
            "terminate 1"
        ]
    );
    desk.exited(1, Exit::Code(0));
    assert_eq!(desk.did(), ["start 2 to share"]);
    let serves = |desk: &mut Desk, generation: u64, holds: Vec<Held>| {
        desk.server(generation, ServerEvent::Spawned { pid: 200 });
        desk.server(generation, adopted(&[THEIRS]));
        desk.server(generation, ServerEvent::Accepts);
        desk.server(generation, ServerEvent::Holds(holds));
        desk.did();
        desk.change("src/main.rs");
        desk.built(generation + 1, (generation + 1).into());
        desk.did()[1].clone()
    };
    assert_eq!(serves(&mut desk, 2, [lock(), vec![shared()]].concat()), "terminate 2");
    desk.exited(2, Exit::Code(0));
    // It holds the lock no more, and what it shares is in nobody's way.
    assert_eq!(serves(&mut desk, 3, vec![shared()]), "start 4 beside 200");
}

#[test]
fn an_address_that_became_a_shared_one_is_no_conflict_any_more() {
    // The new one wants all addresses of that port, of which the old one has one.
    for wanted in ["0.0.0.0:3000", THEIRS] {
        let mut desk = Desk::shares_and_starts(&[THEIRS]);
        desk.server(2, ServerEvent::Conflict(vec![Held::Address(endpoint(wanted))]));
        desk.exited(2, Exit::Code(1));
        desk.exited(1, Exit::Code(0));
        desk.server(2, ServerEvent::Spawned { pid: 202 });
        desk.server(2, adopted(&[wanted]));
        desk.server(2, ServerEvent::Accepts);
        desk.did();
        desk.change("src/main.rs");
        desk.built(3, 3);
        assert_eq!(desk.did(), ["build 3 [src/main.rs]", "start 3 beside 202"], "{wanted}");
    }
}

#[test]
fn one_that_waits_for_the_old_one_shows_itself_when_that_is_asked_to_stop() {
    let mut desk = Desk::retired();
    desk.said();
    desk.server(2, ServerEvent::Blocked(vec![Held::File("data/lock".into())]));
    assert_eq!(desk.all(), ["ServerConflict", "ServerStopping", "terminate 1", "ServerListening"]);
}

#[test]
fn an_old_one_that_shared_and_was_stopped_in_vain_is_started_again() {
    // Whether the new one had accepted before it failed decides.
    for accepts in [false, true] {
        let mut desk = Desk::shares_and_starts(&[THEIRS]);
        desk.server(2, ServerEvent::Conflict(vec![Held::SomeAddress]));
        desk.exited(2, Exit::Code(1));
        desk.exited(1, Exit::Code(0));
        desk.server(2, ServerEvent::Spawned { pid: 202 });
        desk.server(2, adopted(&[THEIRS]));
        if accepts {
            desk.server(2, ServerEvent::Accepts);
        }
        desk.did();
        desk.exited(2, Exit::Code(1));
        let restored: &[&str] = if accepts { &[] } else { &["start 1 again"] };
        assert_eq!(desk.did(), restored);
    }
}

#[test]
fn one_that_shared_in_place_of_taking_ours_does_so_when_it_is_started_again() {
    let mut desk = Desk::with(Socket::Offered(endpoint(OURS)), |it| it.adopts = true);
    desk.built(1, 1);
    desk.server(1, ServerEvent::Spawned { pid: 101 });
    desk.server(1, adopted(&[THEIRS]));
    desk.server(1, ServerEvent::Accepts);
    desk.server(1, ServerEvent::Listening(vec![endpoint(THEIRS)]));
    desk.wait(31_000);
    desk.did();
    desk.second();
    desk.server(2, ServerEvent::Conflict(vec![Held::File("data/lock".into())]));
    desk.exited(2, Exit::Code(1));
    desk.exited(1, Exit::Code(0));
    desk.exited(2, Exit::Code(1));
    assert!(matches!(
        desk.actions.last(),
        Some(Action::Start { again: true, handover: Handover::Adopt, .. })
    ));
}

#[test]
fn with_auto_it_is_said_why_a_server_is_offered_nothing() {
    use cargo_stario::event::Unoffered;

    let why = |follows: bool, listen_fds: bool| {
        let mut desk = Desk::sharing_with(|it| it.follows = follows);
        desk.build(1, that_mentions(1, listen_fds, false));
        if follows && listen_fds {
            desk.server(1, ServerEvent::NotBound);
        }
        desk.server(1, ServerEvent::Spawned { pid: 101 });
        let spawned = desk.said().pop();
        match spawned {
            Some(Report::ServerSpawned { unoffered, handover: Handover::Adopt, .. }) => unoffered,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(why(true, false), Some(Unoffered::Unable));
    assert_eq!(why(true, true), Some(Unoffered::Untaken));
    assert_eq!(why(false, true), None, "the user has asked for it");
}
