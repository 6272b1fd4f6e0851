//! Files become [`Event::Changed`].
//!
//! The [`Filter`] decides which paths count and touches nothing but ignore files; the `ground`
//! knows what is watched right now and finds out what changed; the `worker` is the one thread
//! that owns both and talks to the rest of the tool through [`Event`]s. `source` is the only
//! place that knows who hears the system.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::error::Failure;
use crate::event::Event;

mod caches;
mod checkout;
mod classify;
mod early;
mod exclude;
mod filter;
mod ground;
mod links;
mod memory;
mod names;
mod notices;
mod pace;
mod places;
mod rules;
mod snapshot;
mod source;
mod spec;
mod tree;
mod worker;

#[cfg(target_os = "linux")]
mod inotify;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod recursive;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(not(target_os = "linux"))]
use recursive as platform;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

#[cfg(test)]
mod tests;

pub use filter::{Filter, Reason, Verdict};

/// A file, a folder or a glob that the user named, and the folder that it is relative to.
///
/// - A trailing `/` says folder, also one that does not exist yet.
/// - `*`, `?`, `[…]` and `{…,…}` make a glob, unless a file of exactly that name exists. `*` stays
///   inside one path segment, `**` crosses. Without a `/` it matches a name at any depth below
///   `base`; with one it is relative to `base`. A glob names files; with a trailing `/` it names
///   folders, with all that is below them.
/// - Anything else is a path: a folder (with all that is below it) where there is one, else a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// As it was written.
    pub text: String,
    /// Absolute.
    pub base: PathBuf,
}

/// What is watched, and what is not. All paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchSet {
    /// Folders watched for want of `specs`.
    pub roots: Vec<PathBuf>,
    /// `--watch`: replaces `roots` when there is one.
    pub specs: Vec<Spec>,
    /// `--watch-ignore`: always wins.
    pub ignore: Vec<Spec>,
    /// Files that always count: manifests, `Cargo.lock`, `.cargo/config.toml`.
    pub manifests: Vec<PathBuf>,
    /// Folders that are never watched, cargo's target and build folders, and files that never count:
    /// those that the tool itself writes to.
    pub never: Vec<PathBuf>,
    /// Whether ignore files count.
    pub gitignore: bool,
}

/// How to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The quiet time: a path is reported once nothing has happened to it for so long.
    pub debounce: Duration,
    /// Whether a file is reported as soon as its writer has closed it, where the system tells that and
    /// it is not one of many.
    pub eager: bool,
    /// Look for changes this often in place of being told by the system.
    pub poll: Option<Duration>,
}

/// What is being watched, for a line to the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many folders.
    pub folders: usize,
    /// How many files are in them, ignored ones left out.
    pub files: usize,
    /// How often files are looked at, where the system does not tell.
    pub polling: Option<Duration>,
    /// The folders (for a glob: the folder it starts in) and files that were named, manifests left
    /// out, in the form that the user gave.
    pub roots: Vec<PathBuf>,
}

/// A running watch. Dropping it ends its threads.
#[derive(Debug)]
pub struct Watch {
    commands: Sender<Message>,
}

/// All that reaches the watch's thread.
#[derive(Debug)]
enum Message {
    /// The debouncer has something.
    Files(notify_debouncer_mini::DebounceEventResult),
    /// A new set, and who waits until it is in force.
    Update(Box<WatchSet>, Sender<()>),
    /// What lies at this path has been seen; its content.
    Seen(PathBuf, memory::Hash),
    /// Who wants to know what is being watched.
    Summary(Sender<Summary>),
    /// The end.
    Stop,
}

/// Starts to watch. Blocks until the first walk is over and every watch is placed: what is written
/// after that is reported to `events`.
///
/// # Errors
///
/// A glob that does not parse, or no thread to be had. Whatever the system refuses (a limit, a
/// folder that cannot be read) is an [`Event::Notice`] and is answered by polling or trying again.
pub fn start(
    set: WatchSet,
    options: Options,
    events: UnboundedSender<Event>,
) -> Result<Watch, Failure> {
    start_with(set, options, events, source::open)
}

/// The same with another source of file events.
fn start_with<O>(
    set: WatchSet,
    options: Options,
    events: UnboundedSender<Event>,
    open: O,
) -> Result<Watch, Failure>
where
    O: FnOnce(Duration, Sender<Message>) -> notify::Result<Box<dyn source::Placer>>
        + Send
        + 'static,
{
    set.specs.iter().chain(&set.ignore).try_for_each(Spec::check)?;
    let (commands, inbox) = mpsc::channel();
    let (ready, started) = mpsc::channel();
    let sender = commands.clone();
    thread::Builder::new()
        .name("stario watch".into())
        .spawn(move || {
            // What the watcher hears goes where the commands go: one inbox, one order.
            let backend = match options.poll {
                Some(_) => None,
                None => Some(open(options.debounce, sender)),
            };
            let mut worker = worker::Worker::begin(set, options, backend, events);
            // The receiver only goes away when the thread that waits for it panicked.
            let _ = ready.send(());
            worker.run(&inbox);
        })
        .map_err(|error| Failure::usage(format!("no thread to watch files with: {error}")))?;
    started.recv().map_err(|_| Failure::usage("the thread that watches files died"))?;
    Ok(Watch { commands })
}

impl Watch {
    /// Puts a new set in force. Blocks until every watch of it is placed: what is read after that
    /// and written later is reported. Files that lie in newly watched places are not changes.
    pub fn update(&self, set: WatchSet) {
        let (done, in_force) = mpsc::channel();
        self.tell(Message::Update(Box::new(set), done));
        // The other end goes away without a word when the tool is ending.
        let _ = in_force.recv();
    }

    /// Remembers the present content of `path` as seen, so that an event for it says
    /// [`Content::Same`](crate::event::Content::Same). Reads the file before it returns.
    pub fn seen(&self, path: &Path) {
        if let Some(hash) = memory::hash(path) {
            self.tell(Message::Seen(path.to_path_buf(), hash));
        }
    }

    /// What is being watched just now.
    pub fn summary(&self) -> Summary {
        let (answer, summary) = mpsc::channel();
        self.tell(Message::Summary(answer));
        // Nothing is, when the tool is ending.
        summary.recv().unwrap_or_default()
    }

    fn tell(&self, message: Message) {
        // The thread is gone only when nobody takes events any more: the tool is ending.
        let _ = self.commands.send(message);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tell(Message::Stop);
    }
}
