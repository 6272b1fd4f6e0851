//! Not there yet.
pub(super) const SHIM: Option<&[u8]> = None;
