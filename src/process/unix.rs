//! Process groups on Unix.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::spawn_blocking;

use super::watchdog::Watchdog;
use super::{LISTEN_VARIABLES, Program, Socket, launcher, session};
use crate::event::Exit;

/// The first descriptor that systemd's protocol passes: `SD_LISTEN_FDS_START`.
const FIRST_PASSED: i32 = 3;
/// How long killed processes may take to be gone: a process in the middle of disk I/O cannot be
/// killed, and shall not hold up the tool for ever.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// How long the drop of a group may wait for its processes to be gone: it blocks the tool's loop.
const DROPPED_WITHIN: Duration = Duration::from_millis(50);

/// Starts programs, each in a group of its own, and keeps the watchdog that outlives the tool.
#[derive(Clone, Debug)]
pub struct Groups {
    tool: PathBuf,
    watchdog: Arc<Mutex<Watchdog>>,
}

impl Groups {
    /// Starts the watchdog. `tool` is our own executable: [`super::tool`], in tests the one that
    /// cargo built. Needs tokio's runtime.
    pub fn start(tool: PathBuf) -> io::Result<Self> {
        let watchdog = Arc::new(Mutex::new(Watchdog::start(tool.clone())?));
        tokio::spawn(keep_alive(Arc::downgrade(&watchdog)));
        Ok(Self { tool, watchdog })
    }

    /// Starts a program. Must be called from a thread that lives as long as the tool: on Linux the
    /// process is killed when that thread ends.
    pub async fn spawn(&self, program: Program) -> io::Result<Group> {
        lock(&self.watchdog).revive()?;
        let (ours, launchers) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut child = self.command(program, launchers)?.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        // From here on its drop kills the group. Until the launcher has made that, it ends by itself
        // when `ours` is closed.
        let group = Group { pid, child, stdout, stderr, groups: self.clone(), finished: false };
        lock(&self.watchdog).add(pid)?;

        let mut launcher = UnixStream::from_std(ours)?;
        // Where it has died, the reading below says so.
        let _ = launcher.write_all(launcher::GO).await;
        let mut error = String::new();
        // A reset says that it died with our byte unread.
        let _ = launcher.read_to_string(&mut error).await;
        if error.is_empty() {
            return Ok(group);
        }
        group.wait().await;
        Err(launcher::error(error))
    }

    /// Has a folder removed when the tool is gone, however it ends.
    pub fn remove_at_end(&self, folder: &Path) -> io::Result<()> {
        lock(&self.watchdog).add_folder(folder)
    }

    /// Process id of the watchdog.
    pub fn watchdog(&self) -> Option<u32> {
        lock(&self.watchdog).pid()
    }

    /// Ends the watchdog and waits until it is gone; the next program that is started has a new
    /// one. Kills every group that is still there.
    pub fn stop(&self) {
        lock(&self.watchdog).stop();
    }

    fn command(&self, program: Program, launchers: StdUnixStream) -> io::Result<Command> {
        let mut command = Command::new(&self.tool);
        let mut environment = environment(&program);
        let libraries = environment.iter().rposition(|(name, _)| name == launcher::LIBRARY_PATH);
        let libraries = libraries
            .filter(|at| environment[*at].1.as_ref().is_some_and(|value| !value.is_empty()))
            .and_then(|at| environment.remove(at).1);
        command
            .args(launcher::arguments(
                program.socket.is_some(),
                libraries.as_deref(),
                program.preload.as_ref().map(|preload| preload.library.as_os_str()),
                program.executable.as_os_str(),
                program.arguments.iter().map(AsRef::as_ref),
            ))
            .current_dir(&program.current_dir)
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(launchers)))
            .stdout(program.stdout)
            .stderr(program.stderr);
        for (name, value) in environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let passed = program.socket.map(mapping).into_iter();
        let passed =
            passed.chain(program.preload.map(|preload| FdMapping {
                parent_fd: preload.control,
                child_fd: launcher::CONTROL,
            }));
        command.fd_mappings(passed.collect()).map_err(io::Error::other)?;
        Ok(command)
    }
}

