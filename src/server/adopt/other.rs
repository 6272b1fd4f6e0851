//! Where nothing can be adopted yet.

use std::path::Path;
use std::sync::Arc;

use super::Heard;
use crate::event::{Endpoint, Generation, Unadopted};
use crate::process::Preload;
use crate::server::Listener;
use crate::server::socket::KnownAs;

/// Adopts nothing.
#[derive(Clone, Debug, Default)]
pub struct Adopter;

impl Adopter {
    /// Does nothing.
    pub fn lend(&self, _listener: &Arc<Listener>) {}

    /// Does nothing.
    pub fn take_back(&self) {}

    /// Does nothing.
    pub fn forget_unused(&self) {}

    pub(in crate::server) fn prepare(
        &self,
        _generation: Generation,
        _executable: &Path,
        _runner: Option<&str>,
        _spare: Option<&Path>,
    ) -> Result<(Adoption, Preload), Unadopted> {
        Err(Unadopted::NoShim("sockets are adopted on Linux alone".into()))
    }
}

/// Never made.
#[derive(Debug)]
pub(in crate::server) enum Adoption {}

impl Adoption {
    pub(in crate::server) fn started(&self, _pid: u32) {
        match *self {}
    }

    pub(in crate::server) async fn next(&self) -> Heard {
        match *self {}
    }

    pub(in crate::server) fn rest(&self) -> Vec<Heard> {
        match *self {}
    }

    pub(in crate::server) fn has_shared(&self) -> bool {
        match *self {}
    }

    pub(in crate::server) fn sockets(&self) -> Vec<KnownAs> {
        match *self {}
    }

    pub(in crate::server) fn greeted(&self) -> bool {
        match *self {}
    }

    pub(in crate::server) fn holds(&self, _endpoint: &Endpoint) -> bool {
        match *self {}
    }

    pub(in crate::server) fn found_alone(&self) -> Unadopted {
        match *self {}
    }

    pub(in crate::server) fn retire(&self) {
        match *self {}
    }

    pub(in crate::server) fn resume(&self) {
        match *self {}
    }

    pub(in crate::server) async fn drained(&self) {
        match *self {}
    }

    pub(in crate::server) fn asked_to_stop(&self) {
        match *self {}
    }

    pub(in crate::server) fn ended(&self) {
        match *self {}
    }

    pub(in crate::server) fn settled(&self) {
        match *self {}
    }
}
