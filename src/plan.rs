//! From what was typed to a [`Plan`]: cargo's metadata, the entry, the configuration and the watch
//! set, read at the start and again whenever a manifest changes.
//!
//! Talks to cargo (`plan/cargo.rs`), `entry` and `config`; build, server and watch are handed what
//! comes of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use cargo_metadata::Metadata;

use crate::cli::{CargoOptions, Command};
use crate::config::{self, Config, EventsTo, Layers, Table};
use crate::entry::{self, Entry, TargetKind, Wanted, real};
use crate::error::Failure;
use crate::link::Linking;
use crate::process::{self, Groups};
use crate::watch::WatchSet;

mod cargo;
mod link;
mod profile;

pub use profile::Profile;

/// What a plan is made from, and made from again when a manifest has changed.
#[derive(Clone, Debug)]
pub struct Source {
    /// What was typed.
    pub command: Command,
    /// The environment that the tool was started with.
    pub env: Environment,
    /// The folder that the tool was started in. Absolute.
    pub current_dir: PathBuf,
}

/// A snapshot of an environment: nothing that happens later changes what the tool decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

/// All that is known before anything is built.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Whether the server is watched or run once.
    pub mode: Mode,
    /// What is built and run.
    pub entry: Entry,
    /// Our own settings.
    pub config: Config,
    /// What is watched.
    pub watch: WatchSet,
    /// The cargo to call, in `current_dir`.
    pub cargo: PathBuf,
    /// What was typed for cargo.
    pub cargo_options: CargoOptions,
    /// What it is built with.
    pub profile: Profile,
    /// How it is linked, as far as the toolchain has nothing against it.
    pub link: Linking,
    /// The server's arguments.
    pub args: Vec<OsString>,
    /// The folder that the user is in. Absolute.
    pub current_dir: PathBuf,
    /// The workspace's folder. Absolute.
    pub workspace_root: PathBuf,
    /// Cargo's target folder. Absolute.
    pub target_directory: PathBuf,
    /// Cargo's build folder, where it is another (`build.build-dir`). Absolute.
    pub build_directory: Option<PathBuf>,
}

/// Which of our commands runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `cargo stario watch`
    Watch,
    /// `cargo stario serve`
    Serve,
}

impl Environment {
    /// The variable's value.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// All variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Source {
    /// With the environment and the current folder of this process.
    ///
    /// # Errors
    ///
    /// The current folder has been removed, or may not be read.
    pub fn of_process(command: Command) -> Result<Self, Failure> {
        let current_dir = std::env::current_dir().map_err(|error| {
            Failure::usage(format!("cannot tell the current folder: {error}"))
                .help("go to a folder that exists")
        })?;
        Ok(Self { command, env: std::env::vars_os().collect(), current_dir })
    }

    /// The cargo to call, in the current folder.
    pub fn cargo(&self) -> PathBuf {
        cargo::path(&self.env, &self.current_dir)
    }

    /// Where the events go if that was typed or is in the environment: known before anything is
    /// read, so that scripts hear of what goes wrong there.
    ///
    /// # Errors
    ///
    /// As [`config::resolve`].
    pub fn events(&self) -> Result<Option<EventsTo>, Failure> {
        let Self { command, env, current_dir } = self;
        let env = &|name: &str| env.get(name).map(OsStr::to_owned);
        let layers = Layers { env, package: None, workspace: None, current_dir };
        config::resolve_events(&command.shared().server, &layers)
    }
}

/// The platform of the user's toolchain, which is what is built for if nothing names another.
#[derive(Debug)]
pub struct Host<'a, F> {
    /// What cargo is asked for at once.
    pub likely: &'a str,
    /// What it is, as soon as somebody knows; if it is another, cargo is asked again.
    pub known: F,
}

/// Asks cargo for the workspace and resolves entry, configuration and watch set.
///
/// # Errors
///
/// As [`ask`] and [`of`].
pub async fn resolve(
    source: &Source,
    host: Host<'_, impl Future<Output = Option<String>>>,
    groups: Option<&Groups>,
) -> Result<Plan, Failure> {
    of(source, &ask(source, host, groups).await?)
}

/// Asks cargo for the workspace. With `groups`, no cargo is left running whatever happens to us.
///
/// # Errors
///
/// Cargo is missing or cannot read the manifests.
pub async fn ask(
    source: &Source,
    host: Host<'_, impl Future<Output = Option<String>>>,
    groups: Option<&Groups>,
) -> Result<Metadata, Failure> {
    let cargo = source.cargo();
    let ask = |platform: String| {
        let cargo = &cargo;
        async move { cargo::metadata(source, cargo, &platform, groups).await }
    };
    if let Some(target) = &source.command.shared().cargo.target {
        return ask(target.clone()).await;
    }
    let (metadata, known) = tokio::join!(ask(host.likely.to_owned()), host.known);
    match known {
        // What went wrong for another platform may not go wrong for this one.
        Some(known) if known != host.likely => ask(known).await,
        _ => metadata,
    }
}

