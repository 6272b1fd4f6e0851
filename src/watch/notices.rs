//! What the watch says out loud, since it must never fail in silence.

use std::path::Path;
use std::time::Duration;

use super::platform;
use crate::event::{Level, Notice};

/// The system places no more watches.
pub(super) fn exhausted(error: &notify::Error, poll: Duration) -> Notice {
    let meanwhile = format!("until then files are looked at every {} ms", poll.as_millis());
    match platform::limit(error) {
        Some((name, value)) => Notice {
            level: Level::Warning,
            code: "watch-limit",
            text: format!(
                "the system's limit for watching files is reached: fs.inotify.{name} = {value}"
            ),
            help: Some(format!(
                "raise it: sudo sysctl fs.inotify.{name}={}; {meanwhile}",
                raised(name, value)
            )),
        },
        None => Notice {
            level: Level::Warning,
            code: "watch-failed",
            text: format!("the system does not tell when files change: {error}"),
            help: Some(format!("instead they are looked at every {} ms", poll.as_millis())),
        },
    }
}

/// A value that is enough and does no harm.
fn raised(name: &str, value: u64) -> u64 {
    let enough = if name == "max_user_watches" { 524_288 } else { 1024 };
    value.saturating_mul(2).max(enough)
}

/// More happened than the system could tell.
pub(super) fn overflow() -> Notice {
    Notice {
        level: Level::Note,
        code: "watch-overflow",
        text: "more files changed at once than the system could tell".into(),
        help: Some("all watched files have been looked at again".into()),
    }
}

/// The watcher failed in some other way.
pub(super) fn trouble(error: &notify::Error) -> Notice {
    Notice {
        level: Level::Warning,
        code: "watch-failed",
        text: format!("watching files failed: {error}"),
        help: Some("all watched files have been looked at again".into()),
    }
}

/// A folder that cannot be read.
pub(super) fn unreadable(folder: &Path, error: &std::io::Error, again: Duration) -> Notice {
    Notice {
        level: Level::Warning,
        code: "unreadable",
        text: format!("cannot watch {}: {error}", folder.display()),
        help: Some(format!(
            "what changes in it stays unseen until it can be read (tried every {} s), or leave it out with --watch-ignore",
            again.as_secs()
        )),
    }
}

/// Something was named that is never watched.
pub(super) fn refused(path: &Path) -> Notice {
    Notice {
        level: Level::Warning,
        code: "watch-never",
        text: format!("{} is not watched", path.display()),
        help: Some("cargo's target folder and those of version control never are".into()),
    }
}
