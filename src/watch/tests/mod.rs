//! The watch on real files: what is done to them, and what is said of it.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use notify::RecursiveMode;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::source::{self, Placer};
use super::{Message, Options, Spec, Watch, WatchSet, start_with};
use crate::event::{Change, Event, Notice};

mod caches;
mod folders;
mod habits;
#[cfg(unix)]
mod links;
mod rules;
mod trouble;

/// Long enough for a busy machine; a test that passes never waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with files, not watched yet.
struct Scene {
    folder: TempDir,
    root: PathBuf,
    set: WatchSet,
    options: Options,
}

/// A folder that is watched.
struct Watched {
    /// Kept so that it goes last.
    _folder: TempDir,
    root: PathBuf,
    set: WatchSet,
    watch: Option<Watch>,
    inbox: UnboundedReceiver<Event>,
    runtime: Runtime,
    notices: Vec<Notice>,
    placed: Placed,
    marks: usize,
}

/// Where the system's watches lie.
type Placed = Arc<Mutex<HashSet<PathBuf>>>;

/// A placer that keeps a list.
struct Recorder {
    inner: Box<dyn Placer>,
    placed: Placed,
}

impl Placer for Recorder {
    fn watch(&mut self, path: &Path, mode: RecursiveMode) -> notify::Result<()> {
        self.inner.watch(path, mode)?;
        self.placed.lock().unwrap().insert(path.to_path_buf());
        Ok(())
    }

    fn unwatch(&mut self, path: &Path) -> notify::Result<()> {
        self.placed.lock().unwrap().remove(path);
        self.inner.unwatch(path)
    }
}

impl Scene {
    /// An empty folder `root`, which is watched, in a folder that is not.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("root");
        fs::create_dir(&root).unwrap();
        let set = WatchSet { roots: vec![root.clone()], gitignore: true, ..WatchSet::default() };
        let options = Options { debounce: Duration::from_millis(25), eager: true, poll: None };
        Self { folder, root, set, options }
    }

    /// With a file; its folders are made.
    fn file(self, path: &str, content: &str) -> Self {
        write(&self.root.join(path), content);
        self
    }

    /// With an empty folder.
    fn dir(self, path: &str) -> Self {
        fs::create_dir_all(self.root.join(path)).unwrap();
        self
    }

    /// With what makes a repository of it, to `ignore`.
    fn repository(self) -> Self {
        self.dir(".git/info")
    }

    /// `--watch`.
    fn spec(mut self, text: &str) -> Self {
        self.set.specs.push(Spec { text: text.into(), base: self.root.clone() });
        self
    }

    /// `--watch-ignore`.
    fn without(mut self, text: &str) -> Self {
        self.set.ignore.push(Spec { text: text.into(), base: self.root.clone() });
        self
    }

    fn change(mut self, change: impl FnOnce(&mut WatchSet, &Path)) -> Self {
        change(&mut self.set, &self.root);
        self
    }

    fn polling(mut self) -> Self {
        self.options.poll = Some(Duration::from_millis(20));
        self
    }

    /// With a quiet time within which a busy machine does several things.
    fn patient(mut self) -> Self {
        self.options.debounce = Duration::from_secs(1);
        self
    }

    fn watch(self) -> Watched {
        self.watch_with(source::open)
    }

    fn watch_with<O>(self, open: O) -> Watched
    where
        O: FnOnce(Duration, Sender<Message>) -> notify::Result<Box<dyn Placer>> + Send + 'static,
    {
        let (events, inbox) = unbounded_channel();
        let placed = Placed::default();
        let recorded = Arc::clone(&placed);
        let open = move |debounce, sender| {
            let inner = open(debounce, sender)?;
            Ok(Box::new(Recorder { inner, placed: recorded }) as Box<dyn Placer>)
        };
        let watch = start_with(self.set.clone(), self.options, events, open).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Watched {
            _folder: self.folder,
            root: self.root,
            set: self.set,
            watch: Some(watch),
            inbox,
            runtime,
            notices: Vec::new(),
            placed,
            marks: 0,
        }
    }
}

