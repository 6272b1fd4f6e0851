//! The folder of the shared objects: what is kept in it from one link to the next, written as a whole or
//! not at all, and what is cleared away. Other drivers may be at work in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use procfs::process::{MMapPath, all_processes};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use super::face::{self, Hash};
use super::{Library, Linked, Record};
use crate::event::Stamp;

/// What a shared object is called, before what tells it from others.
pub(super) const DEPENDENCIES: &str = "dependencies-";
const SHARED_OBJECT: &str = "so";
const FACE: &str = "face";

/// What is known of a set of dependencies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct State {
    /// It cannot be done with this one, and why.
    pub(super) plain: Option<String>,
    /// The shared object that was made last.
    pub(super) library: Option<Library>,
    /// What the linker looks at in its place.
    pub(super) face: Option<Face>,
    /// What it gives away of C's names.
    pub(super) exports: BTreeSet<String>,
    /// What it has of C's names and the user's side has as well.
    pub(super) twice: BTreeSet<String>,
    /// What was asked for and is not in it.
    pub(super) elsewhere: BTreeSet<String>,
    /// What the user's own crates have of C's names: wanted and defined ones.
    pub(super) local: BTreeMap<PathBuf, Local>,
}

/// A part of a shared object, for the linker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Face {
    path: PathBuf,
    stamp: Stamp,
    /// The names that it was made for, whether the shared object has them or not.
    names: BTreeSet<Hash>,
}

/// A crate of the user's, as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Local {
    pub(super) stamp: Stamp,
    /// Of C's.
    pub(super) wanted: Vec<String>,
    pub(super) defined: Vec<String>,
    /// Of Rust's.
    pub(super) rust: Vec<Hash>,
}

/// The folder, for one executable and one set of dependencies.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    state: PathBuf,
}

/// In front of the folder of who is making a shared object, and of its process id.
const MAKING: &str = "making-";

impl Face {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Folder {
    /// Of the record's.
    pub(super) fn of(record: &Path, set: &str) -> Self {
        let path = record.parent().unwrap_or(Path::new(".")).to_owned();
        let state = path.join(format!("set-{set}.json"));
        Self { path, state }
    }

    /// A folder to make a shared object in, which goes with its owner. What others have left that were
    /// killed goes now.
    pub(super) fn making(&self) -> io::Result<TempDir> {
        for entry in fs::read_dir(&self.path)?.flatten() {
            let name = entry.file_name();
            let maker = name.to_str().and_then(|name| name.strip_prefix(MAKING)?.split('-').next());
            if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let prefix = format!("{MAKING}{}-", std::process::id());
        tempfile::Builder::new().prefix(&prefix).tempdir_in(&self.path)
    }

    /// What is known. Nothing where it cannot be read: then it is found out again.
    pub(super) fn state(&self) -> State {
        read(&self.state).unwrap_or_default()
    }

    /// Keeps it.
    pub(super) fn keep(&self, state: &State) -> io::Result<()> {
        write(&self.state, state)
    }

    /// Where a shared object of this name lies.
    pub(super) fn library(&self, name: &str) -> PathBuf {
        self.path.join(format!("{DEPENDENCIES}{name}.{SHARED_OBJECT}"))
    }

    /// The face of this library for those who want these names: the one that there is, where it will do.
    pub(super) fn face(
        &self,
        library: &Path,
        wanted: BTreeSet<Hash>,
        known: Option<Face>,
    ) -> io::Result<Face> {
        let stem = library.file_stem().unwrap_or_default().to_string_lossy();
        let known = known.filter(|known| {
            let name = known.path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&*stem)
        });
        if let Some(known) = &known
            && known.names.is_superset(&wanted)
            && crate::build::stamp(&known.path).is_ok_and(|stamp| stamp == known.stamp)
        {
            return Ok(known.clone());
        }
        let mut names = wanted;
        names.extend(known.iter().flat_map(|known| &known.names));
        let content = face::of(library, &names)?;
        // Never changed once it is there: somebody may be looking at it.
        let path = self.path.join(format!("{stem}-{:016x}.{FACE}", xxh3_64(&content)));
        place(&path, &content)?;
        if let Some(known) = known.filter(|known| known.path != path) {
            let _ = fs::remove_file(known.path);
        }
        Ok(Face { stamp: crate::build::stamp(&path)?, path, names })
    }

    /// Removes the shared objects, and what was known of them, that no executable was linked against last,
    /// that no process has loaded, and that are not `new`.
    pub(super) fn clear(&self, new: &Path) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let records = files.iter().filter_map(|file| read::<Record>(file));
        let linked: BTreeSet<PathBuf> = records
            .filter_map(|record| match record.linked {
                Linked::Once(library) => Some(library.path),
                Linked::Plainly(_) => None,
            })
            .collect();
        let loaded = loaded();
        let kept = |path: &Path| path == new || linked.contains(path) || loaded.contains(path);
        for file in &files {
            let gone = match file.extension().and_then(|it| it.to_str()) {
                Some(SHARED_OBJECT) => !kept(file),
                Some("json") => match read::<State>(file) {
                    Some(State { library: Some(library), .. }) => !kept(&library.path),
                    _ => false,
                },
                Some(FACE) => {
                    let library = file.file_stem().and_then(|it| it.to_str()).unwrap_or_default();
                    let library = library.rsplit_once('-').map_or(library, |(library, _)| library);
                    !kept(&self.path.join(library).with_extension(SHARED_OBJECT))
                }
                _ => false,
            };
            if gone {
                // Who cannot, leaves it to the next one.
                let _ = fs::remove_file(file);
            }
        }
    }
}

/// Leaves the record of a link.
pub(super) fn leave(path: &Path, record: &Record) -> io::Result<()> {
    write(path, record)
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(path: &Path, content: &impl Serialize) -> io::Result<()> {
    place(path, &serde_json::to_vec(content)?)
}

fn place(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.persist(path)?;
    Ok(())
}

/// The shared objects that are in use. A process that may not be looked into is another user's.
fn loaded() -> BTreeSet<PathBuf> {
    let maps = all_processes().into_iter().flatten().flatten().filter_map(|it| it.maps().ok());
    let paths = maps.flat_map(|maps| maps.0).filter_map(|map| match map.pathname {
        MMapPath::Path(path) => Some(path),
        _ => None,
    });
    paths.filter(|path| path.extension().is_some_and(|it| it == SHARED_OBJECT)).collect()
}
