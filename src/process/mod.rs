//! Processes in groups of their own, of which nothing survives the tool. The build room runs cargo
//! with it, the server room the server.
//!
//! Three parts see to it. The *launcher* (`__exec`, a hidden subcommand of ours) becomes the
//! program: between fork and exec it does what needs the new process's own hand. The *watchdog*
//! (`__watchdog`) knows every group and kills it when the tool is gone, however that died. And a
//! [`Group`] is awaited until the last of its processes is gone. Windows has job objects for all
//! three.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::event::Exit;

#[cfg(unix)]
mod descriptor;
#[cfg(unix)]
mod launcher;
#[cfg(unix)]
mod session;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod watchdog;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use descriptor::{file_behind, inherited, is_named_pipe};
#[cfg(unix)]
pub use unix::{Group, Groups, exec_command, exit_of};
#[cfg(windows)]
pub use windows::{Group, Groups, exit_of, file_behind, inherited, is_named_pipe};

/// A program to run in a group of its own. Its stdin is empty.
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
    pub stdout: Stream,
    /// Where its stderr goes.
    pub stderr: Stream,
    /// The socket that it inherits.
    pub socket: Option<Socket>,
    /// What is loaded into it.
    pub preload: Option<Preload>,
}

/// Where what a program prints goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Where the tool's goes.
    Inherited,
    /// To [`Group::take_stdout`] or [`Group::take_stderr`].
    Piped,
}

impl From<Stream> for Stdio {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Inherited => Self::inherit(),
            Stream::Piped => Self::piped(),
        }
    }
}

/// What a program that ran to its end has printed where it was [`Stream::Piped`].
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// On stdout.
    pub stdout: Vec<u8>,
    /// On stderr.
    pub stderr: Vec<u8>,
}

impl Groups {
    /// Runs a program to its end, and hands each line of its stderr on as it comes. Dropping the
    /// future kills the program and all that it started.
    pub async fn output(&self, program: Program, heard: impl FnMut(&[u8])) -> io::Result<Output> {
        let mut group = self.spawn(program).await?;
        let (out, err) = (group.take_stdout(), group.take_stderr());
        let (stdout, stderr) = tokio::try_join!(drain(out, |_| {}), drain(err, heard))?;
        Ok(Output { exit: group.wait().await, stdout, stderr })
    }
}

/// Runs a command to its end, and hands each line of its stderr on as it comes; that is nobody's where
/// there are no groups. Dropping the future ends it: with `groups`, and all that it started.
///
/// # Errors
///
/// It cannot be started.
pub async fn output(
    groups: Option<&Groups>,
    command: Command,
    heard: impl FnMut(&[u8]),
) -> io::Result<Output> {
    if let Some(groups) = groups {
        return groups.output(program(&command), heard).await;
    }
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await?;
    let exit = exit_of(output.status);
    Ok(Output { exit, stdout: output.stdout, stderr: output.stderr })
}

fn program(command: &Command) -> Program {
    let mut environment = Environment::default();
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => environment.set(name, value),
            None => environment.remove(name),
        }
    }
    Program {
        executable: command.get_program().into(),
        arguments: command.get_args().map(ToOwned::to_owned).collect(),
        environment,
        current_dir: command.get_current_dir().unwrap_or(Path::new(".")).to_owned(),
        stdout: Stream::Piped,
        stderr: Stream::Piped,
        socket: None,
        preload: None,
    }
}

/// Everything that comes, to its end, each line handed on.
async fn drain(
    from: Option<impl AsyncRead + Unpin>,
    mut heard: impl FnMut(&[u8]),
) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let Some(from) = from else { return Ok(all) };
    let mut from = BufReader::new(from);
    loop {
        let start = all.len();
        if from.read_until(b'\n', &mut all).await? == 0 {
            return Ok(all);
        }
        heard(&all[start..]);
    }
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

/// A library that the dynamic loader puts into a program before all others, and the library's end of
/// a socket to the tool. What the user has put into `LD_PRELOAD` comes behind it.
#[derive(Debug)]
pub struct Preload {
    /// Its absolute path: without what `ld.so(8)` takes for a separator.
    pub library: PathBuf,
    /// The program gets a copy of the descriptor, and its number in [`CONTROL_VARIABLE`].
    #[cfg(unix)]
    pub control: std::os::fd::OwnedFd,
}

/// Tells a preloaded library of ours which descriptor is its own.
pub const CONTROL_VARIABLE: &str = "STARIO_ADOPT";

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
pub fn tool() -> io::Result<PathBuf> {
    let this_one = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && this_one.exists() {
        return Ok(this_one);
    }
    std::env::current_exe()
}
