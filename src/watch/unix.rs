//! Unix: a file is told by its inode, and any change of it by a time.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What stays the same as long as it is the same file.
pub(super) fn identity(metadata: &Metadata) -> u64 {
    metadata.ino()
}

/// When anything about the file was last changed, in nanoseconds. Nobody can set it.
pub(super) fn touched(metadata: &Metadata) -> i128 {
    i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
}

/// The same as a time.
pub(super) fn changed(metadata: &Metadata) -> Option<SystemTime> {
    let nanoseconds = u64::try_from(touched(metadata)).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
}
