//! One server, from its start to the end of its group: what it is heard to say (to systemd's socket, to
//! the shim), what is seen of it, and what it is told to do. A task of its own, which the room's
//! [`spawn`](super::spawn) starts; it speaks in [`ServerEvent`]s.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::{Notify as Notified, mpsc};
use tokio::time::{Duration, Instant, sleep};

use super::adopt::{Adoption, Heard};
use super::exclusive::{self, Rivals};
use super::listening::{self, overlap};
use super::notify::{Notify, Word};
use super::socket::{KnownAs, Listener};
use crate::build::stamp;
use crate::event::{
    Artifact, Beside, Endpoint, Event, Exit, Generation, Held, Level, Notice, ServerEvent,
    Unadopted,
};
use crate::process::{Group, Groups, Program};

/// The kernel shows a listener somewhat before the shim has said so.
const IS_SAID_WITHIN: Duration = Duration::from_millis(300);
/// A server that accepts has bound what it wants after this time.
const SETTLES: Duration = Duration::from_secs(1);

/// What a server is told to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Drain,
    Terminate,
    Kill,
}

/// Who tells what becomes of one server.
#[derive(Clone, Debug)]
pub(super) struct Say {
    pub(super) generation: Generation,
    pub(super) events: mpsc::UnboundedSender<Event>,
}

impl Say {
    pub(super) fn say(&self, event: ServerEvent) {
        // Nobody listens: the tool is ending.
        let _ = self.events.send(Event::Server(self.generation, event));
    }
}

/// A server, and what is known of it.
pub(super) struct Server {
    pub(super) artifact: Artifact,
    pub(super) groups: Groups,
    /// Our listener, where it is handed over.
    pub(super) offered: Option<Weak<Listener>>,
    pub(super) ours: Option<KnownAs>,
    /// Where it says that it is ready.
    pub(super) notify: Option<Notify>,
    /// The server that goes on serving until this one is ready.
    pub(super) beside: Option<Beside>,
    /// By which what it binds is shared.
    pub(super) adoption: Option<Arc<Adoption>>,
    /// It had one when it started.
    pub(super) adopts: bool,
    #[cfg(target_os = "linux")]
    pub(super) current_dir: PathBuf,
    /// Ports that it is likely to want.
    pub(super) wants: Vec<u16>,
    pub(super) unix_socket: Option<PathBuf>,
    pub(super) say: Say,
    pub(super) known: Known,
}

/// What has become known of a server.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// It says that it is ready, or has begun to accept.
    ready: bool,
    /// It listens somewhere, or was asked to stop before it did.
    served: bool,
    /// Why it fails, if it has said that.
    errno: Option<i32>,
    /// Addresses that it could not bind.
    in_use: Vec<Endpoint>,
    /// It has been asked to stop.
    asked: bool,
}

impl Server {
    /// Starts it, and ends when it has ended.
    pub(super) async fn run(
        mut self,
        program: std::io::Result<Program>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) {
        if !self.is_as_built() {
            return self.say.say(ServerEvent::Superseded);
        }
        // Before it starts, so that nothing that it does goes unseen.
        let mut rivals = match self.beside.clone() {
            Some(old) => Some(Rivals::of(old).await),
            None => None,
        };
        let started = match program {
            Ok(program) => self.groups.spawn(program).await,
            Err(error) => Err(error),
        };
        let group = match started {
            Ok(group) => group,
            Err(error) => {
                let executable = self.artifact.executable.display();
                let message = format!("could not start `{executable}`: {error}");
                return self.say.say(ServerEvent::SpawnFailed { message });
            }
        };
        if self.runs_something_else(group.pid()) {
            let mut group = group;
            group.kill();
            group.wait().await;
            return self.say.say(ServerEvent::Superseded);
        }
        if let Some(adoption) = &self.adoption {
            adoption.started(group.pid());
        }
        self.say.say(ServerEvent::Spawned { pid: group.pid() });
        let direct = self.offered.is_none();
        let exit = self.attend(group, orders, rivals.as_ref()).await;
        if let Some(rivals) = &mut rivals
            && !self.known.ready
            && may_have_wanted(exit)
        {
            let wanted = if self.known.in_use.is_empty() {
                rivals.wanted(self.known.errno, self.shareable()).await
            } else {
                self.contested().await
            };
            if !wanted.is_empty() {
                self.say.say(ServerEvent::Conflict(wanted));
            }
        }
        // What it alone had is for the next one from here on.
        self.adoption.take().inspect(|adoption| adoption.ended());
        self.say.say(ServerEvent::Exited(exit));
        let guess = direct && !self.adopts && !self.known.served;
        if guess && matches!(exit, Exit::Code(code) if code != 0) {
            let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            let wants = self.wants.into_iter().map(any).collect();
            name_holder(self.say, wants, vec![std::process::id()]).await;
        }
    }

