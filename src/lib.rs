//! The rooms of `cargo stario`; ARCHITECTURE.md shows how they hang together.
//!
//! A library only so that tests reach the pure parts: it promises no stable API.

pub mod build;
pub mod cli;
pub mod config;
mod content;
pub mod entry;
pub mod error;
pub mod event;
pub mod keys;
pub mod link;
pub mod plan;
pub mod process;
pub mod report;
pub mod run;
pub mod server;
pub mod signals;
pub mod supervisor;
pub mod watch;
pub mod wording;
