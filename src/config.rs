//! Typed options, environment and metadata become one [`Config`], fully resolved.
//!
//! Each setting comes from the strongest place that names it: the flag; `STARIO_<NAME>` in the
//! environment; `[package.metadata.stario]` of the entry's package; `[workspace.metadata.stario]`;
//! the default. A variable that is set to nothing and an empty list count as not given. `watch` is
//! taken whole from the strongest place, `watch-ignore` adds up over all. `PORT` in the environment
//! counts where none of these places names a port. Reads no file, and no environment but the one it
//! is handed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::{ServerOptions, WatchOptions};
use crate::error::Failure;
use crate::event::Swap;
use crate::watch::Spec;

mod layers;
mod table;
mod values;

use layers::Found;
pub use layers::Layers;
pub use table::Table;

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
    /// The profile to build with, where one is named.
    pub profile: Option<String>,
    /// How the executable is linked, where somebody says it.
    pub link: Option<Link>,
    /// How long a server may take to stop.
    pub grace: Duration,
    /// Where the events for scripts go.
    pub events: Option<EventsTo>,
    /// How the new server takes over.
    pub swap: Swap,
    /// How long a new server may take to be ready while the old one serves.
    pub ready_timeout: Duration,
    /// What to watch in place of the default.
    pub watch: Option<Vec<Spec>>,
    /// What never to watch.
    pub watch_ignore: Vec<Spec>,
    /// Whether ignore files count.
    pub gitignore: bool,
    /// The quiet time after a change, where one is named.
    pub debounce: Option<Duration>,
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
    /// The server binds for itself, and what it binds is shared with the next one. There is no next one
    /// under `serve`, where this is `Direct`.
    Adopt,
    /// The server binds for itself.
    Direct,
}

/// `--link`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Against dependencies that were linked before, where that is known to hold.
    Once,
    /// As rustc does it.
    Plain,
}

/// `--events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventsTo {
    /// This file, made anew.
    File(PathBuf),
    /// This descriptor, inherited from whoever started us.
    Descriptor(i32),
}

/// The default quiet time after a change. Without a pause as long as this, it is one save.
const DEBOUNCE: Duration = Duration::from_millis(30);
/// The default time that a new server may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// The default time that a server may take to stop.
const GRACE: Duration = Duration::from_secs(5);

impl Config {
    /// The quiet time after a change.
    pub fn quiet_time(&self) -> Duration {
        self.debounce.unwrap_or(DEBOUNCE)
    }
}

/// Takes each setting from the strongest place that names it. `profile`: as typed. `watch` is `None` for
/// `serve`.
///
/// # Errors
///
/// A value that cannot be read, with the place that it comes from.
pub fn resolve(
    server: &ServerOptions,
    profile: Option<&str>,
    watch: Option<&WatchOptions>,
    layers: &Layers<'_>,
) -> Result<Config, Failure> {
    let none = WatchOptions::default();
    let watch = watch.unwrap_or(&none);
    let one = |option, typed: &Option<_>| layers.one(option, typed.as_deref());
    // A flag can only switch on.
    let no_gitignore = watch.no_gitignore.then_some(OsStr::new("true"));

    Ok(Config {
        host: read(one("host", &server.host), values::host)?.unwrap_or_else(|| "127.0.0.1".into()),
        port: port(server, layers)?,
        unix_socket: one("unix-socket", &server.unix_socket).map(|it| path(&it)).transpose()?,
        tracer: read(one("tracer", &server.tracer), values::tracer)?,
        listen: read(one("listen", &server.listen), values::listen)?.unwrap_or_default(),
        profile: read(layers.one("profile", profile.map(OsStr::new)), values::profile)?,
        link: read(one("link", &server.link), values::link)?,
        grace: read(one("grace", &server.grace), values::seconds)?.unwrap_or(GRACE),
        events: resolve_events(server, layers)?,
        swap: read(one("swap", &watch.swap), values::swap)?.unwrap_or_default(),
        ready_timeout: read(one("ready-timeout", &watch.ready_timeout), values::positive_seconds)?
            .unwrap_or(READY_TIMEOUT),
        watch: layers.all("watch", &watch.watch).first().map(|it| specs(it)).transpose()?,
        watch_ignore: specs(&layers.all("watch-ignore", &watch.watch_ignore).concat())?,
        gitignore: !read(layers.one("no-gitignore", no_gitignore), values::switch)?
            .unwrap_or_default(),
        debounce: read(one("debounce", &watch.debounce), values::milliseconds)?,
        poll: read(one("poll", &watch.poll), values::poll)?.flatten(),
    })
}

/// Where the events go as far as that is known before any manifest is read: `layers` without tables.
/// What is found here is what [`resolve`] will find.
///
/// # Errors
///
/// As [`resolve`].
pub fn resolve_events(
    server: &ServerOptions,
    layers: &Layers<'_>,
) -> Result<Option<EventsTo>, Failure> {
    layers.one("events", server.events.as_deref()).map(|it| events(&it)).transpose()
}

fn read<T>(
    found: Option<Found<'_>>,
    reader: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    found.map(|found| found.text(reader)).transpose()
}

fn port(server: &ServerOptions, layers: &Layers<'_>) -> Result<Port, Failure> {
    let found = layers.one("port", server.port.as_deref()).or_else(|| layers.port());
    let number = read(found, values::port)?;
    Ok(Port { number: number.unwrap_or(8000), named: number.is_some() })
}

/// A path, made absolute by the folder that belongs to the place it was found in.
fn path(found: &Found<'_>) -> Result<PathBuf, Failure> {
    if found.value.is_empty() {
        return Err(found.failure("it is empty"));
    }
    Ok(absolute(&found.value, found.base))
}

fn absolute(path: &OsStr, base: &Path) -> PathBuf {
    // Through the components, which drop `./`.
    base.join(path).components().collect()
}

fn events(found: &Found<'_>) -> Result<EventsTo, Failure> {
    match found.value.to_str().and_then(|text| text.strip_prefix("fd:")) {
        Some(_) => found.text(|text| {
            let number = text.strip_prefix("fd:").unwrap_or(text);
            values::descriptor(number).map(EventsTo::Descriptor)
        }),
        None => path(found).map(EventsTo::File),
    }
}

fn specs(found: &[Found<'_>]) -> Result<Vec<Spec>, Failure> {
    found.iter().map(spec).collect()
}

fn spec(found: &Found<'_>) -> Result<Spec, Failure> {
    let spec = found.text(|text| match text {
        "" => Err("it is empty".into()),
        text => Ok(Spec { text: text.into(), base: found.base.to_owned() }),
    })?;
    match spec.understood() {
        Ok(()) => Ok(spec),
        Err(reason) => Err(found.failure(&reason).help(Spec::ESCAPES)),
    }
}

#[cfg(test)]
mod tests;
