//! Where processes listen: which addresses a server has bound for itself, and who is in the way.
//!
//! The system tells nobody when a socket begins to listen, so this looks, often at first and less
//! and less.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Weak;
use std::time::Duration;

use listeners::{Protocol, SocketState};
use tokio::task::spawn_blocking;

use super::socket::{KnownAs, Listener};
use crate::event::Endpoint;

#[cfg(target_os = "linux")]
#[path = "listening/linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "listening/other.rs"]
mod platform;

/// The first pause between two looks.
const FIRST: Duration = Duration::from_millis(20);
/// The longest pause while nothing was found.
const LONGEST: Duration = Duration::from_millis(500);
/// The pause after something was found.
const SETTLED: Duration = Duration::from_secs(1);
/// How often to look again after something was found or has changed: servers open a port for
/// metrics some time after the first.
const AGAIN: u32 = 10;

/// A server that listens on an address of its own and shows no use of ours for so long does not take
/// it.
const TAKES_WITHIN: Duration = Duration::from_millis(300);

/// A listening socket of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    endpoint: Endpoint,
    /// 0 where it is not known.
    inode: u64,
}

/// How thoroughly to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// At the group's leader alone: cheap.
    Leader,
    /// At all of its processes.
    Group,
}

/// The TCP addresses on which the processes of a group listen now, but for these listeners. Blocks
/// for some milliseconds.
pub(super) fn own(group: u32, ours: &[KnownAs]) -> Vec<Endpoint> {
    let mut found = platform::listening(group, Look::Group, None);
    found.retain(|found| !ours.iter().any(|ours| is(found, ours)));
    found.into_iter().map(|it| it.endpoint).collect()
}

/// Whether a process of the group has this socket. Blocks for some milliseconds.
#[cfg(target_os = "linux")]
pub(super) fn has(group: u32, inode: u64) -> bool {
    platform::has(group, inode)
}

/// Says where the processes of a group listen, first when they do and again when that changes.
/// `offered`: our own listener, which is among them once the server shows that it makes use of it, as
/// long as the tool holds it. `shared`: another server has it as well.
/// `unix_socket`: where the server was told to make a Unix socket. Of those, no other is looked for:
/// processes have them for much else. Ends when nothing has changed for some time.
pub(super) async fn watch(
    group: u32,
    unix_socket: Option<PathBuf>,
    offered: Option<Weak<Listener>>,
    shared: bool,
    say: impl Fn(Vec<Endpoint>),
) {
    let held = || offered.as_ref().and_then(Weak::upgrade);
    let mut taken = None;
    let mut known = Vec::new();
    let mut pause = FIRST;
    let mut again = AGAIN;
    let mut undecided = Duration::ZERO;
    while again > 0 {
        tokio::time::sleep(pause).await;
        // Most servers listen in the process that was started.
        let look = if pause < LONGEST { Look::Leader } else { Look::Group };
        // Its panic or the runtime's end: nothing to be found.
        let path = unix_socket.clone();
        // What was given up is the server's own.
        let ours = held().as_deref().map(Listener::known_as);
        let mut found = spawn_blocking(move || platform::listening(group, look, path.as_deref()))
            .await
            .unwrap_or_default();
        found.retain(|found| ours.as_ref().is_none_or(|ours| !is(found, ours)));
        if taken.is_none() {
            let used = held().filter(|listener| listener.taken(group, shared));
            taken = used.map(|listener| listener.endpoint().clone());
        }
        let own = found.into_iter().map(|it| it.endpoint);
        let mut endpoints: Vec<_> = taken.iter().cloned().chain(own).collect();
        endpoints.sort();
        endpoints.dedup();
        if ours.is_some() && taken.is_none() && !endpoints.is_empty() && undecided < TAKES_WITHIN {
            // A port for metrics may come before ours is taken.
            undecided += pause;
            continue;
        }
        if endpoints == known {
            again -= u32::from(!known.is_empty());
        } else {
            again = AGAIN;
            if !endpoints.is_empty() {
                say(endpoints.clone());
            }
            known = endpoints;
        }
        pause = if known.is_empty() { (pause * 3 / 2).min(LONGEST) } else { SETTLED };
    }
}

fn is(found: &Found, ours: &KnownAs) -> bool {
    if found.inode != 0 && ours.inode != 0 {
        return found.inode == ours.inode;
    }
    ours.address.is_some_and(|address| found.endpoint == Endpoint::Tcp(address))
}

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name, as the system has it.
    pub name: String,
}

/// Whether two addresses may not be able to have listeners at once.
pub fn overlap(a: &SocketAddr, b: &SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && (a.ip() == b.ip() || any)
}

/// Who listens where this TCP address would be, if that can be seen: other users' processes cannot.
/// An unspecified address stands for all. Blocks for some milliseconds.
pub fn holder(address: SocketAddr) -> Option<Holder> {
    // `listeners::get_process_by_port` would take a closed connection for a listener.
    let all = listeners::get_all().ok()?;
    let found = all.into_iter().find(|it| {
        it.protocol == Protocol::TCP
            && it.state == SocketState::Listen
            && overlap(&it.socket, &address)
    })?;
    Some(Holder { pid: found.process.pid, name: found.process.name })
}
