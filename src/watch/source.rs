//! Where file events come from: the system's watcher, behind the debouncer. Nothing else here knows
//! either.

use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, MetadataKind, ModifyKind, RenameMode};
use notify::{Event, EventHandler, RecursiveMode, Watcher, WatcherKind};
use notify_debouncer_mini::{Config, Debouncer, new_debouncer_opt};

use super::Message;
use super::platform::System;

/// What an overflow is called on its way through the debouncer.
const OVERFLOW: &str = "events were lost";
/// What a file that its writer is done with is called on its way through the debouncer, and one that
/// something else has happened to.
const FINISHED: &str = "finished";
const TOUCHED: &str = "touched";

/// What is heard of a file at once, ahead of its quiet time. All of it is said again after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Its writer has closed it, or has put it in its place.
    Finished,
    /// Anything else.
    Touched,
}

/// Places and removes the system's watches.
pub(super) trait Placer {
    fn watch(&mut self, path: &Path, mode: RecursiveMode) -> notify::Result<()>;
    fn unwatch(&mut self, path: &Path) -> notify::Result<()>;
}

impl Placer for Debouncer<Changes> {
    fn watch(&mut self, path: &Path, mode: RecursiveMode) -> notify::Result<()> {
        self.watcher().watch(path, mode)
    }

    fn unwatch(&mut self, path: &Path) -> notify::Result<()> {
        self.watcher().unwatch(path)
    }
}

/// The system's own source of events. What it hears goes to `inbox`.
pub(super) fn open(debounce: Duration, inbox: Sender<Message>) -> notify::Result<Box<dyn Placer>> {
    let config = Config::default().with_timeout(debounce);
    let debouncer = new_debouncer_opt::<_, Changes>(config, move |result| {
        // Nobody listens any more when the watch ends.
        let _ = inbox.send(Message::Files(result));
    })?;
    Ok(Box::new(debouncer))
}

/// The system's watcher, without what is no change. The debouncer forgets the kind of an event,
/// so that this is the last place to tell that rustc has only *read* a source.
#[derive(Debug)]
pub(super) struct Changes(System);

impl Watcher for Changes {
    fn new<F: EventHandler>(mut handler: F, config: notify::Config) -> notify::Result<Self> {
        let relay = move |result| {
            if let Some(result) = relevant(result) {
                if let Some(news) = result.as_ref().ok().and_then(news) {
                    handler.handle_event(Err(news));
                }
                handler.handle_event(result);
            }
        };
        System::new(relay, config).map(Self)
    }

    fn watch(&mut self, path: &Path, mode: RecursiveMode) -> notify::Result<()> {
        self.0.watch(path, mode)
    }

    fn unwatch(&mut self, path: &Path) -> notify::Result<()> {
        self.0.unwatch(path)
    }

    fn kind() -> WatcherKind {
        System::kind()
    }
}

/// What of the watcher's events is to go on. An overflow becomes an error: it may have no path, and
/// the debouncer passes on events by their paths, but errors at once.
fn relevant(result: notify::Result<Event>) -> Option<notify::Result<Event>> {
    match result {
        Ok(event) if event.need_rescan() => {
            Some(Err(notify::Error::generic(OVERFLOW).set_paths(event.paths)))
        }
        Ok(event) => is_change(event.kind).then_some(Ok(event)),
        Err(error) => Some(Err(error)),
    }
}

/// Whether an event of this kind can mean other content. Writing through a mapping shows only when
/// the file is closed; a hard link put in place, only as a creation.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Metadata(what)) => what == MetadataKind::WriteTime,
        _ => true,
    }
}

/// What is to be heard at once, past the debouncer: it holds back all but errors.
fn news(event: &Event) -> Option<notify::Error> {
    let what = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => FINISHED,
        // Both ends of a renaming that was told already.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return None,
        _ => TOUCHED,
    };
    Some(notify::Error::generic(what).set_paths(event.paths.clone()))
}

/// Whether `error` is news, and of which file.
pub(super) fn as_news(error: &notify::Error) -> Option<(News, &Path)> {
    let notify::ErrorKind::Generic(text) = &error.kind else { return None };
    let news = match text.as_str() {
        FINISHED => News::Finished,
        TOUCHED => News::Touched,
        _ => return None,
    };
    Some((news, error.paths.first()?))
}

/// Whether `error` is an overflow.
pub(super) fn is_overflow(error: &notify::Error) -> bool {
    matches!(&error.kind, notify::ErrorKind::Generic(text) if text == OVERFLOW)
}

/// The error of an overflow, as the watcher would send it.
#[cfg(test)]
pub(super) fn overflow() -> notify::Error {
    notify::Error::generic(OVERFLOW)
}

#[cfg(test)]
mod tests {
    use super::{News, as_news, is_overflow, news, relevant};
    use notify::Event;
    use notify::event::{
        AccessKind, AccessMode, CreateKind, DataChange, EventKind, Flag, MetadataKind, ModifyKind,
        RemoveKind, RenameMode,
    };

    #[test]
    fn only_what_can_change_content_goes_on() {
        let goes_on = |kind| relevant(Ok(Event::new(kind).add_path("/x".into()))).is_some();
        for kind in [
            EventKind::Create(CreateKind::File),
            EventKind::Create(CreateKind::Folder),
            EventKind::Remove(RemoveKind::File),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)),
            EventKind::Modify(ModifyKind::Any),
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            EventKind::Any,
        ] {
            assert!(goes_on(kind), "{kind:?}");
        }
        for kind in [
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            EventKind::Access(AccessKind::Read),
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)),
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::AccessTime)),
            EventKind::Modify(ModifyKind::Metadata(MetadataKind::Permissions)),
        ] {
            assert!(!goes_on(kind), "{kind:?}");
        }
    }

    #[test]
    fn who_is_done_with_a_file_is_told_at_once() {
        let told = |kind| {
            let error = news(&Event::new(kind).add_path("/x".into()))?;
            assert!(!is_overflow(&error));
            as_news(&error).map(|(news, _)| news)
        };
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let renamed = |mode| EventKind::Modify(ModifyKind::Name(mode));
        assert_eq!(told(closed), Some(News::Finished));
        assert_eq!(told(renamed(RenameMode::To)), Some(News::Finished));
        assert_eq!(told(renamed(RenameMode::From)), Some(News::Touched));
        assert_eq!(told(renamed(RenameMode::Both)), None);
        assert_eq!(told(EventKind::Create(CreateKind::File)), Some(News::Touched));
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert_eq!(told(written), Some(News::Touched));
    }

    #[test]
    fn an_overflow_becomes_an_error() {
        let event = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        let error = relevant(Ok(event)).unwrap().unwrap_err();
        assert!(is_overflow(&error));
        assert!(!is_overflow(&notify::Error::generic("else")));
    }
}
