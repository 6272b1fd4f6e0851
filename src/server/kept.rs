//! The executables of servers that have run: one may have to be started again when cargo has put
//! another in its place. Only Linux can start what has no name any more.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use crate::event::{Artifact, Generation};

/// How many are kept of servers that have ended: the last one, which a new one may yet fail after.
const KEPT: usize = 1;

/// Open files, by the generation that was started from them.
#[derive(Debug, Default)]
pub struct Kept(BTreeMap<Generation, File>);

impl Kept {
    /// Keeps the executable of a server that is about to be started. `lives`: whether a server does.
    pub fn keep(
        &mut self,
        generation: Generation,
        artifact: &Artifact,
        lives: impl Fn(Generation) -> bool,
    ) {
        if !cfg!(target_os = "linux") {
            return;
        }
        // Without it there is nothing to come back to, which will be said then.
        if let Ok(file) = File::open(&artifact.executable) {
            self.0.insert(generation, file);
        }
        let ended: Vec<_> = self.0.keys().copied().filter(|it| !lives(*it)).collect();
        // The one that is about to start does not live yet.
        let ended = ended.iter().rev().skip(1 + KEPT);
        let files: Vec<File> = ended.filter_map(|generation| self.0.remove(generation)).collect();
        if !files.is_empty() {
            // They have no name any more: to close them frees all that they hold, for milliseconds in
            // which the next server is waited for.
            std::thread::spawn(move || drop(files));
        }
    }

    /// Under which name the executable of this generation can be started.
    pub fn path(&self, generation: Generation) -> Option<PathBuf> {
        #[cfg(target_os = "linux")]
        if let Some(file) = self.0.get(&generation) {
            use std::os::fd::AsRawFd;
            let (tool, descriptor) = (std::process::id(), file.as_raw_fd());
            return Some(PathBuf::from(format!("/proc/{tool}/fd/{descriptor}")));
        }
        let _ = generation;
        None
    }
}
