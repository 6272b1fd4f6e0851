//! The server's process: started with the environment that `cargo run` would give it and ours,
//! watched for where it listens, heard when it says that it is ready, stopped, awaited. It becomes
//! [`ServerEvent`]s; what is to be done comes from the effects.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use tokio::sync::mpsc;
use tokio::time::Duration;

use crate::event::{Artifact, Beside, Event, Exit, Generation, ServerEvent};
use crate::process::{CONTROL_VARIABLE, Groups, Preload, Program, Stream};

use adopt::Adoption;
use attend::{Known, Order, Say, Server};
use notify::Notify;

mod adopt;
mod attend;
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

pub use adopt::Adopter;
pub use cargo_run::{CargoQuery, CargoRun, Configured, OWN_HOST, Rustc, Toolchain};
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
    /// The program to start, with a copy of the listener where one is handed over, the socket on which
    /// it can say that it is ready, and what is loaded into it.
    fn program(
        &self,
        listener: Option<&Listener>,
        notify: Option<&Notify>,
        preload: Option<Preload>,
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
        environment.remove(CONTROL_VARIABLE);
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
            preload,
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
    /// Who keeps what it binds, where that is to be shared with the next one.
    pub adopter: Option<&'a Adopter>,
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
    let (sender, orders) = mpsc::unbounded_channel();
    let &Equipment { listener, .. } = equipment;
    // Without it the server cannot say that it is ready, and is asked nothing.
    let notify = equipment.notify.and_then(|folder| Notify::open(folder, generation).ok());
    let say = Say { generation, events };
    let adoption = equipment.adopter.map(|adopter| {
        let runner = command.cargo_run.runner();
        let executable = &command.artifact.executable;
        let spare = equipment.notify.map(NotifyFolder::path);
        // What was kept for it, and it cannot have, must not be in its way.
        adopter
            .prepare(generation, executable, runner.as_deref(), spare)
            .inspect_err(|_| adopter.forget_unused())
    });
    let (adoption, preload) = match adoption {
        Some(Ok((adoption, preload))) => (Some(Arc::new(adoption)), Some(preload)),
        Some(Err(why)) => {
            say.say(ServerEvent::NotAdopted(why));
            (None, None)
        }
        None => (None, None),
    };
    // Here, so that the caller may close the listener as soon as this has returned.
    let program = command.program(listener.map(AsRef::as_ref), notify.as_ref(), preload);
    let handle = ServerHandle { orders: sender, adoption: adoption.as_ref().map(Arc::downgrade) };
    let server = Server {
        artifact: command.artifact.clone(),
        groups: groups.clone(),
        offered: listener.map(Arc::downgrade),
        ours: listener.map(|listener| listener.known_as()),
        notify,
        beside: equipment.beside.clone(),
        adopts: adoption.is_some(),
        adoption,
        known: Known::default(),
        #[cfg(target_os = "linux")]
        current_dir: command.current_dir.clone(),
        wants: command.ports.iter().copied().chain([command.told.port]).collect(),
        unix_socket: command.told.unix_socket.clone(),
        say,
    };
    tokio::spawn(server.run(program, orders));
    handle
}

/// A running server. Dropping it kills the server.
#[derive(Debug)]
#[must_use = "dropping it kills the server"]
pub struct ServerHandle {
    orders: mpsc::UnboundedSender<Order>,
    /// Gone when the server is.
    adoption: Option<Weak<Adoption>>,
}

impl ServerHandle {
    /// Has it accept no more connections on what it has adopted. Done when this returns: what is said
    /// to listen from then on must not meet the old one.
    pub fn retire(&self) {
        self.adoption().inspect(|adoption| adoption.retire());
    }

    /// Has it accept connections again. Done when this returns.
    pub fn resume(&self) {
        self.adoption().inspect(|adoption| adoption.resume());
    }

    fn adoption(&self) -> Option<Arc<Adoption>> {
        self.adoption.as_ref().and_then(Weak::upgrade)
    }

    /// Asks every process of its group to stop (SIGTERM) once what it has accepted allows for it: it
    /// is retired.
    pub fn drain(&self) {
        // It has ended.
        let _ = self.orders.send(Order::Drain);
    }

    /// Asks every process of its group to stop (SIGTERM), unless that was done. Comes to nothing when
    /// it has ended.
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
    fn a_signal_is_128_more() {
        assert_eq!(exit_code(Exit::Signal(9)), 137);
        assert_eq!(exit_code(Exit::Code(3)), 3);
        assert_eq!(exit_code(Exit::Code(-1)), 255);
    }
}
