//! `__watchdog`: kills what the tool leaves behind, however it ends.
//!
//! Its stdin is a pipe that only the tool writes to: `+42` says that there is a process group 42,
//! `-42` that it is gone; `/some/folder` is to be removed with all that is in it. When the pipe ends,
//! the tool is gone, and every group that is left is killed. A session of its own keeps it away from the terminal's signals and from those that are
//! sent to the tool's group. [`Watchdog`] is the tool's side.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufRead, PipeWriter, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::session;

/// The hidden subcommand's name.
pub(super) const NAME: &str = "__watchdog";

/// How long killed processes may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Watches until stdin ends, then kills.
pub(super) fn run() -> ExitCode {
    // Fails only where it leads a group already, and then it is out of the way too.
    let _ = rustix::process::setsid();
    // The tool waits for this: from here on it is safe from what is sent to the tool's group.
    let ready = io::stdout().write_all(b"\n").and_then(|()| io::stdout().flush());
    let Left { groups, folders } = read(io::stdin().lock());
    let groups: Vec<_> = groups.into_iter().filter_map(Pid::from_raw).collect();
    for group in &groups {
        // What is gone already needs no killing.
        let _ = rustix::process::kill_process_group(*group, Signal::KILL);
    }
    if !groups.is_empty() {
        kill_sessions(&groups);
    }
    for folder in &folders {
        // A tool that ends in order has removed it.
        let _ = std::fs::remove_dir_all(folder);
    }
    if ready.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Kills what has left its group, until nothing comes after it. The system has no event for that: the
/// processes are not our children.
fn kill_sessions(leaders: &[Pid]) {
    let end = Instant::now() + GONE_WITHIN;
    while session::kill_rest(leaders) && Instant::now() < end {
        thread::sleep(Duration::from_millis(2));
    }
}

/// What is left to be done.
#[derive(Default)]
struct Left {
    groups: BTreeSet<i32>,
    folders: BTreeSet<PathBuf>,
}

/// What is left when the input ends.
fn read(input: impl BufRead) -> Left {
    let Left { mut groups, mut folders } = Left::default();
    for line in input.split(b'\n').map_while(Result::ok) {
        if line.starts_with(b"/") {
            folders.insert(OsString::from_vec(line).into());
            continue;
        }
        let line = String::from_utf8_lossy(&line);
        let Some((sign, number)) = line.split_at_checked(1) else { continue };
        // To `kill`, 0 is the own group and 1 everybody.
        let Some(group) = number.parse().ok().filter(|group| *group > 1) else { continue };
        match sign {
            "+" => groups.insert(group),
            "-" => groups.remove(&group),
            _ => false,
        };
    }
    Left { groups, folders }
}

/// The tool's side: a running watchdog, and what it was told, to be told to the next one when it
/// dies.
#[derive(Debug)]
pub(super) struct Watchdog {
    tool: PathBuf,
    groups: BTreeSet<u32>,
    folders: BTreeSet<PathBuf>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    pipe: PipeWriter,
}

impl Watchdog {
    /// Starts one, and waits until it watches (about a millisecond).
    pub(super) fn start(tool: PathBuf) -> io::Result<Self> {
        let mut watchdog =
            Self { tool, groups: BTreeSet::new(), folders: BTreeSet::new(), running: None };
        watchdog.restart()?;
        Ok(watchdog)
    }

    /// Its process id.
    pub(super) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// There is a new group. When this has returned, the group does not survive the tool.
    pub(super) fn add(&mut self, group: u32) -> io::Result<()> {
        self.groups.insert(group);
        self.say(format!("+{group}\n"))
    }

    /// The group is gone.
    pub(super) fn remove(&mut self, group: u32) -> io::Result<()> {
        self.groups.remove(&group);
        self.say(format!("-{group}\n"))
    }

    /// This folder is to be removed when the tool is gone.
    pub(super) fn add_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.folders.insert(folder.to_owned());
        self.say(line_of(folder))
    }

    /// Starts another one if it has died.
    pub(super) fn revive(&mut self) -> io::Result<()> {
        if let Some(running) = &mut self.running
            && running.child.try_wait()?.is_none()
        {
            return Ok(());
        }
        self.restart()
    }

    /// The running one's stdout, which ends when it dies. `None` when it was taken, or when none is
    /// meant to run.
    pub(super) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.running.as_mut()?.child.stdout.take()
    }

    /// Starts another one in place of the one whose stdout has ended, unless that was done, or none
    /// is meant to run. It may not be a zombie yet: a process that dies closes its files first.
    pub(super) fn replace(&mut self) -> io::Result<()> {
        match &self.running {
            Some(running) if running.child.stdout.is_none() => self.restart(),
            _ => Ok(()),
        }
    }

    /// Ends it and waits for its end.
    pub(super) fn stop(&mut self) {
        if let Some(Running { mut child, pipe }) = self.running.take() {
            drop(pipe);
            // An error says that there is no child to wait for.
            let _ = child.wait();
        }
    }

    fn say(&mut self, line: impl AsRef<[u8]>) -> io::Result<()> {
        let said = match &mut self.running {
            Some(running) => running.pipe.write_all(line.as_ref()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        // The next one is told everything.
        said.or_else(|_| self.restart())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.stop();
        let (input, mut pipe) = io::pipe()?;
        let mut child = Command::new(&self.tool)
            .arg(NAME)
            .current_dir("/")
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        for group in &self.groups {
            writeln!(pipe, "+{group}")?;
        }
        for folder in &self.folders {
            pipe.write_all(&line_of(folder))?;
        }
        if let Some(stdout) = &mut child.stdout {
            stdout.read_exact(&mut [0])?;
        }
        self.running = Some(Running { child, pipe });
        Ok(())
    }
}

fn line_of(folder: &Path) -> Vec<u8> {
    [folder.as_os_str().as_bytes(), b"\n"].concat()
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(input: &str) -> Vec<i32> {
        read(input.as_bytes()).groups.into_iter().collect()
    }

    #[test]
    fn what_was_added_and_not_removed_is_left() {
        assert_eq!(left("+10\n+11\n-10\n+12\n"), [11, 12]);
    }

    #[test]
    fn folders_are_apart_from_groups() {
        let left = read(b"+10\n/tmp/a b\n-10\n/tmp/\xff\n".as_slice());
        assert_eq!(left.groups, BTreeSet::new());
        assert_eq!(left.folders.len(), 2);
        assert!(left.folders.contains(Path::new("/tmp/a b")));
    }

    #[test]
    fn what_is_no_group_is_passed_over() {
        assert_eq!(left("+0\n+1\n+-4\nx\n\n+\n+ab\n-7\n+é\n+9"), [9]);
    }
}
