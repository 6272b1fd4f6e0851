//! Real workspaces in temporary folders, and real cargo.

// As snapbox writes them.
#![allow(clippy::needless_raw_string_hashes)]

use std::fs;
use std::path::{Path, PathBuf};

use snapbox::{assert_data_eq, str};
use tempfile::TempDir;

use super::{Environment, Host, Mode, Plan, Source, resolve};
use crate::cli;
use crate::config::Port;
use crate::entry::TargetKind;
use crate::error::Failure;

/// A folder of files, and what is typed in it.
#[must_use]
struct Project {
    folder: TempDir,
    variables: Vec<(String, String)>,
    /// What the toolchain is taken for at first.
    likely: &'static str,
}

/// A package's manifest of edition 2024 with more lines behind it.
fn package(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}")
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, variables: Vec::new(), likely: crate::server::OWN_HOST }
    }

    /// One package with a server in `src/main.rs`.
    fn single() -> Self {
        Self::new()
            .file("Cargo.toml", &package("app", ""))
            .file("src/main.rs", "mod admin;\npub fn bootstrap() {}\nfn main() {}\n")
            .file("src/admin.rs", "pub async fn start() {}\n")
    }

    /// A virtual workspace: two servers, a library that one of them uses.
    fn workspace() -> Self {
        Self::new()
            .file("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n")
            .file(
                "crates/web/Cargo.toml",
                &package("web", "[dependencies]\nshared = { path = \"../shared\" }\n"),
            )
            .file("crates/web/src/main.rs", "fn bootstrap() {}\nfn main() {}\n")
            .file("crates/admin-api/Cargo.toml", &package("admin-api", ""))
            .file("crates/admin-api/src/main.rs", "fn bootstrap() {}\nfn main() {}\n")
            .file("crates/shared/Cargo.toml", &package("shared", ""))
            .file("crates/shared/src/lib.rs", "")
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder");
        fs::write(path, text).expect("a file");
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn root(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).expect("the folder")
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn run(&self, at: &str, line: &str) -> Result<Plan, Failure> {
        let typed = ["cargo-stario"].into_iter().chain(line.split(' ').filter(|it| !it.is_empty()));
        let command = cli::parse(typed.map(Into::into)).expect("a sound command line");
        let inherited = std::env::vars()
            .filter(|(name, _)| name != "PORT" && !name.starts_with("STARIO_"))
            .filter(|(name, _)| name != "CARGO_TARGET_DIR");
        let env: Environment = inherited.chain(self.variables.clone()).collect();
        let current_dir = if at == "." { self.root() } else { self.path(at) };
        let source = Source { command, env, current_dir };
        self.resolve(&source)
    }

    fn resolve(&self, source: &Source) -> Result<Plan, Failure> {
        let known = std::future::ready(Some(crate::server::OWN_HOST.to_owned()));
        let host = Host { likely: self.likely, known };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(resolve(source, host, None))
    }

    #[track_caller]
    fn plan(&self, at: &str, line: &str) -> Plan {
        self.run(at, line).unwrap_or_else(|failure| panic!("{}", self.shown(&failure)))
    }

    /// What the user sees, with the folder as `[ROOT]`.
    #[track_caller]
    fn failure(&self, at: &str, line: &str) -> String {
        let failure = match self.run(at, line) {
            Ok(plan) => panic!("no failure, but {:?}", plan.entry.target),
            Err(failure) => failure,
        };
        assert_eq!(failure.code, 2);
        self.shown(&failure)
    }

    fn shown(&self, failure: &Failure) -> String {
        let helps = failure.help.iter().map(|help| format!("\nhelp: {help}"));
        let text = format!("error: {failure}{}\n", helps.collect::<String>());
        text.replace(&*self.root().to_string_lossy(), "[ROOT]")
    }

    /// The target that a line chooses, as `package/target:function`.
    #[track_caller]
    fn chosen(&self, at: &str, line: &str) -> String {
        let entry = self.plan(at, line).entry;
        let function = entry.function.map(|function| format!(":{function}"));
        format!("{}/{}{}", entry.package.name, entry.target, function.unwrap_or_default())
    }
}

mod config;
mod selection;
mod watched;
