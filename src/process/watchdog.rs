//! `__watchdog`: kills what the tool leaves behind, however it ends.
//!
//! Its stdin is a pipe that only the tool writes to: `+42` says that there is a process group 42,
//! `-42` that it is gone. When the pipe ends, the tool is gone, and every group that is left is
//! killed. A session of its own keeps it away from the terminal's signals and from those that are
//! sent to the tool's group. [`Watchdog`] is the tool's side.

use std::collections::BTreeSet;
use std::io::{self, BufRead, PipeWriter, Read, Write};
use std::path::PathBuf;
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
    let groups = read_groups(io::stdin().lock());
    let groups: Vec<_> = groups.into_iter().filter_map(Pid::from_raw).collect();
    for group in &groups {
        // What is gone already needs no killing.
        let _ = rustix::process::kill_process_group(*group, Signal::KILL);
    }
    if !groups.is_empty() {
        kill_sessions(&groups);
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

/// The groups that are left when the input ends.
fn read_groups(input: impl BufRead) -> BTreeSet<i32> {
    let mut groups = BTreeSet::new();
    for line in input.lines().map_while(Result::ok) {
        let Some((sign, number)) = line.split_at_checked(1) else { continue };
        // To `kill`, 0 is the own group and 1 everybody.
        let Some(group) = number.parse().ok().filter(|group| *group > 1) else { continue };
        match sign {
            "+" => groups.insert(group),
            "-" => groups.remove(&group),
            _ => false,
        };
    }
    groups
}

/// The tool's side: a running watchdog, and what it was told, to be told to the next one when it
/// dies.
#[derive(Debug)]
pub(super) struct Watchdog {
    tool: PathBuf,
    groups: BTreeSet<u32>,
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
        let mut watchdog = Self { tool, groups: BTreeSet::new(), running: None };
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
        self.say(&format!("+{group}\n"))
    }

    /// The group is gone.
    pub(super) fn remove(&mut self, group: u32) -> io::Result<()> {
        self.groups.remove(&group);
        self.say(&format!("-{group}\n"))
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

    fn say(&mut self, line: &str) -> io::Result<()> {
        let said = match &mut self.running {
            Some(running) => running.pipe.write_all(line.as_bytes()),
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
        if let Some(stdout) = &mut child.stdout {
            stdout.read_exact(&mut [0])?;
        }
        self.running = Some(Running { child, pipe });
        Ok(())
    }
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
        read_groups(input.as_bytes()).into_iter().collect()
    }

    #[test]
    fn what_was_added_and_not_removed_is_left() {
        assert_eq!(left("+10\n+11\n-10\n+12\n"), [11, 12]);
    }

    #[test]
    fn what_is_no_group_is_passed_over() {
        assert_eq!(left("+0\n+1\n+-4\nx\n\n+\n+ab\n-7\n+é\n+9"), [9]);
    }
}
