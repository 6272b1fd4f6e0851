//! What `cargo run` would add to a process: environment, library path, runner. Cargo and rustc are
//! asked once, not at every start.
//!
//! The rules are cargo's own: `Compilation::fill_env` and `apply_env_config` in its sources, and
//! the chapter «Environment Variables» of the Cargo book.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_config2::{Config, ResolveOptions};
use cargo_metadata::Package;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::event::Artifact;
use crate::process::{self, Environment, Groups};

mod typed;

use typed::{Typed, Variable};

/// The variable with which the system's loader is told where to look.
const LIBRARY_PATH: &str = if cfg!(windows) {
    "PATH"
} else if cfg!(target_os = "macos") {
    "DYLD_FALLBACK_LIBRARY_PATH"
} else {
    "LD_LIBRARY_PATH"
};

/// Whose `cargo run`.
#[derive(Clone, Debug)]
pub struct CargoQuery {
    /// The cargo to call.
    pub cargo: PathBuf,
    /// The folder that the user is in. Absolute.
    pub current_dir: PathBuf,
    /// `--target`.
    pub target: Option<String>,
    /// `--config`, each time it was given.
    pub config: Vec<String>,
}

/// The triple that the tool itself was built for: the host of nearly every toolchain beside it.
pub const OWN_HOST: &str = env!("STARIO_TARGET");

/// What cargo's configuration and rustc say, whatever the package.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// What rustc says.
    pub rustc: Rustc,
    /// What has to do with linking.
    pub linking: Configured,
    cargo: PathBuf,
    configured: Vec<(String, OsString)>,
    runner: Vec<OsString>,
}

/// What cargo's configuration says of how executables are linked and run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// What is built for, where somebody says it.
    pub triple: Option<String>,
    /// Whether there is a linker.
    pub linker: bool,
    /// Whether there is a runner.
    pub runner: bool,
    /// What rustc is told with each crate.
    pub rustflags: Vec<String>,
}

/// What rustc says of itself. Nothing where it does not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Rustc {
    /// The triple that is built for where nothing names another.
    pub host: Option<String>,
    sysroot: Option<PathBuf>,
    libraries: Option<PathBuf>,
}

/// What `cargo run` adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CargoRun {
    /// `CARGO` and what is known of the package.
    package: Vec<(&'static str, OsString)>,
    /// `[env]` of cargo's configuration, as far as it counts.
    configured: Vec<(String, OsString)>,
    /// The toolchain's own folder of dynamic libraries.
    toolchain: Option<PathBuf>,
    /// What stands before the executable.
    runner: Vec<OsString>,
}

impl Toolchain {
    /// Reads cargo's configuration and asks rustc for its folders, for some tens of milliseconds. With
    /// `groups`, no rustc is left running whatever happens to us.
    ///
    /// # Errors
    /// When the configuration is not valid.
    pub async fn ask(query: &CargoQuery, groups: Option<&Groups>) -> Result<Self, Failure> {
        // With a host that is still to be confirmed: cargo itself takes long to say which it is.
        let settings = Settings::read(query, OWN_HOST)?;
        let rustc = Rustc::ask(&settings, query, groups).await;
        match &rustc.host {
            Some(host) if host != OWN_HOST => {
                let settings = Settings::read(query, host)?;
                let rustc = Rustc::ask(&settings, query, groups).await;
                Ok(Self::new(query, settings, rustc))
            }
            _ => Ok(Self::new(query, settings, rustc)),
        }
    }

    /// Reads cargo's configuration; rustc has been asked before.
    ///
    /// # Errors
    /// When the configuration is not valid.
    pub fn of(query: &CargoQuery, rustc: Rustc) -> Result<Self, Failure> {
        let settings = Settings::read(query, rustc.host.as_deref().unwrap_or(OWN_HOST))?;
        Ok(Self::new(query, settings, rustc))
    }

    fn new(query: &CargoQuery, settings: Settings, rustc: Rustc) -> Self {
        let Settings { configured, runner, linking, .. } = settings;
        let cargo = real_cargo(&query.cargo, rustc.sysroot.as_deref());
        Self { rustc, linking, cargo, configured, runner }
    }

    /// What `cargo run` adds for a target of this package.
    pub fn cargo_run(self, package: &Package, workspace_root: &Path) -> CargoRun {
        CargoRun {
            package: package_variables(&self.cargo, package, workspace_root),
            configured: self.configured,
            toolchain: self.rustc.libraries,
            runner: self.runner,
        }
    }
}

/// What cargo's configuration says.
struct Settings {
    /// The compiler and its first arguments.
    rustc: Vec<OsString>,
    /// What is built for, where that is not the host.
    triple: Option<String>,
    configured: Vec<(String, OsString)>,
    runner: Vec<OsString>,
    linking: Configured,
}

