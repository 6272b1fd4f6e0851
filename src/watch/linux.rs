//! Linux: inotify watches one folder at a time, and each costs kernel memory.

use notify::RecursiveMode;

/// Who hears of changes.
pub(super) use super::inotify::Folders as System;

/// How a folder is watched that counts: each by itself, so that ignored ones cost nothing.
/// `_top`: it is one that was named.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere only some folders get a watch")]
pub(super) fn mode(_top: bool) -> Option<RecursiveMode> {
    Some(RecursiveMode::NonRecursive)
}

/// An event for a folder means that it came, went, or was replaced, so that its watch has to be
/// placed again and all that is below it looked at again.
pub(super) const FOLDER_EVENTS_ARE_DEEP: bool = true;

/// What the kernel allows, for what it refuses: the name of the setting and its value.
pub(super) fn limit(error: &notify::Error) -> Option<(&'static str, u64)> {
    let name = match &error.kind {
        notify::ErrorKind::MaxFilesWatch => "max_user_watches",
        // The watcher could not be made: too many of them, or too many open files.
        notify::ErrorKind::Io(error) if is_out_of_files(error) => "max_user_instances",
        _ => return None,
    };
    let value = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok();
    Some((name, value.and_then(|it| it.trim().parse().ok()).unwrap_or(0)))
}

fn is_out_of_files(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
}
