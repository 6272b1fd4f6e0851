//! The server's process: started with the environment that `cargo run` would give it and ours,
//! watched for where it listens, heard when it says that it is ready, stopped, awaited. It becomes [`ServerEvent`]s; what is to be done
//! comes from the effects.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::mpsc;
use tokio::time::Duration;

use crate::build::stamp;
use crate::event::{Artifact, Beside, Event, Exit, Generation, Level, Notice, ServerEvent};
use crate::process::{Group, Groups, Program, Stream};

use exclusive::Rivals;
use notify::{Notify, Word};
use socket::KnownAs;

mod adopt;
mod cargo_run;
mod exclusive;
mod kept;
pub mod listening;
mod notify;
mod serve;
pub mod socket;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(target_os = "linux")]
mod writes;

pub use cargo_run::{CargoQuery, CargoRun};
pub use kept::Kept;
pub use notify::Folder as NotifyFolder;
pub use serve::serve;
pub use socket::Listener;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    /// The executable.
    pub artifact: Artifact,
    /// What `cargo run` would add.
    pub cargo_run: Arc<CargoRun>,
    /// What the user put behind `--`.
    pub arguments: Vec<OsString>,
    /// The user's folder, as with `cargo run`.
    pub current_dir: PathBuf,
    /// What we tell it.
    pub told: Told,
    /// Ports that it is likely to want: where the servers before it listened.
    pub ports: Vec<u16>,
}

/// What the server is told in its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `HOST` and `STARIO_HOST`.
    pub host: String,
    /// `PORT` and `STARIO_PORT`: the one that counts, never 0.
    pub port: u16,
    /// `STARIO_UNIX_SOCKET`.
    pub unix_socket: Option<PathBuf>,
    /// `STARIO_GRACE`: how long it may take to stop.
    pub grace: Duration,
    /// `STARIO_TRACER`.
    pub tracer: Option<String>,
    /// `STARIO_BOOTSTRAP`.
    pub bootstrap: Option<String>,
    /// `STARIO_DEV=1`: under `watch` only.
    pub dev: bool,
}

impl ServerCommand {
    /// The program to start, with a copy of the listener where one is handed over, and the socket on
    /// which it can say that it is ready.
    fn program(
        &self,
        listener: Option<&Listener>,
        notify: Option<&Notify>,
    ) -> std::io::Result<Program> {
        let (executable, arguments) =
            self.cargo_run.line(system::runnable(&self.artifact)?, &self.arguments);
        let mut environment = self.cargo_run.environment(&self.artifact);
        let told = &self.told;
        if told.dev {
            // Whoever started the tool as a service waits for the tool, not for one of its servers.
            for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
                environment.remove(name);
            }
        }
        if let Some(notify) = notify {
            environment.set("NOTIFY_SOCKET", notify.path());
        }
        environment.set("HOST", &told.host);
        environment.set("STARIO_HOST", &told.host);
        environment.set("PORT", told.port.to_string());
        environment.set("STARIO_PORT", told.port.to_string());
        environment.set("STARIO_GRACE", told.grace.as_secs_f64().to_string());
        for (name, value) in [
            ("STARIO_UNIX_SOCKET", told.unix_socket.clone().map(OsString::from)),
            ("STARIO_TRACER", told.tracer.clone().map(OsString::from)),
            ("STARIO_BOOTSTRAP", told.bootstrap.clone().map(OsString::from)),
            ("STARIO_DEV", told.dev.then(|| OsString::from("1"))),
        ] {
            match value {
                Some(value) => environment.set(name, value),
                // What the user has set for the tool is not the server's.
                None => environment.remove(name),
            }
        }
        Ok(Program {
            executable,
            arguments,
            environment,
            current_dir: self.current_dir.clone(),
            stdout: Stream::Inherited,
            stderr: Stream::Inherited,
            socket: listener.map(Listener::to_pass).transpose()?,
        })
    }
}

/// What a server gets from the tool, beside its environment.
#[derive(Debug)]
pub struct Equipment<'a> {
    /// Our listener, to be handed over.
    pub listener: Option<&'a Arc<Listener>>,
    /// Where the socket lies on which it says that it is ready.
    pub notify: Option<&'a NotifyFolder>,
    /// The server that goes on serving until this one is ready.
    pub beside: Option<Beside>,
}