    /// Until the end of the server and its group.
    async fn attend(
        &mut self,
        mut group: Group,
        mut orders: mpsc::UnboundedReceiver<Order>,
        rivals: Option<&Rivals>,
    ) -> Exit {
        let pid = group.pid();
        let notify = self.notify.take();
        let adoption = self.adoption.clone();
        let adoption = adoption.as_deref();
        let (say, found, listens) = (self.say.clone(), Notified::new(), AtomicBool::new(false));
        let looking = listening::watch(
            pid,
            self.unix_socket.take(),
            self.offered.take(),
            self.beside.is_some(),
            |endpoints| {
                listens.store(true, Ordering::Relaxed);
                say.say(ServerEvent::Listening(endpoints));
                found.notify_one();
            },
        );
        let (mut looking, mut looked) = (std::pin::pin!(looking), false);
        let (mut blocked, mut waits) = (std::pin::pin!(blocked(rivals, pid)), false);
        let (mut alone, mut is_alone) = (std::pin::pin!(alone(adoption, &found)), false);
        let (mut drained, mut drains) = (std::pin::pin!(drained(adoption)), false);
        let (mut settled, mut settles) = (std::pin::pin!(sleep(SETTLES)), false);
        loop {
            tokio::select! {
                _ = group.leader() => break,
                order = orders.recv() => {
                    let Some(order) = order else {
                        group.kill();
                        break;
                    };
                    if let Order::Drain = order {
                        drained.set(self::drained(adoption));
                        drains = true;
                    }
                    self.obey(order, &mut group);
                }
                () = &mut drained, if drains => {
                    drains = false;
                    self.terminate(&mut group);
                }
                words = said(notify.as_ref()) => self.take(words, pid),
                heard = heard(adoption) => {
                    if let Heard::Accepts = heard {
                        settled.as_mut().reset(Instant::now() + SETTLES);
                        settles = true;
                    }
                    self.hear(heard, pid);
                }
                () = &mut settled, if settles => {
                    settles = false;
                    adoption.into_iter().for_each(Adoption::settled);
                }
                why = &mut alone, if !is_alone => {
                    is_alone = true;
                    self.say.say(ServerEvent::NotAdopted(why));
                }
                () = &mut looking, if !looked => looked = true,
                held = &mut blocked, if !waits && !self.known.ready => {
                    waits = true;
                    self.say.say(ServerEvent::Blocked(held));
                }
            }
        }
        self.known.served |= listens.load(Ordering::Relaxed);
        // Its last words may have come with its end.
        for heard in adoption.map(Adoption::rest).unwrap_or_default() {
            self.hear(heard, pid);
        }
        let exit = group.wait().await;
        let rest = notify.iter().flat_map(Notify::rest).collect();
        self.take(rest, pid);
        exit
    }

    fn obey(&mut self, order: Order, group: &mut Group) {
        match order {
            // Once it is drained, it is asked to stop.
            Order::Drain => {}
            Order::Terminate => self.terminate(group),
            Order::Kill => {
                self.say_what_it_wrote(group.pid());
                group.kill();
            }
        }
        self.known.served |= matches!(order, Order::Drain | Order::Terminate | Order::Kill);
    }

    /// Asks it to stop, once.
    fn terminate(&mut self, group: &mut Group) {
        if std::mem::replace(&mut self.known.asked, true) {
            return;
        }
        self.say_what_it_wrote(group.pid());
        self.adoption.as_deref().into_iter().for_each(Adoption::asked_to_stop);
        group.terminate();
    }

