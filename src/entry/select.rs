//! Which package's which target an entry names.
//!
//! Packages are searched in rounds: the one that `-p` names, and no other; or the one that holds
//! the user's folder, then the workspace's `default-members`, then all members. In a round, one
//! match wins and several are a mistake. A *name* that a round does not have is looked for in the
//! next one. `main` speaks of the selected package: where a package holds the folder, it is that
//! one and no other, as with `cargo run`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, Package, Target};

use super::TargetKind;
use super::graph::folder;
use crate::error::Failure;
use crate::wording;

/// A target that can be run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) package: &'a Package,
    pub(super) target: &'a Target,
    pub(super) kind: TargetKind,
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.package.id == other.package.id
            && self.kind == other.kind
            && self.target.name == other.target.name
    }
}

/// The packages that are searched, round by round.
pub(super) struct Search<'a> {
    rounds: Vec<Vec<&'a Package>>,
    members: Vec<&'a Package>,
    /// The workspace's other members, where `-p` has chosen one.
    others: Vec<&'a Package>,
    /// The first round is the one package that `-p` or the user's folder selects.
    pub(super) selected: bool,
    current_dir: &'a Path,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        metadata: &'a Metadata,
        spec: Option<&str>,
        from: &Path,
        current_dir: &'a Path,
    ) -> Result<Self, Failure> {
        let members = metadata.workspace_packages();
        if let Some(spec) = spec {
            let package = package(metadata, spec, current_dir)?;
            let rounds = vec![vec![package]];
            let others = members.into_iter().filter(|it| it.id != package.id).collect();
            let members = vec![package];
            return Ok(Self { rounds, members, others, selected: true, current_dir });
        }
        let holding = holding(&members, from);
        let selected = holding.is_some();
        // Cargo before 1.71 does not say which members are the default.
        let default = if metadata.workspace_default_members.is_missing() {
            Vec::new()
        } else {
            metadata.workspace_default_packages()
        };
        let rounds = [holding.into_iter().collect(), default, members.clone()];
        let rounds = rounds.into_iter().filter(|round| !round.is_empty()).collect();
        Ok(Self { rounds, members, others: Vec::new(), selected, current_dir })
    }

    /// The packages of the first round.
    pub(super) fn first(&self) -> &[&'a Package] {
        self.rounds.first().map_or(&[], Vec::as_slice)
    }

    /// The default binary of the selected package.
    pub(super) fn main(&self) -> Result<Candidate<'a>, Failure> {
        let rounds = if self.selected { &self.rounds[..1] } else { &self.rounds[..] };
        let found = rounds.iter().map(|round| round.iter().flat_map(|it| defaults(it)).collect());
        let found: Vec<_> =
            found.into_iter().find(|it: &Vec<_>| !it.is_empty()).unwrap_or_default();
        match found.as_slice() {
            [] => Err(self.nothing_to_run()),
            [one] => Ok(*one),
            [first, ..] if found.iter().all(|it| it.is_of(first)) => {
                Err(self.no_default(first.package, &found))
            }
            _ => Err(self.ambiguous("several packages have a default binary", &found)),
        }
    }

    /// What is called so: a binary or an example, or else a package, which stands for its default
    /// binary. A name that is written exactly so goes first.
    pub(super) fn named(&self, name: &str, origin: &str) -> Result<Candidate<'a>, Failure> {
        for round in &self.rounds {
            let found: Vec<_> = round.iter().flat_map(|it| matches(it, name)).collect();
            let exact = found.iter().copied().filter(|it| it.is_called(name)).collect::<Vec<_>>();
            match if exact.is_empty() { found } else { exact }.as_slice() {
                [] => {}
                [one] => return Ok(*one),
                // The package is called so, and not its binaries.
                several @ [first, ..]
                    if several.iter().all(|it| it.is_of(first) && !it.same(name)) =>
                {
                    return Err(self.no_default(first.package, several));
                }
                several => {
                    let what = format!("several targets are called `{name}`{origin}");
                    return Err(self.ambiguous(&what, several));
                }
            }
        }
        Err(self.unknown(name, origin))
    }

    /// The target that `--bin` or `--example` names.
    pub(super) fn flagged(&self, kind: TargetKind, name: &str) -> Result<Candidate<'a>, Failure> {
        let (flag, what) = (kind.flag(), kind.what());
        for round in &self.rounds {
            let all = round.iter().flat_map(|it| targets(it)).filter(|it| it.kind == kind);
            let found: Vec<_> = all.filter(|it| it.target.name == name).collect();
            match found.as_slice() {
                [] => {}
                [one] => return Ok(*one),
                several => {
                    let what = format!("several packages have the {what} `{name}`");
                    return Err(self.ambiguous(&what, several));
                }
            }
        }
        let all: Vec<_> = self.searched().into_iter().filter(|it| it.kind == kind).collect();
        let failure = Failure::usage(format!("no {what} is called `{name}` (`{flag}`)"));
        let names = || all.iter().map(|it| it.target.name.as_str());
        Err(match wording::nearest(name, names()) {
            Some(near) => failure.help(format!("one with a similar name exists: `{near}`")),
            None if all.is_empty() => failure.help(format!("there is no {what} here at all")),
            None => {
                let names: BTreeSet<_> = names().collect();
                failure.help(format!("there is {}", wording::list(names)))
            }
        })
    }

    /// Everything that can be run in the packages that are searched.
    fn searched(&self) -> Vec<Candidate<'a>> {
        self.members.iter().flat_map(|package| targets(package)).collect()
    }

    /// Neither the selected package nor, where none is selected, any other has a binary.
    fn nothing_to_run(&self) -> Failure {
        match self.first() {
            [package] => self.no_binary(package),
            _ => Failure::usage("no package of the workspace has a binary to run")
                .help("add a `src/main.rs` to the one that is to be the server")
                .examples(&self.searched()),
        }
    }

    fn no_binary(&self, package: &Package) -> Failure {
        let manifest = wording::relative(package.manifest_path.as_std_path(), self.current_dir);
        let own = targets(package);
        let only = if own.is_empty() { "only a library" } else { "no binary" };
        let what = format!("package `{}` has {only}, nothing to run ({manifest})", package.name);
        let failure = Failure::usage(what).examples(&own);
        let all = self.searched();
        let mut others: Vec<_> = all
            .iter()
            .filter(|it| it.kind == TargetKind::Bin)
            .map(|it| it.package.name.as_str())
            .collect();
        others.dedup();
        if others.is_empty() {
            failure.help("add a `src/main.rs` that runs the server")
        } else {
            let others = wording::either(others);
            failure.help(format!("choose a package that has one with `-p`: {others}"))
        }
    }

    fn no_default(&self, package: &Package, binaries: &[Candidate<'_>]) -> Failure {
        let manifest = wording::relative(package.manifest_path.as_std_path(), self.current_dir);
        let what =
            format!("package `{}` has several binaries, and none is the default", package.name);
        let first = &binaries[0].target.name;
        Failure::usage(what + &self.table(binaries))
            .help(format!(
                "name one in place of `main`, as in `{first}:bootstrap` or `--bin {first}`"
            ))
            .help(format!("or make one the default with `default-run` in {manifest}"))
    }

    fn ambiguous(&self, what: &str, several: &[Candidate<'_>]) -> Failure {
        let mut packages: Vec<_> = several.iter().map(|it| it.package.name.as_str()).collect();
        packages.dedup();
        let choices: Vec<String> = if packages.len() == several.len() {
            packages.iter().map(|name| format!("-p {name}")).collect()
        } else if packages.len() == 1 {
            several.iter().map(|it| format!("{} {}", it.kind.flag(), it.target.name)).collect()
        } else {
            several
                .iter()
                .map(|it| format!("-p {} {} {}", it.package.name, it.kind.flag(), it.target.name))
                .collect()
        };
        let choices = wording::either(choices.iter().map(String::as_str));
        Failure::usage(what.to_owned() + &self.table(several))
            .help(format!("choose with {choices}"))
    }

    fn unknown(&self, name: &str, origin: &str) -> Failure {
        // A package without a binary.
        if let Some(package) = self.members.iter().find(|it| same(&it.name, name)) {
            return self.no_binary(package);
        }
        let all = self.searched();
        if all.is_empty() {
            return self.nothing_to_run();
        }
        let place = match self.members.as_slice() {
            [package] => format!(" in package `{}`", package.name),
            _ => String::new(),
        };
        let table = self.table(&all);
        let what = format!("nothing to run is called `{name}`{place}{origin}; there is{table}");
        let failure = Failure::usage(what);
        if let Some(other) = self.others.iter().find(|it| !matches(it, name).is_empty()) {
            return failure.help(format!(
                "package `{0}` has it: choose that with `-p {0}`, or leave out `-p`",
                other.name
            ));
        }
        let names = all.iter().flat_map(|it| [it.target.name.as_str(), it.package.name.as_str()]);
        let failure = match wording::nearest(name, names.chain(["main"])) {
            Some(near) => failure.help(format!("a similar name exists: `{near}`")),
            None => failure,
        };
        failure.help("`main` is the package's default binary; modules inside follow behind `::`")
    }

    /// One line for each: name, kind and package, root file.
    fn table(&self, rows: &[Candidate<'_>]) -> String {
        let what =
            |it: &Candidate<'_>| format!("{} of package {}", it.kind.what(), it.package.name);
        let name_width = rows.iter().map(|it| it.target.name.len()).max().unwrap_or_default();
        let what_width = rows.iter().map(|it| what(it).len()).max().unwrap_or_default();
        let lines = rows.iter().map(|it| {
            let path = wording::relative(it.target.src_path.as_std_path(), self.current_dir);
            format!("\n  {:name_width$}  {:what_width$}  {path}", it.target.name, what(it))
        });
        lines.collect()
    }
}

impl Failure {
    /// With the examples that could be run in place of a binary.
    fn examples(self, all: &[Candidate<'_>]) -> Self {
        let examples = all.iter().filter(|it| it.kind == TargetKind::Example);
        let names: Vec<_> = examples.map(|it| it.target.name.as_str()).collect();
        if names.is_empty() {
            return self;
        }
        self.help(format!("examples can be run by their names: {}", wording::list(names)))
    }
}

impl TargetKind {
    /// Cargo's option for it.
    pub(super) fn flag(self) -> &'static str {
        match self {
            Self::Bin => "--bin",
            Self::Example => "--example",
        }
    }

    /// What people call it.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Bin => "binary",
            Self::Example => "example",
        }
    }
}

