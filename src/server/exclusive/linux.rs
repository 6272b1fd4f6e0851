//! Locks on Linux: `/proc/locks` (`proc_locks(5)`), and inotify for who opens a locked file.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use procfs::process::Process;
use procfs::{Lock, LockKind};
use rustix::fs::inotify;
use rustix::io::Errno;

/// What a program is told of an address that another one has.
pub(super) const ADDRESS_IN_USE: i32 = Errno::ADDRINUSE.raw_os_error();
/// What a program is told of a lock that another one has: `flock(2)`, `fcntl(2)`.
pub(super) const IS_LOCKED: [i32; 2] = [Errno::AGAIN.raw_os_error(), Errno::ACCESS.raw_os_error()];

/// The files that a group has locked for itself alone.
pub(super) fn locked_by(group: u32) -> Vec<PathBuf> {
    let locks = procfs::locks().unwrap_or_default();
    let held = held_by(&locks, group);
    names(held.into_iter().filter(|lock| excludes_all(lock)))
}

/// The files for whose locks the one group waits, and that the other one has locked.
pub(super) fn waits_for(waiting: u32, holding: u32) -> Vec<PathBuf> {
    let locks = procfs::locks().unwrap_or_default();
    let (wanted, held) = (held_by(&locks, waiting), held_by(&locks, holding));
    // The kernel lists a lock that is waited for behind the one that is in its way. Both for writing,
    // or one of them, at the same place: only one of the two can have it.
    let excludes = |a: &Lock, b: &Lock| {
        (a.devmaj, a.devmin, a.inode) == (b.devmaj, b.devmin, b.inode)
            && (excludes_all(a) || excludes_all(b))
            && a.offset_last.is_none_or(|end| b.offset_first <= end)
            && b.offset_last.is_none_or(|end| a.offset_first <= end)
    };
    names(held.into_iter().filter(|held| wanted.iter().any(|wanted| excludes(wanted, held))))
}

/// The locks that a group has or waits for. Only those processes are looked at that have one: this
/// lies between a build and its server.
fn held_by(locks: &[Lock], group: u32) -> Vec<&Lock> {
    let is_member = |pid: i32| {
        let stat = Process::new(pid).and_then(|process| process.stat());
        stat.is_ok_and(|stat| u32::try_from(stat.pgrp) == Ok(group))
    };
    locks.iter().filter(|lock| lock.pid.is_some_and(is_member)).collect()
}

fn excludes_all(lock: &Lock) -> bool {
    matches!(lock.kind, LockKind::Write)
}

/// Under which names those who have these locks have the files open.
fn names<'a>(locks: impl Iterator<Item = &'a Lock>) -> Vec<PathBuf> {
    let (pids, inodes): (HashSet<i32>, HashSet<u64>) =
        locks.filter_map(|lock| Some((lock.pid?, lock.inode))).unzip();
    let folders = pids.into_iter().map(|pid| format!("/proc/{pid}/fd"));
    let open = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let mut names: Vec<PathBuf> = open
        .filter(|entry| {
            fs::metadata(entry.path()).is_ok_and(|it| it.is_file() && inodes.contains(&it.ino()))
        })
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Sees which of some locked files are opened.
#[derive(Debug, Default)]
pub(super) struct Eye {
    /// `None` where nothing is locked, or where the system's limits are reached.
    inotify: Option<OwnedFd>,
    files: HashMap<i32, PathBuf>,
}

impl Eye {
    pub(super) fn on(locked: Vec<PathBuf>) -> Self {
        if locked.is_empty() {
            return Self::default();
        }
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let Ok(inotify) = inotify::init(flags) else { return Self::default() };
        let mut files = HashMap::new();
        for path in locked {
            if let Ok(watch) = inotify::add_watch(&inotify, &path, inotify::WatchFlags::OPEN) {
                files.insert(watch, path);
            }
        }
        Self { inotify: Some(inotify), files }
    }

    /// Those that were opened since.
    pub(super) fn opened(&mut self) -> HashSet<PathBuf> {
        let mut opened = HashSet::new();
        let Some(inotify) = &self.inotify else { return opened };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(inotify, &mut buffer);
        while let Ok(event) = events.next() {
            opened.extend(self.files.get(&event.wd()).cloned());
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_file_is_found_and_its_opening_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("lock"), folder.path().join("other"));
        let file = fs::File::create(&path).expect("a file");
        fs::write(&other, "").expect("a file");
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("nobody has it");
        // A test's process leads no group of its own, so it is found by its own group's number.
        let group = rustix::process::getpgrp().as_raw_nonzero().get().cast_unsigned();
        assert!(locked_by(group).contains(&path));

        let mut eye = Eye::on(locked_by(group));
        drop(fs::File::open(&other));
        assert!(!eye.opened().contains(&path));
        drop(fs::File::open(&path));
        assert!(eye.opened().contains(&path));
        drop(file);
        assert!(!locked_by(group).contains(&path));
    }
}
