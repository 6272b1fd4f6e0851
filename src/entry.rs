//! `MODULE[:FUNCTION]` and cargo's metadata become the [`Entry`]: package, target, function.
//!
//! `entry/path.rs` takes apart what was written, `select.rs` finds the target, `source.rs` looks
//! for module and function in its source, and `graph.rs` walks what the target depends on. Reads
//! sources, runs nothing.

use std::path::{Path, PathBuf};

use cargo_metadata::Metadata;

use crate::config::Table;
use crate::error::Failure;
use crate::wording;

mod graph;
mod path;
mod select;
mod source;

use graph::Graph;
use path::EntryPath;
use select::{Candidate, Search};
use source::Lookup;

pub(crate) use select::real;

/// What is built and run.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The package that has the target.
    pub package: cargo_metadata::Package,
    /// What kind of target it is.
    pub kind: TargetKind,
    /// The target's name, as cargo's `--bin` or `--example` takes it.
    pub target: String,
    /// The function's path inside the binary, as in `admin::bootstrap`: the server's
    /// `STARIO_BOOTSTRAP`. `None` when no function was named.
    pub function: Option<String>,
    /// Every local package that the target depends on, its own first.
    pub local: Vec<LocalPackage>,
    /// The crate in the target's dependency graph that says that it takes inherited sockets.
    pub takes_socket: Option<String>,
}

/// Which of cargo's target kinds can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A binary.
    Bin,
    /// An example.
    Example,
}

/// A package that lies on this machine as a folder (not in cargo's registry).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPackage {
    /// Its name.
    pub name: String,
    /// The folder of its manifest. Absolute.
    pub root: PathBuf,
}

/// What says which entry is meant.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// `MODULE[:FUNCTION]` as typed.
    pub entry: Option<&'a str>,
    /// `-p`
    pub package: Option<&'a str>,
    /// `--bin` or `--example`
    pub target: Option<(TargetKind, &'a str)>,
    /// `[workspace.metadata.stario]`
    pub workspace: Option<&'a Table>,
    /// The folder that selects a package: the user's, or that of `--manifest-path`. Absolute.
    pub from: &'a Path,
    /// The folder that the user is in, which paths in messages are relative to. Absolute.
    pub current_dir: &'a Path,
}

/// Finds package, target and function.
///
/// # Errors
///
/// The entry is malformed, names nothing or several things; module or function are not in the
/// source; the target needs features that are not enabled; the metadata of a package is wrong.
pub fn resolve<'a>(metadata: &'a Metadata, wanted: &Wanted<'a>) -> Result<Entry, Failure> {
    let search = Search::new(metadata, wanted.package, wanted.from, wanted.current_dir)?;
    let (candidate, entry, place) = match (wanted.entry, wanted.target) {
        (Some(text), None) => {
            let entry = EntryPath::parse(text, "")?;
            (named(&search, &entry, "")?, entry, None)
        }
        (Some(text), Some((kind, name))) => {
            let entry = EntryPath::parse(text, "")?;
            let candidate = search.flagged(kind, name)?;
            agree(&candidate, &entry)?;
            (candidate, entry, None)
        }
        (None, Some((kind, name))) => {
            let candidate = search.flagged(kind, name)?;
            let (entry, place) = configured_for(&candidate, wanted)?;
            (candidate, entry, place)
        }
        (None, None) => configured(metadata, &search, wanted)?,
    };
    look_up(&candidate, &entry, wanted.current_dir).map_err(|failure| match place {
        Some(place) => failure.help(format!("the entry comes from {place}")),
        None => failure,
    })?;
    let Candidate { package, target, kind } = candidate;
    let graph = Graph::new(metadata, package, kind);
    check_features(&candidate, &graph)?;
    Ok(Entry {
        package: package.clone(),
        kind,
        target: target.name.clone(),
        function: entry.inside(),
        local: graph.local(),
        takes_socket: graph.takes_socket(),
    })
}

impl Entry {
    /// The package as cargo's `-p` takes it: `name@version`.
    pub fn spec(&self) -> String {
        format!("{}@{}", self.package.name, self.package.version)
    }
}

fn named<'a>(
    search: &Search<'a>,
    entry: &EntryPath,
    origin: &str,
) -> Result<Candidate<'a>, Failure> {
    if entry.target == "main" { search.main() } else { search.named(&entry.target, origin) }
}

/// `--bin` or `--example` has the choice; an entry beside it may not name something else.
fn agree(candidate: &Candidate<'_>, entry: &EntryPath) -> Result<(), Failure> {
    if candidate.agrees(&entry.target) {
        return Ok(());
    }
    let (flag, target) = (candidate.kind.flag(), &candidate.target.name);
    let mut main = entry.clone();
    main.target = "main".into();
    let what = format!("`{entry}` names `{}`, but `{flag}` names `{target}`", entry.target);
    Err(Failure::usage(what).help(format!("leave out `{flag}`, or write `{main}`")))
}