/// Resolves entry, configuration and watch set from what cargo says of the workspace.
///
/// # Errors
///
/// See [`entry::resolve`] and [`config::resolve`].
pub fn of(source: &Source, metadata: &Metadata) -> Result<Plan, Failure> {
    let Source { command, env, current_dir } = source;
    let shared = command.shared();
    let options = &shared.cargo;
    let workspace = Table::of_workspace(metadata, current_dir)?;
    let from = selecting_folder(options, current_dir);
    let entry = entry::resolve(
        metadata,
        &Wanted {
            entry: shared.entry.as_deref(),
            package: options.package.as_deref(),
            target: target(options),
            workspace: workspace.as_ref(),
            from: &from,
            current_dir,
        },
    )?;
    let package = Table::of_package(&entry.package, current_dir)?;
    let layers = Layers {
        env: &|name| env.get(name).map(OsStr::to_owned),
        package: package.as_ref(),
        workspace: workspace.as_ref(),
        current_dir,
    };
    let config = config::resolve(&shared.server, options.profile(), command.watch(), &layers)?;
    let named = config.profile.as_deref();
    let profile = Profile::of(named, metadata, &entry.local, env, current_dir);
    let target_directory = metadata.target_directory.as_std_path().to_owned();
    let build_directory = metadata.build_directory.as_ref().map(|path| path.as_std_path());
    let build_directory = build_directory.filter(|path| *path != target_directory);
    let link = link::of(&config, &profile, &entry, metadata, &target_directory);
    let mut plan = Plan {
        mode: if command.watch().is_some() { Mode::Watch } else { Mode::Serve },
        watch: WatchSet::default(),
        entry,
        config,
        cargo: source.cargo(),
        profile,
        link,
        cargo_options: options.clone(),
        args: shared.args.clone(),
        current_dir: current_dir.clone(),
        workspace_root: metadata.workspace_root.as_std_path().to_owned(),
        build_directory: build_directory.map(Path::to_owned),
        target_directory,
    };
    plan.watch = watch_set(&plan);
    Ok(plan)
}

/// The folder whose package is meant, as cargo decides it.
fn selecting_folder(options: &CargoOptions, current_dir: &Path) -> PathBuf {
    let manifest = options.manifest_path.as_ref().map(|path| current_dir.join(path));
    let folder = manifest.as_deref().and_then(Path::parent);
    folder.unwrap_or(current_dir).to_owned()
}

fn target(options: &CargoOptions) -> Option<(TargetKind, &str)> {
    let bin = options.bin.as_deref().map(|name| (TargetKind::Bin, name));
    bin.or_else(|| options.example.as_deref().map(|name| (TargetKind::Example, name)))
}

fn watch_set(plan: &Plan) -> WatchSet {
    let packages = plan.entry.local.iter().map(|package| package.root.clone());
    let inside = real(&plan.current_dir).starts_with(real(&plan.workspace_root));
    // The package's own folder is among the packages.
    let here = inside.then(|| plan.current_dir.clone());
    WatchSet {
        roots: distinct(here.into_iter().chain(packages)),
        specs: plan.config.watch.clone().unwrap_or_default(),
        ignore: plan.config.watch_ignore.clone(),
        manifests: manifests(plan),
        never: distinct(
            std::iter::once(plan.target_directory.clone())
                .chain(plan.build_directory.clone())
                .chain(outputs(plan)),
        ),
        gitignore: plan.config.gitignore,
    }
}

/// The files that the tool and the server write what they say to (`--events FILE`, `> log`): each
/// line would be a change, and the next line would say so.
fn outputs(plan: &Plan) -> impl Iterator<Item = PathBuf> {
    let (file, descriptor) = match &plan.config.events {
        Some(EventsTo::File(path)) => (Some(path.clone()), None),
        Some(EventsTo::Descriptor(number)) => (None, Some(*number)),
        None => (None, None),
    };
    file.into_iter().chain([1, 2].into_iter().chain(descriptor).filter_map(process::file_behind))
}

/// What cargo and rustup read to decide what is built, also where it does not exist yet.
fn manifests(plan: &Plan) -> Vec<PathBuf> {
    let packages = plan.entry.local.iter().map(|package| package.root.join("Cargo.toml"));
    let workspace = ["Cargo.toml", "Cargo.lock"].map(|name| plan.workspace_root.join(name));
    distinct(packages.chain(workspace).chain(configuration(plan)))
}

/// The files of cargo's and rustup's configuration: both read every folder from the current one
/// upwards. Above the workspace, only those count that exist.
fn configuration(plan: &Plan) -> impl Iterator<Item = PathBuf> {
    const NAMES: [&str; 4] =
        [".cargo/config.toml", ".cargo/config", "rust-toolchain.toml", "rust-toolchain"];
    let root = real(&plan.workspace_root);
    plan.current_dir.ancestors().flat_map(move |folder| {
        let inside = real(folder).starts_with(&root);
        let files =
            NAMES.map(|name| name.split('/').fold(folder.to_owned(), |path, it| path.join(it)));
        files.into_iter().filter(move |file| inside || file.is_file())
    })
}

/// Each path once, in the order of its first.
fn distinct(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut seen = Vec::new();
    for path in paths {
        if !seen.contains(&path) {
            seen.push(path);
        }
    }
    seen
}

#[cfg(test)]
mod tests;
