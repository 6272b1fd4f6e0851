//! One server that adopts, on Linux: its shim's questions are answered here, from the ledger.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use procfs::process::Process;
use tokio::sync::Notify;

use super::control::{Control, Hand, Said};
use super::ledger::Ledger;
use super::limbo::Parting;
use super::page::Page;
use super::{Heard, limbo, loader, place, wire};
use crate::event::{Endpoint, Generation, Unadopted};
use crate::process::Preload;
use crate::server::socket::KnownAs;
use crate::server::{Listener, listening};

/// What a retired server that has a handler for SIGTERM gets to read what it has accepted: a graceful
/// stop closes connections that have said nothing yet.
const READS: Duration = Duration::from_millis(100);
/// How long a retired server without such a handler gets to finish: SIGTERM ends it as it stands.
const FINISHES: Duration = Duration::from_secs(1);
/// A server that has closed a listener and lives for so long goes on without it.
const ENDS: Duration = Duration::from_secs(1);
/// `SIGTERM`, as the bit of a set of signals (`proc_pid_status(5)`).
const TERM: u64 = 1 << (15 - 1);

/// Keeps the listeners of all servers.
#[derive(Clone, Debug, Default)]
pub struct Adopter(Arc<Ledger>);

impl Adopter {
    /// Offers the tool's own listener to servers that bind its address.
    pub fn lend(&self, listener: &Arc<Listener>) {
        // Without a copy the server is told that its address is taken, and our listener given up.
        if let Ok(socket) = listener.as_fd().try_clone_to_owned() {
            self.0.lend(socket, &listener.known_as(), listener.endpoint());
        }
    }

    /// The tool's own listener is offered no longer.
    pub fn take_back(&self) {
        self.0.take_back();
    }

    /// Closes what no server has any more.
    pub fn forget_unused(&self) {
        self.0.prune();
    }

    /// What a server is to be started with, and what then hears its shim. `runner`: the program that
    /// runs it. `spare`: a folder for the shim where the executable's own will not do. Needs tokio's
    /// runtime.
    pub(in crate::server) fn prepare(
        &self,
        generation: Generation,
        executable: &Path,
        runner: Option<&str>,
        spare: Option<&Path>,
    ) -> Result<(Adoption, Preload), Unadopted> {
        if let Some(runner) = runner {
            return Err(Unadopted::Runner(runner.to_owned()));
        }
        loader::allows(executable)?;
        let folder = executable.parent().unwrap_or(Path::new("/"));
        let library = place::shim(folder, spare)?;
        let failed = |error: std::io::Error| Unadopted::NoShim(error.to_string());
        let (control, its) = Control::pair().map_err(failed)?;
        let page = Arc::new(Page::new().map_err(failed)?);
        let (hand, its_hand) = Hand::pair().map_err(failed)?;
        let [memory, retired, active] = page.descriptors();
        let welcome = [memory, retired, active, its_hand.as_fd()];
        control.send(wire::WELCOME, 0, &welcome).map_err(failed)?;
        self.0.enter(generation, Arc::clone(&page), hand);
        let adoption = Adoption {
            generation,
            ledger: Arc::clone(&self.0),
            control,
            page,
            pid: AtomicU32::new(0),
            greeted: AtomicBool::new(false),
            shared: AtomicBool::new(false),
            accepts: AtomicBool::new(false),
            declined: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            leaving: Arc::default(),
            retired: AtomicBool::new(false),
            parting: Parting::default(),
            idle: Notify::new(),
        };
        Ok((adoption, Preload { library, control: its }))
    }
}

/// One server. Dropping it says that the server has ended.
#[derive(Debug)]
pub(in crate::server) struct Adoption {
    generation: Generation,
    ledger: Arc<Ledger>,
    control: Control,
    page: Arc<Page>,
    pid: AtomicU32,
    /// Its shim has spoken.
    greeted: AtomicBool,
    /// It has had a listener of those that are kept, also one on which it did not listen yet.
    shared: AtomicBool,
    /// It has begun to accept, and that was said.
    accepts: AtomicBool,
    /// Nothing of it is kept any more.
    declined: AtomicBool,
    /// Its end of the socket is closed.
    gone: AtomicBool,
    /// It was asked to stop: what it closes now, the next one may want.
    leaving: Arc<AtomicBool>,
    retired: AtomicBool,
    /// What it has shut down for writing, and not closed.
    parting: Parting,
    /// It is retired, and has closed the last connection that it had accepted.
    idle: Notify,
}

impl Adoption {
    /// It runs.
    pub(in crate::server) fn started(&self, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
    }

