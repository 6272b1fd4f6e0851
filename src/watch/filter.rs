//! Which paths count. Decides by names and ignore files; watches nothing, reports nothing.
//!
//! Strongest first:
//!
//! 1. `--watch-ignore` always wins, also over manifests.
//! 2. Manifests always count.
//! 3. Cargo's folders and those of version control are never watched, whoever names them; nor are
//!    folders that are tagged as a cache, as cargo's are, unless `--watch` names them.
//! 4. A file that `--watch` names counts, whatever else is said of it.
//! 5. Below the folders that are watched: what ignore files say, then editors' temporary files and
//!    `SQLite`'s.
//! 6. What symbolic links in those folders lead to counts as if it lay there. A link is not followed
//!    to where something of the above has a say already, nor to a folder that it lies in.
//!
//! What *named outright* means, for things that are ignored:
//!
//! - A file: the file counts.
//! - A folder: rules that speak of the folder, or of everything that lies above it, do not count,
//!   since the watch starts inside. When they would still ignore whatever is in it (`dist/*`), no
//!   ignore file counts below. Neither holds for a folder that the spec's base lies in: `.` does
//!   not un-ignore anything.
//! - A glob: the files that it matches count, if its last segment is more than wildcards (`*.css`,
//!   `*.db`, not `**`), except editors' temporary files; ignored folders are entered only when the
//!   glob starts inside of them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::caches;
use super::exclude::Exclusions;
use super::links::Link;
use super::names;
use super::rules;
use super::spec::{Form, resolve, resolve_place};
use super::tree::{Pattern, Scope, Tree};
use super::{Spec, WatchSet};

/// Whether a path counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A change of it is a change; a folder is entered.
    Watched,
    /// It does not count.
    Ignored(Reason),
}

/// Why a path does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing that is watched contains it.
    Outside,
    /// `--watch-ignore`.
    WatchIgnore,
    /// Cargo's target folder, or another cache.
    Never,
    /// `.git`, `.hg`, `.svn`, `.jj`.
    VersionControl,
    /// An ignore file says so, or it is one.
    IgnoreFile,
    /// An editor's temporary file.
    Temporary,
    /// A database of `SQLite`.
    Database,
}

/// Decides which paths count.
#[derive(Debug)]
pub struct Filter {
    trees: Vec<Tree>,
    /// Files that count by themselves: by both of their forms.
    files: HashMap<PathBuf, File>,
    /// Their places, without symbolic links.
    places: Vec<PathBuf>,
    exclusions: Exclusions,
    never: Vec<PathBuf>,
    /// Ignore files outside of the trees.
    rule_files: HashSet<PathBuf>,
    /// Every tree's folder, and every folder above a tree or a file: where something appears or
    /// goes away there, what is watched is another.
    stems: HashSet<PathBuf>,
    /// The folders between a spec's base and what it names: a rename of one moves it away.
    ways: HashSet<PathBuf>,
    /// What was named and can never be watched.
    refused: Vec<PathBuf>,
}

#[derive(Clone, Debug)]
struct File {
    given: PathBuf,
    role: Role,
}

/// What made a file count by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Manifest,
    Named,
    /// A link in a tree leads to it.
    Linked,
}

/// Why a path counts: by itself, or as part of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    File,
    Tree(usize),
}

impl Filter {
    /// The filter for `set`. Looks at the disk only for what the named paths are (files, folders,
    /// symbolic links) and, later and once for each folder, for ignore files. Specs that do not
    /// parse are left out: [`Spec::check`] says so before.
    pub fn new(set: &WatchSet) -> Self {
        let mut filter = Self {
            trees: Vec::new(),
            files: HashMap::new(),
            places: Vec::new(),
            exclusions: Exclusions::new(&set.ignore),
            never: set.never.iter().flat_map(|it| [it.clone(), resolve(it)]).collect(),
            rule_files: HashSet::new(),
            stems: HashSet::new(),
            ways: HashSet::new(),
            refused: Vec::new(),
        };
        for path in &set.manifests {
            filter.add_file(path, Role::Manifest);
        }
        if set.specs.is_empty() {
            for root in &set.roots {
                filter.add_tree(root, Scope::All, None, set.gitignore);
            }
        }
        for spec in &set.specs {
            filter.add_spec(spec, set.gitignore);
        }
        filter.drop_nested();
        filter.note_surroundings(set.gitignore);
        filter
    }

