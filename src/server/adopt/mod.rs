//! Servers' own sockets, shared with the next build's server by way of the shim.

#[expect(dead_code, reason = "the tool's side comes with it")]
mod image;
