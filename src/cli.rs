//! What was typed. Touches no file, no environment, no cargo.
//!
//! Values that the environment or the metadata can give too stay text here: `config` reads them
//! with one parser, so that a mistake reads the same wherever it was made. Cargo's own options are
//! kept as typed and handed on to cargo by [`CargoOptions::build_args`] and
//! [`CargoOptions::metadata_args`].

// The comments on options are their help texts, which are no Markdown.
#![allow(clippy::doc_markdown)]

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Args, ColorChoice, Parser, Subcommand};
use clap_cargo::style::{CLAP_STYLING, HEADER};

/// The outer command: cargo calls `cargo-stario stario watch …` for `cargo stario watch …`.
#[derive(Debug, Parser)]
#[command(name = "cargo", bin_name = "cargo", disable_help_subcommand = true, styles = CLAP_STYLING)]
enum Cargo {
    /// Runs a Rust server while you write it
    #[command(
        name = "stario",
        version,
        subcommand_required = true,
        arg_required_else_help = true,
        disable_help_subcommand = true,
        after_help = example(&[
            "cargo stario watch main:bootstrap",
            "cargo stario serve main:bootstrap --port 8000",
        ], "")
    )]
    Stario {
        #[command(subcommand)]
        command: Command,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Build and run a server, and swap it after every good build
    #[command(after_help = example(&[
        "cargo stario watch main:bootstrap --watch src/",
        "cargo stario watch main:bootstrap --watch 'templates/**/*.html' --watch .",
        "cargo stario watch main:bootstrap --watch-ignore 'data/'",
        "cargo stario watch main:bootstrap --watch-ignore '*.sqlite3'",
        "cargo stario watch main:bootstrap -- --server-arg",
    ], WATCH_NOTES))]
    Watch(WatchArgs),
    /// Build a server once and run it once
    #[command(after_help = example(&[
        "cargo stario serve main:bootstrap --port 8000",
        "cargo stario serve main::admin:bootstrap --release",
        "cargo stario serve main:bootstrap -- --server-arg",
    ], NOTES))]
    Serve(ServeArgs),
}

const NOTES: &str = "\n\nThe Server Options are also read from the environment, and from\n\
    [package.metadata.stario] and [workspace.metadata.stario] of Cargo.toml, as is `entry`.\n\
    The strongest is the flag, then the environment, the package, the workspace.";

const WATCH_NOTES: &str = "\n\nA SPEC is a file, a folder with all below it, or a glob: `*` stays inside one path segment,\n\
    `**` crosses, and a glob without `/` matches a name at any depth. End a folder that does not\n\
    exist yet with `/`. What git ignores, editors' temporary files and SQLite files are ignored\n\
    unless --watch names them outright.\n\n\
    The Server and Watch Options are also read from the environment (lists separated as PATH is),\n\
    and from [package.metadata.stario] and [workspace.metadata.stario] of Cargo.toml, as is `entry`.\n\
    The strongest is the flag, then the environment, the package, the workspace.";

fn example(lines: &[&str], notes: &str) -> String {
    format!("{HEADER}Examples:{HEADER:#}\n  {}{notes}", lines.join("\n  "))
}

/// `cargo stario watch`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct WatchArgs {
    /// What only this one takes.
    #[command(flatten, next_help_heading = "Watch Options")]
    pub watch: WatchOptions,
    /// What both commands take.
    #[command(flatten)]
    pub shared: Shared,
}

/// `cargo stario serve`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ServeArgs {
    /// What both commands take.
    #[command(flatten)]
    pub shared: Shared,
}

/// What both commands take.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// What to run, as `MODULE[:FUNCTION]`: `main` (the package's default binary) or a binary's, an
    /// example's or a package's name, `::` and a module inside where there is one, and the function
    /// that the server starts with
    #[arg(help_heading = None)]
    pub entry: Option<String>,
    /// Arguments for the server
    #[arg(last = true, value_name = "ARGS", help_heading = None)]
    pub args: Vec<OsString>,
    /// Our own options.
    #[command(flatten, next_help_heading = "Server Options")]
    pub server: ServerOptions,
    /// Cargo's options.
    #[command(flatten)]
    pub cargo: CargoOptions,
}

