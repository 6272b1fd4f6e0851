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
        self.let_go(lives);
    }

    /// Closes those that nobody will come back to. To be called when a server has ended.
    pub fn let_go(&mut self, lives: impl Fn(Generation) -> bool) {
        let ended: Vec<_> = self.0.keys().copied().filter(|it| !lives(*it)).collect();
        // One that is about to start does not live yet.
        let ended = ended.iter().rev().skip(1 + KEPT);
        let files: Vec<File> = ended.filter_map(|generation| self.0.remove(generation)).collect();
        if !files.is_empty() {
            // They have no name any more: to close them frees all that they hold, for milliseconds in
            // which the next server may be waited for.
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::event::{Identity, Mentions, Stamp};

    #[test]
    fn those_are_kept_that_live_or_may_be_come_back_to() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let stamp = Stamp { inode: 0, modified: std::time::UNIX_EPOCH, length: 0 };
        let artifact = Artifact {
            executable: file.path().to_owned(),
            identity: Identity(0),
            stamp,
            mentions: Mentions::default(),
            fresh: false,
            env: Vec::new(),
            library_paths: Vec::new(),
        };
        let mut kept = Kept::default();
        let mut living: BTreeSet<u64> = BTreeSet::new();
        // None of them has ended when the next one starts.
        for number in 1..=5 {
            kept.keep(Generation(number), &artifact, |it| living.contains(&it.0));
            living.insert(number);
        }
        let known = |kept: &Kept| kept.0.keys().map(|it| it.0).collect::<Vec<_>>();
        assert_eq!(known(&kept), [1, 2, 3, 4, 5]);
        for number in 1..=4 {
            living.remove(&number);
            kept.let_go(|it| living.contains(&it.0));
        }
        assert_eq!(known(&kept), [3, 4, 5]);
    }
}