/// Starts a server. Must be called from the tool's main thread, within tokio's `current_thread`
/// runtime: see [`Groups::spawn`].
pub fn spawn(
    groups: &Groups,
    generation: Generation,
    command: &ServerCommand,
    equipment: &Equipment<'_>,
    events: mpsc::UnboundedSender<Event>,
) -> ServerHandle {
    let (orders, received) = mpsc::unbounded_channel();
    let &Equipment { listener, .. } = equipment;
    // Without it the server cannot say that it is ready, and is asked nothing.
    let notify = equipment.notify.and_then(|folder| Notify::open(folder, generation).ok());
    // Here, so that the caller may close the listener as soon as this has returned.
    let program = command.program(listener.map(AsRef::as_ref), notify.as_ref());
    let server = Server {
        executable: command.artifact.executable.clone(),
        artifact: command.artifact.clone(),
        groups: groups.clone(),
        offered: listener.map(Arc::downgrade),
        ours: listener.map(|listener| listener.known_as()),
        notify,
        beside: equipment.beside.clone(),
        ready: false,
        errno: None,
        #[cfg(target_os = "linux")]
        current_dir: command.current_dir.clone(),
        wants: command.ports.iter().copied().chain([command.told.port]).collect(),
        unix_socket: command.told.unix_socket.clone(),
        say: Say { generation, events },
    };
    tokio::spawn(server.run(program, received));
    ServerHandle { orders }
}

/// A running server. Dropping it kills the server.
#[derive(Debug)]
#[must_use = "dropping it kills the server"]
pub struct ServerHandle {
    orders: mpsc::UnboundedSender<Order>,
}

impl ServerHandle {
    /// Asks every process of its group to stop (SIGTERM). Comes to nothing when it has ended.
    pub fn terminate(&self) {
        // It has ended.
        let _ = self.orders.send(Order::Terminate);
    }

    /// Makes every process of its group stop (SIGKILL). Comes to nothing when it has ended.
    pub fn kill(&self) {
        // It has ended.
        let _ = self.orders.send(Order::Kill);
    }
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Terminate,
    Kill,
}

/// Who tells what becomes of one server.
#[derive(Clone, Debug)]
struct Say {
    generation: Generation,
    events: mpsc::UnboundedSender<Event>,
}

impl Say {
    fn say(&self, event: ServerEvent) {
        // Nobody listens: the tool is ending.
        let _ = self.events.send(Event::Server(self.generation, event));
    }
}

/// The server's next message, where it has a socket for that.
async fn heard(notify: Option<&Notify>) -> Vec<Word> {
    match notify {
        Some(notify) => notify.next().await,
        None => std::future::pending().await,
    }
}

struct Server {
    executable: PathBuf,
    artifact: Artifact,
    groups: Groups,
    offered: Option<Weak<Listener>>,
    ours: Option<KnownAs>,
    notify: Option<Notify>,
    /// The server that goes on serving until this one is ready.
    beside: Option<Beside>,
    /// It has said so.
    ready: bool,
    /// Why it fails, if it has said that.
    errno: Option<i32>,
    #[cfg(target_os = "linux")]
    current_dir: PathBuf,
    wants: Vec<u16>,
    unix_socket: Option<PathBuf>,
    say: Say,
}

impl Server {
    async fn run(
        mut self,
        program: std::io::Result<Program>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) {
        if !self.is_as_built() {
            return self.say.say(ServerEvent::Superseded);
        }
        // Before it starts, so that nothing that it does goes unseen.
        let mut rivals = match self.beside.clone() {
            Some(old) => Some(Rivals::of(old, self.ours.clone()).await),
            None => None,
        };
        let started = match program {
            Ok(program) => self.groups.spawn(program).await,
            Err(error) => Err(error),
        };
        let group = match started {
            Ok(group) => group,
            Err(error) => {
                let message = format!("could not start `{}`: {error}", self.executable.display());
                return self.say.say(ServerEvent::SpawnFailed { message });
            }
        };
        if self.runs_something_else(group.pid()) {
            let mut group = group;
            group.kill();
            group.wait().await;
            return self.say.say(ServerEvent::Superseded);
        }
        self.say.say(ServerEvent::Spawned { pid: group.pid() });
        let direct = self.offered.is_none();
        let (exit, served) = self.attend(group, orders, rivals.as_ref()).await;
        if let Some(rivals) = &mut rivals
            && !self.ready
            && may_have_wanted(exit)
        {
            let wanted = rivals.wanted(self.errno).await;
            if !wanted.is_empty() {
                self.say.say(ServerEvent::Conflict(wanted));
            }
        }
        self.say.say(ServerEvent::Exited(exit));
        if direct && !served && matches!(exit, Exit::Code(code) if code != 0) {
            self.name_holder().await;
        }
    }

    /// A server failed before it listened anywhere. If somebody else listens where it may have
    /// wanted to, that is worth knowing.
    async fn name_holder(self) {
        let wants = self.wants;
        let holder = tokio::task::spawn_blocking(move || {
            wants.into_iter().find_map(|port| Some((port, listening::holder(port)?)))
        });
        let Ok(Some((port, holder))) = holder.await else { return };
        let notice = Notice {
            level: Level::Warning,
            code: "port-held",
            text: format!("port {port} is taken by `{}` (process {})", holder.name, holder.pid),
            help: Some(
                "if the server wants that port, stop the process or use another port".into(),
            ),
        };
        // Nobody listens: the tool is ending.
        let _ = self.say.events.send(Event::Notice(notice));
    }

