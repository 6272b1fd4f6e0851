//! The shim itself, as `build.rs` has built it.

/// The library to preload. None on systems that there is none for, and where it could not be built.
#[cfg(adopt_shim)]
pub(super) const SHIM: Option<&[u8]> =
    Some(include_bytes!(concat!(env!("OUT_DIR"), "/libstario_shim.so")));

/// The library to preload. None on systems that there is none for, and where it could not be built.
#[cfg(not(adopt_shim))]
pub(super) const SHIM: Option<&[u8]> = None;
