//! What the server says of itself: `STARIO_TRACER` says how, `RUST_LOG` how much.
//!
//! All of it goes to stderr; stdout is yours. Where you have set a subscriber of `tracing` before
//! `main!` runs, yours stays. Events of the crate `log` are not shown.
//!
//! # `STARIO_TRACER`
//!
//! - `tty`: trees for people. A root span is printed when it has ended, with all that was said and
//!   done in it below it, so that requests that run at the same time do not mix. Times of day are UTC.
//!
//!   ```text
//!   14:03:07.123Z POST /tiles/{tile} 204 1.4 ms path=/tiles/3
//!     INFO tiles::live: painted tile=3
//!     save 320 µs rows=5
//!   ```
//!
//!   A root that lives for more than a second (a stream, a start that waits for something) does not
//!   hold back what is said in it: that is printed then, and from then on at once, behind the spans it
//!   was said in: `14:03:09.001Z bootstrap › connect › WARN app: no database yet attempt=1`. Colours
//!   come on a terminal only, and not with `NO_COLOR`.
//! - `json`: an object a line for programs. A span that has ended, and something that was said:
//!
//!   ```json
//!   {"span":"save","level":"info","target":"app","time":1732277000123,"duration":0.32,"id":7,"parent":3,"fields":{"rows":5}}
//!   {"event":"painted","level":"info","target":"app","time":1732277000123,"parent":3,"fields":{"tile":3}}
//!   ```
//!
//!   `time` is the span's start, or when the event happened: milliseconds since 1970, UTC. `duration`
//!   is in milliseconds. `parent` is the `id` of the span around it, or null; ids count up and are this
//!   process's own. Inner spans end first and so come first; events are objects of their own and come
//!   at once, as a stream's span may end hours later.
//! - `auto`, the default: `tty` where stderr is a terminal, else `json`.
//! - `noop`: nothing.
//!
//! A span's duration ends when it was left last; its line comes when everything in it has ended as
//! well, also what it started in other tasks. Control characters in what is shown are written out:
//! no request can play with your terminal.
//!
//! # `RUST_LOG`
//!
//! Levels, and levels of targets: `info` (the default), `warn,app=debug`, `off`. There are no regular
//! expressions, and no filters by spans.
//!
//! # Requests
//!
//! Each request has a span `request` (target `stario::request`) with `method`, `route` (the path as you
//! have written it in [`App::route`](crate::App::route); missing where none matched), `path` (without
//! the query, which may hold what is nobody's business) and `status`. It ends with the response's head:
//! a stream is answered once it begins, however long it goes on. Without `status` the client went away
//! before there was an answer.

// One layer (`layer`) keeps what is known of each span; `tty` and `json` show it.
//
// `tracing-tree` prints each event as it comes, so that requests that run at the same time mix;
// `tracing-forest` holds everything back until the root ends, also what a stream says that lives for
// hours; neither has an object for a finished span, and both bring `fmt`.

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
