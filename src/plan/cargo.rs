//! Runs `cargo metadata`, and reads what it says when it fails.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Environment, Source};
use crate::cli::CargoOptions;
use crate::error::Failure;
use crate::event::Exit;
use crate::process::{self, Groups, Output};
use crate::wording;
use cargo_metadata::{Metadata, MetadataCommand};

/// What is looked for in `PATH`.
const CARGO: &str = "cargo";

/// The cargo to call: `CARGO`, which cargo sets when it runs us, else the one in `PATH`.
pub(super) fn path(env: &Environment, current_dir: &Path) -> PathBuf {
    let Some(cargo) = env.get("CARGO").filter(|cargo| !cargo.is_empty()) else {
        return CARGO.into();
    };
    let cargo = PathBuf::from(cargo);
    // A bare name is looked for in PATH.
    if cargo.components().count() > 1 { current_dir.join(cargo) } else { cargo }
}

/// What cargo knows of the workspace, with the dependencies resolved for the platform that is built
/// for. Ends cargo when it is dropped.
pub(super) async fn metadata(
    source: &Source,
    cargo: &Path,
    platform: &str,
    groups: Option<&Groups>,
) -> Result<Metadata, Failure> {
    let options = &source.command.shared().cargo;
    let quiet = options.quiet;
    let mut metadata = MetadataCommand::new();
    metadata.cargo_path(cargo).current_dir(&source.current_dir);
    let mut command = metadata.cargo_command();
    command.args(options.metadata_args());
    command.args(["--color", "never"]);
    // Without it, cargo fetches and lists the dependencies of every platform: offline it fails for
    // want of crates that the build does not need.
    command.args(["--filter-platform", platform]);
    prepare(&mut command, source);
    // `cargo metadata` has no `--target-dir`; the variable is second only to it.
    if let Some(target_dir) = &options.target_dir {
        command.env("CARGO_TARGET_DIR", source.current_dir.join(target_dir));
    }
    let output = run(command, cargo, groups, quiet).await?;
    if output.exit != Exit::Code(0) {
        return Err(failure(&String::from_utf8_lossy(&output.stderr), &output, options));
    }
    MetadataCommand::parse(String::from_utf8_lossy(&output.stdout)).map_err(|error| {
        Failure::usage(format!("cannot read what `cargo metadata` says: {error}"))
            .help(format!("is {} cargo, and up to date?", cargo.display()))
    })
}

fn prepare(command: &mut Command, source: &Source) {
    command.env_clear().envs(source.env.iter());
}

async fn run(
    command: Command,
    cargo: &Path,
    groups: Option<&Groups>,
    quiet: bool,
) -> Result<Output, Failure> {
    let output = process::output(groups, command, |line| pass_on(line, quiet)).await;
    output.map_err(|error| {
        let named = cargo != Path::new(CARGO);
        let origin = if named { " (`CARGO` in the environment)" } else { "" };
        let failure = Failure::usage(format!("cannot run `{}`{origin}: {error}", cargo.display()));
        if named {
            failure.help("without that variable, the cargo in `PATH` is taken")
        } else if error.kind() == io::ErrorKind::NotFound {
            failure.help("put the folder of cargo into `PATH`, or install Rust: https://rustup.rs")
        } else {
            failure
        }
    })
}

/// Cargo may have to wait or to download, and says so. What went wrong is said at the end.
fn pass_on(line: &[u8], quiet: bool) {
    if !quiet && is_status(line) {
        // Nobody has to read it.
        let _ = io::stderr().write_all(line);
    }
}

/// Cargo's status lines have a word in the first twelve columns, to the right.
fn is_status(line: &[u8]) -> bool {
    let Some((word, [b' ', ..])) = line.split_at_checked(12) else { return false };
    let word = word.trim_ascii_start();
    word.first().is_some_and(u8::is_ascii_uppercase) && word.iter().all(u8::is_ascii_alphabetic)
}

fn failure(stderr: &str, output: &Output, options: &CargoOptions) -> Failure {
    let message = match mistake(stderr) {
        "" => format!("`cargo metadata` failed: {}", wording::exit(output.exit)),
        words => words.to_owned(),
    };
    let missing = message.starts_with("could not find `Cargo.toml`");
    let failure = Failure::usage(message);
    if missing && options.manifest_path.is_none() {
        return failure
            .help("go to the folder of your server's package, or name it with `--manifest-path`")
            .help("`cargo init` makes a new package here");
    }
    if failure.message.starts_with("manifest path") && !failure.message.contains("help:") {
        return failure.help("`--manifest-path` takes the Cargo.toml of your server's package");
    }
    failure
}

/// Cargo's own words, without what it said before of warnings and progress.
fn mistake(stderr: &str) -> &str {
    const ERROR: &str = "error: ";
    let lines = stderr.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    });
    let mut errors = lines.filter(|(_, line)| line.starts_with(ERROR));
    let start = errors.next().map_or(0, |(start, _)| start + ERROR.len());
    stderr[start..].trim()
}

#[cfg(test)]
mod tests {
    use super::{is_status, mistake};

    #[test]
    fn a_status_is_told_from_other_words() {
        assert!(is_status(b"    Updating crates.io index\n"));
        assert!(is_status(b" Downloading crates ...\n"));
        assert!(is_status(b"    Blocking waiting for file lock on package cache\n"));
        assert!(!is_status(b"error: could not find `Cargo.toml`\n"));
        assert!(!is_status(b"       |\n"));
        assert!(!is_status(b"warning: unused key\n"));
        assert!(!is_status(b"\n"));
    }

    #[test]
    fn what_is_no_error_is_left_out() {
        let stderr =
            "warning: unused key\n    Updating index\nerror: no such\n\nCaused by:\n  that\n";
        assert_eq!(mistake(stderr), "no such\n\nCaused by:\n  that");
        assert_eq!(mistake("error: a\nerror: b\n"), "a\nerror: b");
        assert_eq!(mistake("thread 'main' panicked\n"), "thread 'main' panicked");
        assert_eq!(mistake("\n"), "");
    }
}
