//! The content of files that changed before, so that writing what is already there is told apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::snapshot::Stamp;
use super::{names, system};
use crate::content;
use crate::event::Content;

/// The content of a file.
pub(super) type Hash = u128;

/// What was last seen, of those files alone that changed.
#[derive(Debug, Default)]
pub(super) struct Memory {
    seen: BTreeMap<PathBuf, Seen>,
}

/// A file as it was last seen.
#[derive(Debug)]
struct Seen {
    hash: Hash,
    /// Taken before the content was read. `None`: not known.
    marks: Option<Marks>,
}

/// What no write leaves as it is: beside the stamp, a time that nobody can set.
type Marks = (Stamp, i128);

impl Memory {
    /// Compares what lies at `path` now with what was last seen, and remembers it. `None`: nothing
    /// was written since. A file that takes long to reach the disk is heard of twice, when it is
    /// written and when it is closed.
    pub(super) fn compare(&mut self, path: &Path) -> Option<Content> {
        let marks = path.metadata().ok().map(|it| (Stamp::of(&it), system::touched(&it)));
        let Some(hash) = hash(path) else {
            // Of a folder that went away, no file says so.
            names::forget_below(&mut self.seen, path);
            return Some(Content::New);
        };
        match self.seen.insert(path.to_path_buf(), Seen { hash, marks }) {
            Some(before) if before.hash != hash => Some(Content::New),
            Some(before) => (marks.is_none() || before.marks != marks).then_some(Content::Same),
            None => Some(Content::New),
        }
    }

    /// Remembers `hash` as seen.
    pub(super) fn remember(&mut self, path: PathBuf, hash: Hash) {
        self.seen.insert(path, Seen { hash, marks: None });
    }
}

/// The content of the regular file at `path`, if there is one that can be read.
pub(super) fn hash(path: &Path) -> Option<Hash> {
    content::hash(path).ok().map(|hash| hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::{Memory, hash};
    use crate::content::CHUNK;
    use crate::event::Content;
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_first_change_is_new_and_the_same_bytes_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut memory = Memory::default();
        fs::write(&path, "a").unwrap();
        assert_eq!(memory.compare(&path), Some(Content::New));
        assert_eq!(memory.compare(&path), None, "nobody wrote");
        write_after(&path, "a");
        assert_eq!(memory.compare(&path), Some(Content::Same));
        write_after(&path, "b");
        assert_eq!(memory.compare(&path), Some(Content::New));
        fs::remove_file(&path).unwrap();
        assert_eq!(memory.compare(&path), Some(Content::New));
        fs::write(&path, "b").unwrap();
        assert_eq!(memory.compare(&path), Some(Content::New), "gone in between");
    }

    #[test]
    fn what_went_away_with_its_folder_is_new_when_it_is_there_again() {
        let root = tempfile::tempdir().unwrap();
        let (folder, aside) = (root.path().join("folder"), root.path().join("aside"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("x"), "a").unwrap();
        let mut memory = Memory::default();
        memory.compare(&folder.join("x"));
        fs::rename(&folder, &aside).unwrap();
        assert_eq!(memory.compare(&folder), Some(Content::New));
        fs::rename(&aside, &folder).unwrap();
        assert_eq!(memory.compare(&folder.join("x")), Some(Content::New));
    }

    /// Writes so often that it shows in the file's times: their steps may be some milliseconds.
    fn write_after(path: &Path, content: &str) {
        let before = path.metadata().unwrap().modified().unwrap();
        while path.metadata().unwrap().modified().unwrap() == before {
            fs::write(path, content).unwrap();
        }
    }

    #[test]
    fn big_files_are_read_to_their_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut content = vec![7; 3 * CHUNK + 1];
        fs::write(&path, &content).unwrap();
        let before = hash(&path);
        *content.last_mut().unwrap() = 8;
        fs::write(&path, &content).unwrap();
        assert_ne!(hash(&path), before);
        assert_eq!(hash(folder.path()), None, "a folder has no content");
    }
}
