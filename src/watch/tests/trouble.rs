//! Polling, limits, overflows, folders that cannot be read: never silence.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use notify::RecursiveMode;

use super::super::source::{self, Placer};
use super::{Message, Scene};
use crate::event::{Content, Level};

/// A placer whose watches say nothing, and which may refuse.
struct Deaf<R>(R);

impl<R: FnMut(&Path) -> notify::Result<()>> Placer for Deaf<R> {
    fn watch(&mut self, path: &Path, _: RecursiveMode) -> notify::Result<()> {
        (self.0)(path)
    }

    fn unwatch(&mut self, _: &Path) -> notify::Result<()> {
        Ok(())
    }
}

/// Whom the watcher talks to, for a test that talks in its place.
type Line = Arc<Mutex<Option<Sender<Message>>>>;

fn deaf(
    line: &Line,
) -> impl FnOnce(std::time::Duration, Sender<Message>) -> notify::Result<Box<dyn Placer>> + Send + 'static
{
    let line = Arc::clone(line);
    move |_, sender| {
        *line.lock().unwrap() = Some(sender);
        Ok(Box::new(Deaf(|_: &Path| Ok(()))) as Box<dyn Placer>)
    }
}

fn say(line: &Line, error: notify::Error) {
    line.lock().unwrap().as_ref().unwrap().send(Message::Files(Err(error))).unwrap();
}

#[test]
fn polling_finds_all_kinds_of_changes() {
    let mut it = Scene::new()
        .repository()
        .file(".gitignore", "out/")
        .file("a/x.rs", "")
        .file("a/y.rs", "")
        .file("b/z.rs", "")
        .dir("out")
        .spec(".")
        .spec("not/yet/x.toml")
        .polling()
        .watch();
    assert!(it.watches().is_empty());
    assert!(it.watch().summary().polling.is_some());
    it.write("a/x.rs", "1");
    it.hears(&["a/x.rs"]);
    it.remove("a/y.rs");
    it.hears(&["a/y.rs"]);
    it.write("c/d/new.rs", "");
    it.hears(&["c/d/new.rs"]);
    fs::remove_dir_all(it.path("b")).unwrap();
    it.hears(&["b"]);
    it.write("not/yet/x.toml", "");
    it.hears(&["not/yet/x.toml"]);
    it.write("out/x.rs", "");
    it.hears_nothing();
    it.write(".gitignore", "");
    // Whether the mark was seen in the same look or not.
    it.hears_nothing();
    it.write("out/x.rs", "1");
    it.hears(&["out/x.rs"]);
    it.rename("a/x.rs", "a/w.rs");
    let changes = it.hears(&["a/x.rs", "a/w.rs"]);
    assert!(changes.iter().all(|change| change.content == Content::New));
}

#[test]
fn a_limit_is_said_and_polling_takes_over() {
    let mut it = Scene::new().file("a/x.rs", "").watch_with(|_, _| {
        let mut left = 1;
        Ok(Box::new(Deaf(move |path: &Path| {
            if left == 0 {
                return Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch)
                    .add_path(path.to_path_buf()));
            }
            left -= 1;
            Ok(())
        })))
    });
    let notice = it.notice(if cfg!(target_os = "linux") { "watch-limit" } else { "watch-failed" });
    assert_eq!(notice.level, Level::Warning);
    if cfg!(target_os = "linux") {
        let help = notice.help.unwrap();
        assert!(help.contains("sudo sysctl fs.inotify.max_user_watches="), "{help}");
    }
    it.write("a/x.rs", "1");
    it.hears(&["a/x.rs"]);
    assert!(it.watch().summary().polling.is_some());
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_watcher_polling_takes_over() {
    let mut it = Scene::new().file("a/x.rs", "").watch_with(|_, _| {
        let files = rustix::io::Errno::MFILE.raw_os_error();
        Err(notify::Error::io(std::io::Error::from_raw_os_error(files)))
    });
    let notice = it.notice("watch-limit");
    assert!(notice.text.contains("max_user_instances"), "{notice:?}");
    it.write("a/x.rs", "1");
    it.hears(&["a/x.rs"]);
}

#[test]
fn a_limit_reached_later_loses_nothing() {
    let line = Line::default();
    let mut it = Scene::new().file("a/x.rs", "").file("a/y.rs", "").watch_with(deaf(&line));
    it.write("a/x.rs", "1");
    it.remove("a/y.rs");
    it.write("b/new.rs", "");
    say(&line, notify::Error::new(notify::ErrorKind::MaxFilesWatch));
    it.hears(&["a/x.rs", "a/y.rs", "b/new.rs"]);
    it.hears_nothing();
}

#[test]
fn an_overflow_is_said_and_answered_by_a_look_at_everything() {
    let line = Line::default();
    let mut it = Scene::new()
        .repository()
        .file(".gitignore", "out/")
        .file("a/x.rs", "")
        .file("b/y.rs", "")
        .watch_with(deaf(&line));
    it.write("a/x.rs", "1");
    it.write("c/new.rs", "1");
    it.write("out/new.rs", "1");
    fs::remove_dir_all(it.path("b")).unwrap();
    say(&line, source::overflow());
    let mut heard: Vec<PathBuf> = it.changes().into_iter().map(|change| change.path).collect();
    heard.sort();
    assert_eq!(heard, ["a/x.rs", "b", "c/new.rs"].map(|path| it.path(path)));
    it.notice("watch-overflow");
    assert!(it.watch().summary().polling.is_none());
}

#[test]
fn a_folder_that_cannot_be_read_is_said_and_the_others_are_watched() {
    let mut it = Scene::new().dir("secret").dir("open").watch_with(|debounce, sender| {
        let mut inner = source::open(debounce, sender)?;
        Ok(Box::new(Deaf(move |path: &Path| {
            if path.ends_with("secret") {
                let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
                return Err(notify::Error::io(denied));
            }
            inner.watch(path, RecursiveMode::Recursive)
        })))
    });
    if cfg!(target_os = "linux") {
        let notice = it.notice("unreadable");
        assert!(notice.text.contains("secret"), "{notice:?}");
    }
    it.write("open/x.rs", "");
    it.hears(&["open/x.rs"]);
}

#[cfg(unix)]
#[test]
fn a_folder_without_permissions() {
    use std::os::unix::fs::PermissionsExt;

    if rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: root can read everything");
        return;
    }
    let it = Scene::new().file("secret/x.rs", "").dir("open");
    let secret = it.root.join("secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let mut it = it.watch();
    it.notice("unreadable");
    it.write("open/x.rs", "");
    it.hears(&["open/x.rs"]);
    // Tried again after a while, and what is found may be new.
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o755)).unwrap();
    it.hears(&["secret/x.rs"]);
}

#[test]
fn a_bad_glob_is_refused() {
    let it = Scene::new().spec("a[");
    let (events, _inbox) = tokio::sync::mpsc::unbounded_channel();
    let options = super::Options { debounce: std::time::Duration::ZERO, eager: false, poll: None };
    let failure = super::super::start(it.set, options, events).unwrap_err();
    assert!(failure.message.contains("`a[`"), "{failure}");
}