impl Candidate<'_> {
    fn is_called(&self, name: &str) -> bool {
        self.target.name == name || (self.package.name == name && !self.same(name))
    }

    /// Whether both are the same package's.
    fn is_of(&self, other: &Self) -> bool {
        self.package.id == other.package.id
    }

    /// The target's name, `-` and `_` alike.
    fn same(&self, name: &str) -> bool {
        same(&self.target.name, name)
    }

    /// Whether the first segment of an entry can mean this target, which `--bin` or `--example` has
    /// chosen.
    pub(super) fn agrees(&self, name: &str) -> bool {
        name == "main" || self.same(name) || same(&self.package.name, name)
    }

    /// Whether the first segment of an entry, written where no target is chosen, means this target.
    pub(super) fn is_meant_by(&self, name: &str) -> bool {
        if name == "main" {
            return defaults(self.package) == [*self];
        }
        matches(self.package, name).contains(self)
    }
}

fn same(a: &str, b: &str) -> bool {
    a.replace('-', "_") == b.replace('-', "_")
}

/// What can be run in a package.
fn targets(package: &Package) -> Vec<Candidate<'_>> {
    let kind = |target: &Target| {
        // An example may be a library by its crate type.
        if target.is_bin() {
            Some(TargetKind::Bin)
        } else {
            let runs = target.crate_types.contains(&cargo_metadata::CrateType::Bin);
            (target.is_example() && runs).then_some(TargetKind::Example)
        }
    };
    package
        .targets
        .iter()
        .filter_map(|target| kind(target).map(|kind| Candidate { package, target, kind }))
        .collect()
}

