//! Adopting: what a server binds for itself is shared with the next one. A small library, the *shim*
//! (`shim/`), is preloaded into the server and asks here at its `bind`; what the first one listens on
//! is kept in the ledger, and handed to those that come after it. Used by the server room alone; the
//! loop holds the [`Adopter`] for the tool's whole life.

#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod ledger;
#[cfg(target_os = "linux")]
mod limbo;
#[cfg(target_os = "linux")]
mod loader;
#[cfg(target_os = "linux")]
mod page;
#[cfg(target_os = "linux")]
mod place;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
#[path = "../../shim/wire.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "written for the shim as well, which is a crate of its own"
)]
mod wire;

#[cfg(target_os = "linux")]
#[path = "adopt/linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "adopt/other.rs"]
mod platform;

use crate::event::{Endpoint, Unadopted};

pub use platform::Adopter;
pub(super) use platform::Adoption;

/// What is heard of a server by way of the shim.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing is heard there"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It listens on these addresses by way of us: all of them, each time one comes or goes.
    Adopted(Vec<Endpoint>),
    /// It accepts connections. Said once, and again after [`Adoption::resume`].
    Accepts,
    /// The system has told it that this address is taken.
    InUse(Endpoint),
    /// It binds for itself from now on.
    Not(Unadopted),
}
