//! The supervisor's decisions, one story a test: what came in, and what it had done about it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cargo_stario::event::{
    Action, Artifact, Beside, BuildEvent, BuildOutcome, Change, ChangeKind, Content, Endpoint,
    Event, Exit, Generation, Handover, Held, Identity, Key, Mentions, Report, ServerEvent, Signal,
    Stamp, Swap, WayOut,
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
                Action::Start { generation, beside: Some(Beside { pid, .. }), .. } => {
                    Some(format!("start {generation} beside {pid}"))
                }
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
