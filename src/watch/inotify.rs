//! Linux: the system's own source of file events, as a [`Watcher`] for the debouncer.
//!
//! `notify` has one too. It asks for each opening and closing of a file, so that whatever a build
//! reads wakes us and fills the kernel's queue; and it places each watch in its own thread, so that
//! ten thousand of them are twenty thousand changes of the thread. Here the kernel is asked for
//! writes alone, and by whoever wants the watch. `source` is the only one to know it.

use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use inotify::{EventMask, Events, Inotify, WatchDescriptor, WatchMask, Watches};
use notify::event::{AccessKind, AccessMode, Event, EventKind, Flag, ModifyKind, RenameMode};
use notify::{Error, ErrorKind, EventHandler, RecursiveMode, Watcher, WatcherKind};
use rustix::event::{PollFd, PollFlags, poll};

/// Room for some hundred events at a time.
const BUFFER: usize = 16 * 1024;

/// Watches folders, each by itself: what lies deeper is not heard of.
#[derive(Debug)]
pub(super) struct Folders {
    watches: Watches,
    known: Arc<Mutex<Known>>,
    /// When it is gone, the thread that reads ends.
    _alive: PipeWriter,
}

/// Which watch is whose. A folder that was renamed keeps its watch, which is then placed again
/// under the new name: the last name counts.
#[derive(Debug, Default)]
struct Known {
    paths: HashMap<WatchDescriptor, Arc<Path>>,
    watches: HashMap<Arc<Path>, WatchDescriptor>,
}

impl Watcher for Folders {
    fn new<F: EventHandler>(handler: F, _config: notify::Config) -> notify::Result<Self> {
        let inotify = Inotify::init().map_err(Error::io)?;
        let (end, alive) = io::pipe().map_err(Error::io)?;
        let known = Arc::<Mutex<Known>>::default();
        let watches = inotify.watches();
        let reader = Reader { inotify, end, known: Arc::clone(&known), handler };
        thread::Builder::new()
            .name("stario inotify".into())
            .spawn(move || reader.run())
            .map_err(Error::io)?;
        Ok(Self { watches, known, _alive: alive })
    }

    fn watch(&mut self, path: &Path, _mode: RecursiveMode) -> notify::Result<()> {
        // What happens in the folder from now on waits until its name is known.
        let mut known = lock(&self.known);
        let watch = self.watches.add(path, wanted()).map_err(refused)?;
        if let Some(before) = known.place(&watch, path) {
            // Most often it has gone with its folder.
            let _ = self.watches.remove(before);
        }
        Ok(())
    }

    fn unwatch(&mut self, path: &Path) -> notify::Result<()> {
        match lock(&self.known).remove(path) {
            // It has gone with its folder, then.
            Some(watch) => self.watches.remove(watch).map_err(Error::io),
            None => Ok(()),
        }
    }

    fn kind() -> WatcherKind {
        WatcherKind::Inotify
    }
}

/// What can mean other content. Writing through a mapping shows only when the file is closed; a
/// time that is set by itself is a write to Linux.
fn wanted() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MODIFY
        | WatchMask::CLOSE_WRITE
        | WatchMask::MOVE
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
}

fn refused(error: io::Error) -> Error {
    // inotify_add_watch(2): the user's limit.
    if error.kind() == io::ErrorKind::StorageFull {
        return Error::new(ErrorKind::MaxFilesWatch);
    }
    Error::io(error)
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // No panic can come between the two maps.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// Returns the watch of another folder that had this name before.
    fn place(&mut self, watch: &WatchDescriptor, path: &Path) -> Option<WatchDescriptor> {
        if self.paths.get(watch).is_some_and(|known| **known == *path) {
            return None;
        }
        let path: Arc<Path> = path.into();
        let before = self.watches.insert(Arc::clone(&path), watch.clone());
        self.paths.insert(watch.clone(), path);
        before.filter(|before| before != watch && self.paths.remove(before).is_some())
    }

    /// The watch that has no other name now and is to be removed.
    fn remove(&mut self, path: &Path) -> Option<WatchDescriptor> {
        let watch = self.watches.remove(path)?;
        if self.paths.get(&watch).is_some_and(|known| **known != *path) {
            return None;
        }
        self.paths.remove(&watch)?;
        Some(watch)
    }

    /// The system has removed a watch. Its folder may have another one by now.
    fn forget(&mut self, watch: &WatchDescriptor) {
        if let Some(path) = self.paths.remove(watch)
            && self.watches.get(&path) == Some(watch)
        {
            self.watches.remove(&path);
        }
    }
}

/// The thread that reads.
struct Reader<F> {
    inotify: Inotify,
    end: PipeReader,
    known: Arc<Mutex<Known>>,
    handler: F,
}

impl<F: EventHandler> Reader<F> {
    fn run(mut self) {
        let mut buffer = vec![0; BUFFER];
        loop {
            let mut wait = [
                PollFd::new(&self.inotify, PollFlags::IN),
                // Its end is told by itself.
                PollFd::new(&self.end, PollFlags::empty()),
            ];
            match poll(&mut wait, None) {
                Ok(_) if !wait[1].revents().is_empty() => return,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return self.handler.handle_event(Err(Error::io(error.into()))),
            }
            match self.inotify.read_events(&mut buffer) {
                Ok(events) => pass_on(events, &self.known, &mut self.handler),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return self.handler.handle_event(Err(Error::io(error))),
            }
        }
    }
}