    /// Answers the shim until it has said something that others must know.
    pub(in crate::server) async fn next(&self) -> Heard {
        loop {
            let Some(said) = self.control.receive().await else {
                let gone = self.gone.swap(true, Ordering::Relaxed);
                if gone || is_ending(self.pid.load(Ordering::Relaxed)) {
                    return std::future::pending().await;
                }
                if let Some(heard) = self.becomes_another() {
                    return heard;
                }
                continue;
            };
            if let Some(heard) = self.take(said) {
                return heard;
            }
        }
    }

    /// What its shim has said before its end, and was not heard yet.
    pub(in crate::server) fn rest(&self) -> Vec<Heard> {
        std::iter::from_fn(|| self.control.received()).filter_map(|said| self.take(said)).collect()
    }

    fn take(&self, said: Said) -> Option<Heard> {
        match said.kind {
            wire::HELLO => {
                self.greeted.store(true, Ordering::Relaxed);
                None
            }
            wire::BIND | wire::LISTEN => self.lend(&said),
            wire::LISTENING if said.socket.is_some() => self.keep(said),
            wire::LISTENING => {
                self.ledger.listens(self.generation, said.inode);
                self.answer(wire::KEPT, said.sequence, &[]);
                Some(self.listens())
            }
            wire::ACCEPTING => {
                let first = !self.accepts.swap(true, Ordering::Relaxed);
                first.then_some(Heard::Accepts)
            }
            wire::IN_USE => said.asked.map(|name| Heard::InUse(name.endpoint())),
            wire::CLOSED => {
                let heard = self.closed(said.inode);
                self.answer(wire::DONE, said.sequence, &[]);
                heard
            }
            wire::EXEC => {
                let heard = self.becomes_another();
                self.answer(wire::DONE, said.sequence, &[]);
                heard
            }
            wire::IDLE => {
                self.idle.notify_one();
                None
            }
            wire::PART => {
                if let Some(connection) = said.socket {
                    self.parting.hold(connection);
                }
                None
            }
            wire::PASS => {
                if let Some(connection) = said.socket {
                    self.parting.let_go(&connection);
                    limbo::hold(Arc::clone(&self.ledger), connection);
                }
                None
            }
            // Of a shim that is not ours.
            _ => None,
        }
    }

    /// Its new program has none of its listeners, and may want to bind their addresses.
    fn becomes_another(&self) -> Option<Heard> {
        let before = self.declined.swap(true, Ordering::Relaxed);
        self.ledger.let_go(self.generation);
        (!before).then_some(Heard::Not(Unadopted::Exec))
    }

