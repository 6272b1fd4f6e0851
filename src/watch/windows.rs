//! Windows: the stable library does not tell a file's index; its creation time comes close.

use std::fs::Metadata;
use std::os::windows::fs::MetadataExt;
use std::time::SystemTime;

/// What stays the same as long as it is the same file.
pub(super) fn identity(metadata: &Metadata) -> u64 {
    metadata.creation_time()
}

/// When the file was last written; the stable library does not tell more.
pub(super) fn touched(metadata: &Metadata) -> i128 {
    metadata.last_write_time().into()
}

/// The same as a time.
pub(super) fn changed(metadata: &Metadata) -> Option<SystemTime> {
    metadata.modified().ok()
}