impl Settings {
    fn read(query: &CargoQuery, host: &str) -> Result<Self, Failure> {
        let options = ResolveOptions::default().cargo(query.cargo.as_os_str()).host_triple(host);
        let config = Config::load_with_options(&query.current_dir, options).map_err(invalid)?;
        let targets = config.build_target_for_config(query.target.as_ref()).map_err(invalid)?;
        let typed = Typed::read(&query.config, &query.current_dir)?;
        let runner = match targets.first() {
            Some(target) => match typed.runners.get(target.triple()) {
                Some(runner) => runner.clone(),
                None => config.runner(target).map_err(invalid)?.map_or_else(Vec::new, words),
            },
            None => Vec::new(),
        };
        let triple = query.target.clone().or_else(|| {
            let chosen = config.build.target.as_ref()?;
            chosen.first().map(|target| target.triple().to_owned())
        });
        let (mut linker, mut rustflags) = (typed.linker, typed.rustflags);
        if let Some(target) = targets.first() {
            linker = linker || config.linker(target).map_err(invalid)?.is_some();
            let flags = config.rustflags(target).map_err(invalid)?;
            rustflags.extend(flags.into_iter().flat_map(|it| it.flags));
        }
        let runs = !runner.is_empty();
        let linking = Configured { triple: triple.clone(), linker, runner: runs, rustflags };
        let rustc = words(config.rustc().clone());
        let mut configured: BTreeMap<String, Variable> = config
            .env
            .into_iter()
            .map(|(name, it)| (name, Variable { value: it.value, force: it.force }))
            .collect();
        configured.extend(typed.env);
        configured.retain(|name, it| it.force || std::env::var_os(name).is_none());
        let configured = configured.into_iter().map(|(name, it)| (name, it.value)).collect();
        Ok(Self { rustc, triple, configured, runner, linking })
    }
}

impl CargoRun {
    /// What is started, with the user's arguments: the executable, or the runner with it.
    pub fn line(&self, executable: PathBuf, arguments: &[OsString]) -> (PathBuf, Vec<OsString>) {
        let arguments = arguments.iter().cloned();
        match self.runner.split_first() {
            None => (executable, arguments.collect()),
            Some((runner, its_own)) => {
                let behind = its_own.iter().cloned().chain([executable.into()]).chain(arguments);
                (runner.into(), behind.collect())
            }
        }
    }

    /// The name of the program that runs executables, where there is one.
    pub fn runner(&self) -> Option<String> {
        let runner = self.runner.first().map(Path::new)?;
        Some(runner.file_name().unwrap_or(runner.as_os_str()).to_string_lossy().into_owned())
    }

    /// The environment of an executable.
    pub fn environment(&self, artifact: &Artifact) -> Environment {
        let mut environment = Environment::default();
        if let Some(path) = self.library_path(artifact) {
            environment.set(LIBRARY_PATH, path);
        }
        for (name, value) in &artifact.env {
            environment.set(name, value);
        }
        for (name, value) in &self.package {
            environment.set(name, value);
        }
        for (name, value) in &self.configured {
            // Cargo's own word counts, even against `force`.
            if !environment.sets(OsStr::new(name)) {
                environment.set(name, value);
            }
        }
        environment
    }

    /// The artifact's folders and the toolchain's, before what was there already.
    fn library_path(&self, artifact: &Artifact) -> Option<OsString> {
        let inherited = std::env::var_os(LIBRARY_PATH).unwrap_or_default();
        // An empty variable would otherwise be one empty path.
        let inherited: Vec<PathBuf> =
            std::env::split_paths(&inherited).filter(|_| !inherited.is_empty()).collect();
        let mut paths = artifact.library_paths.clone();
        paths.extend(self.toolchain.clone());
        if inherited.starts_with(&paths) {
            paths = inherited;
        } else if inherited.is_empty() && cfg!(target_os = "macos") {
            // What the loader takes when the variable is not set, and no longer once it is.
            paths.extend(std::env::var_os("HOME").map(|home| Path::new(&home).join("lib")));
            paths.extend(["/usr/local/lib", "/usr/lib"].map(PathBuf::from));
        } else {
            paths.extend(inherited);
        }
        // A folder with the separator in its name cannot be put there; cargo fails, we go without.
        std::env::join_paths(paths).ok()
    }
}

fn words(program: cargo_config2::PathAndArgs) -> Vec<OsString> {
    std::iter::once(program.path.into_os_string()).chain(program.args).collect()
}

fn invalid(error: cargo_config2::Error) -> Failure {
    Failure::usage(format!("cargo's configuration is not valid: {:#}", anyhow::Error::new(error)))
}