/// No entry was typed, and no target: the metadata (with the place in it), else the default binary.
fn configured<'a>(
    metadata: &'a Metadata,
    search: &Search<'a>,
    wanted: &Wanted<'a>,
) -> Result<(Candidate<'a>, EntryPath, Option<String>), Failure> {
    let mut tables = Vec::new();
    for package in search.first() {
        let table = Table::of_package(package, wanted.current_dir)?;
        if let Some(table) = table.filter(|table| table.entry().is_some()) {
            tables.push((*package, table));
        }
    }
    let workspace = wanted.workspace.filter(|table| table.entry().is_some());
    if let [(package, table)] = tables.as_slice() {
        let (entry, place) = configured_entry(table)?;
        // A package speaks of itself.
        let id = Some(package.id.repr.as_str());
        let own = Search::new(metadata, id, wanted.from, wanted.current_dir)?;
        return Ok((named(&own, &entry, &format!(" ({place})"))?, entry, Some(place)));
    }
    if let Some(table) = workspace {
        let (entry, place) = configured_entry(table)?;
        return Ok((named(search, &entry, &format!(" ({place})"))?, entry, Some(place)));
    }
    if tables.is_empty() {
        return Ok((search.main()?, EntryPath::main(), None));
    }
    let rows = tables.iter().map(|(_, table)| {
        format!("\n  {}  {}", table.entry().unwrap_or_default(), table.place("entry"))
    });
    let choices: Vec<_> =
        tables.iter().map(|(package, _)| format!("-p {}", package.name)).collect();
    let choices = wording::either(choices.iter().map(String::as_str));
    let what = format!("several packages have an entry{}", rows.collect::<String>());
    Err(Failure::usage(what).help(format!("choose with {choices}, or name an entry")))
}

/// No entry was typed, but a target: where the metadata's entry means the same one, its module and
/// function stand.
fn configured_for(
    candidate: &Candidate<'_>,
    wanted: &Wanted<'_>,
) -> Result<(EntryPath, Option<String>), Failure> {
    let package = Table::of_package(candidate.package, wanted.current_dir)?;
    let tables = package.iter().chain(wanted.workspace);
    let Some(table) = tables.into_iter().find(|table| table.entry().is_some()) else {
        return Ok((EntryPath::main(), None));
    };
    let (entry, place) = configured_entry(table)?;
    let is_meant = candidate.is_meant_by(&entry.target);
    Ok(if is_meant { (entry, Some(place)) } else { (EntryPath::main(), None) })
}

/// The `entry` of a table, and where it stands for messages.
fn configured_entry(table: &Table) -> Result<(EntryPath, String), Failure> {
    let place = table.place("entry");
    let text = table.entry().unwrap_or_default();
    Ok((EntryPath::parse(text, &format!(" ({place})"))?, place))
}

fn look_up(
    candidate: &Candidate<'_>,
    entry: &EntryPath,
    current_dir: &Path,
) -> Result<(), Failure> {
    let root = candidate.target.src_path.as_std_path();
    match source::look_up(root, &entry.modules, entry.function.as_deref()) {
        Lookup::Found => Ok(()),
        Lookup::NoModule { at, file, modules, is_function } => {
            Err(no_module(entry, at, &wording::relative(&file, current_dir), &modules, is_function))
        }
        Lookup::NoFunction { file, functions } => {
            Err(no_function(entry, &wording::relative(&file, current_dir), &functions))
        }
    }
}

fn no_module(
    entry: &EntryPath,
    at: usize,
    file: &str,
    modules: &[String],
    is_function: bool,
) -> Failure {
    let missing = &entry.modules[at];
    let parent =
        EntryPath { modules: entry.modules[..at].to_vec(), function: None, ..entry.clone() };
    let failure = Failure::usage(format!("no module `{missing}` in `{parent}` ({file})"));
    if is_function && at + 1 == entry.modules.len() && entry.function.is_none() {
        let meant = EntryPath { function: Some(missing.clone()), ..parent };
        return failure.help(format!("it is a function there; a function is named `{meant}`"));
    }
    let names = || modules.iter().map(String::as_str);
    let failure = match wording::nearest(missing, names()) {
        Some(near) => failure.help(format!("a module with a similar name exists: `{near}`")),
        None => failure,
    };
    if modules.is_empty() {
        failure.help("there are no modules in it")
    } else {
        failure.help(format!("the modules there: {}", wording::list(names())))
    }
}

fn no_function(entry: &EntryPath, file: &str, functions: &[String]) -> Failure {
    let missing = entry.function.as_deref().unwrap_or_default();
    let failure =
        Failure::usage(format!("no function `{missing}` in `{}` ({file})", entry.module()));
    let names = || functions.iter().map(String::as_str);
    let failure = match wording::nearest(missing, names()) {
        Some(near) => failure.help(format!("a function with a similar name exists: `{near}`")),
        None => failure,
    };
    if functions.is_empty() {
        failure.help("there are no functions in it")
    } else {
        failure.help(format!("the functions there: {}", wording::list(names())))
    }
}

/// What cargo would say after it had begun to build.
fn check_features(candidate: &Candidate<'_>, graph: &Graph<'_>) -> Result<(), Failure> {
    let enabled = graph.features();
    let required = candidate.target.required_features.iter().map(String::as_str);
    // `package/feature` speaks of a dependency: cargo will say.
    let missing: Vec<_> =
        required.filter(|name| !name.contains('/') && !enabled.contains(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (features, them) =
        if missing.len() == 1 { ("feature", "it") } else { ("features", "them") };
    Err(Failure::usage(format!(
        "{} `{}` of package `{}` requires the {features} {}",
        candidate.kind.what(),
        candidate.target.name,
        candidate.package.name,
        wording::list(missing.iter().copied())
    ))
    .help(format!("enable {them} with `--features {}`", missing.join(","))))
}
