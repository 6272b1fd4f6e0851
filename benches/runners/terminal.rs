//! Processes in a terminal of their own, as a developer starts them: what they print is kept with the
//! time, and when a session is dropped, nothing of it is left running.
//!
//! Runners start cargo, compilers and servers in groups and sessions of their own. What belongs to whom
//! is told by a variable in the environment, which all of them hand on.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use procfs::process::Process;
use pty_process::Size;
use pty_process::blocking::Pty;
use rustix::process::{Pid, Signal, kill_process};

use crate::project::Project;

/// By which a process is known to be ours, and of which session.
const MARK: &str = "STARIO_BENCH_SESSION";
/// How long to wait after Ctrl-C.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks at what the system has no event for.
const LOOK: Duration = Duration::from_millis(10);

/// Held while something is started, and for good once all is to end.
static STARTING: Mutex<()> = Mutex::new(());

/// Ends everything, and then us, on Ctrl-C and its like.
pub(crate) fn end_all_when_interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            let [Ok(interrupt), Ok(terminate), Ok(hangup)] = &mut signals else { return };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            let _nobody_else = lock(&STARTING);
            kill_all(&mark(None));
            std::process::exit(130);
        });
    });
    Ok(())
}

/// A command that ends with us at the latest. Its environment is not that of a cargo that has started it.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let cargos =
            ["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_TARGET_"];
        let others =
            ["CARGO", "CARGO_PRIMARY_PACKAGE", "HOST", "LD_LIBRARY_PATH", "OUT_DIR", "PORT"];
        if cargos.iter().any(|it| text.starts_with(it)) || others.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command.env(MARK, mark(Some(0)));
    command
}

fn mark(session: Option<u32>) -> String {
    let session = session.map(|it| format!("{it}-")).unwrap_or_default();
    format!("{}-{session}", std::process::id())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What has been printed, and when. Its clones share it.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Printed>);

#[derive(Default)]
struct Printed {
    bytes: Mutex<Vec<(u8, Instant)>>,
    more: Condvar,
}

impl Output {
    /// How much there is.
    pub(crate) fn length(&self) -> usize {
        lock(&self.0.bytes).len()
    }

    /// When `wanted` was printed, at `from` or later. Waits for it until then.
    pub(crate) fn printed(&self, wanted: &str, from: usize, until: Instant) -> Option<Instant> {
        let mut bytes = lock(&self.0.bytes);
        loop {
            let mut places = bytes.get(from..).unwrap_or_default().windows(wanted.len());
            let is_wanted = |it: &[(u8, Instant)]| it.iter().map(|it| it.0).eq(wanted.bytes());
            if let Some(found) = places.find(|it| is_wanted(it)) {
                return found.last().map(|it| it.1);
            }
            let left = until.checked_duration_since(Instant::now())?;
            bytes = self.0.more.wait_timeout(bytes, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The end of it, for who has to find out what went wrong.
    pub(crate) fn tail(&self) -> String {
        let bytes = lock(&self.0.bytes);
        let bytes: Vec<_> =
            bytes.iter().skip(bytes.len().saturating_sub(2_000)).map(|it| it.0).collect();
        console::strip_ansi_codes(&String::from_utf8_lossy(&bytes)).into_owned()
    }

    fn add(&self, bytes: &[u8]) {
        let now = Instant::now();
        lock(&self.0.bytes).extend(bytes.iter().map(|byte| (*byte, now)));
        self.0.more.notify_all();
    }
}

/// Something that runs in a terminal.
pub(crate) struct Session {
    child: Child,
    terminal: Arc<Pty>,
    mark: String,
}

impl Session {
    /// Starts it in the project's folder. What it prints is added to `output`.
    pub(crate) fn start(words: &[String], project: &Project, output: &Output) -> Result<Self> {
        static LAST: AtomicU32 = AtomicU32::new(0);

        let _not_ending = lock(&STARTING);
        let (program, arguments) = words.split_first().context("an empty command")?;
        let (terminal, inside) = pty_process::blocking::open()?;
        terminal.resize(Size::new(50, 160))?;
        let mark = mark(Some(LAST.fetch_add(1, Ordering::Relaxed) + 1));
        let mut command = command(program);
        command
            .args(arguments)
            .current_dir(&project.folder)
            .env("PATH", &project.path)
            .env("PORT", project.port.to_string())
            .env("TERM", "xterm-256color")
            .env(MARK, &mark);
        let child = pty_process::blocking::Command::from(command)
            .spawn(inside)
            .with_context(|| words.join(" "))?;
        let terminal = Arc::new(terminal);
        let (from, into) = (Arc::clone(&terminal), output.clone());
        // Ends when the last one that has the terminal open is gone.
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count) = (&*from).read(&mut buffer)
                && count > 0
            {
                into.add(&buffer[..count]);
            }
        });
        Ok(Self { child, terminal, mark })
    }

    /// Waits until it has ended; whether that was well.
    pub(crate) fn finished(mut self) -> Result<bool> {
        Ok(self.child.wait()?.success())
    }

    /// Kills it, where it is alone. For who may lose no time.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(mut self) {
        let _ = (&*self.terminal).write_all(&[3]);
        let end = Instant::now() + GRACE;
        while !of(&self.mark).is_empty() && Instant::now() < end {
            // What has ended is gone once its parent has looked.
            let _ = self.child.try_wait();
            thread::sleep(LOOK);
        }
    }

    /// The memory that its processes of these programs have, in bytes.
    pub(crate) fn memory(&self, programs: &[&str]) -> u64 {
        let is_one = |process: &Process| {
            let program = process.exe().ok();
            let name = program.as_deref().and_then(Path::file_name).and_then(|it| it.to_str());
            name.is_some_and(|name| programs.contains(&name))
        };
        let processes = of(&self.mark).into_iter().filter(is_one);
        let pages: u64 = processes.filter_map(|it| Some(it.statm().ok()?.resident)).sum();
        pages * procfs::page_size()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        kill_all(&self.mark);
        let _ = self.child.wait();
    }
}

/// The processes whose mark begins like this.
fn of(mark: &str) -> Vec<Process> {
    let Ok(all) = procfs::process::all_processes() else { return Vec::new() };
    let is_marked = |process: &Process| {
        let environment = process.environ().unwrap_or_default();
        let found = environment.get(std::ffi::OsStr::new(MARK));
        found.is_some_and(|it| it.to_string_lossy().starts_with(mark))
    };
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    all.filter_map(Result::ok).filter(|it| it.pid != own && is_marked(it)).collect()
}

/// Kills them until there are none: one may start another meanwhile.
fn kill_all(mark: &str) {
    loop {
        let left = of(mark);
        let killed = left
            .iter()
            .filter_map(|it| Pid::from_raw(it.pid))
            .filter(|pid| kill_process(*pid, Signal::KILL).is_ok());
        if killed.count() == 0 {
            return;
        }
        thread::sleep(LOOK);
    }
}