    /// Lets in what a link leads to that lies in a tree. `false`: it does not count, or does so
    /// already.
    pub(super) fn follow(&mut self, link: &Link) -> bool {
        let Ok(Claim::Tree(number)) = self.judge(&link.place, link.folder) else { return false };
        let Some(below) = self.trees[number].below(&link.place) else { return false };
        // `.direnv`, `.venv`: links to whole systems. `.env` may be a link itself.
        let hidden = below.parent().is_some_and(|folder| folder.iter().any(names::is_hidden));
        if hidden || self.has_a_say(link) {
            return false;
        }
        if link.folder {
            let tree = self.trees[number].behind(link, below);
            self.note_tree(&tree);
            self.trees.push(tree);
        } else {
            let given = self.trees[number].given.join(below);
            self.files.insert(link.target.clone(), File { given, role: Role::Linked });
            self.note_place(&link.target);
            self.places.push(link.target.clone());
        }
        true
    }

    /// Whether it is decided without the link if what it leads to counts.
    fn has_a_say(&mut self, link: &Link) -> bool {
        let Link { place, target, folder } = link;
        let around = |tree: &Tree| {
            // Once around, and for a glob a folder inside that it does not enter.
            target.starts_with(&tree.real) || !tree.is_linked() && tree.real.starts_with(target)
        };
        *folder && (place.starts_with(target) || self.trees.iter().any(around))
            || self.judge(target, *folder) != Err(Reason::Outside)
            || target.iter().any(names::is_version_control)
            || target.ancestors().any(caches::is_cache)
    }

    /// Something happened to the folder `path`: whether it is a cache is to be found out again.
    pub(super) fn look_again(&mut self, path: &Path) {
        for tree in &mut self.trees {
            if let Some(below) = tree.below(path) {
                tree.look_again(below);
            }
        }
    }

    /// Whether `path` (absolute, as the user would write it or without symbolic links) counts.
    /// `is_dir`: what it is, or was.
    pub fn verdict(&mut self, path: &Path, is_dir: bool) -> Verdict {
        match self.judge(path, is_dir) {
            Ok(_) => Verdict::Watched,
            Err(reason) => Verdict::Ignored(reason),
        }
    }

    /// The same, with what it is that makes the path count.
    pub(super) fn judge(&mut self, path: &Path, is_dir: bool) -> Result<Claim, Reason> {
        if !is_dir && let Some(file) = self.files.get(path) {
            return self.judge_file(path, file).map(|()| Claim::File);
        }
        if self.never.iter().any(|folder| path.starts_with(folder)) {
            return Err(Reason::Never);
        }
        let mut reason = Reason::Outside;
        for (number, tree) in self.trees.iter_mut().enumerate() {
            let Some(below) = tree.below(path) else { continue };
            let named = tree.is_linked().then(|| tree.given.join(below));
            if self.exclusions.exclude(path, below, is_dir)
                || named.is_some_and(|named| self.exclusions.exclude(&named, below, is_dir))
            {
                reason = Reason::WatchIgnore;
                continue;
            }
            match tree.judge(below, is_dir) {
                Ok(()) => return Ok(Claim::Tree(number)),
                Err(why) => reason = why,
            }
        }
        Err(reason)
    }

    fn judge_file(&self, path: &Path, file: &File) -> Result<(), Reason> {
        let name = file.given.file_name().map_or(Path::new(""), Path::new);
        if self.exclusions.exclude(path, name, false)
            || self.exclusions.exclude(&file.given, name, false)
        {
            return Err(Reason::WatchIgnore);
        }
        if file.role == Role::Manifest {
            return Ok(());
        }
        if self.never.iter().any(|folder| path.starts_with(folder)) {
            return Err(Reason::Never);
        }
        if path.iter().any(names::is_version_control) {
            return Err(Reason::VersionControl);
        }
        Ok(())
    }

    /// `path` (without symbolic links) in the form that the user gave.
    pub(super) fn as_given(&self, claim: Claim, path: &Path) -> PathBuf {
        match claim {
            Claim::File => self.files.get(path).map_or_else(|| path.into(), |it| it.given.clone()),
            Claim::Tree(number) => match self.trees[number].below(path) {
                Some(below) if below.as_os_str().is_empty() => self.trees[number].given.clone(),
                Some(below) => self.trees[number].given.join(below),
                None => path.to_path_buf(),
            },
        }
    }

    /// The folders that are watched with what is below them.
    pub(super) fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The places of files that count by themselves.
    pub(super) fn places(&self) -> &[PathBuf] {
        &self.places
    }

    /// What the user named, in the user's form.
    pub(super) fn named(&self) -> Vec<PathBuf> {
        let trees = self.trees.iter().filter(|it| !it.is_linked()).map(|it| it.given.clone());
        let files = self.places.iter().filter_map(|place| self.files.get(place));
        let files = files.filter(|it| it.role == Role::Named).map(|it| it.given.clone());
        let mut all: Vec<_> = trees.chain(files).collect();
        all.dedup();
        all
    }