/// The binary that `main` means: `default-run`, else `src/main.rs`, else the only one. Where none
/// of these says, all of them.
fn defaults(package: &Package) -> Vec<Candidate<'_>> {
    let mut binaries = targets(package);
    binaries.retain(|it| it.kind == TargetKind::Bin);
    let main = folder(package).join("src").join("main.rs");
    let by_key = binaries.iter().find(|it| Some(&it.target.name) == package.default_run.as_ref());
    let by_path = || binaries.iter().find(|it| it.target.src_path == main.as_path());
    let by_name = || binaries.iter().find(|it| it.target.name == "main");
    match by_key.or_else(by_path).or_else(by_name) {
        Some(default) => vec![*default],
        None => binaries,
    }
}

/// The targets of a package that a name can mean.
fn matches<'a>(package: &'a Package, name: &str) -> Vec<Candidate<'a>> {
    let named: Vec<_> = targets(package).into_iter().filter(|it| it.same(name)).collect();
    if named.is_empty() && same(&package.name, name) { defaults(package) } else { named }
}

/// The member that holds a folder: the innermost one.
fn holding<'a>(members: &[&'a Package], from: &Path) -> Option<&'a Package> {
    let from = real(from);
    let holders = members.iter().map(|package| (real(folder(package)), *package));
    let holders = holders.filter(|(root, _)| from.starts_with(root));
    holders.max_by_key(|(root, _)| root.components().count()).map(|(_, package)| package)
}

/// The path without links. Cargo keeps those of `--manifest-path`, the system resolves those of the
/// current folder.
pub(crate) fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The package that `-p` names: by its name, as `name@version`, or by its id. A path package may
/// lie outside the workspace, as for cargo.
fn package<'a>(
    metadata: &'a Metadata,
    spec: &str,
    current_dir: &Path,
) -> Result<&'a Package, Failure> {
    let (name, version) = match spec.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (spec, None),
    };
    let is_meant = |package: &Package| {
        package.id.repr == spec
            || (package.name == name
                && version.is_none_or(|version| package.version.to_string() == version))
    };
    let local: Vec<_> = metadata.packages.iter().filter(|it| it.source.is_none()).collect();
    local.iter().find(|package| is_meant(package)).copied().ok_or_else(|| {
        let root = wording::relative(metadata.workspace_root.as_std_path(), current_dir);
        let failure = Failure::usage(format!("no package `{spec}` in the workspace {root} (`-p`)"));
        let names = || metadata.workspace_packages().into_iter().map(|it| it.name.as_str());
        match wording::nearest(name, names()) {
            Some(near) => failure.help(format!("a package with a similar name exists: `{near}`")),
            None => failure.help(format!("the workspace has {}", wording::list(names()))),
        }
    })
}