    fn answer(&self, kind: u8, sequence: u16, with: &[BorrowedFd<'_>]) {
        // A server that has no room for the answer, or is gone, does without it.
        let _ = self.control.send(kind, sequence, with);
    }

    /// It binds, or listens on a port that it left to the system.
    fn lend(&self, said: &Said) -> Option<Heard> {
        let unusual = self.unusual();
        let socket =
            if self.is_declined() { None } else { self.ledger.claim(self.generation, said) };
        match socket {
            Some(socket) => {
                self.shared.store(true, Ordering::Relaxed);
                self.answer(wire::TAKE, said.sequence, &[socket.as_fd()]);
            }
            None => self.answer(wire::OWN, said.sequence, &[]),
        }
        unusual.map(Heard::Not)
    }

    /// It listens on a socket of its own.
    fn keep(&self, said: Said) -> Option<Heard> {
        let sequence = said.sequence;
        let unusual = self.unusual();
        let kept = !self.is_declined() && self.ledger.keep(self.generation, said);
        self.shared.fetch_or(kept, Ordering::Relaxed);
        self.answer(if kept { wire::KEPT } else { wire::LEFT }, sequence, &[]);
        if kept { Some(self.listens()) } else { unusual.map(Heard::Not) }
    }

    fn listens(&self) -> Heard {
        if !self.ledger.is_shared(self.generation) {
            // Else whoever has it as well would accept the probe; it is made when that is retired.
            self.ledger.probe(self.generation);
        }
        Heard::Adopted(self.adopted())
    }

    /// It has closed a listener. One that has never accepted was looking for a free port, and a
    /// process that it starts may bind that at once. One that has may be about to end, for whatever
    /// reason, and then the next one wants it.
    fn closed(&self, inode: u64) -> Option<Heard> {
        let group = self.pid.load(Ordering::Relaxed);
        if self.leaving.load(Ordering::Relaxed) || listening::has(group, inode) {
            return None;
        }
        if !self.accepts.load(Ordering::Relaxed) {
            self.ledger.closed(self.generation, inode);
            return Some(Heard::Adopted(self.adopted()));
        }
        // It may have it back itself.
        self.ledger.put_down(self.generation, inode);
        let (ledger, leaving) = (Arc::clone(&self.ledger), Arc::clone(&self.leaving));
        tokio::spawn(async move {
            tokio::time::sleep(ENDS).await;
            // It has gone on without.
            if !leaving.load(Ordering::Relaxed) {
                ledger.forget(inode);
            }
        });
        Some(Heard::Adopted(self.adopted()))
    }

    /// Why nothing of it is kept from now on, where that has just shown.
    fn unusual(&self) -> Option<Unadopted> {
        let why = has_io_uring(self.pid.load(Ordering::Relaxed)).then_some(Unadopted::IoUring)?;
        (!self.declined.swap(true, Ordering::Relaxed)).then_some(why)
    }

    fn is_declined(&self) -> bool {
        self.declined.load(Ordering::Relaxed)
    }

    /// Where it listens by way of us.
    pub(in crate::server) fn adopted(&self) -> Vec<Endpoint> {
        self.ledger.adopted(self.generation)
    }

    /// Whether it has, or has had, a listener of those that are kept, also one on which it does not
    /// listen yet. It may have closed it and be about to open it again.
    pub(in crate::server) fn has_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    /// What the listeners that are kept are to be recognised by.
    pub(in crate::server) fn sockets(&self) -> Vec<KnownAs> {
        self.ledger.sockets()
    }

    /// Whether its shim has spoken: else it has none, and can share nothing.
    pub(in crate::server) fn greeted(&self) -> bool {
        self.greeted.load(Ordering::Relaxed)
    }

    /// Whether the tool keeps a listener that has this address.
    pub(in crate::server) fn holds(&self, endpoint: &Endpoint) -> bool {
        self.ledger.holds(endpoint)
    }

    /// It was found to listen, and has adopted nothing: why.
    pub(in crate::server) fn found_alone(&self) -> Unadopted {
        self.declined.store(true, Ordering::Relaxed);
        if self.greeted.load(Ordering::Relaxed) {
            Unadopted::PastLibc
        } else {
            Unadopted::NoShim("the dynamic loader has not loaded the shim".into())
        }
    }

    /// Has it accept no more connections.
    pub(in crate::server) fn retire(&self) {
        self.ledger.retire(self.generation, true);
        self.retired.store(true, Ordering::Relaxed);
        self.ledger.probe_sharers(self.generation);
    }

    /// Has it accept connections again.
    pub(in crate::server) fn resume(&self) {
        self.ledger.retire(self.generation, false);
        self.retired.store(false, Ordering::Relaxed);
        self.accepts.store(false, Ordering::Relaxed);
        self.ledger.probe(self.generation);
    }

    /// Has it pass on what more is asked, and waits until it can be asked to stop. It is retired.
    pub(in crate::server) async fn drained(&self) {
        // Where that fails it answers itself, as long as it can.
        let _ = self.page.drain();
        let at_most = if catches_term(self.pid.load(Ordering::Relaxed)) { READS } else { FINISHES };
        let idle = async {
            while self.page.connections() > 0 {
                self.idle.notified().await;
            }
        };
        // What it has not finished by then ends with it.
        let _ = tokio::time::timeout(at_most, idle).await;
    }

    /// It was asked to stop, and closes what the next one may want.
    pub(in crate::server) fn asked_to_stop(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        if self.retired.load(Ordering::Relaxed) {
            // Where that fails it closes its connections itself.
            let _ = self.page.leave();
        }
    }

    /// It has ended, and all that it had said was heard: what it has left half closed, the next one may
    /// want. Needs tokio's runtime.
    pub(in crate::server) fn ended(&self) {
        self.parting.end(&self.ledger);
    }

    /// It has what it wants, some time after it was ready: what no server has is given up.
    pub(in crate::server) fn settled(&self) {
        self.ledger.prune();
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.ledger.leave(self.generation);
    }
}

/// Whether a process may accept connections by an `io_uring(7)`, which asks nobody.
fn has_io_uring(pid: u32) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|entry| {
        fs::read_link(entry.path())
            .is_ok_and(|target| target.as_os_str() == "anon_inode:[io_uring]")
    })
}

/// Whether a process is about to end, or has. One that is not, and has closed all that is closed with
/// `exec`, has become another program.
fn is_ending(pid: u32) -> bool {
    /// `PF_EXITING`, in the flags of `proc_pid_stat(5)`.
    const EXITING: u32 = 0x4;
    let stat = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()?.stat().ok());
    stat.is_none_or(|stat| stat.flags & EXITING != 0)
}

/// Whether SIGTERM is more to a process than its end.
fn catches_term(pid: u32) -> bool {
    let status = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()?.status().ok());
    status.is_some_and(|status| (status.sigcgt | status.sigign) & TERM != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_for_sigterm_is_seen() {
        let mut sleeps = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        assert!(!catches_term(sleeps.id()));
        sleeps.kill().and_then(|()| sleeps.wait()).expect("it is ours");
        // Tokio has a handler for what it listens to.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let kind = tokio::signal::unix::SignalKind::terminate();
            let _signal = tokio::signal::unix::signal(kind).expect("a handler");
            assert!(catches_term(std::process::id()));
        });
    }
}