/// Our own options of both commands, unparsed.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerOptions {
    /// Host name or address to listen on [env: STARIO_HOST] [default: 127.0.0.1]
    #[arg(long)]
    pub host: Option<OsString>,
    /// Port to listen on; 0 picks a free one [env: STARIO_PORT, PORT] [default: 8000]
    #[arg(long, allow_negative_numbers = true)]
    pub port: Option<OsString>,
    /// Unix socket to listen on, in place of host and port [env: STARIO_UNIX_SOCKET]
    #[arg(long, value_name = "PATH")]
    pub unix_socket: Option<OsString>,
    /// Where traces go: what the server is told as STARIO_TRACER [env: STARIO_TRACER]
    #[arg(long, value_name = "SPEC")]
    pub tracer: Option<OsString>,
    /// How the server gets its socket: `inherit` ours; bind for itself (`direct`), and under `watch`
    /// share that with the next one (`adopt`, on Linux); or `auto`, which finds out
    /// [env: STARIO_LISTEN] [default: auto]
    #[arg(long, value_name = "HOW")]
    pub listen: Option<OsString>,
    /// How the executable is linked: against dependencies that were linked once, or in whole with each
    /// edit (`plain`), which is also what is done where the former is not known to hold
    /// [env: STARIO_LINK] [default: once]
    #[arg(long, value_name = "once|plain")]
    pub link: Option<OsString>,
    /// Seconds that a server may take to stop, fractions allowed [env: STARIO_GRACE] [default: 5]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub grace: Option<OsString>,
    /// Write what happens for scripts, one JSON object a line, to a file or an open descriptor
    /// [env: STARIO_EVENTS]
    #[arg(long, value_name = "FILE|fd:N")]
    pub events: Option<OsString>,
}

/// Our own options of `watch`, unparsed.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// Watch this file, folder or glob in place of the current folder and the path packages that
    /// the server depends on (repeatable) [env: STARIO_WATCH]
    #[arg(long, value_name = "SPEC")]
    pub watch: Vec<OsString>,
    /// Never watch this file, folder or glob (repeatable; adds up over all places)
    /// [env: STARIO_WATCH_IGNORE]
    #[arg(long, value_name = "SPEC")]
    pub watch_ignore: Vec<OsString>,
    /// How the new server takes over: `overlap` starts it beside the old one, which stays until it
    /// is ready; `stop-first` stops the old one first; `auto` does what servers show that they can
    /// [env: STARIO_SWAP] [default: auto]
    #[arg(long, value_name = "auto|overlap|stop-first")]
    pub swap: Option<OsString>,
    /// Seconds that a new server may take to be ready while the old one serves, fractions allowed
    /// [env: STARIO_READY_TIMEOUT] [default: 30]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub ready_timeout: Option<OsString>,
    /// Watch what .gitignore and .ignore files ignore [env: STARIO_NO_GITIGNORE]
    #[arg(long)]
    pub no_gitignore: bool,
    /// Quiet time after a change before it counts, in milliseconds [env: STARIO_DEBOUNCE]
    /// [default: 30]
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    pub debounce: Option<OsString>,
    /// Look for changes every MS milliseconds in place of being told by the system, as containers
    /// and network drives may need [env: STARIO_POLL] [default interval: 1000]
    #[arg(
        long,
        value_name = "MS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub poll: Option<OsString>,
}

/// Cargo's own options, as `cargo run` has them.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
// The flags are cargo's, and independent of each other.
#[allow(clippy::struct_excessive_bools)]
pub struct CargoOptions {
    /// Use verbose output (-vv very verbose/build.rs output)
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet", help_heading = None)]
    pub verbose: u8,
    /// Do not print cargo log messages, and only what matters of ours
    #[arg(short, long, help_heading = None)]
    pub quiet: bool,
    /// Coloring
    #[arg(long, value_name = "WHEN", help_heading = None)]
    pub color: Option<ColorChoice>,
    /// Override a cargo configuration value
    #[arg(long, value_name = "KEY=VALUE|PATH", help_heading = None)]
    pub config: Vec<OsString>,

    /// Package with the server
    #[arg(short, long, value_name = "SPEC", help_heading = PACKAGE)]
    pub package: Option<String>,

    /// Name of the bin target to run
    #[arg(long, value_name = "NAME", help_heading = TARGET, conflicts_with = "example")]
    pub bin: Option<String>,
    /// Name of the example target to run
    #[arg(long, value_name = "NAME", help_heading = TARGET)]
    pub example: Option<String>,

    /// Features.
    #[command(flatten, next_help_heading = "Feature Selection")]
    pub features: clap_cargo::Features,

