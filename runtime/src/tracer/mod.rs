//! Where spans and events go: `STARIO_TRACER`.

pub(crate) mod requests;

use crate::settings::Tracer;

/// Sets the process's subscriber. Called once, before the bootstrap and before any other thread.
pub(crate) fn init(spec: Tracer) {
    let _ = spec;
}
