//! A folder that is watched with what is below it: what in it counts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use globset::GlobMatcher;
use ignore::IncrementalIgnore;

use super::caches::Caches;
use super::filter::Reason;
use super::links::Link;
use super::spec::Glob;
use super::{names, rules};

/// A folder that is watched with what is below it.
#[derive(Debug)]
pub(super) struct Tree {
    /// In the form that the user gave.
    pub(super) given: PathBuf,
    /// Without symbolic links.
    pub(super) real: PathBuf,
    scope: Scope,
    /// `None`: no ignore file counts.
    rules: Option<IncrementalIgnore>,
    caches: Caches,
    /// A link in another tree leads here: where it lies there.
    linked: Option<PathBuf>,
}

/// What counts in a tree.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    All,
    Glob(Box<Pattern>),
}

/// A glob, to be asked of every path.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    glob: Glob,
    matcher: GlobMatcher,
}

/// Whether rules ignore whatever is put into their root.
fn ignores_everything(rules: &mut IncrementalIgnore) -> bool {
    // A name that no pattern means by itself.
    rules.matched("stario-4fd1c0a9", false).is_ignore()
}

impl Tree {
    /// `named_outright`: somebody typed it, and meant more than where they are anyway.
    pub(super) fn new(
        given: PathBuf,
        real: PathBuf,
        scope: Scope,
        gitignore: bool,
        named_outright: bool,
    ) -> Self {
        let mut rules = gitignore.then(|| rules::matcher(&real));
        if named_outright && rules.as_mut().is_some_and(ignores_everything) {
            rules = None;
        }
        Self { given, real, scope, rules, caches: Caches::default(), linked: None }
    }

    /// What `link`, which lies `below` in this tree, leads to. The same counts there as here.
    pub(super) fn behind(&self, link: &Link, below: &Path) -> Self {
        let (given, scope) = (self.given.join(below), self.scope.clone());
        let place = self.linked.as_ref().map_or_else(|| below.into(), |it| it.join(below));
        let tree = Self::new(given, link.target.clone(), scope, self.has_rules(), false);
        Self { linked: Some(place), ..tree }
    }

    /// Whether it is watched for a link alone.
    pub(super) fn is_linked(&self) -> bool {
        self.linked.is_some()
    }

    /// Something happened to the folder `below`.
    pub(super) fn look_again(&mut self, below: &Path) {
        self.caches.forget(below);
    }

    /// Whether ignore files count in it.
    pub(super) fn has_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// Without symbolic links, and as the user gave it.
    pub(super) fn names(&self) -> (PathBuf, PathBuf) {
        (self.real.clone(), self.given.clone())
    }

    /// `path` relative to the tree, if it lies in it.
    pub(super) fn below<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        path.strip_prefix(&self.real).or_else(|_| path.strip_prefix(&self.given)).ok()
    }

    /// Whether what counts in `other` counts here too, and under the same name.
    pub(super) fn has_all_of(&mut self, other: &Self) -> bool {
        let whole = matches!((&self.scope, &other.scope), (Scope::All, Scope::All));
        if !whole || other.rules.is_none() && self.rules.is_some() {
            return false;
        }
        let Ok(below) = other.real.strip_prefix(&self.real) else { return false };
        self.judge(below, true).is_ok()
            && (other.given == self.given || other.given == self.given.join(below))
    }

    pub(super) fn judge(&mut self, below: &Path, is_dir: bool) -> Result<(), Reason> {
        if below.iter().any(names::is_version_control) {
            return Err(Reason::VersionControl);
        }
        let folder = if is_dir { Some(below) } else { below.parent() };
        if folder.is_some_and(|folder| self.caches.have(&self.real, folder)) {
            return Err(Reason::Never);
        }
        let matched = match (&self.scope, &self.linked) {
            (Scope::All, _) => Some(false),
            (Scope::Glob(glob), None) => glob.covers(below, is_dir),
            (Scope::Glob(glob), Some(place)) => glob.covers(&place.join(below), is_dir),
        };
        let matched = matched.ok_or(Reason::Outside)?;
        if !is_dir {
            judge_name(below.file_name().unwrap_or(OsStr::new("")), matched)?;
        }
        let Some(rules) = &mut self.rules else { return Ok(()) };
        // A file that a glob names counts, but not in a folder that is ignored.
        let (asked, is_dir) = match below.parent() {
            Some(folder) if matched && !is_dir => (folder, true),
            _ => (below, is_dir),
        };
        if rules.matched(asked, is_dir).is_ignore() { Err(Reason::IgnoreFile) } else { Ok(()) }
    }
}

/// What a file's name alone says. `named`: a glob named it.
fn judge_name(name: &OsStr, named: bool) -> Result<(), Reason> {
    if names::is_temporary(name) {
        Err(Reason::Temporary)
    } else if names::is_ignore_file(name) && !named {
        Err(Reason::IgnoreFile)
    } else if names::is_database(name) && !named {
        Err(Reason::Database)
    } else {
        Ok(())
    }
}

impl Pattern {
    pub(super) fn new(glob: Glob) -> Self {
        Self { matcher: glob.pattern.compile_matcher(), glob }
    }

    /// Whether `below` is to be looked at: `None` if not, else whether the glob names it outright.
    fn covers(&self, below: &Path, is_dir: bool) -> Option<bool> {
        let glob = &self.glob;
        if glob.folders_only {
            let inside = names::any_above(below, is_dir, |it| self.matcher.is_match(it));
            // A folder on the way to one that might match is entered.
            return (inside || is_dir).then_some(false);
        }
        if is_dir {
            return glob.depth.is_none_or(|depth| below.iter().count() < depth).then_some(false);
        }
        self.matcher.is_match(below).then_some(glob.names)
    }
}