/// A command that is meant for `exec`: this process becomes the program, and keeps its own stdin,
/// stdout and folder's meaning.
pub fn exec_command(program: Program) -> io::Result<std::process::Command> {
    let mut command = std::process::Command::new(&program.executable);
    command.args(&program.arguments).current_dir(&program.current_dir);
    for (name, value) in environment(&program) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(socket) = program.socket {
        command.env("LISTEN_PID", std::process::id().to_string());
        command.fd_mappings(vec![mapping(socket)]).map_err(io::Error::other)?;
    }
    Ok(command)
}

/// All changes to the environment of a program. `LISTEN_PID` is left to the process itself.
fn environment(program: &Program) -> Vec<(OsString, Option<OsString>)> {
    let mut all: Vec<(OsString, Option<OsString>)> =
        LISTEN_VARIABLES.iter().map(|name| (name.into(), None)).collect();
    let changes = program.environment.changes();
    all.extend(changes.map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))));
    if let Some(socket) = &program.socket {
        all.push(("LISTEN_FDS".into(), Some("1".into())));
        all.push(("LISTEN_FDNAMES".into(), Some(socket.name.into())));
    }
    all
}

fn mapping(socket: Socket) -> FdMapping {
    FdMapping { parent_fd: socket.descriptor, child_fd: FIRST_PASSED }
}

fn lock(watchdog: &Mutex<Watchdog>) -> MutexGuard<'_, Watchdog> {
    // Whatever panicked has left a set of numbers behind, which is as good as before.
    watchdog.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the watchdog again whenever it dies, until it is stopped or its owner is gone.
async fn keep_alive(watchdog: Weak<Mutex<Watchdog>>) {
    loop {
        let Some(stdout) = watchdog.upgrade().and_then(|it| lock(&it).take_stdout()) else {
            return;
        };
        let Ok(mut stdout) = ChildStdout::from_std(stdout) else { return };
        // It says nothing more: this is its end.
        let _ = stdout.read(&mut [0]).await;
        let Some(watchdog) = watchdog.upgrade() else { return };
        if lock(&watchdog).replace().is_err() {
            return;
        }
    }
}

/// A running process and all that it started, as long as that stays in its group; on Linux, in its
/// session.
#[derive(Debug)]
pub struct Group {
    pid: u32,
    child: Child,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    groups: Groups,
    finished: bool,
}

impl Group {
    /// The process's id, and the group's.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Who keeps it from outliving the tool.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The process's stdout, where it was piped.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// The process's stderr, where it was piped.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.stderr.take()
    }

    /// Asks every process of the group to stop (SIGTERM).
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Makes every process of the group stop (SIGKILL).
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// Waits for the process's end. Can be dropped and called again. What is left of the group goes
    /// on: [`Group::wait`] ends it.
    pub async fn leader(&mut self) -> Exit {
        match self.child.wait().await {
            Ok(status) => exit_of(status),
            // There is no such child: somebody else has waited for it.
            Err(_) => Exit::Code(-1),
        }
    }

    /// Waits for the process's end, kills what it leaves of its group (on Linux, of its session), and
    /// waits until all of it is gone.
    pub async fn wait(mut self) -> Exit {
        let exit = self.leader().await;
        self.kill();
        gone(self.pid).await;
        self.finish();
        exit
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(group) = group(self.pid) {
            // It is gone already.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            // Without a watchdog there is nobody to tell.
            let _ = lock(&self.groups.watchdog).remove(self.pid);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.finished {
            self.kill();
            // What is killed is gone in a moment, as a rule; longer than that nobody can wait here.
            let end = Instant::now() + DROPPED_WITHIN;
            while group(self.pid).is_some_and(|leader| session::kill_rest(&[leader]))
                && Instant::now() < end
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.finish();
        }
    }
}

/// How a process ended.
pub fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}

fn group(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Kills what is left of a group whose leader has ended, and waits until that is gone. The system has
/// no event for it: the processes are not our children.
async fn gone(pid: u32) {
    let Some(leader) = group(pid) else { return };
    let looking = async {
        let mut pause = Duration::from_micros(500);
        // In another thread: it reads of every process there is.
        while spawn_blocking(move || session::kill_rest(&[leader])).await.unwrap_or_default() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    };
    // What cannot be killed is left to the system.
    let _ = tokio::time::timeout(GONE_WITHIN, looking).await;
}