    /// Until the end of the server and its group. Second: whether it listened somewhere, or was asked
    /// to stop before it did.
    async fn attend(
        &mut self,
        mut group: Group,
        mut orders: mpsc::UnboundedReceiver<Order>,
        rivals: Option<&Rivals>,
    ) -> (Exit, bool) {
        let (pid, say) = (group.pid(), self.say.clone());
        let notify = self.notify.take();
        let served = AtomicBool::new(false);
        let looking = listening::watch(
            pid,
            self.unix_socket.take(),
            self.offered.take(),
            self.beside.is_some(),
            |endpoints| {
                served.store(true, Ordering::Relaxed);
                say.say(ServerEvent::Listening(endpoints));
            },
        );
        let blocked = async {
            match rivals {
                Some(rivals) => rivals.blocked(pid).await,
                None => std::future::pending().await,
            }
        };
        {
            let (mut looking, mut blocked) = (std::pin::pin!(looking), std::pin::pin!(blocked));
            let (mut looked, mut waits) = (false, false);
            loop {
                tokio::select! {
                    _ = group.leader() => break,
                    order = orders.recv() => {
                        let Some(order) = order else {
                            group.kill();
                            break;
                        };
                        served.store(true, Ordering::Relaxed);
                        #[cfg(target_os = "linux")]
                        if writes::wrote_nothing(pid, &self.current_dir) {
                            self.say.say(ServerEvent::WroteNothing);
                        }
                        match order {
                            Order::Terminate => group.terminate(),
                            Order::Kill => group.kill(),
                        }
                    }
                    words = heard(notify.as_ref()) => self.take(words, pid),
                    () = &mut looking, if !looked => looked = true,
                    held = &mut blocked, if !waits && !self.ready => {
                        waits = true;
                        self.say.say(ServerEvent::Blocked(held));
                    }
                }
            }
        }
        let exit = group.wait().await;
        // Its last words may have come with its end.
        let rest = notify.iter().flat_map(Notify::rest).collect();
        self.take(rest, pid);
        (exit, served.load(Ordering::Relaxed))
    }

    /// Passes on what the server has said.
    fn take(&mut self, words: Vec<Word>, pid: u32) {
        for word in words {
            match word {
                Word::Ready => {
                    self.say.say(ServerEvent::Ready);
                    if !std::mem::replace(&mut self.ready, true) {
                        let (say, ours) = (self.say.clone(), self.ours.clone());
                        tokio::spawn(async move {
                            say.say(ServerEvent::Holds(exclusive::held_by(pid, ours).await));
                        });
                    }
                }
                Word::Stopping => self.say.say(ServerEvent::Stopping),
                Word::Status(status) => self.say.say(ServerEvent::Status(status)),
                Word::Errno(number) => self.errno = Some(number),
            }
        }
    }

    /// Whether the executable is still the one that was built: the next build may have replaced it.
    fn is_as_built(&self) -> bool {
        // A file that is gone was replaced as well, or will be missed by `exec`.
        stamp(&self.executable).is_ok_and(|now| now == self.artifact.stamp)
    }

    /// Whether the file was replaced between the look at it and `exec`.
    fn runs_something_else(&self, pid: u32) -> bool {
        let image = PathBuf::from(format!("/proc/{pid}/exe"));
        let is_ours = |path: &Path| path.file_name() == self.executable.file_name();
        // Under a runner it is another program by right.
        let runs_by_itself = std::fs::read_link(&image).is_ok_and(|path| is_ours(&path));
        runs_by_itself && stamp(&image).is_ok_and(|image| image.inode != self.artifact.stamp.inode)
    }
}

/// Whether a program that ends like this may have failed for something that it could not have. One
/// that was killed or has crashed did not; a panic may also abort.
fn may_have_wanted(exit: Exit) -> bool {
    const ABORT: i32 = 6;
    match exit {
        Exit::Code(code) => code != 0,
        Exit::Signal(signal) => signal == ABORT,
    }
}

/// The exit code with which a shell would end after this: 128 + the signal.
pub fn exit_code(exit: Exit) -> u8 {
    match exit {
        Exit::Code(code) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
        Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_killed_or_has_crashed_wanted_nothing() {
        for (exit, may) in [
            (Exit::Code(0), false),
            (Exit::Code(101), true),
            (Exit::Signal(6), true),
            (Exit::Signal(9), false),
            (Exit::Signal(11), false),
        ] {
            assert_eq!(may_have_wanted(exit), may, "{exit:?}");
        }
    }

    #[test]
    fn a_signal_is_128_more() {
        assert_eq!(exit_code(Exit::Signal(9)), 137);
        assert_eq!(exit_code(Exit::Code(3)), 3);
        assert_eq!(exit_code(Exit::Code(-1)), 255);
    }
}
