//! macOS and Windows: one watch has all that is below a folder, for nothing.

use notify::RecursiveMode;

/// Who hears of changes.
pub(super) use notify::RecommendedWatcher as System;

/// How a folder is watched that counts. `top`: it is one that was named; those below it are heard
/// through its watch.
pub(super) fn mode(top: bool) -> Option<RecursiveMode> {
    top.then_some(RecursiveMode::Recursive)
}

/// What happens below a folder is told by itself, and Windows also names the folder each time a
/// file in it changes.
pub(super) const FOLDER_EVENTS_ARE_DEEP: bool = false;

/// There is no setting to raise.
pub(super) fn limit(_error: &notify::Error) -> Option<(&'static str, u64)> {
    None
}
