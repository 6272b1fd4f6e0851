//! What the server says of itself: `STARIO_TRACER=auto|tty|json|noop`, filtered by `RUST_LOG`.
//!
//! One layer ([`layer`]) keeps what is known of each span; [`tty`] shows it to people, [`json`] to
//! programs. Both write to stderr: stdout is the user's. [`requests`] opens a span for each request.
//!
//! `tracing-tree` prints each event as it comes, so that requests that run at the same time mix;
//! `tracing-forest` holds everything back until the root ends, also what a stream says that lives for
//! hours; neither has an object for a finished span, and both bring `fmt`. Hence a layer of our own.

pub(crate) mod json;
pub(crate) mod layer;
pub(crate) mod requests;
pub(crate) mod text;
pub(crate) mod tty;

use std::ffi::OsStr;
use std::fmt;
use std::io::{IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::settings::Tracer;
use layer::{Clock, Recorder};

/// What `RUST_LOG` says: `info`, `warn,app=debug`, `off`. Everything from `info` on where it says
/// nothing.
///
/// # Errors
///
/// Says why the value is none.
fn filter(rust_log: Option<&str>) -> Result<Targets, String> {
    match rust_log.map(str::trim) {
        None | Some("") => Ok(Targets::new().with_default(LevelFilter::INFO)),
        Some(value) => value.parse().map_err(|_| {
            format!(
                "RUST_LOG is {value:?}, but it has to be a list of LEVEL and TARGET=LEVEL, as in \
                 \"warn,app=debug\"; LEVEL is one of off, error, warn, info, debug, trace"
            )
        }),
    }
}

/// Makes what this says the subscriber of the whole process, filtered by `RUST_LOG`. Where there is
/// one already, the user's own, it stays.
///
/// Called once, before the bootstrap and before any other thread. What comes back belongs into
/// `main`: at its end it says what is still held back.
///
/// # Errors
///
/// `RUST_LOG` is nonsense: a sentence that says so.
pub(crate) fn init(tracer: Tracer) -> Result<Guard, String> {
    if tracing::dispatcher::has_been_set() || tracer == Tracer::Noop {
        return Ok(Guard(None));
    }
    let filter =
        filter(std::env::var_os("RUST_LOG").as_deref().map(OsStr::to_string_lossy).as_deref())?;
    let terminal = std::io::stderr().is_terminal();
    let sink = Sink::new(std::io::stderr());
    let tty = tracer == Tracer::Tty || (tracer == Tracer::Auto && terminal);
    if !tty {
        set(subscriber(json::Json::new(sink), filter, layer::now));
        return Ok(Guard(None));
    }
    let tty = tty::Tty::new(sink, tty::colours(terminal), HELD);
    let held = tty.held();
    let taken = set(subscriber(tty, filter, layer::now));
    Ok(Guard(taken.then_some(held)))
}

/// How long the terminal waits for a span's end before it shows what was said in it.
const HELD: Duration = Duration::from_secs(1);

/// Keeps the tracer. Dropped at the end of `main`, it shows what spans that never ended have said.
#[must_use]
pub(crate) struct Guard(Option<tty::Held>);

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(held) = &self.0 {
            held.show_all();
        }
    }
}

/// One of the two, behind the filter.
fn subscriber<O: layer::Output>(
    output: O,
    filter: Targets,
    clock: Clock,
) -> impl Subscriber + Send + Sync {
    tracing_subscriber::registry().with(filter).with(Recorder::new(output, clock))
}

/// Whether it was taken: somebody may have been faster.
fn set(subscriber: impl Subscriber + Send + Sync) -> bool {
    tracing::subscriber::set_global_default(subscriber).is_ok()
}

/// Where finished lines go, each piece whole. Nobody to read them is no reason to stop serving.
#[derive(Clone)]
pub(crate) struct Sink(Arc<Mutex<dyn Write + Send>>);

impl Sink {
    pub(crate) fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    fn write(&self, lines: &str) {
        if !lines.is_empty() {
            let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writer.write_all(lines.as_bytes()).and_then(|()| writer.flush());
        }
    }
}

#[cfg(test)]
mod tests;