    /// What was named although it can never be watched.
    pub(super) fn refused(&self) -> &[PathBuf] {
        &self.refused
    }

    /// The folders between a spec's base and what it names.
    pub(super) fn ways(&self) -> impl Iterator<Item = &Path> {
        self.ways.iter().map(PathBuf::as_path)
    }

    /// Ignore files outside of the trees.
    pub(super) fn rule_files(&self) -> impl Iterator<Item = &Path> {
        self.rule_files.iter().map(PathBuf::as_path)
    }

    /// Whether what appears or goes away at `path` makes what is watched another.
    pub(super) fn is_stem(&self, path: &Path) -> bool {
        self.stems.contains(path)
    }

    /// Whether `path` is a file that counts by itself.
    pub(super) fn is_file(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// Whether `path` is an ignore file whose rules are in force, given that the folder it lies in
    /// is watched.
    pub(super) fn is_rule_file(&self, path: &Path, folder_watched: bool) -> bool {
        self.rule_files.contains(path)
            || folder_watched && path.file_name().is_some_and(names::is_ignore_file)
    }

    fn add_spec(&mut self, spec: &Spec, gitignore: bool) {
        match spec.form() {
            Err(_) => {}
            Ok(Form::Path { path, folder }) => {
                self.note_way(&spec.base, &path);
                if folder || path.is_dir() {
                    self.add_tree(&path, Scope::All, Some(&spec.base), gitignore);
                } else {
                    self.add_file(&path, Role::Named);
                }
            }
            Ok(Form::Glob(glob)) => {
                let folder = glob.folder.clone();
                self.note_way(&spec.base, &folder);
                let scope = Scope::Glob(Box::new(Pattern::new(glob)));
                self.add_tree(&folder, scope, Some(&spec.base), gitignore);
            }
        }
    }

    fn note_way(&mut self, base: &Path, path: &Path) {
        if self.exclusions.exclude(path, Path::new(""), true) {
            return;
        }
        for step in path.ancestors().take_while(|it| it.starts_with(base) && *it != base) {
            let place = resolve_place(step);
            self.ways.extend(place.parent().map(Path::to_path_buf));
            self.stems.insert(place);
        }
    }

    fn add_file(&mut self, path: &Path, role: Role) {
        let place = resolve_place(path);
        let file = File { given: path.to_path_buf(), role };
        if self.judge_file(&place, &file).is_err_and(|why| why != Reason::WatchIgnore) {
            self.refused.push(path.to_path_buf());
            return;
        }
        // Where the name is a link, both the link and what it points to can change.
        for place in [resolve(path), place] {
            if !self.places.contains(&place) {
                self.files.entry(place.clone()).or_insert_with(|| file.clone());
                self.places.push(place);
            }
        }
        self.files.entry(path.to_path_buf()).or_insert(file);
    }

    /// `base`: what a spec is relative to; `None` for a root that nobody typed.
    fn add_tree(&mut self, given: &Path, scope: Scope, base: Option<&Path>, gitignore: bool) {
        let real = resolve(given);
        let of_version_control = base.is_some_and(|base| {
            let named = given.strip_prefix(base).unwrap_or(given);
            named.iter().any(names::is_version_control)
        });
        if of_version_control || self.never.iter().any(|folder| real.starts_with(folder)) {
            self.refused.push(given.to_path_buf());
            return;
        }
        let named_outright = base.is_some_and(|base| !base.starts_with(given));
        self.trees.push(Tree::new(given.to_path_buf(), real, scope, gitignore, named_outright));
    }

    /// Leaves out trees that another one has anyway: the members of a workspace.
    fn drop_nested(&mut self) {
        let mut all = std::mem::take(&mut self.trees);
        all.sort_by_key(|tree| tree.real.components().count());
        for tree in all {
            if !self.trees.iter_mut().any(|outer| outer.has_all_of(&tree)) {
                self.trees.push(tree);
            }
        }
    }

    fn note_surroundings(&mut self, gitignore: bool) {
        let trees = std::mem::take(&mut self.trees);
        for tree in &trees {
            self.note_tree(tree);
        }
        self.trees = trees;
        let places = std::mem::take(&mut self.places);
        for place in &places {
            self.note_place(place);
        }
        self.places = places;
        if gitignore {
            self.rule_files.extend(rules::global_file());
        }
    }

    fn note_tree(&mut self, tree: &Tree) {
        self.stems.extend(tree.real.ancestors().map(Path::to_path_buf));
        if tree.has_rules() {
            self.rule_files.extend(rules::files_above(&tree.real));
        }
    }

    fn note_place(&mut self, place: &Path) {
        self.stems.extend(place.ancestors().skip(1).map(Path::to_path_buf));
    }
}