fn pass_on(events: Events<'_>, known: &Mutex<Known>, handler: &mut impl EventHandler) {
    for event in events {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            handler.handle_event(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
            continue;
        }
        let mut known = lock(known);
        let path = known.paths.get(&event.wd).map(|folder| path_of(folder, event.name));
        if event.mask.contains(EventMask::IGNORED) {
            known.forget(&event.wd);
            continue;
        }
        drop(known);
        if let Some(path) = path {
            handler.handle_event(Ok(Event::new(kind(event.mask)).add_path(path)));
        }
    }
}

/// Whether somebody is done with a file. What else it was, nobody asks: the disk tells what is so now.
fn kind(mask: EventMask) -> EventKind {
    if mask.contains(EventMask::CLOSE_WRITE) {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
    } else if mask.contains(EventMask::MOVED_TO) {
        EventKind::Modify(ModifyKind::Name(RenameMode::To))
    } else {
        EventKind::Any
    }
}

fn path_of(folder: &Path, name: Option<&std::ffi::OsStr>) -> PathBuf {
    name.map_or_else(|| folder.to_path_buf(), |name| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::Folders;
    use notify::event::{AccessKind, AccessMode, EventKind};
    use notify::{Event, RecursiveMode, Watcher};
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(10);

    fn watcher() -> (Folders, Receiver<notify::Result<Event>>) {
        let (sender, events) = channel();
        (Folders::new(sender, notify::Config::default()).unwrap(), events)
    }

    /// The next path that something happened to.
    fn next(events: &Receiver<notify::Result<Event>>) -> PathBuf {
        events.recv_timeout(LONG).unwrap().unwrap().paths.remove(0)
    }

    fn watch(watcher: &mut Folders, folder: &Path) {
        watcher.watch(folder, RecursiveMode::NonRecursive).unwrap();
    }

    #[test]
    fn reading_is_not_heard_of() {
        let folder = tempfile::tempdir().unwrap();
        let (read, written) = (folder.path().join("read"), folder.path().join("written"));
        fs::write(&read, "a").unwrap();
        let (mut watcher, events) = watcher();
        watch(&mut watcher, folder.path());
        fs::read(&read).unwrap();
        fs::read_dir(folder.path()).unwrap().for_each(drop);
        fs::write(&written, "b").unwrap();
        assert_eq!(next(&events), written);
    }

    #[test]
    fn who_is_done_with_a_file_shows() {
        let folder = tempfile::tempdir().unwrap();
        let (mut watcher, events) = watcher();
        watch(&mut watcher, folder.path());
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&a, "a").unwrap();
        fs::rename(&a, &b).unwrap();
        let kinds = std::iter::from_fn(|| {
            let event = events.recv_timeout(LONG).unwrap().unwrap();
            (event.paths != [b.clone()]).then_some(event.kind)
        });
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert_eq!(kinds.filter(|kind| *kind == closed).count(), 1);
    }

    #[test]
    fn a_folder_that_was_renamed_is_heard_under_its_new_name_whichever_is_told_first() {
        let root = tempfile::tempdir().unwrap();
        let (old, new) = (root.path().join("old"), root.path().join("new"));
        fs::create_dir(&old).unwrap();
        let (mut watcher, events) = watcher();
        watch(&mut watcher, &old);
        fs::rename(&old, &new).unwrap();
        assert_eq!(next(&events), old, "it moved");
        watch(&mut watcher, &new);
        watcher.unwatch(&old).unwrap();
        fs::write(new.join("x"), "a").unwrap();
        assert_eq!(next(&events), new.join("x"));
    }

    #[test]
    fn a_folder_that_was_made_again_is_heard() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let (mut watcher, events) = watcher();
        watch(&mut watcher, &folder);
        fs::remove_dir(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        watch(&mut watcher, &folder);
        fs::write(folder.join("x"), "a").unwrap();
        // That the old one went may have been told before.
        while next(&events) != folder.join("x") {}
        // What the system said of the old one takes nothing away from the new one.
        watcher.unwatch(&folder).unwrap();
        assert!(super::lock(&watcher.known).paths.is_empty());
    }

    #[test]
    fn a_folder_in_the_place_of_another_is_the_only_one_that_is_heard() {
        let root = tempfile::tempdir().unwrap();
        let (folder, aside) = (root.path().join("folder"), root.path().join("aside"));
        fs::create_dir(&folder).unwrap();
        let (mut watcher, events) = watcher();
        watch(&mut watcher, &folder);
        fs::rename(&folder, &aside).unwrap();
        assert_eq!(next(&events), folder, "it moved");
        fs::create_dir(&folder).unwrap();
        watch(&mut watcher, &folder);
        fs::write(aside.join("of the other"), "a").unwrap();
        fs::write(folder.join("x"), "a").unwrap();
        assert_eq!(next(&events), folder.join("x"));
    }

    #[test]
    fn its_thread_ends_with_it() {
        let (watcher, events) = watcher();
        drop(watcher);
        assert!(events.recv_timeout(LONG).is_err_and(|it| it.to_string().contains("closed")));
    }
}
