//! How long the parts take that touch nothing, since they stand between each save and its build: which
//! paths count, and what the supervisor decides. `make bench-pure`.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use cargo_stario::event::{
    Action, Artifact, BuildEvent, BuildOutcome, Change, ChangeKind, Content, Endpoint, Event, Exit,
    Generation, Identity, Mentions, ServerEvent, Stamp, Swap,
};
use cargo_stario::supervisor::{Settings, Socket, State};
use cargo_stario::watch::{Filter, Spec, Verdict, WatchSet};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tempfile::TempDir;

/// Files of the project that is judged, in folders of a hundred.
const FILES: usize = 10_000;

/// A repository's folder. Its files need not exist; its ignore files have to.
struct Project {
    /// Removed at the end.
    _folder: TempDir,
    root: PathBuf,
    files: Vec<PathBuf>,
}

impl Project {
    fn new() -> Self {
        let folder = TempDir::with_prefix("stario-").expect("a temporary folder");
        let root = folder.path().canonicalize().expect("it exists");
        fs::create_dir(root.join(".git")).expect("a folder in it");
        fs::write(root.join(".gitignore"), "/target\n*.log\nnode_modules/\n!keep.log\n/dist/*\n")
            .expect("a file in it");
        let endings = ["rs", "html", "css", "log", "toml", "rs~", "sqlite3", "rs", "js", "md"];
        let files = (0..FILES)
            .map(|number| {
                let (folder, name) = (number / 100, number % 100);
                let ending = endings[number % endings.len()];
                root.join(format!("src/part{}/area{folder}/file{name}.{ending}", folder % 10))
            })
            .collect();
        Self { _folder: folder, root, files }
    }

    fn set(&self, ignore: impl Iterator<Item = String>) -> WatchSet {
        WatchSet {
            roots: vec![self.root.clone()],
            specs: Vec::new(),
            ignore: ignore.map(|text| Spec { text, base: self.root.clone() }).collect(),
            manifests: ["Cargo.toml", "Cargo.lock"].map(|name| self.root.join(name)).into(),
            never: vec![self.root.join("target")],
            gitignore: true,
        }
    }

    /// How many count.
    fn watched(&self, filter: &mut Filter) -> usize {
        let verdicts = self.files.iter().map(|file| filter.verdict(file, false));
        verdicts.filter(|verdict| *verdict == Verdict::Watched).count()
    }
}

/// As a project with many rules has them: names, folders, patterns.
fn globs(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| match number % 4 {
        0 => format!("*.generated{number}"),
        1 => format!("cache{number}/"),
        2 => format!("src/**/old{number}/*.{{rs,js}}"),
        _ => format!("assets{number}/**/*.[ch]ss"),
    })
}

fn filter(criterion: &mut Criterion) {
    let project = Project::new();
    let mut group = criterion.benchmark_group("filter, 10,000 paths");
    // Whole rounds of it take a while.
    group.sample_size(10);
    // A tenth of them are logs, backups and databases each.
    let usual = FILES * 7 / 10;
    for count in [0, 10, 500] {
        let set = project.set(globs(count));
        let mut filter = Filter::new(&set);
        assert_eq!(project.watched(&mut filter), usual, "the files are judged");
        group.bench_function(format!("{count} globs to ignore"), |bencher| {
            bencher.iter(|| project.watched(black_box(&mut filter)));
        });
    }
    group.finish();

    let set = project.set(globs(500));
    criterion.bench_function("filter made of 500 globs", |bencher| {
        bencher.iter(|| Filter::new(black_box(&set)));
    });
}

fn supervisor(criterion: &mut Criterion) {
    let began = Instant::now();
    let serving = serving(began);
    criterion.bench_function("supervisor, from a change to the next server", |bencher| {
        bencher.iter_batched(
            || serving.clone(),
            |mut state| {
                let later = began + Duration::from_secs(120);
                assert!(swapped(&mut state, later), "the next server is started");
                state
            },
            BatchSize::SmallInput,
        );
    });
    let mut state = serving.clone();
    criterion.bench_function("supervisor, a step with nothing to do", |bencher| {
        bencher.iter(|| state.step(black_box(Event::Tick), began + Duration::from_secs(120)));
    });
    criterion.bench_function("supervisor, 1,000 changes at once", |bencher| {
        let changes: Vec<_> =
            (0..1_000).map(|number| change(&format!("src/{number}.rs"))).collect();
        bencher.iter_batched(
            || (serving.clone(), changes.clone()),
            |(mut state, changes)| {
                let actions = state.step(Event::Changed(changes), began + Duration::from_secs(120));
                (state, actions)
            },
            BatchSize::SmallInput,
        );
    });
}

/// The first server serves, and binds for itself.
fn serving(began: Instant) -> State {
    let mut state = State::new(Settings {
        grace: Duration::from_secs(5),
        debounce: Duration::from_millis(30),
        socket: Socket::Direct,
        follows: false,
        adopts: false,
        swap: Swap::Auto,
        ready_timeout: Duration::from_secs(30),
        named_port: None,
    });
    state.begin(began);
    let server = |event| Event::Server(Generation(1), event);
    for event in [
        built(1),
        server(ServerEvent::Spawned { pid: 101 }),
        server(ServerEvent::Listening(vec![Endpoint::Tcp(([127, 0, 0, 1], 3000).into())])),
    ] {
        state.step(event, began);
    }
    state
}

/// A whole round; whether it came to the second server's start.
fn swapped(state: &mut State, now: Instant) -> bool {
    let mut last = Vec::new();
    for event in [
        Event::Changed(vec![change("src/main.rs")]),
        built(2),
        Event::Server(Generation(1), ServerEvent::Exited(Exit::Signal(15))),
    ] {
        last = state.step(event, now);
    }
    last.iter().any(|action| matches!(action, Action::Start { .. }))
}

fn change(path: &str) -> Change {
    let (kind, content) = (ChangeKind::Source, Content::New);
    Change { path: path.into(), kind, content, age: None }
}

fn built(generation: u64) -> Event {
    let artifact = Artifact {
        executable: "target/debug/app".into(),
        identity: Identity(generation.into()),
        stamp: Stamp { inode: 0, modified: SystemTime::UNIX_EPOCH, length: 0 },
        mentions: Mentions::default(),
        fresh: false,
        env: Vec::new(),
        library_paths: Vec::new(),
    };
    let outcome = BuildOutcome::Succeeded(artifact);
    Event::Build(Generation(generation), BuildEvent::Finished(outcome))
}

criterion_group!(benches, filter, supervisor);
criterion_main!(benches);
