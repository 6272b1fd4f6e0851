//! From what was typed to a [`Plan`]: cargo's metadata, the entry, the configuration and the watch
//! set, read at the start and again whenever a manifest changes.

use std::path::PathBuf;

use crate::config::Config;
use crate::entry::Entry;
use crate::watch::WatchSet;

/// All that is known before anything is built.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is built and run.
    pub entry: Entry,
    /// Our own settings.
    pub config: Config,
    /// What is watched.
    pub watch: WatchSet,
    /// The cargo to call.
    pub cargo: PathBuf,
    /// The folder that the user is in. Absolute.
    pub current_dir: PathBuf,
    /// The workspace's folder. Absolute.
    pub workspace_root: PathBuf,
    /// Cargo's target folder. Absolute.
    pub target_directory: PathBuf,
}