    /// Number of parallel jobs, defaults to # of CPUs
    #[arg(short, long, value_name = "N", help_heading = COMPILATION, allow_negative_numbers = true)]
    pub jobs: Option<String>,
    /// Build artifacts in release mode, with optimizations
    #[arg(short, long, help_heading = COMPILATION, conflicts_with = "profile")]
    pub release: bool,
    /// Build artifacts with the specified profile [default: stario]
    #[arg(long, value_name = "PROFILE-NAME", help_heading = COMPILATION)]
    pub profile: Option<String>,
    /// Build for the target triple
    #[arg(long, value_name = "TRIPLE", help_heading = COMPILATION)]
    pub target: Option<String>,
    /// Directory for all generated artifacts
    #[arg(long, value_name = "DIRECTORY", help_heading = COMPILATION)]
    pub target_dir: Option<PathBuf>,

    /// Path to Cargo.toml
    #[arg(long, value_name = "PATH", help_heading = MANIFEST)]
    pub manifest_path: Option<PathBuf>,
    /// Assert that `Cargo.lock` will remain unchanged
    #[arg(long, help_heading = MANIFEST)]
    pub locked: bool,
    /// Run without accessing the network
    #[arg(long, help_heading = MANIFEST)]
    pub offline: bool,
    /// Equivalent to specifying both --locked and --offline
    #[arg(long, help_heading = MANIFEST)]
    pub frozen: bool,
}

const PACKAGE: &str = "Package Selection";
const TARGET: &str = "Target Selection";
const COMPILATION: &str = "Compilation Options";
const MANIFEST: &str = "Manifest Options";

/// Reads a command line: `cargo-stario stario watch …` as cargo calls us, or `cargo-stario watch …`
/// as a shell does.
///
/// # Errors
///
/// Clap's, which print themselves in cargo's style; `--help` and `--version` are among them.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, clap::Error> {
    let mut args: Vec<OsString> = args.collect();
    if args.get(1).is_none_or(|first| first != "stario") {
        args.insert(args.len().min(1), "stario".into());
    }
    if args.len() == 1 {
        args.insert(0, "cargo-stario".into());
    }
    let Cargo::Stario { command } = Cargo::try_parse_from(args)?;
    Ok(command)
}

impl Command {
    /// What both commands take.
    pub fn shared(&self) -> &Shared {
        match self {
            Self::Watch(WatchArgs { shared, .. }) | Self::Serve(ServeArgs { shared }) => shared,
        }
    }

    /// What only `watch` takes.
    pub fn watch(&self) -> Option<&WatchOptions> {
        match self {
            Self::Watch(WatchArgs { watch, .. }) => Some(watch),
            Self::Serve(_) => None,
        }
    }
}

impl CargoOptions {
    /// The profile that was typed.
    pub fn profile(&self) -> Option<&str> {
        let release = self.release.then_some("release");
        self.profile.as_deref().or(release)
    }

    /// For `cargo build` and `cargo rustc`: `profile`, which is resolved like our own options, and
    /// everything else that was typed but the choice of package and target, which the entry decides.
    /// Relative paths are as typed, so cargo has to run in the user's current folder.
    pub fn build_args(&self, profile: &[OsString]) -> Vec<OsString> {
        // First: of what is configured twice, the later counts.
        let mut args = Arguments(profile.to_vec());
        args.0.extend(self.metadata_args());
        args.option("--jobs", self.jobs.as_deref());
        args.option("--target", self.target.as_deref());
        args.option("--target-dir", self.target_dir.as_deref());
        args.option("--color", self.color.map(color));
        args.flag("--quiet", self.quiet);
        for _ in 0..self.verbose {
            args.flag("--verbose", true);
        }
        args.0
    }

    /// For `cargo metadata`: features, manifest, locking and configuration.
    pub fn metadata_args(&self) -> Vec<OsString> {
        let mut args = Arguments(Vec::new());
        for features in &self.features.features {
            args.option("--features", Some(features));
        }
        args.flag("--all-features", self.features.all_features);
        args.flag("--no-default-features", self.features.no_default_features);
        args.option("--manifest-path", self.manifest_path.as_deref());
        args.flag("--locked", self.locked);
        args.flag("--offline", self.offline);
        args.flag("--frozen", self.frozen);
        for config in &self.config {
            args.option("--config", Some(config));
        }
        args.0
    }
}

/// Cargo's word for it.
fn color(choice: ColorChoice) -> &'static str {
    match choice {
        ColorChoice::Auto => "auto",
        ColorChoice::Always => "always",
        ColorChoice::Never => "never",
    }
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str, given: bool) {
        if given {
            self.0.push(name.into());
        }
    }

    fn option<V: AsRef<OsStr> + ?Sized>(&mut self, name: &str, value: Option<&V>) {
        if let Some(value) = value {
            self.0.extend([name.into(), value.as_ref().to_owned()]);
        }
    }
}

#[cfg(test)]
mod tests;