impl Watched {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn write(&self, path: &str, content: &str) {
        write(&self.path(path), content);
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    fn watch(&self) -> &Watch {
        self.watch.as_ref().unwrap()
    }

    /// The next event, which has to come.
    fn event(&mut self) -> Option<Event> {
        let next = async { tokio::time::timeout(PATIENCE, self.inbox.recv()).await };
        let notices = &self.notices;
        self.runtime.block_on(next).unwrap_or_else(|_| panic!("nothing more is said; {notices:?}"))
    }

    /// The next changes of anything but marks.
    fn changes(&mut self) -> Vec<Change> {
        loop {
            let mut changes = self.all_changes();
            changes.retain(|change| !is_mark(&change.path));
            if !changes.is_empty() {
                return changes;
            }
        }
    }

    /// The next changes. Notices are put aside.
    fn all_changes(&mut self) -> Vec<Change> {
        loop {
            match self.event() {
                Some(Event::Changed(changes)) => return changes,
                Some(Event::Notice(notice)) => self.notices.push(notice),
                other => panic!("not the watch's: {other:?}"),
            }
        }
    }

    /// Waits for a notice of this code.
    fn notice(&mut self, code: &str) -> Notice {
        loop {
            if let Some(at) = self.notices.iter().position(|notice| notice.code == code) {
                return self.notices.remove(at);
            }
            match self.event() {
                Some(Event::Notice(notice)) => self.notices.push(notice),
                other => panic!("{code} should have been said, not {other:?}"),
            }
        }
    }

    /// Waits until all of `paths` have been said to have changed, and makes sure that nothing else
    /// was: a file written afterwards is the next thing that is heard of.
    #[track_caller]
    fn hears(&mut self, paths: &[&str]) -> Vec<Change> {
        self.hears_at(paths, "")
    }

    /// The same, with the file written afterwards in the folder `at`.
    #[track_caller]
    fn hears_at(&mut self, paths: &[&str], at: &str) -> Vec<Change> {
        let expected: BTreeSet<PathBuf> = paths.iter().map(|path| self.path(path)).collect();
        let mut heard = Vec::new();
        let mut missing = expected.clone();
        while !missing.is_empty() {
            // Shown when the test fails.
            eprintln!("waiting for {missing:?}");
            for change in self.changes() {
                assert!(expected.contains(&change.path), "{change:?} besides {paths:?}");
                missing.remove(&change.path);
                heard.push(change);
            }
        }
        for change in self.until_mark(at) {
            assert!(expected.contains(&change.path), "{change:?} besides {paths:?}");
            heard.push(change);
        }
        heard
    }

    /// Writes a file and collects what is said until that is heard of.
    fn until_mark(&mut self, at: &str) -> Vec<Change> {
        self.marks += 1;
        let mark = self.path(at).join(format!("mark-{}", self.marks));
        write(&mark, "");
        let mut heard = Vec::new();
        loop {
            let changes = self.all_changes();
            let over = changes.iter().any(|change| change.path == mark);
            heard.extend(changes.into_iter().filter(|change| !is_mark(&change.path)));
            if over {
                return heard;
            }
        }
    }

    /// Nothing is heard of but what is written afterwards.
    #[track_caller]
    fn hears_nothing(&mut self) {
        self.hears(&[]);
    }

    /// The folders below the root that have a watch.
    fn watches(&self) -> BTreeSet<String> {
        let placed = self.placed.lock().unwrap();
        let below = placed.iter().filter_map(|path| path.strip_prefix(&self.root).ok());
        below.map(|path| path.to_string_lossy().into_owned()).collect()
    }

    /// Waits until so many roots are watched. Nothing else may be heard of meanwhile.
    fn until_roots(&mut self, count: usize, at: &str) {
        while self.watch().summary().roots.len() != count {
            self.hears_at(&[], at);
        }
    }

    /// Puts another set in force.
    fn update(&mut self, change: impl FnOnce(&mut WatchSet, &Path)) {
        change(&mut self.set, &self.root);
        self.watch().update(self.set.clone());
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Whether a test wrote it to hear what comes before. On a busy machine one is heard of twice:
/// between its creation and its closing more than the quiet time may pass.
fn is_mark(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mark-"))
}
