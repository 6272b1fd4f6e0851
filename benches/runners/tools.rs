//! The other runners, as their users get them: from the registry, in these versions, once, and into a
//! folder of our own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::runner::Runner;
use crate::terminal;

/// A package, and its version.
pub(crate) type Tool = (&'static str, &'static str);

pub(crate) const CARGO_WATCH: Tool = ("cargo-watch", "8.5.3");
pub(crate) const WATCHEXEC: Tool = ("watchexec-cli", "2.8.0");
pub(crate) const BACON: Tool = ("bacon", "3.26.0");
pub(crate) const SYSTEMFD: Tool = ("systemfd", "0.4.6");

/// Installs what these runners need below `results`. Returns a `PATH` that leads to it, and to the
/// `cargo-stario` that cargo has built for this benchmark.
pub(crate) fn install(runners: &[&Runner], results: &Path) -> Result<OsString> {
    let root = results.join("runners");
    for (name, version) in runners.iter().flat_map(|runner| runner.tools) {
        if is_installed(&root, name, version) {
            continue;
        }
        eprintln!("Installing {name} {version}");
        let done = terminal::command("cargo")
            .args(["install", "--locked", "--version", version, name, "--root"])
            .arg(&root)
            .arg("--target-dir")
            .arg(results.join("install"))
            .status()
            .context("cargo install")?;
        ensure!(done.success(), "{name} {version} could not be installed");
    }
    // A gigabyte that nobody asks for again.
    let _ = fs::remove_dir_all(results.join("install"));

    let ours = Path::new(env!("CARGO_BIN_EXE_cargo-stario")).parent().map(Path::to_owned);
    let before = std::env::var_os("PATH").unwrap_or_default();
    let folders = ours.into_iter().chain([root.join("bin")]).chain(std::env::split_paths(&before));
    Ok(std::env::join_paths(folders.collect::<Vec<PathBuf>>())?)
}

/// Cargo's own list says so, without a look at the registry.
fn is_installed(root: &Path, name: &str, version: &str) -> bool {
    let list = fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
    list.contains(&format!("\"{name} {version} "))
}
