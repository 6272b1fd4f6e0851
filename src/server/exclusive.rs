//! What only one server can have at a time, and the one that serves holds: addresses of its own and
//! locked files. It keeps the next one from starting beside it.
//!
//! Nobody says so: the kernel is asked who holds what, and, of a file, whether it was opened while
//! the new server was starting.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::listening;
use super::socket::KnownAs;
use crate::event::{Beside, Held};

#[cfg(target_os = "linux")]
#[path = "exclusive/linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "exclusive/other.rs"]
mod platform;

/// How often it is looked whether the new server waits for a lock: the system has no event for it.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// What a server's group holds: everything but these listeners, which are shared.
pub(super) async fn held_by(group: u32, ours: Vec<KnownAs>) -> Vec<Held> {
    // Its panic or the runtime's end: nothing to be found.
    spawn_blocking(move || {
        let addresses = listening::own(group, &ours).into_iter().map(Held::Address);
        addresses.chain(platform::locked_by(group).into_iter().map(Held::File)).collect()
    })
    .await
    .unwrap_or_default()
}

/// The two servers of an overlap, while the new one starts.
#[derive(Debug)]
pub(super) struct Rivals {
    /// The group of the one that serves.
    old: u32,
    eye: platform::Eye,
}

impl Rivals {
    /// Keeps an eye on the files that the old one has locked, from now on. Which these are is asked
    /// where it is not known: to read `/proc/locks` stops every lock on the machine for some
    /// milliseconds, and the new server waits for it.
    pub(super) async fn of(old: Beside) -> Self {
        let pid = old.pid;
        let locked = match old.locked {
            Some(locked) => locked,
            None => spawn_blocking(move || platform::locked_by(pid)).await.unwrap_or_default(),
        };
        Self { old: pid, eye: platform::Eye::on(locked) }
    }

    /// Waits until the new one waits for a lock that the old one has, and goes on waiting: one that
    /// is held for the time of a write alone is no obstacle.
    pub(super) async fn blocked(&self, new: u32) -> Vec<Held> {
        let old = self.old;
        let mut before = Vec::new();
        loop {
            sleep(LOOK_EVERY).await;
            let waits = spawn_blocking(move || platform::waits_for(new, old)).await;
            let files = waits.unwrap_or_default();
            let still: Vec<_> = files.iter().filter(|file| before.contains(*file)).collect();
            if !still.is_empty() {
                return still.into_iter().cloned().map(Held::File).collect();
            }
            before = files;
        }
    }

    /// What the new one, which has failed, may have failed for. `errno`: what it said of that. `ours`:
    /// the listeners that it could have shared.
    pub(super) async fn wanted(&mut self, errno: Option<i32>, ours: Vec<KnownAs>) -> Vec<Held> {
        let opened = self.eye.opened();
        let held = held_by(self.old, ours).await;
        let mut wanted: Vec<Held> = held
            .into_iter()
            .filter(|held| match (held, errno) {
                (Held::File(_), Some(number)) => platform::IS_LOCKED.contains(&number),
                (Held::File(path), None) => opened.contains(path),
                (_, Some(number)) => number == platform::ADDRESS_IN_USE,
                (_, None) => true,
            })
            .collect();
        if wanted.is_empty() && errno == Some(platform::ADDRESS_IN_USE) {
            wanted.push(Held::SomeAddress);
        }
        wanted
    }
}
