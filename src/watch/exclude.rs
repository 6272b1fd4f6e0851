//! `--watch-ignore`: what the user never wants to hear of.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use globset::{GlobSet, GlobSetBuilder};

use super::spec::{Form, Glob, resolve};
use super::{Spec, names};

/// What was named to be ignored, with all that is below it. However much was named, a path is asked
/// once for each folder that globs start in.
#[derive(Debug, Default)]
pub(super) struct Exclusions {
    /// By both of their forms.
    paths: HashSet<PathBuf>,
    /// Those about names, for what lies below what is watched.
    anywhere: Globs,
    /// All of them, by the folder they start in, which comes with its form without symbolic links.
    based: Vec<(PathBuf, PathBuf, Globs)>,
}

/// Globs that are relative to the same folder.
#[derive(Debug, Default)]
struct Globs {
    /// Those about files and folders.
    all: Vec<GlobSet>,
    /// Those about folders alone.
    folders: Vec<GlobSet>,
}

impl Exclusions {
    /// From specs that parse; others are left out.
    pub(super) fn new(specs: &[Spec]) -> Self {
        let mut paths = HashSet::new();
        let mut globs = Vec::new();
        for spec in specs {
            match spec.form() {
                Err(_) => {}
                Ok(Form::Path { path, .. }) => {
                    paths.insert(resolve(&path));
                    paths.insert(path);
                }
                Ok(Form::Glob(glob)) => globs.push(glob),
            }
        }
        let mut based: BTreeMap<&Path, Vec<&Glob>> = BTreeMap::new();
        for glob in &globs {
            based.entry(&glob.folder).or_default().push(glob);
        }
        let based = based.into_iter().map(|(folder, globs)| {
            (folder.to_path_buf(), resolve(folder), Globs::new(globs.into_iter()))
        });
        Self {
            paths,
            based: based.collect(),
            anywhere: Globs::new(globs.iter().filter(|glob| glob.anywhere)),
        }
    }

    /// Whether `path` is excluded, or a folder that it lies in. `below`: what of it lies in what is
    /// watched. A glob without `/` is about names: those in `below`, and those below its base.
    pub(super) fn exclude(&self, path: &Path, below: &Path, is_dir: bool) -> bool {
        !self.paths.is_empty() && path.ancestors().any(|it| self.paths.contains(it))
            || self.anywhere.have(below, is_dir)
            || self.based.iter().any(|(folder, real, globs)| {
                let from_base = path.strip_prefix(real).or_else(|_| path.strip_prefix(folder));
                from_base.is_ok_and(|it| globs.have(it, is_dir))
            })
    }
}

impl Globs {
    fn new<'a>(globs: impl Iterator<Item = &'a Glob>) -> Self {
        let (folders, all): (Vec<_>, Vec<_>) = globs.partition(|glob| glob.folders_only);
        Self { all: sets(&all), folders: sets(&folders) }
    }

    /// Whether `below` is matched, or a folder that it lies in.
    fn have(&self, below: &Path, is_dir: bool) -> bool {
        let is_match = |sets: &[GlobSet], it: &Path| sets.iter().any(|set| set.is_match(it));
        let folder = |it: &Path| is_match(&self.all, it) || is_match(&self.folders, it);
        names::any_above(below, is_dir, folder) || !is_dir && is_match(&self.all, below)
    }
}

/// As few as the matcher takes: it has a limit for how big one may be.
fn sets(globs: &[&Glob]) -> Vec<GlobSet> {
    if globs.is_empty() {
        return Vec::new();
    }
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(glob.pattern.clone());
    }
    if let Ok(set) = builder.build() {
        return vec![set];
    }
    let (some, others) = globs.split_at(globs.len() / 2);
    if some.is_empty() { Vec::new() } else { [sets(some), sets(others)].concat() }
}
