//! What cargo has seen of the files that changed, by content.
//!
//! Cargo compares time stamps: a file that is moved in with an older one than the last build's is
//! `fresh` to it, whatever it holds. A changed file is *missed* when something that is compiled
//! from it came out fresh although the content is another than the one that was last compiled.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use cargo_metadata::Artifact;

use super::{dep_info, identity};

/// The contents that the last builds were made from, for files that changed since the tool started.
#[derive(Debug, Default)]
pub(super) struct Memory {
    seen: HashMap<PathBuf, u128>,
}

impl Memory {
    /// The files that cargo took for old ones.
    pub(super) fn missed(&self, before: &Contents, units: &[Unit]) -> Vec<PathBuf> {
        let missed = before.regular().filter(|(path, content)| {
            self.seen.get(*path) != Some(content)
                && Source::new(path)
                    .is_used(units, |unit, source| unit.fresh && unit.is_compiled_from(source))
        });
        missed.map(|(path, _)| path.to_owned()).collect()
    }

    /// A build is complete: it was made from these files as they were before it. One that is
    /// another since may have been read either way.
    pub(super) fn learn_all(&mut self, before: &Contents, after: &Contents) {
        for path in before.0.keys() {
            self.learn(path, before, after);
        }
    }

    /// A build ended early. What it did compile, it will not compile again.
    pub(super) fn learn_compiled(&mut self, before: &Contents, after: &Contents, units: &[Unit]) {
        for path in before.0.keys() {
            if Source::new(path)
                .is_used(units, |unit, source| !unit.fresh && unit.is_surely_compiled_from(source))
            {
                self.learn(path, before, after);
            }
        }
    }

    fn learn(&mut self, path: &Path, before: &Contents, after: &Contents) {
        match before.get(path) {
            Some(content) if after.get(path) == Some(content) => {
                self.seen.insert(path.to_owned(), content);
            }
            _ => {
                self.seen.remove(path);
            }
        }
    }
}

/// The contents of some paths at some time. `None`: it is no file that can be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents(HashMap<PathBuf, Option<u128>>);

impl Contents {
    /// Reads them.
    pub(super) fn read(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let read = |path: PathBuf| {
            let regular = path.metadata().is_ok_and(|metadata| metadata.is_file());
            let content = if regular { identity::hash(&path).ok() } else { None };
            (path, content)
        };
        Self(paths.into_iter().map(read).collect())
    }

    /// The paths.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.0.keys().cloned().collect()
    }

    fn get(&self, path: &Path) -> Option<u128> {
        self.0.get(path).copied().flatten()
    }

    fn regular(&self) -> impl Iterator<Item = (&Path, u128)> {
        self.0.iter().filter_map(|(path, content)| Some((path.as_path(), (*content)?)))
    }
}

/// Something that cargo compiled or found fresh.
#[derive(Debug)]
pub(super) struct Unit {
    fresh: bool,
    source: PathBuf,
    sources: Sources,
}

/// What a unit is compiled from.
#[derive(Debug)]
enum Sources {
    /// These files, says its dep-info.
    Files(HashSet<PathBuf>),
    /// Not known; it belongs to the package in this folder, and these are the local packages'.
    Package(PathBuf, Vec<PathBuf>),
}

/// A file that many units are asked about.
struct Source<'a> {
    path: &'a Path,
    /// Without symbolic links, looked up once for all units.
    canonical: OnceCell<Option<PathBuf>>,
}

impl<'a> Source<'a> {
    fn new(path: &'a Path) -> Self {
        Self { path, canonical: OnceCell::new() }
    }

    fn is_used(&self, units: &[Unit], by: impl Fn(&Unit, &Self) -> bool) -> bool {
        units.iter().any(|unit| by(unit, self))
    }

    fn is_among(&self, files: &HashSet<PathBuf>) -> bool {
        let canonical = || self.canonical.get_or_init(|| self.path.canonicalize().ok());
        files.contains(self.path) || canonical().as_ref().is_some_and(|it| files.contains(it))
    }
}

impl Unit {
    fn is_compiled_from(&self, source: &Source<'_>) -> bool {
        match &self.sources {
            Sources::Package(root, local) => {
                owner(source.path, local) == Some(root) || self.source == source.path
            }
            Sources::Files(_) => self.is_surely_compiled_from(source),
        }
    }

    fn is_surely_compiled_from(&self, source: &Source<'_>) -> bool {
        let named = match &self.sources {
            Sources::Files(files) => source.is_among(files),
            Sources::Package(..) => false,
        };
        named || self.source == source.path
    }
}

/// The folder of the package that a path belongs to: the longest that holds it.
fn owner<'a>(path: &Path, local: &'a [PathBuf]) -> Option<&'a PathBuf> {
    local.iter().filter(|root| path.starts_with(root)).max_by_key(|root| root.components().count())
}

/// What the artifacts of the local packages are compiled from.
pub(super) fn units(artifacts: &[Artifact], local: &[PathBuf], workspace: &Path) -> Vec<Unit> {
    let roots: Vec<Option<&PathBuf>> =
        artifacts.iter().map(|it| owner(it.manifest_path.as_std_path(), local)).collect();
    let all_fresh = |root: &PathBuf| {
        artifacts.iter().zip(&roots).all(|(it, other)| *other != Some(root) || it.fresh)
    };
    let units = artifacts.iter().zip(&roots).filter_map(|(artifact, root)| {
        let root = (*root)?;
        let files =
            dep_info_files(artifact).iter().find_map(|path| dep_info::read(path, workspace));
        Some(Unit {
            // Where nothing is known of one, an edit of its sibling must not count as missed.
            fresh: artifact.fresh && (files.is_some() || all_fresh(root)),
            source: artifact.target.src_path.clone().into_std_path_buf(),
            sources: files
                .map_or_else(|| Sources::Package(root.clone(), local.to_vec()), Sources::Files),
        })
    });
    units.collect()
}

/// Where an artifact's dep-info may lie: `app.d` beside an executable (with all that it is made
/// from, however deep), `deps/name-hash.d` beside `deps/libname-hash.rlib`.
fn dep_info_files(artifact: &Artifact) -> Vec<PathBuf> {
    let Some(file) = artifact.executable.as_ref().or_else(|| artifact.filenames.first()) else {
        return Vec::new();
    };
    let file = file.as_std_path();
    let mut candidates = vec![file.with_extension("d")];
    if let Some(name) = file.file_stem().and_then(|stem| stem.to_str()?.strip_prefix("lib")) {
        candidates.push(file.with_file_name(format!("{name}.d")));
    }
    candidates
}
