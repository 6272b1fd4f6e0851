//! Processes in groups of their own, of which nothing survives the tool. The build room runs cargo
//! with it, the server room the server.
//!
//! Three parts see to it. The *launcher* (`__exec`, a hidden subcommand of ours) becomes the
//! program: between fork and exec it does what needs the new process's own hand. The *watchdog*
//! (`__watchdog`) knows every group and kills it when the tool is gone, however that died. And a
//! [`Group`] is awaited until the last of its processes is gone. Windows has job objects for all
//! three.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

#[cfg(unix)]
mod descriptor;
#[cfg(unix)]
mod launcher;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod watchdog;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use descriptor::inherited;
#[cfg(unix)]
pub use unix::{Group, Groups, exec_command, exit_of};
#[cfg(windows)]
pub use windows::{Group, Groups, exit_of};

/// A program to run in a group of its own. Its stdin is empty; its stderr is the tool's.
#[derive(Debug)]
pub struct Program {
    /// A path, or a name to be looked up in `PATH`.
    pub executable: PathBuf,
    /// What follows the program's name.
    pub arguments: Vec<OsString>,
    /// What is other than in the tool's own environment.
    pub environment: Environment,
    /// The folder to start in.
    pub current_dir: PathBuf,
    /// Where its stdout goes.
    pub stdout: Stdout,
    /// The socket that it inherits.
    pub socket: Option<Socket>,
}

/// Where a program's stdout goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// Where the tool's goes.
    Inherited,
    /// To [`Group::take_stdout`].
    Piped,
}

/// A socket that a program inherits as systemd's protocol has it: as descriptor 3, announced by
/// `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` (`sd_listen_fds(3)`).
#[derive(Debug)]
pub struct Socket {
    /// The listening socket. The program gets a copy of the descriptor.
    #[cfg(unix)]
    pub descriptor: std::os::fd::OwnedFd,
    /// What it is called in `LISTEN_FDNAMES`.
    pub name: &'static str,
}

/// Changes to an environment: later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(Vec<(OsString, Option<OsString>)>);

impl Environment {
    /// Sets a variable.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.push((name.into(), Some(value.into())));
    }

    /// Removes a variable.
    pub fn remove(&mut self, name: impl Into<OsString>) {
        self.0.push((name.into(), None));
    }

    /// Whether a variable is set here (not: inherited).
    pub fn sets(&self, name: &OsStr) -> bool {
        self.0
            .iter()
            .rev()
            .find(|(other, _)| other == name)
            .is_some_and(|(_, value)| value.is_some())
    }

    /// Every change, in order. `None` removes the variable.
    pub fn changes(&self) -> impl Iterator<Item = (&OsStr, Option<&OsStr>)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_deref()))
    }
}

/// What systemd's socket protocol says to a process. What the tool itself was given in them is not
/// meant for what it starts.
pub const LISTEN_VARIABLES: [&str; 4] =
    ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

/// Runs the hidden subcommand that the arguments (without the program's name) name, if they name
/// one. Comes before all else in `main`: a launch costs no more than it must.
pub fn hidden(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let name = arguments.next()?;
    match name.to_str()? {
        #[cfg(unix)]
        launcher::NAME => Some(launcher::run(arguments)),
        #[cfg(unix)]
        watchdog::NAME => Some(watchdog::run()),
        _ => None,
    }
}

/// The tool's own executable, for the hidden subcommands. On Linux it is found even when the file
/// was replaced since the start.
pub fn tool() -> std::io::Result<PathBuf> {
    let this_one = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && this_one.exists() {
        return Ok(this_one);
    }
    std::env::current_exe()
}
