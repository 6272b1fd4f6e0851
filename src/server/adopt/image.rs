//! The shim itself, as `build.rs` has built it.

/// The library to preload. None on systems that there is none for, and where it could not be built.
pub(super) const SHIM: Option<&[u8]> = image();

#[cfg(adopt_shim)]
const fn image() -> Option<&'static [u8]> {
    Some(include_bytes!(concat!(env!("OUT_DIR"), "/libstario_shim.so")))
}

#[cfg(not(adopt_shim))]
const fn image() -> Option<&'static [u8]> {
    None
}