    #[cfg(target_os = "linux")]
    fn say_what_it_wrote(&self, pid: u32) {
        if super::writes::wrote_nothing(pid, &self.current_dir) {
            self.say.say(ServerEvent::WroteNothing);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn say_what_it_wrote(&self, _pid: u32) {}

    /// Passes on what the server has said.
    fn take(&mut self, words: Vec<Word>, pid: u32) {
        for word in words {
            match word {
                Word::Ready => {
                    self.say.say(ServerEvent::Ready);
                    self.is_ready(pid);
                }
                Word::Stopping => self.say.say(ServerEvent::Stopping),
                Word::Status(status) => self.say.say(ServerEvent::Status(status)),
                Word::Errno(number) => self.known.errno = Some(number),
            }
        }
    }

    /// Passes on what the shim has said.
    fn hear(&mut self, heard: Heard, pid: u32) {
        match heard {
            Heard::Adopted(endpoints) => {
                self.known.served |= !endpoints.is_empty();
                self.say.say(ServerEvent::Adopted(endpoints));
            }
            Heard::Accepts => {
                self.say.say(ServerEvent::Accepts);
                self.is_ready(pid);
            }
            Heard::InUse(endpoint) => {
                if let Endpoint::Tcp(address) = endpoint
                    && !self.known.in_use.contains(&endpoint)
                {
                    // At once: it may try again and again.
                    let ours =
                        self.beside.iter().map(|old| old.pid).chain([std::process::id(), pid]);
                    tokio::spawn(name_holder(self.say.clone(), vec![address], ours.collect()));
                }
                if !self.known.in_use.contains(&endpoint) {
                    self.known.in_use.push(endpoint);
                }
            }
            Heard::Not(why) => self.say.say(ServerEvent::NotAdopted(why)),
        }
    }

    /// From now on it is of interest what it alone can have.
    fn is_ready(&mut self, pid: u32) {
        if !std::mem::replace(&mut self.known.ready, true) {
            let (say, shared) = (self.say.clone(), self.shared());
            tokio::spawn(async move {
                say.say(ServerEvent::Holds(exclusive::held_by(pid, shared).await));
            });
        }
    }

    /// The listeners that the servers share.
    fn shared(&self) -> Vec<KnownAs> {
        let adopted = self.adoption.as_deref().map(Adoption::sockets).unwrap_or_default();
        self.ours.iter().cloned().chain(adopted).collect()
    }

    /// Those of them that this one can have.
    fn shareable(&self) -> Vec<KnownAs> {
        match &self.adoption {
            Some(adoption) if !adoption.greeted() => self.ours.iter().cloned().collect(),
            _ => self.shared(),
        }
    }

    /// What it could not bind because the server beside which it was started has it, or one that was
    /// kept for that server.
    async fn contested(&self) -> Vec<Held> {
        let old = self.beside.as_ref().map(|old| old.pid);
        let looking = tokio::task::spawn_blocking(move || {
            old.map(|old| listening::own(old, &[])).unwrap_or_default()
        });
        // Its panic or the runtime's end: nothing to be found.
        let of_old = looking.await.unwrap_or_default();
        let is_held = |wanted: &&Endpoint| {
            of_old.iter().any(|held| held.port().is_some() && held.port() == wanted.port())
                || self.adoption.as_deref().is_some_and(|adoption| adoption.holds(wanted))
        };
        self.known.in_use.iter().filter(is_held).cloned().map(Held::Address).collect()
    }

    /// Whether the executable is still the one that was built: the next build may have replaced it.
    fn is_as_built(&self) -> bool {
        // A file that is gone was replaced as well, or will be missed by `exec`.
        stamp(&self.artifact.executable).is_ok_and(|now| now == self.artifact.stamp)
    }

    /// Whether the file was replaced between the look at it and `exec`.
    fn runs_something_else(&self, pid: u32) -> bool {
        let image = PathBuf::from(format!("/proc/{pid}/exe"));
        let is_ours = |path: &Path| path.file_name() == self.artifact.executable.file_name();
        // Under a runner it is another program by right.
        let runs_by_itself = std::fs::read_link(&image).is_ok_and(|path| is_ours(&path));
        runs_by_itself && stamp(&image).is_ok_and(|image| image.inode != self.artifact.stamp.inode)
    }
}

/// Says who listens where a server could not, or may have wanted to: unless it is one of these groups.
async fn name_holder(say: Say, wanted: Vec<SocketAddr>, ours: Vec<u32>) {
    let looking = tokio::task::spawn_blocking(move || {
        let is_ours = |address: &SocketAddr| {
            let own = ours.iter().flat_map(|group| listening::own(*group, &[]));
            own.into_iter().any(|held| matches!(held, Endpoint::Tcp(it) if overlap(&it, address)))
        };
        wanted.into_iter().find_map(|address| {
            let holder = listening::holder(address).filter(|it| !ours.contains(&it.pid))?;
            (!is_ours(&address)).then_some((address.port(), holder))
        })
    });
    // Its panic or the runtime's end: nothing to be found.
    let Ok(Some((port, holder))) = looking.await else { return };
    let notice = Notice {
        level: Level::Warning,
        code: "port-held",
        text: format!("port {port} is taken by `{}` (process {})", holder.name, holder.pid),
        help: Some("if the server wants that port, stop the process or use another port".into()),
    };
    // Nobody listens: the tool is ending.
    let _ = say.events.send(Event::Notice(notice));
}

/// What the shim says next, where there is one.
async fn heard(adoption: Option<&Adoption>) -> Heard {
    match adoption {
        Some(adoption) => adoption.next().await,
        None => std::future::pending().await,
    }
}

/// The server's next message, where it has a socket for that.
async fn said(notify: Option<&Notify>) -> Vec<Word> {
    match notify {
        Some(notify) => notify.next().await,
        None => std::future::pending().await,
    }
}

/// Until the server may be asked to stop.
async fn drained(adoption: Option<&Adoption>) {
    if let Some(adoption) = adoption {
        adoption.drained().await;
    }
}

/// Until the new server waits for what the old one holds.
async fn blocked(rivals: Option<&Rivals>, pid: u32) -> Vec<Held> {
    match rivals {
        Some(rivals) => rivals.blocked(pid).await,
        None => std::future::pending().await,
    }
}

/// Until a server that was to adopt is found to listen, and has not said so.
async fn alone(adoption: Option<&Adoption>, found: &Notified) -> Unadopted {
    let Some(adoption) = adoption else { return std::future::pending().await };
    found.notified().await;
    sleep(IS_SAID_WITHIN).await;
    // One that has been handed out is shown before its server listens.
    if adoption.has_shared() { std::future::pending().await } else { adoption.found_alone() }
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
}
