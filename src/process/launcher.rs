//! `__exec`: the first life of every process that the tool starts. It becomes the program with
//! `exec`, and so keeps the process id, after it has done what only the new process itself can do:
//!
//! - begin a session, and with it the group: what has no controlling terminal cannot be stopped by
//!   it for writing (`stty tostop`) or for asking a password behind our back;
//! - ask to be killed when the tool dies (Linux);
//! - wait for the tool to say that the watchdog knows its group;
//! - put its own process id into `LISTEN_PID`, which nobody can know before the fork;
//! - say where libraries are looked for: here, that would cost time and be for nothing;
//! - name the library that is loaded into the program, in front of those that the user names.
//!
//! Its stdin is a socket to the tool: one byte comes in as «go», and nothing but the text of an
//! error goes out. A successful `exec` closes it. The arguments are made by [`arguments`].

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, ensure};

use super::CONTROL_VARIABLE;

/// The hidden subcommand's name.
pub(super) const NAME: &str = "__exec";
/// Tells the launcher to go on.
pub(super) const GO: &[u8] = b"+";
/// In front of the system's number for an error, which says more than its text.
const NUMBER: &str = "errno ";
/// Says that a socket is handed over.
const SOCKET: &str = "socket";
/// Says that none is.
const NO_SOCKET: &str = "no-socket";
/// Under which number a preloaded library of ours has its own socket: behind the one that is handed
/// over.
pub(super) const CONTROL: i32 = 4;
/// Names what the dynamic loader puts into a program (`ld.so(8)`).
const LD_PRELOAD: &str = "LD_PRELOAD";

/// Names the folders in which the loader looks for libraries.
pub(super) const LIBRARY_PATH: &str =
    if cfg!(target_os = "macos") { "DYLD_FALLBACK_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };

/// The launcher's arguments, for a program of this path and these arguments.
pub(super) fn arguments<'a>(
    socket: bool,
    libraries: Option<&'a OsStr>,
    preload: Option<&'a OsStr>,
    program: &'a OsStr,
    arguments: impl Iterator<Item = &'a OsStr>,
) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec![
        NAME.into(),
        std::process::id().to_string().into(),
        if socket { SOCKET } else { NO_SOCKET }.into(),
        libraries.unwrap_or_default().to_owned(),
        preload.unwrap_or_default().to_owned(),
        program.to_owned(),
    ];
    all.extend(arguments.map(ToOwned::to_owned));
    all
}

/// Becomes the program. Returns when that fails, after the tool was told why.
pub(super) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // A copy, closed on exec: stdin itself is made the program's.
    let Ok(tool) = io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::FAILURE;
    };
    let mut tool = UnixStream::from(tool);
    if let Err(error) = launch(&mut tool, arguments) {
        // Who is not there to read it has no need of it.
        let alone = error.source().is_none();
        let error_of_exec = error.downcast_ref::<io::Error>().filter(|_| alone);
        let _ = match error_of_exec.and_then(io::Error::raw_os_error) {
            Some(number) => write!(tool, "{NUMBER}{number}"),
            None => write!(tool, "{error:#}"),
        };
    }
    ExitCode::FAILURE
}

/// What [`run`] has told the tool.
pub(super) fn error(told: String) -> io::Error {
    let number = told.strip_prefix(NUMBER).and_then(|number| number.parse().ok());
    number.map_or_else(|| io::Error::other(told), io::Error::from_raw_os_error)
}

fn launch(
    tool: &mut UnixStream,
    mut arguments: impl Iterator<Item = OsString>,
) -> anyhow::Result<()> {
    let parent = arguments.next().context("the tool's process id is missing")?;
    let socket = arguments.next().context("it is missing whether there is a socket")?;
    let libraries = arguments.next().context("it is missing where libraries are")?;
    let preload = arguments.next().context("it is missing what is loaded into the program")?;
    let program = arguments.next().context("the program is missing")?;

    rustix::process::setsid().context("could not begin a session")?;
    die_with_parent().context("could not ask to end with the tool")?;
    let mut go = [0];
    tool.read_exact(&mut go).context("the tool is gone")?;
    // It may have gone before the request above was made.
    let alive = rustix::process::getppid()
        .is_some_and(|pid| pid.as_raw_nonzero().to_string().as_str() == parent);
    ensure!(alive, "the tool is gone");

    let mut command = Command::new(&program);
    command.args(arguments).stdin(Stdio::null());
    if socket == SOCKET {
        command.env("LISTEN_PID", std::process::id().to_string());
    }
    if !libraries.is_empty() {
        command.env(LIBRARY_PATH, libraries);
    }
    if !preload.is_empty() {
        // Here, since a launcher has no use for it.
        let mut all = preload;
        if let Some(users) = std::env::var_os(LD_PRELOAD).filter(|it| !it.is_empty()) {
            all.push(":");
            all.push(users);
        }
        command.env(LD_PRELOAD, all).env(CONTROL_VARIABLE, CONTROL.to_string());
    }
    Err(command.exec().into())
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?)
}

/// The watchdog alone sees to it.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "Linux can fail")]
fn die_with_parent() -> io::Result<()> {
    Ok(())
}
