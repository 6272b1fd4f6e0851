//! Typed options, environment and metadata become one [`Config`], fully resolved.

use std::path::PathBuf;
use std::time::Duration;

use crate::watch::Spec;

/// The settings of our own (not cargo's), each from the strongest place that names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The host name or address to listen on.
    pub host: String,
    /// The port to listen on.
    pub port: Port,
    /// A Unix socket to listen on in place of host and port. Absolute.
    pub unix_socket: Option<PathBuf>,
    /// What the server is told as `STARIO_TRACER`.
    pub tracer: Option<String>,
    /// How the server gets its socket.
    pub listen: Listen,
    /// How long a server may take to stop.
    pub grace: Duration,
    /// Where the events for scripts go.
    pub events: Option<EventsTo>,
    /// What to watch in place of the default.
    pub watch: Option<Vec<Spec>>,
    /// What never to watch.
    pub watch_ignore: Vec<Spec>,
    /// Whether ignore files count.
    pub gitignore: bool,
    /// The quiet time after a change.
    pub debounce: Duration,
    /// Look for changes this often in place of being told by the system.
    pub poll: Option<Duration>,
}

/// The port, and whether somebody named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// 0 picks a free one.
    pub number: u16,
    /// `false` for the default.
    pub named: bool,
}

/// `--listen`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// The dependency graph says whether a socket is offered, what the server does decides.
    #[default]
    Auto,
    /// The server inherits our socket.
    Inherit,
    /// The server binds for itself.
    Direct,
}

/// `--events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventsTo {
    /// This file, made anew.
    File(PathBuf),
    /// This descriptor, inherited from whoever started us.
    Descriptor(i32),
}
