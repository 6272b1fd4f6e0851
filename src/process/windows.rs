//! Job objects on Windows: closing the last handle to a job kills what is in it, also when the tool
//! is killed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject, KillOnDrop};
use tokio::process::{ChildStderr, ChildStdout};

use super::{LISTEN_VARIABLES, Program};
use crate::event::Exit;

/// Starts programs, each in a job of its own.
#[derive(Clone, Debug)]
pub struct Groups;

impl Groups {
    /// Nothing needs to be started here.
    pub fn start(_tool: PathBuf) -> io::Result<Self> {
        Ok(Self)
    }

    /// Starts a program.
    pub async fn spawn(&self, program: Program) -> io::Result<Group> {
        let mut command = CommandWrap::with_new(&program.executable, |command| {
            command
                .args(&program.arguments)
                .current_dir(&program.current_dir)
                .stdin(Stdio::null())
                .stdout(program.stdout)
                .stderr(program.stderr);
            for name in LISTEN_VARIABLES {
                command.env_remove(name);
            }
            for (name, value) in program.environment.changes() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
        });
        command.wrap(KillOnDrop).wrap(JobObject);
        let mut child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        let stdout = child.stdout().take();
        let stderr = child.stderr().take();
        Ok(Group { pid, child, stdout, stderr })
    }

    /// Windows keeps no folder of ours.
    pub fn remove_at_end(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Nothing needs to be stopped here.
    pub fn stop(&self) {}
}

/// A running process and all that it started.
#[derive(Debug)]
pub struct Group {
    pid: u32,
    child: Box<dyn ChildWrapper>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Group {
    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The process's stdout, where it was piped.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// The process's stderr, where it was piped.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.stderr.take()
    }

    /// Windows has no signal to ask with: the same as [`Group::kill`].
    pub fn terminate(&mut self) {
        self.kill();
    }

    /// Makes every process of the job stop.
    pub fn kill(&mut self) {
        // It is gone already.
        let _ = self.child.start_kill();
    }

    /// Waits for the process's end.
    pub async fn leader(&mut self) -> Exit {
        match self.child.inner_mut().wait().await {
            Ok(status) => exit_of(status),
            Err(_) => Exit::Code(-1),
        }
    }

    /// Waits for the process's end, kills what it leaves of its job, and waits until that is gone.
    pub async fn wait(mut self) -> Exit {
        let exit = self.leader().await;
        self.kill();
        // The job's end; the exit code is known.
        let _ = self.child.wait().await;
        exit
    }
}

/// How a process ended.
pub fn exit_of(status: ExitStatus) -> Exit {
    Exit::Code(status.code().unwrap_or(-1))
}

/// Descriptors have no numbers here.
///
/// # Errors
/// Always.
pub fn inherited(_number: i32) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nobody can be asked.
pub fn file_behind(_number: i32) -> Option<PathBuf> {
    None
}

/// None that have a place among files.
///
/// # Errors
/// None here.
#[expect(clippy::unnecessary_wraps, reason = "on Unix it may be forbidden to us")]
pub fn is_named_pipe(_path: &Path) -> io::Result<bool> {
    Ok(false)
}