impl Rustc {
    /// Without an answer, the build will say what is wrong with rustc.
    async fn ask(settings: &Settings, query: &CargoQuery, groups: Option<&Groups>) -> Self {
        let triple = settings.triple.as_deref();
        let Some((rustc, its_own)) = settings.rustc.split_first() else {
            return Self::default();
        };
        let says = async |arguments: &[&str]| {
            let mut command = Command::new(rustc);
            command.args(its_own).args(arguments).current_dir(&query.current_dir);
            let output = process::output(groups, command, |_| {}).await.ok()?;
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let mut arguments = vec!["--print", "sysroot", "--print", "target-libdir"];
        arguments.extend(triple.into_iter().flat_map(|triple| ["--target", triple]));
        let Some(text) = says(&arguments).await else { return Self::default() };
        let mut lines = text.lines().map(PathBuf::from);
        let (sysroot, libraries) = (lines.next(), lines.next());
        let host = match triple {
            // `…/lib/rustlib/TRIPLE/lib`
            None => {
                libraries.as_deref().and_then(|it| Some(it.parent()?.file_name()?.to_str()?.into()))
            }
            Some(_) => says(&["-vV"]).await.as_deref().and_then(host_in),
        };
        Self { host, sysroot, libraries }
    }
}

fn host_in(version: &str) -> Option<String> {
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(|host| host.trim().to_owned())
}

/// The cargo that runs in the end: rustup's proxy is replaced by what it calls.
fn real_cargo(cargo: &Path, sysroot: Option<&Path>) -> PathBuf {
    let executable = |name: &str| format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let is_proxy = match cargo.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => folder.join(executable("rustup")).exists(),
        // Looked up in `PATH`.
        None => true,
    };
    let toolchains = sysroot.map(|sysroot| sysroot.join("bin").join(executable("cargo")));
    toolchains.filter(|path| is_proxy && path.exists()).unwrap_or_else(|| cargo.to_owned())
}

fn package_variables(
    cargo: &Path,
    package: &Package,
    workspace_root: &Path,
) -> Vec<(&'static str, OsString)> {
    let manifest = package.manifest_path.as_std_path();
    let text = |value: &Option<String>| OsString::from(value.clone().unwrap_or_default());
    let path = |value: &Option<cargo_metadata::camino::Utf8PathBuf>| {
        OsString::from(value.as_ref().map_or("", |path| path.as_str()))
    };
    let version = &package.version;
    vec![
        ("CARGO", cargo.into()),
        ("CARGO_MANIFEST_DIR", manifest.parent().unwrap_or(manifest).into()),
        ("CARGO_MANIFEST_PATH", manifest.into()),
        ("CARGO_PKG_AUTHORS", package.authors.join(":").into()),
        ("CARGO_PKG_DESCRIPTION", text(&package.description)),
        ("CARGO_PKG_HOMEPAGE", text(&package.homepage)),
        ("CARGO_PKG_LICENSE", text(&package.license)),
        ("CARGO_PKG_LICENSE_FILE", path(&package.license_file)),
        ("CARGO_PKG_NAME", package.name.to_string().into()),
        ("CARGO_PKG_README", path(&package.readme)),
        ("CARGO_PKG_REPOSITORY", text(&package.repository)),
        ("CARGO_PKG_RUST_VERSION", rust_version(package, workspace_root).into()),
        ("CARGO_PKG_VERSION", version.to_string().into()),
        ("CARGO_PKG_VERSION_MAJOR", version.major.to_string().into()),
        ("CARGO_PKG_VERSION_MINOR", version.minor.to_string().into()),
        ("CARGO_PKG_VERSION_PATCH", version.patch.to_string().into()),
        ("CARGO_PKG_VERSION_PRE", version.pre.to_string().into()),
    ]
}

/// `rust-version` as it was written: the metadata has lost whether that was `1.88` or `1.88.0`.
fn rust_version(package: &Package, workspace_root: &Path) -> String {
    let Some(version) = &package.rust_version else { return String::new() };
    let full = version.to_string();
    let forms =
        [full.clone(), format!("{}.{}", version.major, version.minor), version.major.to_string()];
    let manifests =
        [package.manifest_path.clone().into_std_path_buf(), workspace_root.join("Cargo.toml")];
    let texts = manifests.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    let lines: Vec<String> = texts
        .flat_map(|text| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>())
        .filter(|line| line.trim_start().starts_with("rust-version"))
        .collect();
    let written = forms.into_iter().find(|form| {
        lines.iter().any(|line| {
            line.contains(&format!("\"{form}\"")) || line.contains(&format!("'{form}'"))
        })
    });
    written.unwrap_or(full)
}
