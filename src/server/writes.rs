//! Whether a server has written to files: one that has not cannot be what starts each next round.
//!
//! The kernel counts the bytes of pages that a process makes dirty, for itself and for its children
//! that it has waited for (`write_bytes` in `proc_pid_io(5)`).

use std::path::Path;

use procfs::process::Process;
use rustix::fs::statfs;

/// File systems with pages that the kernel counts; among those that it does not are tmpfs, FUSE and
/// ZFS. Numbers of statfs(2): ext2 to ext4, XFS, Btrfs, F2FS, overlayfs.
const COUNTED: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x794c_7630];

/// Whether the process, and none that it started, has written nothing to the file system of
/// `folder`. `false` where that cannot be told.
pub(super) fn wrote_nothing(pid: u32, folder: &Path) -> bool {
    let counted = statfs(folder).ok().and_then(|it| u64::try_from(it.f_type).ok());
    let process = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok());
    let (Some(process), Some(counted)) = (process, counted) else { return false };
    let childless = process.tasks().is_ok_and(|mut tasks| {
        tasks.all(|task| task.and_then(|it| it.children()).is_ok_and(|it| it.is_empty()))
    });
    COUNTED.contains(&counted) && childless && process.io().is_ok_and(|it| it.write_bytes == 0)
}
